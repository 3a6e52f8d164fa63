"""Every port that a request opens was decided as new: pairs and sequences of requests of every protocol.

What is reachable is read from the firewall after each step, for a few remote hosts and ports of the internet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, GatewayFixture, asks, gateway_fixture
from upnp_gw.gate.device_history import FREEZE_S, Incident
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.gate.schema import OnIncident, Policy
from upnp_gw.ledger.events import Decided
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Endpoint, IPAddress, MappingKey, RemotePeers, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import DecisionRecord
from upnp_gw.model.request import (
    ChangeRequest,
    Granted,
    MapRequest,
    PortChoice,
    ReleaseRequest,
    Source,
    UnmapRequest,
)

CONSOLE_IP6, PC_IP6 = "2001:db8:77::10", "2001:db8:77::20"
HOSTS = {4: (CONSOLE_IP, PC_IP), 6: (CONSOLE_IP6, PC_IP6)}
PEERS = {4: ("203.0.113.5", "203.0.113.9", "198.51.100.7"), 6: ("2001:db8:a::5", "2001:db8:a::9", "2001:db8:b::7")}
NETS = {4: ("203.0.113.5/32", "203.0.113.0/24"), 6: ("2001:db8:a::5/128", "2001:db8:a::/64")}
REMOTE_PORTS = (443, 4000)
PORTS = (5000, 5001, 5002, 8443)
NONCE = b"n" * 12
PORTS_A_DAY = 2
POLICY = """
version = 1
default = "deny"
[limits]
requests_per_minute = 6000
[device.console]
mac = ["%s"]
[[forbid]]
name = "not-there"
int_ports = [5002]
ext_ports = [5001]
[[grant]]
name = "a-for-anyone"
who = "*"
family = ["ip4", "ip6"]
int_ports = ["1024-65535"]
max_mappings = 1
%s
[[grant]]
name = "b-for-some"
who = "*"
family = ["ip4", "ip6"]
int_ports = ["5001-65535"]
remote = ["203.0.113.0/24", "2001:db8:a::/64"]
max_mappings = 2
%s
[[grant]]
name = "c-for-another"
who = "console"
for = ["192.168.77.20"]
int_ports = [5000, 5001]
ext_ports = [5000, 8443]
max_mappings = 2
%s
"""

Reached = tuple[Transport, IPAddress, int, int, Endpoint]
"""Transport, remote host and port, external port; and the internal endpoint that is reached."""


def policy(ports_a_day: int | None = None, wide: bool = False) -> Policy:
    line = f"max_ports_per_day = {ports_a_day}" if ports_a_day else ""
    text = POLICY % (CONSOLE, line, line, line)
    return load_text(text.replace("remote =", "# remote =") if wide else text, "test", date.min).policy


def reachable(home: GatewayFixture) -> set[Reached]:
    now = home.clock.now.boot
    return {
        (forward.transport, peer, port, forward.external_port, forward.internal)
        for forward, until in home.firewall.installed.values()
        if until > now
        for peer in map(ip_address, PEERS[forward.internal.address.version])
        for port in REMOTE_PORTS
        if (forward.remote is None or peer in forward.remote) and forward.remote_port in (0, port)
    }


@dataclass(frozen=True)
class Pass:
    """Time goes by, and what is due is done."""

    seconds: float


@dataclass(frozen=True)
class Reload:
    """Another policy comes into force: for fewer remote hosts, or for more."""

    wide: bool


Step = ChangeRequest | Pass | Reload


@st.composite
def map_requests(draw: st.DrawFn) -> MapRequest:
    """Of one device, for itself or for another one, over any protocol, in either address family."""
    via = draw(st.sampled_from((Via.IGD1, Via.IGD2, Via.NATPMP, Via.PCP)))
    family = draw(st.sampled_from((4, 4, 6))) if via is not Via.NATPMP else 4
    own, other = HOSTS[family]
    port = draw(st.sampled_from(PORTS))
    choices = {Via.NATPMP: (PortChoice.SUGGESTED,), Via.IGD1: (PortChoice.EXACT,)}
    choice = draw(st.sampled_from(choices.get(via, tuple(PortChoice)))) if family == 4 else PortChoice.EXACT
    request = asks(
        port if family == 6 else draw(st.sampled_from(PORTS)),
        own,
        internal=port,
        target=draw(st.sampled_from((own, own, other))) if via is not Via.NATPMP else own,
        transport=draw(st.sampled_from((Transport.TCP, Transport.TCP, Transport.UDP))),
        via=via,
        choice=choice,
        lifetime=draw(st.sampled_from((120, 3600, 7200))),
        keep_description=True,
    )
    peers = st.builds(
        RemotePeers, st.sampled_from(NETS[family]).map(ip_network), st.sampled_from((0, 0, *REMOTE_PORTS))
    )
    if via is Via.PCP:
        return replace(
            request,
            nonce=NONCE,
            clear_filters=draw(st.booleans()),
            filters=tuple(draw(st.lists(peers, max_size=2))),
        )
    if not via.datagram:
        named = draw(st.none() | peers)
        return replace(
            request,
            enabled=family == 6 or draw(st.sampled_from((True, True, False))),
            remote=named.network if named else None,
            remote_port=named.port if named and family == 6 else 0,
            standing_only=family == 6 and draw(st.booleans()),
        )
    return request


@st.composite
def ends(draw: st.DrawFn) -> Step:
    """The end of a lease: a delete of any protocol, or time."""
    if draw(st.booleans()):
        return Pass(draw(st.sampled_from((1.0, 150.0, 3600.0))))
    family = draw(st.sampled_from((4, 4, 6)))
    own = ip_address(HOSTS[family][0])
    source, port = Source(own, "lan0"), draw(st.sampled_from(PORTS))
    if draw(st.booleans()):
        via = draw(st.sampled_from((Via.NATPMP, Via.PCP))) if family == 4 else Via.PCP
        return ReleaseRequest(via, source, Transport.TCP, own, port, NONCE if via is Via.PCP else None)
    return UnmapRequest(Via.IGD2, source, MappingKey(Transport.TCP, own if family == 6 else None, port, None))


RELOADS = st.builds(Reload, st.booleans())
STEPS = st.lists(map_requests() | map_requests() | ends(), min_size=1, max_size=5)


def in_a_gateway(policy_now: Policy, test: Callable[[GatewayFixture], Awaitable[None]]) -> None:
    """Runs the test in a gateway of its own: hypothesis calls it for each example."""

    async def run(directory: Path) -> None:
        async with gateway_fixture(directory, policy_now) as home:
            for address, mac in ((CONSOLE_IP6, CONSOLE), (PC_IP6, PC)):
                home.around.neighbours.learn(Neighbour(ip_address(address), mac, "lan0"))
                home.present.add(ip_address(address))
            await test(home)

    with TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


async def take(home: GatewayFixture, step: Step) -> tuple[set[Reached], list[DecisionRecord]]:
    """Takes a step. Gives what became reachable by it, and the decisions that were made."""
    before, events_before = reachable(home), len(home.events)
    if isinstance(step, Pass):
        home.clock.pass_s(step.seconds)
        await home.sweep()
    elif isinstance(step, Reload):
        loaded = policy(wide=step.wide)

        def change(transaction: Transaction) -> None:
            home.reevaluation.policy_changed(transaction, LoadedPolicy(loaded, ()))

        await home.gateway.submit(change)
    else:
        await home.handle(step)
    return reachable(home) - before, [e.record for e in home.events[events_before:] if isinstance(e, Decided)]


def never(reached: set[Reached]) -> set[Reached]:
    """The part of ``reached`` that no policy of this file allows: an external port forbidden or not granted."""
    return {
        one
        for one in reached
        if (one[4].port, one[3], one[4].address.version) == (5002, 5001, 4)
        or (one[4].address == ip_address(PC_IP) and one[3] not in (5000, 8443))
    }


async def take_all(home: GatewayFixture, steps: Iterable[Step]) -> None:
    for step in steps:
        await take(home, step)


def freeze(home: GatewayFixture, *devices: str) -> None:
    now = home.clock.now
    for device in devices:
        home.decider.history.add_incident(Incident(device, now, now.boot + FREEZE_S, (1,), OnIncident.FREEZE))


@given(STEPS, map_requests())
def test_every_new_reachability_was_decided_as_new(steps: list[Step], last: MapRequest) -> None:
    async def test(home: GatewayFixture) -> None:
        for step in (*steps, last):
            opened, records = await take(home, step)
            if opened and not isinstance(step, Pass | Reload):
                assert isinstance(step, MapRequest), "a delete opens nothing"
                assert [r.verdict for r in records] == ["allow"]
                assert not records[0].facts["standing"], (step, opened)
            assert not never(opened), step

    in_a_gateway(policy(), test)


@given(STEPS, st.lists(map_requests() | ends() | RELOADS, min_size=1, max_size=4))
def test_nothing_becomes_reachable_while_a_device_is_frozen(before: list[Step], after: list[Step]) -> None:
    async def test(home: GatewayFixture) -> None:
        await take_all(home, before)
        freeze(home, CONSOLE)
        for step in after:
            opened, _ = await take(home, step)
            assert not opened, step

    in_a_gateway(policy(), test)


@given(STEPS, map_requests())
def test_a_frozen_device_can_refresh_its_mappings(before: list[Step], last: MapRequest) -> None:
    async def test(home: GatewayFixture) -> None:
        await take_all(home, before)
        reply = await home.handle(last)
        # AddAnyPortMapping asks for one mapping more where the port that it names is taken
        if isinstance(reply, Granted) and (
            last.via.datagram or reply.mapping.key.external_port == last.external_port
        ):
            held = reachable(home)
            freeze(home, CONSOLE)
            again = await home.handle(last)
            assert isinstance(again, Granted), again
            assert again.mapping.id == reply.mapping.id
            assert reachable(home) == held

    in_a_gateway(policy(), test)


@given(st.lists(map_requests() | map_requests() | ends(), min_size=3, max_size=8))
def test_no_more_internal_ports_a_day_than_the_grants_give(steps: list[Step]) -> None:
    async def test(home: GatewayFixture) -> None:
        seen: dict[bool, set[int]] = {True: set(), False: set()}
        for step in steps:
            opened, _ = await take(home, step)
            if isinstance(step, MapRequest):
                seen[step.via.datagram] |= {internal.port for *_, internal in opened}
        assert len(seen[False]) <= PORTS_A_DAY
        assert len(seen[True]) <= PORTS_A_DAY

    in_a_gateway(policy(PORTS_A_DAY), test)
