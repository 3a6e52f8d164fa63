"""A client's request that needs the gateway above: the gate first, then the gateway above, then the kernel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fixtures.gateway import (
    CONSOLE,
    CONSOLE_IP,
    NETWORK,
    PC_IP,
    Clock,
    GatewayFixture,
    asks,
    gateway_fixture,
    source_of,
)
from tests.fixtures.granting_above import ABOVE, BEHIND, OUTERMOST, OWN, REFUSED, SILENT, FakeGatewayAbove
from tests.fixtures.waiting import async_until
from upnp_gw.engine import asking_above
from upnp_gw.engine.above_rules import TURNS, AboveRules
from upnp_gw.engine.asking_above import MOST_QUESTIONS
from upnp_gw.model.above import AboveRefused, AboveReply, AboveRequest
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Endpoint, Mapping, MappingKey, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted, PortChoice, Refusal, Refused, ReleaseRequest, Removed

TCP = Transport.TCP
NONCE = b"nonce-of-pcp"
PCP: dict[str, Any] = {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": NONCE}
NATPMP: dict[str, Any] = {"via": Via.NATPMP, "choice": PortChoice.SUGGESTED}


class Home(GatewayFixture):
    above: FakeGatewayAbove


@asynccontextmanager
async def behind(directory: Path, clock: Clock | None = None, **options: Any) -> AsyncIterator[Home]:
    """A gateway behind another one."""
    clock = clock or Clock()
    above = options.pop("above", None) or FakeGatewayAbove(clock)
    async with gateway_fixture(
        directory, clock=clock, network=options.pop("network", BEHIND), above=above, **options
    ) as home:
        home.above = above  # type: ignore[attr-defined]
        yield home  # type: ignore[misc]


def only(home: GatewayFixture) -> Mapping:
    (row,) = home.decider.ledger.table
    return row


async def until_asked(home: Home, count: int = 1) -> None:
    await async_until(lambda: len(home.above.asked) >= count)


@pytest.mark.spec("CAS-010", "CAS-007")
async def test_nothing_is_open_before_the_gateway_above_has_granted_it(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        asking = asyncio.create_task(home.map(8080, **PCP))
        await until_asked(home)
        assert not home.ports
        assert only(home).waits
        assert not home.view.count(source_of(CONSOLE_IP))
        assert home.view.at(source_of(CONSOLE_IP), 0) is None
        assert home.view.find(source_of(CONSOLE_IP), MappingKey(TCP, None, 8080, None)) is None
        conflict = await home.refused(8080, PC_IP)
        assert conflict.refusal is Refusal.CONFLICT, "its port is reserved"
        home.above.may_answer.set()
        reply = await asking
        assert isinstance(reply, Granted)
        assert (reply.external_address, reply.mapping.outside_port) == (OUTERMOST, 8080)
        assert home.ports == {(TCP, 8080)}
        assert home.view.count(source_of(CONSOLE_IP)) == 1
        assert home.around.network.advertised == OUTERMOST
        added = [row.id for event in home.events for row in getattr(event, "added", ())]
        assert added == [reply.mapping.id], "it is announced once, when it is open"


@pytest.mark.spec("CAS-008")
@pytest.mark.parametrize("more", [PCP, NATPMP], ids=["pcp", "natpmp"])
async def test_a_client_that_renews_gets_no_longer_lease_than_the_gateway_above_gave(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    async with behind(tmp_path) as home:
        home.above.most_s = 600
        reply = await home.granted(8080, lifetime=7200, **more)
        assert reply.lifetime_s == 600
        assert only(home).until == home.clock().boot + 600


@pytest.mark.spec("CAS-011")
async def test_a_refusal_above_leaves_nothing(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.answer = lambda request: REFUSED
        refused = await home.refused(8080, **PCP)
        assert (refused.refusal, refused.reason, refused.retry_s) == (REFUSED.refusal, REFUSED.reason, 60)
        assert not list(home.decider.ledger.table)
        assert not home.ports
        assert not home.above.released
        stored, cuts = await home.store.load(home.clock())
        assert not stored
        assert not cuts
        busy, allowed = await home.store.decisions(RecordFilter())
        assert (busy.id, busy.verdict, busy.refusal) == (refused.decision, "busy", "not-authorized")
        assert busy.reasons[-1] == REFUSED.reason
        assert (allowed.verdict, allowed.mapping) == ("allow", "m1")
        assert not [event for event in home.events if getattr(event, "added", ()) or getattr(event, "removed", ())]


@pytest.mark.spec("CAS-015")
async def test_a_silent_gateway_above_is_a_failure_of_the_network(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.answer = lambda request: SILENT
        refused = await home.refused(8080)
        assert (refused.refusal, refused.reason) == (Refusal.GATEWAY_ABOVE, SILENT.reason)
        assert not list(home.decider.ledger.table)
        await home.settle_above()
        assert [request.internal.port for request in home.above.released] == [8080], "an answer may have been lost"


@pytest.mark.spec("CAS-003")
async def test_what_the_gate_refuses_is_not_asked_above(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.refused(22)
        await home.refused(8080, target=PC_IP)
        await home.settle_above()
        assert not home.above.asked
        assert not home.above.released


@pytest.mark.spec("CAS-001")
@pytest.mark.parametrize(
    ("external", "asked"),
    [("10.0.0.5", True), ("172.20.1.1", True), ("192.168.9.9", True), ("100.64.0.9", True), ("8.8.8.8", False)],
)
async def test_a_private_or_shared_external_address_needs_the_gateway_above(
    tmp_path: Path, external: str, asked: bool
) -> None:
    """A deviation (docs/decisions/0055): only where ``[upstream] when`` says so."""
    address = IPv4Address(external)
    network = replace(NETWORK, external=(address,), behind=asked)
    async with behind(tmp_path, network=network) as home:
        await home.granted(8080)
        assert bool(home.above.asked) == asked
        assert home.ports == {(TCP, 8080)}


async def test_always_asks_for_each_mapping_and_pinhole(tmp_path: Path) -> None:
    async with behind(tmp_path, network=NETWORK, rules=AboveRules(always=True)) as home:
        await home.granted(8080)
        host = "2001:db8:77::10"
        home.around.neighbours.learn(Neighbour(ip_address(host), CONSOLE, "lan0"))
        home.above.address = ip_address(host)
        await home.granted(8443, host, via=Via.PCP, nonce=NONCE)
        first, second = home.above.asked
        assert first.internal == Endpoint(NETWORK.external[0], 8080)
        assert second.internal == Endpoint(ip_address(host), 8443)


@pytest.mark.spec("CAS-004", "CAS-005")
async def test_a_pcp_request_above_has_our_endpoint_and_the_clients_wishes(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        suggested = ip_address("198.51.100.99")
        await home.granted(8080, internal=9000, suggested_address=suggested, **PCP)
        (asked,) = home.above.asked
        assert asked.internal == Endpoint(OWN, 8080)
        assert asked.external == Endpoint(suggested, 8080)
        assert (asked.nonce, asked.exact, asked.transport) == (NONCE, False, TCP)


@pytest.mark.spec("CAS-013")
async def test_requests_for_one_mapping_wait_for_one_question(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        both = [asyncio.create_task(home.map(8080, **PCP)) for _ in range(3)]
        await until_asked(home)
        for _ in range(20):
            await asyncio.sleep(0)
        home.above.may_answer.set()
        replies = await asyncio.gather(*both)
        assert all(isinstance(reply, Granted) for reply in replies)
        assert len(home.above.asked) == 1
        assert len({reply.mapping.id for reply in replies if isinstance(reply, Granted)}) == 1


async def test_a_silent_gateway_above_stalls_nobody_else(tmp_path: Path) -> None:
    """Requests that need no answer from above are served while others wait."""
    async with behind(tmp_path) as home:
        await home.granted(8080)
        home.above.may_answer.clear()
        waiting = asyncio.create_task(home.map(9090, PC_IP))
        await until_asked(home, 2)
        assert isinstance(await home.unmap(8080), Removed)
        assert not waiting.done()
        home.above.may_answer.set()
        assert isinstance(await waiting, Granted)


@pytest.mark.spec("CAS-012", "CAS-013")
@pytest.mark.parametrize(("passed_s", "asked"), [(449, 1), (451, 2)])
async def test_a_refresh_with_three_quarters_left_is_not_passed_on(
    tmp_path: Path, passed_s: int, asked: int
) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=7200, **PCP)
        home.clock.pass_s(passed_s)
        reply = await home.granted(8080, lifetime=7200, **PCP)
        assert len(home.above.asked) == asked
        assert reply.refreshed
        assert reply.lifetime_s == (1800 - passed_s if asked == 1 else 1800)


async def test_a_refresh_while_the_gateway_above_is_silent_tells_the_time_that_is_left(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=7200, **PCP)
        home.above.answer = lambda request: SILENT
        home.clock.pass_s(1000)
        reply = await home.granted(8080, lifetime=7200, **PCP)
        assert reply.lifetime_s == 800
        assert home.ports


async def test_a_refused_refresh_leaves_the_mapping_until_its_lease_above_ends(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=7200, **PCP)
        home.above.answer = lambda request: REFUSED
        home.clock.pass_s(1000)
        assert (await home.refused(8080, lifetime=7200, **PCP)).reason == REFUSED.reason
        assert home.ports
        home.clock.pass_s(801)
        await home.sweep()
        await home.renew_above()
        assert not home.ports


@pytest.mark.spec("CAS-014")
async def test_a_delete_is_passed_on_after_the_port_is_closed(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, **PCP)
        release = ReleaseRequest(Via.PCP, source_of(CONSOLE_IP), TCP, ip_address(CONSOLE_IP), 8080, NONCE)
        assert isinstance(await home.handle(release), Removed)
        assert not home.ports
        await home.settle_above()
        (released,) = home.above.released
        assert (released.internal, released.nonce, released.via) == (Endpoint(OWN, 8080), NONCE, Via.PCP)
        assert released.external == Endpoint(OUTERMOST, 8080)
        assert not home.above.held


@pytest.mark.spec("CAS-029", "CAS-030")
async def test_reads_and_deletes_of_unknown_mappings_cause_nothing_above(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        refused = await home.unmap(8080)
        assert isinstance(refused, Refused)
        assert refused.refusal is Refusal.NO_SUCH
        home.view.at(source_of(CONSOLE_IP), 0)
        await home.settle_above()
        assert not home.above.asked
        assert not home.above.released


@pytest.mark.spec("CAS-025")
async def test_an_exact_port_that_the_gateway_above_does_not_give_is_a_conflict(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.answer = home.above.on_port(40_000)
        refused = await home.refused(8080)
        assert refused.refusal is Refusal.CONFLICT
        assert home.above.asked[0].exact
        assert not list(home.decider.ledger.table)
        await home.settle_above()
        assert not home.above.held, "what it gave is released"


@pytest.mark.spec("CAS-026")
async def test_a_client_knows_its_mapping_by_the_port_of_the_gateway_above(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.answer = home.above.on_port(40_000)
        reply = await home.granted(8080, via=Via.IGD2, choice=PortChoice.SUGGESTED)
        assert reply.mapping.outside_port == 40_000
        assert home.ports == {(TCP, 8080)}
        source = source_of(CONSOLE_IP)
        found = home.view.find(source, MappingKey(TCP, None, 40_000, None))
        assert isinstance(found, Mapping)
        assert found.id == reply.mapping.id
        assert home.view.find(source, MappingKey(TCP, None, 8080, None)) is None
        assert [row.id for row in home.view.in_range(source, TCP, 40_000, 40_000, False, 0)] == [found.id]
        again = await home.granted(40_000, internal=8080)
        assert (again.mapping.id, again.refreshed) == (found.id, True)
        assert isinstance(await home.unmap_range(8080, 8080), Refused)
        assert isinstance(await home.unmap(40_000), Removed)
        assert not home.ports


async def test_too_many_questions_are_refused_at_once(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        home.leases_above.answer.__self__._asked.update(  # type: ignore[union-attr]
            dict.fromkeys(map(str, range(MOST_QUESTIONS)), asyncio.get_running_loop().create_future())
        )
        refused = await home.refused(8080)
        assert refused.refusal is Refusal.GATEWAY_ABOVE
        assert not list(home.decider.ledger.table)
        home.leases_above.answer.__self__._asked.clear()  # type: ignore[union-attr]


async def test_one_device_does_not_keep_the_others_from_the_gateway_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking_above, "MOST_OF_DEVICE", 2)
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        asking = [asyncio.create_task(home.map(port, **PCP)) for port in (8000, 8001)]
        await until_asked(home, 2)
        third = asyncio.create_task(home.map(9000, **PCP))
        await async_until(lambda: third.done() or len(home.above.asked) > 2)
        asking.append(asyncio.create_task(home.map(9001, PC_IP, **PCP)))
        await async_until(lambda: any(each.internal.port == 9001 for each in home.above.asked))
        home.above.may_answer.set()
        refused = await third
        assert isinstance(refused, Refused)
        assert refused.refusal is Refusal.GATEWAY_ABOVE
        assert all([isinstance(await each, Granted) for each in asking])


async def test_a_client_that_goes_away_leaves_no_question_open(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        asking = asyncio.create_task(home.map(8080))
        await until_asked(home)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        home.above.may_answer.set()
        await home.settle_above()
        assert only(home).active, "the answer is in the ledger, as if the client had lost ours"


async def test_a_mapping_that_is_deleted_while_it_waits_is_released(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        asking = asyncio.create_task(home.map(8080))
        await until_asked(home)
        assert isinstance(await home.unmap(8080), Removed)
        home.above.may_answer.set()
        assert isinstance(await asking, Refused)
        await home.settle_above()
        assert not home.ports
        assert not home.above.held


async def test_a_mapping_whose_question_was_never_put_ends_by_itself(tmp_path: Path) -> None:
    """The client went away in the moment between the ledger and the question."""
    async with behind(tmp_path) as home:
        await home.gateway.submit(
            lambda transaction: home.gateway._perform(asks(8080), device_of_console(home), False, transaction)
        )
        assert only(home).waits
        home.clock.pass_s(30)
        await home.sweep()
        assert not list(home.decider.ledger.table)


def device_of_console(home: GatewayFixture) -> str:
    return home.decider.device_of(source_of(CONSOLE_IP))


async def test_a_disk_that_fails_after_the_answer_leaves_nothing_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind(tmp_path) as home:
        write = home.store.write_blocking

        def fail_to_open(batch: Any, now: Any) -> None:
            if any(row.active for row, _ in batch.put):
                raise StoreError("No space left on device")
            write(batch, now)

        async def fail(batch: Any, now: Any) -> None:
            fail_to_open(batch, now)

        monkeypatch.setattr(home.store, "write_blocking", fail_to_open)
        monkeypatch.setattr(home.store, "write", fail)
        refused = await home.refused(8080)
        assert refused.refusal is Refusal.BACKEND
        await home.settle_above()
        assert not home.ports
        assert not home.above.held
        assert not list(home.decider.ledger.table)


async def test_a_request_that_came_round_a_loop_is_not_passed_on(tmp_path: Path) -> None:
    """The gateway above asks us for what we asked of it. Another host with the same nonce is no loop."""
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        asking = asyncio.create_task(home.map(8080, **PCP))
        await until_asked(home)
        refused = await home.refused(8080, PC_IP, **PCP)
        assert refused.refusal is Refusal.NO_EXTERNAL_ADDRESS
        assert (len(home.above.asked), home.above.came_back) == (1, 1)
        other = asyncio.create_task(home.map(9090, PC_IP, **PCP))
        await until_asked(home, 2)
        home.above.may_answer.set()
        assert isinstance(await asking, Granted)
        assert isinstance(await other, Granted)


@pytest.mark.parametrize("via", [Via.NATPMP, Via.PCP])
async def test_two_gateways_that_point_at_each_other_stop_after_some_turns(tmp_path: Path, via: Via) -> None:
    """NAT-PMP has no nonce: the other gateway asks for the port that it was just given, again and again."""

    class Ring(FakeGatewayAbove):
        async def ask(self, request: AboveRequest, timeout_s: float) -> AboveReply:
            self.asked.append(request)
            nonce = self.random.randbytes(12) if via is Via.PCP else None  # the other one makes its own
            port, choice = request.internal.port, PortChoice.SUGGESTED
            reply = await home.map(port, PC_IP, via=via, choice=choice, nonce=nonce)
            assert isinstance(reply, Refused)
            return AboveRefused(via, ABOVE, reply.refusal, "no", 60)

        random = Random(1)

    async with behind(tmp_path, above=Ring(Clock())) as home:
        refused = await home.refused(8080, **NATPMP)
        assert refused.refusal is Refusal.NO_EXTERNAL_ADDRESS
        assert (len(home.above.asked), home.above.came_back) == (TURNS + 1, 1)
        assert not list(home.decider.ledger.table)
        assert not home.ports


async def test_a_host_may_ask_for_the_port_that_another_of_its_mappings_got(tmp_path: Path) -> None:
    """Two hosts with the same program, which opens neighbouring ports."""
    async with behind(tmp_path) as home:
        home.above.may_answer.clear()
        asking = [
            asyncio.create_task(home.map(external, internal=internal, **PCP))
            for internal, external in ((8080, 8081), (8081, 8082), (8082, 8083))
        ]
        await until_asked(home, 3)
        home.above.may_answer.set()
        assert all([isinstance(await each, Granted) for each in asking])
        assert not home.above.came_back


@pytest.mark.spec("CAS-014")
@pytest.mark.parametrize(("nat", "passed_on"), [(True, 0), (False, 1)])
async def test_a_delete_of_an_unknown_mapping_is_passed_on_without_nat(
    tmp_path: Path, nat: bool, passed_on: int
) -> None:
    """A deviation (docs/decisions/0055): behind our NAT only the row would say which port was asked for."""
    network = BEHIND if nat else replace(BEHIND, without_nat=frozenset({"lan0"}))
    async with behind(tmp_path, network=network) as home:
        release = ReleaseRequest(Via.PCP, source_of(CONSOLE_IP), TCP, ip_address(CONSOLE_IP), 8080, NONCE)
        assert isinstance(await home.handle(release), Removed)
        await home.settle_above()
        assert [request.internal for request in home.above.released] == [
            Endpoint(ip_address(CONSOLE_IP), 8080)
        ] * passed_on


async def test_pinholes_of_hosts_without_nat_are_asked_with_their_own_endpoint(tmp_path: Path) -> None:
    async with behind(tmp_path, network=replace(BEHIND, without_nat=frozenset({"lan0"}))) as home:
        home.above.address = ip_address(CONSOLE_IP)
        reply = await home.granted(8080, **PCP)
        (asked,) = home.above.asked
        assert asked.internal == Endpoint(ip_address(CONSOLE_IP), 8080)
        assert asked.external is None
        assert reply.external_address == ip_address(CONSOLE_IP)
        assert home.ports == {(TCP, 8080)}


async def test_a_client_that_wants_one_port_does_not_get_a_mapping_with_another(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.answer = home.above.on_port(40_000)
        home.above.may_answer.clear()
        any_port = asyncio.create_task(home.map(8080, via=Via.IGD2, choice=PortChoice.SUGGESTED))
        await until_asked(home)
        this_port = asyncio.create_task(home.map(8080))
        await home.gateway.settled()
        home.above.may_answer.set()
        assert isinstance(await any_port, Granted)
        refused = await this_port
        assert isinstance(refused, Refused)
        assert refused.refusal is Refusal.CONFLICT
        assert (await home.refused(8080)).refusal is Refusal.CONFLICT, "nor later"
        assert (await home.granted(40_000, internal=8080)).refreshed
        assert len(home.above.asked) == 1


async def test_a_client_that_renews_by_delete_and_add_keeps_its_port_above(tmp_path: Path) -> None:
    """Both are in one batch of the writer. The delete above goes first: over NAT-PMP it would end the new one."""
    async with behind(tmp_path) as home:
        await home.granted(8080)
        deleted, added = await asyncio.gather(home.unmap(8080), home.map(8080))
        assert isinstance(deleted, Removed)
        assert isinstance(added, Granted)
        await home.settle_above()
        assert home.above.calls == ["ask", "release", "ask"]
        assert home.above.ports == {8080}


async def test_a_port_is_not_asked_for_while_its_delete_is_under_way(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        home.above.may_release.clear()
        await home.unmap(8080)
        again = asyncio.create_task(home.map(8080))
        await async_until(lambda: len(home.above.released) == 1 and bool(only(home).waits))
        for _ in range(20):
            await asyncio.sleep(0)
        assert home.above.calls == ["ask"]
        home.above.may_release.set()
        assert isinstance(await again, Granted)
        assert home.above.calls == ["ask", "release", "ask"]
