"""The leases at the gateway above in step with those here: renewals, losses, restarts, ends."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.test_asking_above import NATPMP, PCP, Home, behind, only, until_asked
from tests.fixtures.examples import examples
from tests.fixtures.gateway import CONSOLE_IP, NETWORK, PC_IP, Clock, gateway_fixture
from tests.fixtures.granting_above import ABOVE, BEHIND, OUTERMOST, REFUSED, SILENT, FakeGatewayAbove
from tests.fixtures.waiting import async_until
from upnp_gw.engine.above_changes import AskedAbove, conclude
from upnp_gw.engine.above_rules import AboveRules
from upnp_gw.engine.leases_above import LEARN_RETRY_S, SILENCE_RETRY_S, SPREAD_S
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.events import TableChanged
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.above import AboveGranted, AboveKey
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.network import Link
from upnp_gw.model.request import Removed

TCP = Transport.TCP


async def pass_in_steps(home: Home, seconds: int, step_s: int = 60) -> None:
    """Time passes. At each step all that is due is done, here and above."""
    for _ in range(seconds // step_s):
        home.clock.pass_s(step_s)
        await home.sweep()
        await home.renew_above()


@pytest.mark.spec("CAS-028")
async def test_a_lease_of_igd_keeps_its_length_although_those_above_are_shorter(tmp_path: Path) -> None:
    async with behind(tmp_path, rules=AboveRules(lease_s=600)) as home:
        reply = await home.granted(8080, lifetime=3600)
        assert reply.lifetime_s == 3600
        update_id = home.decider.ledger.update_id
        await pass_in_steps(home, 3540)
        assert home.ports == {(TCP, 8080)}
        assert home.above.ports == {8080}
        assert len(home.above.asked) > 5
        assert home.decider.ledger.update_id == update_id, "no control point sees a renewal above"
        await pass_in_steps(home, 120)
        assert not home.ports
        assert not home.above.held


@pytest.mark.spec("CAS-027")
async def test_a_lease_without_end_is_asked_in_short_ones(tmp_path: Path) -> None:
    """A deviation (docs/decisions/0055): not 4294967295 seconds, which would outlive a crash of this gateway."""
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=None)
        assert home.above.asked[0].lifetime_s == 1800
        await pass_in_steps(home, 7200, 100)
        assert home.above.ports == {8080}
        assert {request.lifetime_s for request in home.above.asked} == {1800}


async def test_a_client_that_renews_itself_is_not_renewed_by_us(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=7200, **PCP)
        await pass_in_steps(home, 1860)
        assert len(home.above.asked) == 1
        assert not home.ports


@pytest.mark.spec("CAS-006")
async def test_the_nonce_above_stays_over_renewals_and_restarts(tmp_path: Path) -> None:
    clock = Clock()
    above = FakeGatewayAbove(clock)
    async with behind(tmp_path, clock, above=above) as home:
        await home.granted(8080, **NATPMP, lifetime=1800)
        await home.granted(8081, PC_IP)
        await pass_in_steps(home, 1200)
    async with behind(tmp_path, clock, above=above) as home:
        await home.renew_above()
    nonces = {request.internal.port: set[bytes]() for request in above.asked}
    for request in above.asked:
        nonces[request.internal.port].add(request.nonce)
    assert {port: len(found) for port, found in nonces.items()} == {8080: 1, 8081: 1}
    assert nonces[8080] != nonces[8081]


@pytest.mark.spec("CAS-018")
async def test_a_gateway_above_that_lost_its_state_is_asked_for_everything_one_at_a_time(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        for port in (8080, 8081, 8082):
            await home.granted(port)
        home.above.held.clear()
        home.above.most_at_once = 0
        assert home.leases_above is not None
        home.leases_above.on_state_lost()
        home.clock.pass_s(SPREAD_S)
        await home.renew_above()
        assert home.above.ports == {8080, 8081, 8082}
        assert home.above.most_at_once == 1
        assert len(home.above.asked) == 6


async def test_a_mapping_that_the_lost_state_does_not_bring_back_is_parked(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        home.above.held.clear()
        home.above.answer = lambda request: REFUSED
        assert home.leases_above is not None
        home.leases_above.on_state_lost()
        home.clock.pass_s(SPREAD_S)
        await home.renew_above()
        row = only(home)
        assert not home.ports
        assert row.above is not None
        assert row.above.problem == REFUSED.reason
        assert home.decider.ledger.table.states() == (0, 1, 0)
        home.above.answer = home.above.grant
        home.clock.pass_s(REFUSED.retry_s)
        await home.renew_above()
        assert home.ports == {(TCP, 8080)}


async def test_a_gateway_above_that_is_gone_parks_and_its_return_restores(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        for port in (8080, 8081):
            await home.granted(port, lifetime=86_400)
        home.above.answer = lambda request: SILENT
        await pass_in_steps(home, 1740)
        assert home.ports == {(TCP, 8080), (TCP, 8081)}, "what it granted still stands"
        await pass_in_steps(home, 120, 15)
        assert not home.ports
        assert home.decider.ledger.table.states() == (0, 2, 0)
        asked = len(home.above.asked)
        await pass_in_steps(home, 600, 15)
        assert len(home.above.asked) - asked <= 600 / SILENCE_RETRY_S + 1, "one question, not one for each mapping"
        home.above.answer = home.above.grant
        home.clock.pass_s(SILENCE_RETRY_S)
        await home.renew_above()
        await home.renew_above()
        assert home.ports == {(TCP, 8080), (TCP, 8081)}


async def test_a_client_of_a_mapping_that_is_parked_like_this_brings_it_back(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        await home.granted(8081)
        home.above.answer = lambda request: REFUSED
        assert home.leases_above is not None
        home.leases_above.on_state_lost()
        home.clock.pass_s(SPREAD_S)
        await home.renew_above()
        assert not home.ports
        assert (await home.refused(8080)).reason == REFUSED.reason
        assert set(only_ids(home)) == {"m1", "m2"}, "a refused refresh takes nothing"
        home.above.answer = home.above.grant
        assert (await home.granted(8080)).refreshed
        assert home.ports == {(TCP, 8080)}


def only_ids(home: Home) -> list[str]:
    return [row.id for row in home.decider.ledger.table]


async def test_what_waited_at_a_crash_is_taken_back(tmp_path: Path) -> None:
    clock = Clock()
    above = FakeGatewayAbove(clock)
    async with behind(tmp_path, clock, above=above) as home:
        await home.granted(8080)
        above.may_answer.clear()
        asking = asyncio.create_task(home.map(8081))
        await until_asked(home, 2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    above.may_answer.set()
    above.grant(above.asked[1])  # its answer was on the way
    assert above.ports == {8080, 8081}
    async with behind(tmp_path, clock, above=above) as home:
        assert home.ports == {(TCP, 8080)}, "open from the first moment: its lease above stands"
        await home.renew_above()
        assert above.ports == {8080}
        assert only_ids(home) == ["m1"]


async def test_a_store_without_leases_above_opens_nothing_before_it_has_them(tmp_path: Path) -> None:
    """The operator has switched it on."""
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock, network=replace(BEHIND, behind=False)) as before:
        await before.granted(8080)
    async with behind(tmp_path, clock) as home:
        assert not home.ports
        await home.renew_above()
        assert home.ports == {(TCP, 8080)}
    async with gateway_fixture(tmp_path, clock=clock, network=replace(BEHIND, behind=False)) as after:
        assert after.ports == {(TCP, 8080)}, "switched off again"
        assert only(after).above is None


async def test_each_end_of_a_mapping_is_released_above(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        await home.granted(8081, via=Via.OPERATOR)
        await home.granted(8082, lifetime=120)
        await home.granted(8083, **PCP)
        assert isinstance(await home.unmap(8080), Removed)
        await home.unmap(8081, via=Via.OPERATOR)
        home.clock.pass_s(130)
        await home.sweep()
        await home.settle_above()
        assert home.above.ports == {8083}
        await home.gateway.submit(close_all(home))
        await home.settle_above()
        assert not home.above.ports


def close_all(home: Home) -> Callable[[Transaction], None]:
    """A policy comes into force that allows nothing."""
    loaded = load_text('version = 1\ndefault = "deny"\n', "test", date.min)

    def step(transaction: Transaction) -> None:
        home.reevaluation.policy_changed(transaction, loaded)

    return step


@pytest.mark.spec("CAS-021")
async def test_a_mapping_update_from_above_is_in_the_table_and_told(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, **PCP)
        assert home.leases_above is not None
        key = AboveKey(TCP, home.above.asked[0].internal)
        moved = Endpoint(IPv4Address("198.51.100.77"), 50_000)
        home.leases_above.on_mapping_update(key, AboveGranted(Via.PCP, IPv4Address("192.168.1.1"), moved, 900))
        await home.settle_above()
        row = only(home)
        assert row.above is not None
        assert (row.above.external, row.outside_port) == (moved, 50_000)
        (changed,) = [event.changed for event in home.events if isinstance(event, TableChanged) and event.changed]
        assert changed[0][1].outside_port == 50_000
        home.leases_above.on_mapping_update(key, REFUSED)
        await home.settle_above()
        assert not home.ports
        assert row.above.problem == ""
        parked = only(home).above
        assert parked is not None
        assert parked.problem == REFUSED.reason, "revoked above: parked, with who did it"


@pytest.mark.spec("CAS-019", "CAS-020")
async def test_another_outermost_address_has_every_lease_asked_again(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        await home.granted(8081)
        assert home.leases_above is not None
        events = len(home.events)
        home.leases_above.on_external_address(OUTERMOST)
        await home.renew_above()
        assert len(home.above.asked) == 2, "nothing has changed"
        assert len(home.events) == events
        home.above.address = IPv4Address("198.51.100.88")
        home.leases_above.on_external_address(home.above.address)
        assert home.around.network.advertised == home.above.address
        await home.renew_above()
        assert {row.above.external.address for row in home.decider.ledger.table} == {home.above.address}  # type: ignore[union-attr]


async def test_another_wan_address_asks_from_there(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        other = IPv4Address("192.168.1.99")
        home.around.network = replace(
            home.around.network, wan=Link("wan0", 2, True, (IPv4Interface(f"{other}/24"),)), external=(other,)
        )
        assert home.leases_above is not None
        await home.leases_above.network_changed()
        await home.renew_above()
        assert home.above.asked[-1].internal == Endpoint(other, 8080)
        home.around.network = NETWORK
        await home.leases_above.network_changed()
        await home.settle_above()
        assert only(home).above is None, "a public address needs no gateway above"
        assert home.ports == {(TCP, 8080)}


async def test_a_device_that_is_gone_gets_nothing_opened_by_the_gateway_above(tmp_path: Path) -> None:
    """Its mapping has lost the lease above, and the device leaves meanwhile."""
    async with behind(tmp_path) as home:
        await home.granted(8080)
        home.above.answer = lambda request: REFUSED
        assert home.leases_above is not None
        home.leases_above.on_state_lost()
        home.clock.pass_s(SPREAD_S)
        await home.renew_above()
        home.scheduler.device_gone(only(home).internal.address, "lan0")
        await home.gateway.settled()
        home.above.answer = home.above.grant
        home.clock.pass_s(60)
        await home.renew_above()
        assert only(home).parked
        assert not home.ports


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["map", "pcp", "delete", "pass", "silent", "refuse", "grant", "other-port", "lost", "restart", "renew"]
        ),
        st.integers(0, 3),
    ),
    max_size=20,
)


@examples(30)
@given(operations=OPERATIONS)
def test_nothing_is_open_without_a_lease_above(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]]
) -> None:
    """The invariant, over any order of requests, losses and restarts."""
    directory = tmp_path_factory.mktemp("home")
    asyncio.run(_run(directory, operations))


async def _run(directory: Path, operations: list[tuple[str, int]]) -> None:
    clock = Clock()
    above = FakeGatewayAbove(clock)
    left = list(operations)
    while True:
        async with behind(directory, clock, above=above) as home:
            restarted = False
            while left and not restarted:
                kind, number = left.pop(0)
                restarted = kind == "restart"
                await _perform(home, kind, number)
                _check(home)
            if not left:
                return


async def _perform(home: Home, kind: str, number: int) -> None:
    above, port = home.above, 8080 + number
    match kind:
        case "map":
            await home.map(port, CONSOLE_IP if number % 2 else PC_IP)
        case "pcp":
            await home.map(port, CONSOLE_IP if number % 2 else PC_IP, **PCP)
        case "delete":
            await home.unmap(port, CONSOLE_IP if number % 2 else PC_IP)
        case "pass":
            home.clock.pass_s((30, 400, 1000, 4000)[number])
            await home.sweep()
        case "silent":
            above.answer = lambda request: SILENT
        case "refuse":
            above.answer = lambda request: REFUSED
        case "grant":
            above.answer = above.grant
        case "other-port":
            above.answer = above.on_port(40_000 + number)
        case "lost" if home.leases_above is not None:
            above.held.clear()
            home.leases_above.on_state_lost()
            home.clock.pass_s(SPREAD_S)
    await home.settle_above()
    await home.renew_above()
    await home.renew_above()


def _check(home: Home) -> None:
    now = home.clock().boot
    for row in home.decider.ledger.table:
        assert not row.waits
        if row.active:
            assert row.above is not None
            assert row.above.granted
            assert row.above.until > now or row.until <= now
    open_here = {port for _, port in home.ports}
    assert open_here <= {row.key.external_port for row in home.decider.ledger.table if row.active}
    rows = {row.key.external_port for row in home.decider.ledger.table}
    assert home.above.ports <= rows, "what stands above has its mapping here"


@pytest.mark.parametrize(("flush", "left"), [(True, set()), (False, {8080, 8081})])
async def test_a_stop_leaves_the_leases_above_or_ends_them(tmp_path: Path, flush: bool, left: set[int]) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        await home.granted(8081)
        assert home.leases_above is not None
        await home.leases_above.stop(flush)
        assert home.above.ports == left
        assert home.ports == {(TCP, 8080), (TCP, 8081)}, "the rows stay"


async def test_the_keeper_wakes_for_what_is_due(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080)
        assert home.leases_above is not None
        home.leases_above.start()
        home.above.held.clear()
        home.leases_above._ask_again(["m1"])
        await async_until(lambda: home.above.ports == {8080})


async def test_the_address_outside_is_learned_before_the_first_mapping(tmp_path: Path) -> None:
    """upnpc and natpmpc ask for it first, and end without it."""
    clock = Clock()
    above = FakeGatewayAbove(clock)
    async with behind(tmp_path, clock, above=above) as home:
        assert home.around.network.advertised is None
        await home.renew_above()
        assert home.around.network.advertised == OUTERMOST
        (asked,) = above.asked
        assert asked.internal.port >= 49_152
        assert not above.held
        await home.renew_above()
        assert len(above.asked) == 1
        await home.granted(8080)
    async with behind(tmp_path, clock, above=above) as home:
        assert home.around.network.advertised == OUTERMOST, "as the leases say"


async def test_a_gateway_above_that_tells_no_address_is_not_asked_all_the_time(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        home.above.answer = lambda request: REFUSED
        for _ in range(3):
            await home.renew_above()
        assert len(home.above.asked) == 1
        home.clock.pass_s(LEARN_RETRY_S)
        await home.renew_above()
        assert len(home.above.asked) == 2


async def test_an_answer_to_anybody_brings_all_parked_mappings_back_at_once(tmp_path: Path) -> None:
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=86_400)
        await home.granted(8081, lifetime=86_400)
        home.above.answer = lambda request: SILENT
        await pass_in_steps(home, 1860, 15)
        assert not home.ports
        home.above.answer = home.above.grant
        await home.granted(8082)
        await home.renew_above()
        assert home.ports == {(TCP, 8080), (TCP, 8081), (TCP, 8082)}


async def test_an_answer_to_an_older_question_changes_nothing(tmp_path: Path) -> None:
    """The WAN was public for a moment: the mapping has another lease above by now."""
    async with behind(tmp_path) as home:
        await home.granted(8080)
        before = only(home)
        request = home.above.asked[0]
        asked = AskedAbove("m1", b"an older one", request)
        reply = AboveGranted(Via.PCP, ABOVE, Endpoint(IPv4Address("198.51.100.99"), 8080), 600)
        await home.gateway.submit(partial(conclude, home.decider, asked, reply))
        assert only(home) == before
        assert asked.unwanted
        assert asked.refused is not None


async def test_a_gateway_above_that_is_silent_at_a_restart_closes_nothing(tmp_path: Path) -> None:
    """It may boot at the same time. The leases that it gave stand until they end."""
    clock = Clock()
    above = FakeGatewayAbove(clock)
    async with behind(tmp_path, clock, above=above) as home:
        await home.granted(8080, lifetime=86_400)
    above.answer = lambda request: SILENT
    async with behind(tmp_path, clock, above=above) as home:
        await home.renew_above()
        assert home.ports == {(TCP, 8080)}
        await pass_in_steps(home, 1860, 15)
        assert not home.ports


async def test_a_client_that_refreshes_what_was_lost_above_closes_it(tmp_path: Path) -> None:
    """Before the gateway itself has asked again."""
    async with behind(tmp_path) as home:
        await home.granted(8080, lifetime=7200, **PCP)
        home.clock.pass_s(1000)
        home.above.answer = lambda request: REFUSED
        assert home.leases_above is not None
        home.leases_above.on_state_lost()
        assert (await home.refused(8080, lifetime=7200, **PCP)).reason == REFUSED.reason
        assert not home.ports
