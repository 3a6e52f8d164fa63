"""The path of a request, whole: gate, ledger, firewall, store, events; faults of the kernel and of the disk."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, Clock, GatewayFixture, asks, gateway_fixture
from upnp_gw.engine import write_backlog
from upnp_gw.firewall.base import Refill
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.ledger.events import Confirmed, Decided, FirewallHealed, TableChanged
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant, IPAddress, MappingKey, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted, PortChoice, Refusal, Refused, Removed, Source, UnmapRequest
from upnp_gw.store.store import Batch

TCP, UDP = Transport.TCP, Transport.UDP
CONSOLE_SOURCE = Source(ip_address(CONSOLE_IP), "lan0")
PC_SOURCE = Source(ip_address(PC_IP), "lan0")


@contextmanager
def failing_disk(home: GatewayFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def full(batch: Batch, now: Instant) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(home.store, "write", full)
        yield


async def test_a_grant_is_in_the_kernel_the_store_and_the_events(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        reply = await home.granted(8080, internal=8000, description="web")
        assert home.firewall.reach(TCP, 8080) is not None
        stored, _ = await home.store.load(home.clock())
        assert [row.mapping.id for row in stored] == [reply.mapping.id]
        changed, decided, *_ = home.events
        assert isinstance(changed, TableChanged)
        assert changed.added == (reply.mapping,)
        assert isinstance(decided, Decided)
        assert decided.record.id == reply.mapping.decision
        assert await home.store.decisions(RecordFilter(id=reply.mapping.decision)) == [decided.record]


async def test_the_log_and_the_listeners_do_not_delay_the_reply(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        order: list[str] = []
        home.published.subscribe(lambda event: order.append(type(event).__name__))
        await home.gateway.handle(asks(8080))
        order.append("reply")
        await home.gateway.settled()
        assert order == ["reply", "TableChanged", "Decided", "DeviceSeen", "FirstMapping"]


@pytest.mark.spec("SR-19")
async def test_every_installed_mapping_names_a_decision_that_allowed_it(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        for port in range(8000, 8012):
            await home.map(port)
        allows = {record.id for record in await home.store.decisions(RecordFilter(verdict="allow"))}
        installed = [forward for forward, _ in home.firewall.installed.values()]
        assert len(installed) == 8
        assert {forward.decision for forward in installed} == allows


@pytest.mark.spec("SR-6", "SR-7")
async def test_a_burst_from_an_unnamed_pc_is_limited_and_one_incident(tmp_path: Path) -> None:
    """27 ports from one PC: at most 8 mappings, one incident (the built-in home policy)."""
    async with gateway_fixture(tmp_path) as home:
        replies = [await home.map(port, PC_IP) for port in range(5000, 5027)]
        assert sum(isinstance(reply, Granted) for reply in replies) == 8
        assert len(home.decider.history.incidents(home.clock())) == 1
        assert isinstance(await home.map(9000), Granted), "another device is not concerned"


@pytest.mark.spec("IGD-144")
async def test_two_at_once_for_one_key_exactly_one_succeeds(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        replies = await asyncio.gather(home.map(8080), home.map(8080, PC_IP))
        assert sorted(type(reply).__name__ for reply in replies) == ["Granted", "Refused"]


async def test_a_hundred_at_once_are_few_transactions_and_no_port_twice(tmp_path: Path) -> None:
    policy = load_text(ROOMY, "roomy", date.min).policy
    async with gateway_fixture(tmp_path, policy) as home:
        replies = await asyncio.gather(
            *(home.map(8080, internal=9000 + n, choice=PortChoice.SUGGESTED, via=Via.NATPMP) for n in range(100))
        )
        ports = {reply.mapping.key.external_port for reply in replies if isinstance(reply, Granted)}
        assert len(ports) == 100
        assert len(home.firewall.applied) <= 4


@pytest.mark.spec("IGD-137", "SR-2")
async def test_another_hosts_port_is_not_opened(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        assert (await home.refused(8080, target=PC_IP)).refusal is Refusal.NOT_AUTHORIZED
        assert home.ports == set()


@pytest.mark.spec("IGD-158", "IGD-159", "SR-25")
async def test_a_device_deletes_its_own_only(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        denied = await home.unmap(8080, PC_IP)
        assert isinstance(denied, Refused)
        assert denied.refusal is Refusal.NOT_AUTHORIZED
        assert home.ports == {(TCP, 8080)}
        assert isinstance(await home.unmap(8080), Removed)
        assert home.ports == set()


@pytest.mark.spec("IGD-156", "IGD-157")
async def test_a_delete_is_exact_and_works_once(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        for wrong in (await home.unmap(8080, transport=UDP), await home.unmap(8081)):
            assert isinstance(wrong, Refused)
            assert wrong.refusal is Refusal.NO_SUCH
        assert isinstance(await home.unmap(8080), Removed)
        again = await home.unmap(8080)
        assert isinstance(again, Refused)
        assert again.refusal is Refusal.NO_SUCH


async def test_a_delete_ends_only_the_hold_of_its_protocol(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        joined = await home.granted(8080, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
        assert joined.refreshed
        await home.unmap(8080)
        assert home.ports == {(TCP, 8080)}
        await home.unmap(8080, via=Via.NATPMP)
        assert home.ports == set()


@pytest.mark.spec("IGD-162", "IGD-163", "IGD-164")
async def test_a_range_delete_is_one_event_and_skips_other_devices(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        for port in (8001, 8002, 8003):
            await home.granted(port)
        await home.granted(8004, PC_IP)
        before, home.events[:] = home.view.system_update_id(), []
        reply = await home.unmap_range(8000, 9000, everyone=True)
        assert isinstance(reply, Removed)
        assert [m.key.external_port for m in reply.mappings] == [8001, 8002, 8003]
        assert len([event for event in home.events if isinstance(event, TableChanged)]) == 1
        assert home.view.system_update_id() == before + 1
        assert home.ports == {(TCP, 8004)}


@pytest.mark.spec("IGD-195")
async def test_an_overwrite_raises_the_update_id_and_not_the_count(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        before = home.view.system_update_id()
        again = await home.granted(8080, internal=8001, description="other")
        assert again.refreshed
        assert home.view.system_update_id() == before + 1
        assert home.view.count(CONSOLE_SOURCE) == 1
        forward = home.firewall.reach(TCP, 8080)
        assert forward is not None
        assert forward.internal.port == 8001


@pytest.mark.spec("IGD-134")
async def test_a_disabled_mapping_is_listed_and_forwards_nothing(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, enabled=False)
        assert home.ports == set()
        shown = home.view.at(CONSOLE_SOURCE, 0)
        assert shown is not None
        assert not shown.enabled
        await home.granted(8080, enabled=True)
        assert home.ports == {(TCP, 8080)}
        await home.granted(8080, enabled=False)
        await home.sweep()
        assert home.ports == set()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080], "its live flows end"


# -- leases


@pytest.mark.spec("IGD-131", "SR-29")
async def test_a_lease_ends_with_an_event_and_its_flows_a_minute_later(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, lifetime=120)
        home.events.clear()
        home.clock.pass_s(119)
        await home.sweep()
        assert home.ports == {(TCP, 8080)}
        home.clock.pass_s(1)
        await home.sweep()
        assert home.ports == set()
        (ended,) = [event for event in home.events if isinstance(event, TableChanged)]
        assert [why for _, why in ended.removed] == ["expired"]
        assert home.firewall.cuts == []
        home.clock.pass_s(60)
        await home.sweep()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080]


async def test_after_a_suspend_ended_leases_are_removed_before_a_request_is_served(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, lifetime=600)
        home.clock.pass_s(7200)
        assert home.view.at(CONSOLE_SOURCE, 0) is not None, "nobody has looked yet"
        refused = await home.refused(8080, PC_IP)
        assert refused.reason == "the external port is kept for another device until its flows are cut"
        assert home.view.count(CONSOLE_SOURCE) == 0


async def test_a_held_mapping_is_renewed_by_the_gateway_and_not_by_a_dead_one(tmp_path: Path) -> None:
    """Deviation: the client asked once, for ever (lease 0); the kernel never holds it for longer than an hour."""
    async with gateway_fixture(tmp_path) as home:
        first = await home.granted(8080, lifetime=None)
        left = (await home.firewall.read()).left_s[first.mapping.id]
        assert 3600 <= left <= 3700
        home.events.clear()
        commits = await home.store.get("transaction")
        for _ in range(10):
            home.clock.pass_s(3600)
            await home.sweep()
            assert home.ports == {(TCP, 8080)}
        assert [e for e in home.events if isinstance(e, TableChanged)] == [], "a renewal is no news to anybody"
        assert [record.action for record in await home.store.decisions(RecordFilter())] == ["map"]
        assert await home.store.get("transaction") == commits, "the disk has nothing to write"
        confirmed = [e for e in home.events if isinstance(e, Confirmed)]
        assert [(e.action, e.mapping.id) for e in confirmed] == [("renew", "m1")] * 10
        home.clock.pass_s(3700)
        assert home.ports == set(), "a gateway that renews no more leaves no port open"


async def test_a_held_mapping_ends_after_max_hold(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, lifetime=None)
        home.clock.pass_s(30 * 86400)
        await home.sweep()
        assert home.ports == set()
        assert home.view.count(CONSOLE_SOURCE) == 0


async def test_a_console_sleeps_nine_hours_and_finds_its_port(tmp_path: Path) -> None:
    """Parked while it is away: out of the kernel, the port reserved; back at once when it is seen again."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(3074, lifetime=None, transport=UDP)
        home.present.discard(ip_address(CONSOLE_IP))
        for _ in range(9):
            home.clock.pass_s(3600)
            await home.sweep()
        assert home.ports == set()
        assert home.view.count(CONSOLE_SOURCE) == 1
        refused = await home.refused(3074, PC_IP, transport=UDP)
        assert refused.refusal is Refusal.CONFLICT
        home.scheduler.device_seen(Neighbour(ip_address(CONSOLE_IP), CONSOLE, "lan0"))
        await home.sweep()
        assert home.ports == {(UDP, 3074)}


async def test_another_device_at_the_address_ends_the_parked_mapping(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(3074, lifetime=None)
        home.present.discard(ip_address(CONSOLE_IP))
        home.clock.pass_s(3600)
        await home.sweep()
        home.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        home.scheduler.device_seen(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        await home.sweep()
        assert home.ports == set()
        assert len(home.decider.ledger.table) == 0


async def test_another_device_at_an_address_whose_holder_was_forgotten_inherits_nothing(tmp_path: Path) -> None:
    """The kernel dropped the old neighbour entry before the address was given to another: nobody saw it move."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(3074, lifetime=None)
        home.around.neighbours.forget(ip_address(CONSOLE_IP))
        home.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        home.scheduler.device_seen(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        await home.sweep()
        assert home.ports == set()
        assert [cut.external_port for cut in home.firewall.cuts] == [3074]


async def test_an_address_that_moves_to_another_device_ends_its_mappings_at_once(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        home.scheduler.device_moved(Neighbour(ip_address(CONSOLE_IP), CONSOLE, "lan0"))
        await home.sweep()
        assert home.ports == set()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080]


async def test_a_client_that_renews_by_delete_and_add_keeps_its_flows(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        await home.unmap(8080)
        home.clock.pass_s(3)
        await home.granted(8080)
        home.clock.pass_s(10)
        await home.sweep()
        assert home.firewall.cuts == []


async def test_a_freed_port_waits_for_its_flows_before_another_device_gets_it(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        await home.unmap(8080)
        assert (await home.refused(8080, PC_IP)).refusal is Refusal.CONFLICT
        home.clock.pass_s(6)
        await home.sweep()
        await home.granted(8080, PC_IP)
        assert [cut.internal.address for cut in home.firewall.cuts] == [ip_address(CONSOLE_IP)]


async def test_an_operators_permanent_mapping_outlives_every_lease(tmp_path: Path) -> None:
    operator = {"via": Via.OPERATOR, "lifetime": None, "permanent": True}
    async with gateway_fixture(tmp_path) as home:
        await home.granted(443, "127.0.0.1", target=CONSOLE_IP, **operator)
        for _ in range(24 * 40):
            home.clock.pass_s(3600)
            await home.sweep()
        assert home.ports == {(TCP, 443)}
        shown = home.view.at(CONSOLE_SOURCE, 0)
        assert shown is not None
        assert home.view.left_s(shown, Via.IGD1) == 0
        denied = await home.unmap(443)
        assert isinstance(denied, Refused)
        assert denied.refusal is Refusal.NOT_AUTHORIZED


# -- faults


@pytest.mark.spec("IGD-145")
async def test_a_kernel_that_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        home.firewall.fail_next = ["no memory"]
        refused = await home.refused(8080)
        assert refused.refusal is Refusal.BACKEND
        assert "memory" not in refused.reason
        assert home.view.count(CONSOLE_SOURCE) == 0
        assert (await home.store.load(home.clock()))[0] == []
        await home.granted(8080)


async def test_one_bad_operation_of_a_batch_fails_alone(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        home.firewall.fail_next = ["the batch", "the first of it alone"]
        replies = await asyncio.gather(*(home.map(8000 + n) for n in range(4)))
        assert [isinstance(reply, Granted) for reply in replies] == [False, True, True, True]
        assert home.ports == {(TCP, 8001), (TCP, 8002), (TCP, 8003)}


@pytest.mark.spec("IGD-089")
async def test_a_request_that_is_given_up_before_its_turn_changes_nothing(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        waiting = [asyncio.create_task(home.map(port)) for port in (8080, 8081)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert isinstance(await waiting[1], Granted)
        assert home.ports == {(TCP, 8081)}


async def test_a_store_that_fails_undoes_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, internal=8000)
        with failing_disk(home, monkeypatch):
            assert (await home.refused(8081)).refusal is Refusal.BACKEND
            assert (await home.refused(8080, internal=9999)).refusal is Refusal.BACKEND
            assert (await home.refused(8080, remote="203.0.113.7/32")).refusal is Refusal.BACKEND
            forward = home.firewall.reach(TCP, 8080)
            assert home.ports == {(TCP, 8080)}
            assert forward is not None
            assert forward.internal.port == 8000
        await home.granted(8081)


async def test_while_the_disk_is_full_existing_mappings_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Renewals, ends of leases, deletes and denials do not wait for the disk; its failure is logged once."""
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8080, lifetime=None)
        await home.granted(8081, lifetime=60)
        await home.granted(8082)
        with failing_disk(home, monkeypatch):
            assert (await home.refused(8090, target=PC_IP)).refusal is Refusal.NOT_AUTHORIZED, "a denial is one"
            assert (await home.granted(8080, lifetime=7200)).refreshed
            assert isinstance(await home.unmap(8082), Removed)
            for _ in range(5):
                clock.pass_s(1200)
                await home.sweep()
                await home.gateway.remember()
                assert home.ports == {(TCP, 8080)}, "renewed, ended, deleted"
            assert len([entry for entry in caplog.records if "cannot write to the store" in entry.message]) == 1
            assert home.persistence.write_backlog
        await home.gateway.remember()
        await home.gateway.settled()
        assert not home.persistence.write_backlog
        stored, cuts = await home.store.load(clock())
        assert [(row.mapping.key.external_port, row.mapping.until) for row in stored] == [
            (m.key.external_port, m.until) for m in home.decider.ledger.table
        ]
        assert cuts == []
        denials = await home.store.decisions(RecordFilter(verdict="deny"))
        assert [record.external_port for record in denials] == [8090]
    async with gateway_fixture(tmp_path, clock=clock) as home:
        assert home.ports == {(TCP, 8080)}


async def test_in_one_batch_a_full_disk_refuses_only_openings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        with failing_disk(home, monkeypatch):
            denied, new, renewed = await asyncio.gather(
                home.map(8090, target=PC_IP), home.map(8081), home.map(8080)
            )
        assert isinstance(denied, Refused)
        assert denied.refusal is Refusal.NOT_AUTHORIZED
        assert isinstance(new, Refused)
        assert new.refusal is Refusal.BACKEND
        assert isinstance(renewed, Granted)
        assert home.ports == {(TCP, 8080)}


async def test_a_dropped_cut_does_not_come_back_from_the_backlog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        with failing_disk(home, monkeypatch):
            await home.unmap(8080)
        await home.granted(8080)
        assert (await home.store.load(home.clock()))[1] == []


async def test_decisions_beyond_the_bound_are_lost_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_backlog, "RECORDS", 3)
    async with gateway_fixture(tmp_path) as home:
        with failing_disk(home, monkeypatch):
            for port in range(8090, 8095):
                await home.refused(port, target=PC_IP)
        assert home.persistence.write_backlog.lost == 2
        await home.granted(8080)
        denials = await home.store.decisions(RecordFilter(verdict="deny"))
        assert [record.external_port for record in denials] == [8094, 8093, 8092]


async def test_a_cut_that_the_kernel_refuses_is_tried_again_later(tmp_path: Path) -> None:
    """And not in a circle: it is due again after a second."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        await home.unmap(8080)
        home.clock.pass_s(6)
        home.firewall.fail_next.append("busy")
        await home.sweep()
        assert home.firewall.cuts == []
        assert home.decider.ledger.cuts.next() == home.clock().boot + 1
        home.clock.pass_s(1)
        await home.sweep()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080]
        assert (await home.store.load(home.clock()))[1] == []


async def test_a_foreign_flush_is_healed_from_the_ledger(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
        await home.granted(8081, enabled=False)
        home.firewall.tamper("ruleset flushed")
        assert home.ports == set()
        await home.gateway.settled()
        assert home.ports == {(TCP, 8080)}
        assert home.gateway.healed == 1
        assert FirewallHealed("ruleset flushed") in home.events


async def test_a_requester_without_a_neighbour_entry_is_resolved_first(tmp_path: Path) -> None:
    """After the link was down the kernel knows nobody, and a NAT-PMP datagram teaches it none."""
    async with gateway_fixture(tmp_path) as home:
        mac = home.around.neighbours.mac_of(ip_address(CONSOLE_IP))
        assert mac is not None
        await home.granted(8080, via=Via.NATPMP)
        home.around.neighbours.forget(ip_address(CONSOLE_IP), "lan0")

        async def resolve(address: IPAddress, interface: str) -> bool:
            await asyncio.sleep(0)
            return home.around.neighbours.learn(Neighbour(address, CONSOLE, interface)) is None

        home.lan_hosts.probe = resolve
        replies = await asyncio.gather(*(home.granted(8080, via=Via.NATPMP) for _ in range(20)))
        assert all(reply.refreshed and reply.mapping.device == CONSOLE for reply in replies)


async def test_a_host_that_does_not_answer_for_its_address_gets_and_loses_nothing(tmp_path: Path) -> None:
    """The link went down behind the datagram, or its source was made up."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, via=Via.NATPMP)
        home.around.neighbours.forget(ip_address(CONSOLE_IP), "lan0")

        async def resolve(address: IPAddress, interface: str) -> bool:
            return False

        home.lan_hosts.probe = resolve
        assert (await home.refused(8081, via=Via.NATPMP)).refusal is Refusal.ABSENT
        deletion = await home.unmap(8080, via=Via.NATPMP)
        assert isinstance(deletion, Refused)
        assert deletion.refusal is Refusal.ABSENT
        assert home.ports == {(TCP, 8080)}


async def test_a_requester_that_leaves_its_link_while_it_waits_is_refused(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)

        def leave(transaction: Transaction) -> None:
            home.around.neighbours.forget(ip_address(CONSOLE_IP), "lan0")

        async def settle(address: IPAddress, interface: str) -> bool:
            home.gateway.submit(leave)
            return True

        home.lan_hosts.settle = settle
        assert (await home.refused(8081)).refusal is Refusal.ABSENT
        assert home.ports == {(TCP, 8080)}


async def test_a_mapping_held_by_an_address_is_its_devices_once_that_is_known(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        home.around.neighbours.forget(ip_address(CONSOLE_IP), "lan0")
        first = await home.granted(8080)
        assert first.mapping.device == CONSOLE_IP, "it could not be resolved"
        home.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), CONSOLE, "lan0"))
        home.scheduler.device_seen(Neighbour(ip_address(CONSOLE_IP), CONSOLE, "lan0"))
        await home.scheduler.settled()
        again = await home.granted(8080)
        assert again.refreshed
        assert (again.mapping.id, again.mapping.device) == (first.mapping.id, CONSOLE)
        assert isinstance(await home.unmap(8080), Removed)


# -- restart


@pytest.mark.spec("SR-20")
async def test_a_restart_loses_nothing_and_decides_again(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8080, internal=8000, description="web", lifetime=None)
        await home.granted(8081, lifetime=60)
        await home.granted(8082, remote="203.0.113.7/32")
        before = {m.id: m for m in home.decider.ledger.table}
    clock.pass_s(100)
    async with gateway_fixture(tmp_path, clock=clock) as home:
        after = {m.id: m for m in home.decider.ledger.table}
        removed = set(before) - set(after)
        assert [before[i].key.external_port for i in removed] == [8081], "its lease ended meanwhile"
        assert home.ports == {(TCP, 8080), (TCP, 8082)}
        for i, mapping in after.items():
            expected = replace(before[i], decision=mapping.decision, recheck_at=mapping.recheck_at)
            assert mapping == expected
        assert isinstance(home.firewall.applied[0][0], Refill)


async def test_a_restart_with_a_stricter_policy_reopens_nothing_it_forbids(tmp_path: Path) -> None:
    strict = load_text('version = 1\ndefault = "deny"\n', "strict", date.min).policy
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)
    async with gateway_fixture(tmp_path, strict) as home:
        assert home.ports == set()
        assert len(home.decider.ledger.table) == 0
        assert (await home.store.load(home.clock()))[0] == []


async def test_a_restart_without_neighbours_restores_all_the_same(tmp_path: Path) -> None:
    """The neighbour table is empty after a boot: a device that is not seen yet is no denial."""
    named = load_text(NAMED, "named", date.min).policy
    async with gateway_fixture(tmp_path, named) as home:
        await home.granted(8080)
    made = Clock()
    async with gateway_fixture(tmp_path, named, made, boot="boot-2") as home:
        home.around.neighbours.forget(ip_address(CONSOLE_IP))
        assert home.ports == {(TCP, 8080)}


async def test_a_new_policy_ends_mappings_that_it_does_not_allow(tmp_path: Path) -> None:
    strict = load_text('version = 1\ndefault = "deny"\n', "strict", date.min).policy
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080)

        def tighten(transaction: Transaction) -> None:
            home.reevaluation.policy_changed(transaction, LoadedPolicy(strict, ()))

        await home.gateway.submit(tighten)
        await home.sweep()
        assert home.ports == set()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080]


async def test_cuts_that_a_crash_left_are_done_at_start(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.granted(8080)
        await home.unmap(8080)
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.sweep()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080]
        assert (await home.store.load(clock()))[1] == []


@pytest.mark.spec("IGD-139", "SR-24")
async def test_a_port_of_the_gateway_is_never_given(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        home.reserved_ports((TCP, 8080))
        assert (await home.refused(8080)).refusal is Refusal.CONFLICT_OTHER
        other = await home.granted(8080, choice=PortChoice.SUGGESTED, via=Via.IGD2)
        assert other.mapping.key.external_port == 8081


async def test_a_private_external_address_can_be_refused(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, refuse_private_external=True) as home:
        await home.granted(8080)
        home.around.network = replace(home.around.network, external=())
        assert (await home.refused(8081)).refusal is Refusal.NO_EXTERNAL_ADDRESS


async def test_the_classic_visibility_shows_and_deletes_all(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, visibility="all") as home:
        await home.granted(8080)
        assert home.view.count(PC_SOURCE) == 1
        assert isinstance(await home.unmap(8080, PC_IP), Removed)


@pytest.mark.spec("IGD-153")
async def test_a_read_finds_the_exact_key_alone(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        made = await home.granted(8080)
        wildcard = MappingKey(TCP, None, 8080, None)
        assert home.view.find(CONSOLE_SOURCE, wildcard) == made.mapping
        narrow = asks(8080, remote="203.0.113.7/32")
        assert home.view.find(CONSOLE_SOURCE, wildcard._replace(remote=narrow.remote)) is None
        other = home.view.find(PC_SOURCE, wildcard)
        assert isinstance(other, Refused)
        assert other.refusal is Refusal.NOT_AUTHORIZED


async def test_the_operator_ends_a_mapping_by_its_id_at_once(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        made = await home.granted(8080)
        deletion = await home.gateway.handle(
            UnmapRequest(Via.OPERATOR, Source(ip_address("127.0.0.1"), ""), mapping_id=made.mapping.id)
        )
        assert isinstance(deletion, Removed)
        await home.sweep()
        assert [cut.external_port for cut in home.firewall.cuts] == [8080]


ROOMY = """
version = 1
default = "deny"
[limits]
per_device = 500
requests_per_minute = 500
[[grant]]
name = "all"
who = "*"
max_mappings = 500
owner = "me"
reason = "a test"
review_by = 2099-01-01
"""
NAMED = f"""
version = 1
default = "deny"
[device.console]
mac = ["{CONSOLE}"]
[[grant]]
name = "console"
who = "console"
max_mappings = 4
owner = "me"
reason = "a test"
review_by = 2099-01-01
"""
