"""Leases of another gateway are taken over through the gate, each as the request of its internal client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE_IP, PC_IP, Clock, GatewayFixture, asks, gateway_fixture
from tests.fixtures.granting_above import BEHIND, REFUSED, FakeGatewayAbove
from tests.fixtures.policies import policy_of
from tests.fixtures.waiting import async_until
from upnp_gw.engine.decider import Asked, Decider
from upnp_gw.engine.takeover import AT_ONCE, NOBODY, TakenLease, Takeover
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant, Transport, Via
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Refused
from upnp_gw.store.store import Batch

TCP, UDP = Transport.TCP, Transport.UDP
POLICY = """
default = "%s"
[limits]
per_device = %d
max_hold = "24h"
max_ttl = "2h"
incident_after = 5
[[forbid]]
name = "never-remote-desktop"
int_ports = [3389]
[[grant]]
name = "everyone"
who = "*"
int_ports = ["1024-9999"]
"""
ABSENT_IP = "192.168.77.55"


@asynccontextmanager
async def home_of(directory: Path, default: str = "deny", per_device: int = 40) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(directory, policy_of(POLICY % (default, per_device))) as home:
        yield home


def takeover(home: GatewayFixture) -> Takeover:
    return Takeover(home.decider, home.gateway)


async def take(home: GatewayFixture, *requests: MapRequest) -> list[TakenLease]:
    return await takeover(home).take(requests)


def outcomes(taken: list[TakenLease]) -> list[str]:
    return [each.outcome for each in taken]


@pytest.mark.parametrize("via", [Via.IGD1, Via.NATPMP, Via.PCP])
async def test_a_lease_goes_on_for_the_time_that_it_has_left(tmp_path: Path, via: Via) -> None:
    async with home_of(tmp_path) as home:
        [taken] = await take(home, asks(8080, internal=8000, via=via, lifetime=1800))
        assert isinstance(taken.reply, Granted)
        mapping = taken.reply.mapping
        assert (taken.outcome, taken.rule) == ("taken", "everyone")
        assert (mapping.key.external_port, mapping.internal.port, mapping.holds[0].via) == (8080, 8000, via)
        assert mapping.until == home.clock().boot + 1800
        assert home.ports == {(TCP, 8080)}
        [record] = await home.store.decisions(RecordFilter(id=mapping.decision))
        assert (record.action, record.verdict, record.device) == ("import", "allow", mapping.device)
        home.clock.pass_s(1801)
        await home.sweep()
        assert home.ports == set()


@pytest.mark.parametrize(("via", "longest_s"), [(Via.IGD1, 86400), (Via.PCP, 7200)])
async def test_one_without_an_end_gets_the_longest_of_the_policy(tmp_path: Path, via: Via, longest_s: int) -> None:
    async with home_of(tmp_path) as home:
        [taken] = await take(home, asks(8080, via=via, lifetime=None))
        assert isinstance(taken.reply, Granted)
        assert taken.reply.mapping.until == home.clock().boot + longest_s


async def test_one_that_the_policy_refuses_is_not_taken_over_and_no_evidence(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home:
        ports = [*range(20001, 20020), 3389]
        taken = await take(home, *(asks(port) for port in ports))
        assert outcomes(taken) == ["refused"] * 20
        assert taken[-1].rule == "never-remote-desktop"
        assert home.ports == set()
        assert not home.decider.history.incidents(home.clock())
        records = await home.store.decisions(RecordFilter(verdict="deny"))
        assert {record.action for record in records} == {"import"}
        assert len(records) == 20
        assert isinstance(await home.map(8080), Granted), "the client is not frozen"


async def test_a_pcp_lease_names_the_rule_too(tmp_path: Path) -> None:
    """Its client would hear that another port is possible."""
    async with home_of(tmp_path) as home:
        home.reserved_ports((TCP, 8080))
        taken, forbidden = await take(home, asks(8080, via=Via.PCP), asks(3389, via=Via.PCP))
        assert isinstance(taken.reply, Refused)
        assert taken.reply.refusal is Refusal.CONFLICT_OTHER
        assert forbidden.rule == "never-remote-desktop"
        assert isinstance(forbidden.reply, Refused)
        assert forbidden.reply.reason == "forbidden by rule never-remote-desktop"


async def test_the_requests_of_the_client_are_not_counted(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home:
        rate = home.policy.limits.requests_per_minute
        taken = await take(home, *(asks(port) for port in range(2000, 2000 + rate + 9)))
        refusals = [each.reply.refusal for each in taken if isinstance(each.reply, Refused)]
        assert Refusal.RATE not in refusals
        assert isinstance(await home.map(2000), Granted)


@pytest.mark.parametrize("via", [Via.IGD1, Via.NATPMP, Via.PCP])
async def test_the_client_renews_the_same_mapping(tmp_path: Path, via: Via) -> None:
    async with home_of(tmp_path) as home:
        [taken] = await take(home, asks(8080, internal=8000, via=via, lifetime=600))
        assert isinstance(taken.reply, Granted)
        home.clock.pass_s(300)
        nonce = b"n" * 12 if via is Via.PCP else None
        renewed = await home.granted(8080, internal=8000, via=via, lifetime=1200, nonce=nonce)
        assert renewed.refreshed
        assert renewed.mapping.id == taken.reply.mapping.id
        assert renewed.mapping.until == home.clock().boot + 1200
        assert len(home.decider.ledger.table) == 1
        if via is Via.PCP:
            other = await home.refused(8080, internal=8000, via=via, nonce=b"x" * 12)
            assert other.refusal is Refusal.BAD_NONCE


async def test_taken_over_twice_is_taken_over_once(tmp_path: Path) -> None:
    """A client that has renewed meanwhile keeps its new lease."""
    async with home_of(tmp_path) as home:
        await take(home, asks(8080, lifetime=600))
        await home.granted(8080, lifetime=3000)
        [again] = await take(home, asks(8080, lifetime=600))
        assert again.outcome == "stands"
        [mapping] = home.decider.ledger.table
        assert mapping.until == home.clock().boot + 3000
        assert len(await home.store.decisions(RecordFilter(verdict="allow"))) == 2


async def test_a_port_of_another_device_is_not_taken_from_it(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home:
        await home.granted(8080, PC_IP)
        [taken] = await take(home, asks(8080))
        assert taken.outcome == "refused"
        assert isinstance(taken.reply, Refused)
        assert taken.reply.refusal is Refusal.CONFLICT


async def test_nothing_is_opened_to_a_client_that_does_not_answer(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home:
        home.lan_hosts.probe = home.probe
        taken = await take(home, asks(8080, ABSENT_IP), asks(8081, ABSENT_IP), asks(8082))
        assert outcomes(taken) == ["absent", "absent", "taken"]
        assert isinstance(taken[0].reply, Refused)
        assert taken[0].reply.reason == NOBODY
        assert home.ports == {(TCP, 8082)}


async def test_nothing_is_decided_while_two_hosts_claim_the_address(tmp_path: Path) -> None:
    async with home_of(tmp_path) as home:
        home.lan_hosts.contested = lambda address, interface: str(address) == CONSOLE_IP
        taken = await take(home, asks(8080), asks(8081, PC_IP))
        assert outcomes(taken) == ["absent", "taken"]
        assert len(await home.store.decisions(RecordFilter())) == 1
        assert home.ports == {(TCP, 8081)}


@pytest.mark.parametrize("vias", [Via.IGD1, Via.NATPMP, Via.PCP])
async def test_the_gateway_above_is_asked_for_the_port(tmp_path: Path, vias: Via) -> None:
    clock = Clock()
    above = FakeGatewayAbove(clock)
    async with gateway_fixture(
        tmp_path, policy_of(POLICY % ("deny", 60)), clock, network=BEHIND, above=above
    ) as home:
        taken = await take(home, *(asks(port, via=vias) for port in range(8000, 8040)))
        assert outcomes(taken) == ["taken"] * 40
        assert above.most_at_once <= AT_ONCE
        assert {key.internal.port for key in above.held} == set(range(8000, 8040))
        above.answer = lambda request: REFUSED
        [refused] = await take(home, asks(8100, PC_IP, via=vias))
        above.answer = above.on_port(9999)
        [elsewhere] = await take(home, asks(8101, PC_IP, via=vias))
        assert (refused.outcome, elsewhere.outcome) == ("refused", "refused")
        assert isinstance(refused.reply, Refused)
        assert (refused.reply.reason, refused.rule) == (REFUSED.reason, None)
        await home.settle_above()
        assert {port for _, port in home.ports} == set(range(8000, 8040))
        await home.granted(8200, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
        [before_it_is_asked] = await take(home, asks(8200, PC_IP, via=vias))
        assert before_it_is_asked.outcome == "refused"


async def test_what_the_disk_refuses_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(batch: Batch, now: Instant) -> None:
        raise StoreError("the disk is full")

    async with home_of(tmp_path) as home:
        monkeypatch.setattr(home.store, "write", full)
        [taken] = await take(home, asks(8080))
        monkeypatch.undo()
        assert isinstance(taken.reply, Refused)
        assert (taken.outcome, taken.reply.refusal) == ("refused", Refusal.BACKEND)
        assert home.ports == set()


async def test_a_fault_of_ours_refuses_the_lease_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with home_of(tmp_path) as home:
        asked = home.decider.asked

        def fails(request: MapRequest) -> Asked:
            if request.external_port == 8080:
                raise ValueError
            return asked(request)

        monkeypatch.setattr(Decider, "asked", lambda decider, request: fails(request))
        assert outcomes(await take(home, asks(8080), asks(8081))) == ["refused", "taken"]


async def test_the_operator_is_asked_where_the_policy_asks(tmp_path: Path) -> None:
    async with home_of(tmp_path, default="ask") as home:
        [taken] = await take(home, asks(10_500))
        assert taken.outcome == "asked"
        assert [q.request.external_port for q in home.decider.questions.all(home.clock().wall)] == [10_500]


async def test_a_preview_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    async with home_of(tmp_path, default="ask", per_device=4) as home:
        await home.granted(8080, PC_IP)
        requests = [*(asks(port) for port in (8080, 3389, 10_500, *range(8081, 8088))), asks(8080, PC_IP)]
        before = tuple(home.decider.ledger.table), home.ports, vars_of(home)
        shown = await takeover(home).preview(requests)
        assert (tuple(home.decider.ledger.table), home.ports, vars_of(home)) == before
        assert len(await home.store.decisions(RecordFilter())) == 1
        assert await takeover(home).preview(requests) == shown
        taken = await take(home, *requests)
        assert outcomes(taken) == outcomes(shown)
        assert outcomes(taken) == [
            *("refused", "refused", "asked", "taken", "taken", "taken", "taken", "refused", "refused", "refused"),
            "stands",
        ]
        assert [each.rule for each in taken] == [each.rule for each in shown]


def vars_of(home: GatewayFixture) -> tuple[object, ...]:
    numbers, history = home.decider.ledger.numbers, home.decider.history
    now = home.clock()
    questions = home.decider.questions.all(now.wall)
    devices = [(one.device, one.granted, dict(one.refused)) for one in history.devices(now)]
    return numbers.mapping, numbers.decision, numbers.cut, questions, devices


async def test_requests_of_others_wait_for_few_leases(tmp_path: Path) -> None:
    """A request that comes while a thousand leases are taken over is answered after at most a batch of them."""
    async with gateway_fixture(tmp_path, policy_of(POLICY % ("deny", 4000))) as home:
        work = asyncio.create_task(take(home, *(asks(port) for port in range(2000, 3000))))
        table = home.decider.ledger.table
        await async_until(lambda: len(table) >= 100)
        before = len(table)
        await home.granted(9000, PC_IP)
        assert len(table) - before < 80
        assert outcomes(await work) == ["taken"] * 1000
