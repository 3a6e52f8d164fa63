"""An undone batch, a restart and a second request leave nothing behind."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, asks, gateway_fixture
from tests.fixtures.waiting import async_until
from upnp_gw.firewall.base import Change
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant, MappingKind, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Refusal, Refused
from upnp_gw.store.store import Batch

TCP = Transport.TCP
WIDE = 'version = 1\n[[grant]]\nname = "wide"\nwho = "*"\nint_ports = ["1024-65535"]\next = "same-or-any"\n'
PC_IP6 = "2001:db8:77::20"


def policy(text: str) -> Policy:
    return load_text(text, "test", date.min).policy


async def test_a_narrowed_grant_narrows_existing_mappings_at_a_restart(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000)
    async with gateway_fixture(tmp_path, policy(WIDE + 'remote = ["203.0.113.0/24"]\n')) as home:
        forward = home.firewall.reach(TCP, 8000, ip_address("203.0.113.9"))
        assert forward is not None
        assert forward.remote is not None
        assert home.firewall.reach(TCP, 8000, ip_address("198.51.100.9")) is None


async def test_a_policy_that_did_not_come_into_force_decides_nothing(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy('version = 1\ndefault = "deny"\n')) as home:
        await home.granted(9000, "127.0.0.1", target=PC_IP, via=Via.OPERATOR, lifetime=86400)

        def widen(transaction: Transaction) -> None:
            home.reevaluation.policy_changed(transaction, LoadedPolicy(policy(WIDE), ()))

        home.clock.pass_s(1)  # so that the kernel's timeout changes
        home.firewall.fail_next = ["no memory"]
        assert await home.gateway.submit(widen) is not None
        assert (await home.refused(8000)).refusal is Refusal.NOT_AUTHORIZED


async def test_an_incident_of_an_undone_batch_begins_again(tmp_path: Path) -> None:
    text = 'version = 1\n[limits]\non_incident = "quarantine"\nincident_after = 3\n'
    text += '[[grant]]\nname = "one"\nwho = "*"\nint_ports = [8080]\n'
    async with gateway_fixture(tmp_path, policy(text)) as home:
        await home.granted(8080)
        await home.refused(5001)
        await home.refused(5002)
        home.firewall.fail_next = ["the table is full"]
        await asyncio.gather(home.map(5003), home.map(8080, PC_IP))
        await home.sweep()
        assert all(mapping.device != CONSOLE for mapping in home.decider.ledger.table)
        assert len(home.decider.history.incidents(home.clock())) == 1


async def test_the_end_of_a_pinhole_reserves_no_port_of_the_gateway(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        home.around.neighbours.learn(Neighbour(ip_address(PC_IP6), PC, "lan0"))
        made = await home.granted(8080, PC_IP6, via=Via.PCP, nonce=b"1" * 12)
        assert made.mapping.kind is MappingKind.PINHOLE
        home.clock.pass_s(3600)
        await home.sweep()
        await home.granted(8080)


async def test_a_control_point_changes_nothing_of_the_operators_mapping(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        operator = {"via": Via.OPERATOR, "lifetime": None, "permanent": True, "description": "mine"}
        await home.granted(9000, "127.0.0.1", target=PC_IP, **operator)
        await home.granted(9000, PC_IP, enabled=False, description="not yours")
        (mapping,) = home.decider.ledger.table
        assert (mapping.enabled, mapping.description, mapping.rule) == (True, "mine", "operator")
        assert home.ports == {(TCP, 9000)}


async def test_a_second_request_does_not_keep_the_flows_of_a_disabled_mapping(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        await home.granted(8000)
        await home.granted(8000, enabled=False)
        await home.granted(8000, enabled=False)
        await home.sweep()
        assert [cut.external_port for cut in home.firewall.cuts] == [8000]


async def test_the_writer_survives_an_unforeseen_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        apply = home.firewall.apply

        async def fail(changes: Sequence[Change], then: object) -> None:
            monkeypatch.setattr(home.firewall, "apply", apply)
            raise RuntimeError("cannot start a thread")

        monkeypatch.setattr(home.firewall, "apply", fail)
        assert (await home.refused(8000)).refusal is Refusal.BACKEND
        await home.granted(8001, CONSOLE_IP)


@pytest.mark.parametrize("where", ["_write", "_write_rows"])
async def test_the_writer_survives_every_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        monkeypatch.setattr(home.store, where, full)
        assert (await home.refused(8000)).refusal is Refusal.BACKEND
        assert home.ports == set()
        assert [cut.external_port for cut in home.firewall.cuts] == [8000], "a flow may have come in meanwhile"
        assert (await home.refused(80)).refusal is Refusal.NOT_AUTHORIZED
        assert home.persistence.write_backlog
        monkeypatch.undo()
        await home.granted(8001)


class ThreadedFirewall(MemoryFirewall):
    """Has a thread, as the real one, and can fail once after a change."""

    fails: Exception | None = None
    fails_first: Exception | None = None
    """It fails once with this, and changes nothing."""
    go: asyncio.Event | None = None
    """The kernel is slow until it is set."""

    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        fails, self.fails_first = self.fails_first, None
        if fails is not None:
            raise fails
        await super().apply(changes)
        if self.go is not None:
            await self.go.wait()
        if then is not None:
            await asyncio.to_thread(then)
        fails, self.fails = self.fails, None
        if fails is not None:
            raise fails


async def test_a_batch_is_written_on_the_thread_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firewall = ThreadedFirewall()
    async with gateway_fixture(tmp_path, policy(WIDE), firewall=firewall) as home:
        threads = []
        write = home.store._write

        def noted(batch: Batch, now: Instant) -> None:
            threads.append(threading.current_thread().name)
            write(batch, now)

        monkeypatch.setattr(home.store, "_write", noted)
        await home.granted(8000)
        await home.refused(80)  # changes nothing of the kernel
        assert len(threads) == 2
        assert threads[0] != "store"
        assert threads[1] == "store"
        stored, _ = await home.store.load(home.clock())
        assert [row.mapping.key.external_port for row in stored] == [8000]
        firewall.fail_next = ["no memory"]
        assert (await home.refused(8001)).refusal is Refusal.BACKEND
        assert len(threads) == 2

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(home.store, "_write", full)
        assert (await home.refused(8002)).refusal is Refusal.BACKEND
        assert home.ports == {(TCP, 8000)}, "the kernel does not keep what the disk did not take"
        monkeypatch.setattr(home.store, "_write", noted)
        await home.granted(8003)


@pytest.mark.parametrize("fault", [RuntimeError("nobody foresaw it"), FirewallError("forwarding is not on")])
async def test_a_fault_after_kernel_and_store_keeps_the_mapping(tmp_path: Path, fault: Exception) -> None:
    """The store has it, so the ledger and the kernel must have it too: the table is installed again."""
    firewall = ThreadedFirewall()
    async with gateway_fixture(tmp_path, policy(WIDE), firewall=firewall) as home:
        firewall.fails = fault
        await home.granted(8000)
        await home.gateway.settled()
        assert home.gateway.healed == 1
        assert home.ports == {(TCP, 8000)}
        stored, _ = await home.store.load(home.clock())
        assert [row.mapping.key.external_port for row in stored] == [8000]


@pytest.mark.parametrize("fault", [RuntimeError("nobody foresaw it"), FirewallError("no memory")])
async def test_what_the_disk_refuses_and_the_kernel_cannot_undo_goes_with_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    firewall = ThreadedFirewall()

    def full(*_: object) -> None:
        firewall.fails_first = fault
        raise OSError(28, "No space left on device")

    async with gateway_fixture(tmp_path, policy(WIDE), firewall=firewall) as home:
        monkeypatch.setattr(home.store, "_write", full)
        assert (await home.refused(8000)).refusal is Refusal.BACKEND
        await home.gateway.settled()
        assert home.gateway.healed == 1
        assert home.ports == set(), "nothing is open that the ledger does not have"
        monkeypatch.undo()


async def test_a_later_state_of_a_device_is_not_written_before_an_earlier_one(tmp_path: Path) -> None:
    """The batch is made before the kernel has its changes, and the store has another thread for the devices."""
    firewall = ThreadedFirewall()
    async with gateway_fixture(tmp_path, policy(WIDE), firewall=firewall) as home:
        firewall.go = asyncio.Event()
        request = asyncio.create_task(home.granted(8000))
        await async_until(lambda: (TCP, 8000) in home.ports)
        remembered = asyncio.create_task(home.gateway.remember())
        done, _ = await asyncio.wait([remembered], timeout=0.05)
        firewall.go.set()
        assert not done
        await request
        await remembered
        assert not home.persistence.one_writer.locked()


async def test_no_row_of_a_new_epoch_is_in_the_store_before_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two are written by different threads."""
    async with gateway_fixture(tmp_path, policy(WIDE), firewall=ThreadedFirewall()) as home:
        order: list[str] = []
        in_transaction = home.store._in_transaction

        def noted(write: Callable[[sqlite3.Connection], object]) -> None:
            in_transaction(write)
            order.append(threading.current_thread().name)

        monkeypatch.setattr(home.store, "_in_transaction", noted)
        go = threading.Event()
        home.store._thread.post(go.wait)
        epoch = asyncio.create_task(home.gateway.begin_epoch())
        request = asyncio.create_task(home.granted(8000, via=Via.PCP, nonce=b"1" * 12))
        await asyncio.wait([request], timeout=0.05)
        go.set()
        await epoch
        await request
        assert order[0] == "store"
        assert order[1] != "store"


async def test_the_connection_of_a_reply_is_closed_before_the_events(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        seen: list[str] = []
        loop = asyncio.get_running_loop()
        home.published.subscribe(lambda event: seen.append("event"))

        async def request() -> None:
            await home.gateway.handle(asks(8000, CONSOLE_IP))
            loop.call_soon(seen.append, "closed")  # as a transport does

        await asyncio.create_task(request())
        await home.gateway.settled()
        assert seen[0] == "closed"
        assert "event" in seen


async def test_the_writer_survives_a_fault_of_the_persistence_or_of_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("nobody foresaw it")

    async with gateway_fixture(tmp_path, policy(WIDE)) as home:
        for what in ("written", "batch"):
            monkeypatch.setattr(home.persistence, what, fault)
            assert (await home.refused(8000)).refusal is Refusal.BACKEND
            assert home.ports == set()
            monkeypatch.undo()
        monkeypatch.setattr(home.published, "publish", fault)
        await home.granted(8000)  # nobody could be notified, but kernel and store have it
        await home.gateway.settled()
        assert "an event could not be published" in caplog.text
        monkeypatch.undo()
        assert home.ports == {(TCP, 8000)}
        stored, _ = await home.store.load(home.clock())
        assert [row.mapping.key.external_port for row in stored] == [8000]
        await home.granted(8001)


ASK_POLICY = 'version = 1\ndefault = "ask"\n[limits]\nrequests_per_minute = 30\n'
ASK_POLICY += '[[grant]]\nname = "some"\nwho = "*"\nint_ports = ["8000-8999"]\nmax_ports_per_day = 2\n'


async def test_a_batch_that_is_tried_again_one_by_one_counts_once(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(ASK_POLICY)) as home:
        home.firewall.fail_next = ["no memory"]
        replies = await asyncio.gather(home.map(8000), home.map(9000), home.map(8001, PC_IP), home.map(80, PC_IP))
        assert not home.firewall.fail_next
        assert [type(reply).__name__ for reply in replies] == ["Granted", "Refused", "Granted", "Refused"]
        seen = {seen.device: seen for seen in home.decider.history.devices(home.clock())}
        assert [seen[device].granted for device in (CONSOLE, PC)] == [1, 1]
        assert [dict(seen[device].refused) for device in (CONSOLE, PC)] == [
            {Refusal.ASK: 1},
            {Refusal.NOT_AUTHORIZED: 1},
        ]
        (question,) = home.decider.questions.all(home.clock().wall)
        assert (question.times, question.subject.port) == (1, 9000)
        await home.gateway.remember()
    async with gateway_fixture(tmp_path, policy(ASK_POLICY)) as home:
        (question,) = home.decider.questions.all(home.clock().wall)
        assert question.times == 1


async def test_a_failed_request_is_not_counted_as_granted(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(ASK_POLICY)) as home:
        await home.refused(9000)
        for port in (8000, 8001):
            home.firewall.fail_next = ["no memory"]
            assert (await home.refused(port)).refusal is Refusal.BACKEND
        (seen,) = home.decider.history.devices(home.clock())
        assert seen.granted == 0
        home.clock.pass_s(61)
        await home.granted(8002)  # the day's two ports are still free
        await home.granted(8003)


async def test_a_question_answered_by_a_failed_change_still_waits(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(ASK_POLICY)) as home:
        await home.refused(9000)
        home.policy = policy(WIDE)
        home.firewall.fail_next = ["no memory"]
        await home.refused(9000)
        assert len(home.decider.questions.all(home.clock().wall)) == 1
        await home.granted(9000)
        assert not home.decider.questions.all(home.clock().wall)


async def test_a_flood_that_begins_in_an_undone_batch_is_on_disk_with_all_its_refusals(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(ASK_POLICY.replace("30", "3"))) as home:
        for port in (8000, 9000):
            await home.map(port)
        home.firewall.fail_next = ["no memory"]
        flood = [home.map(9100 + n) for n in range(4)]
        *_, refused = await asyncio.gather(home.map(8001, PC_IP), *flood)
        assert isinstance(refused, Refused)
        assert refused.refusal is Refusal.RATE
        home.clock.pass_s(61)
        home.firewall.fail_next = ["no memory"]
        await home.refused(8002, PC_IP)  # this operation would have reported the flood
        await home.granted(8003, PC_IP)
        decisions = await home.store.decisions(RecordFilter(limit=100))
        assert [(r.id, r.count) for r in decisions if r.refusal == Refusal.RATE] == [(refused.decision, 4)]
