"""Pinholes on the path of a request: their UniqueIDs, who may touch them, what they share with other protocols."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from ipaddress import IPv6Interface, ip_address, ip_network
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, Clock, GatewayFixture, asks, gateway_fixture
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.events import TableChanged
from upnp_gw.model.mapping import UNIQUE_IDS, Mapping, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Refused, Removed, Source, UnmapRequest

CONSOLE_IP6, PC_IP6 = "2001:db8:77::10", "2001:db8:77::20"


def met(made: GatewayFixture) -> GatewayFixture:
    """Both hosts are known by their IPv6 addresses too."""
    for address, mac in ((CONSOLE_IP6, CONSOLE), (PC_IP6, PC)):
        made.around.neighbours.learn(Neighbour(ip_address(address), mac, "lan0"))
    return made


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(tmp_path) as fixture:
        yield met(fixture)


def pinhole(
    port: int = 8080,
    client: str = CONSOLE_IP6,
    *,
    source: str | None = None,
    remote: str | None = None,
    remote_port: int = 0,
    lifetime: int = 600,
    standing_only: bool = False,
) -> MapRequest:
    return asks(
        port,
        source or client,
        target=client,
        via=Via.IGD2,
        remote=remote,
        remote_port=remote_port,
        lifetime=lifetime,
        standing_only=standing_only,
    )


async def opened(home: GatewayFixture, request: MapRequest) -> Mapping:
    reply = await home.gateway.handle(request)
    assert isinstance(reply, Granted), reply
    return reply.mapping


async def refused(home: GatewayFixture, request: MapRequest | UnmapRequest) -> Refusal:
    reply = await home.gateway.handle(request)
    assert isinstance(reply, Refused), reply
    return reply.refusal


@pytest.mark.spec("IGD-212")
async def test_the_same_five_tuple_extends_and_keeps_its_unique_id(home: GatewayFixture) -> None:
    first = await opened(home, pinhole(lifetime=60))
    again = await opened(home, pinhole(lifetime=6000))
    assert (again.id, again.unique_id) == (first.id, first.unique_id)
    assert again.until > first.until
    other = await opened(home, pinhole(remote="2001:db8:a::2"))
    port = await opened(home, pinhole(remote="2001:db8:a::2", remote_port=443))
    assert len({first.unique_id, other.unique_id, port.unique_id}) == 3


@pytest.mark.spec("IGD-212")
async def test_a_unique_id_outlives_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as before:
        stood = await opened(met(before), pinhole(remote="2001:db8:a::2", remote_port=443))
    async with gateway_fixture(tmp_path, clock=clock) as after:
        source = Source(ip_address(CONSOLE_IP6), "lan0")
        found = met(after).view.pinhole(source, stood.unique_id)
        assert isinstance(found, Mapping)
        assert (found.key, found.internal) == (stood.key, stood.internal)
        assert found.key.remote_port == 443


async def test_no_two_pinholes_share_a_unique_id_and_0_is_none(home: GatewayFixture) -> None:
    stood = await opened(home, pinhole())
    numbers = home.decider.ledger.numbers
    numbers.mapping = UNIQUE_IDS - 1
    second = await opened(home, pinhole(8081))
    assert (stood.unique_id, second.unique_id) == (1, 2), "0 and 1 are left out"
    assert home.decider.ledger.table.pinhole(1) == stood


@pytest.mark.spec("IGD-213", "IGD-214")
async def test_allowed_internal_clients_of_a_pinhole(home: GatewayFixture) -> None:
    assert await refused(home, pinhole(source=PC_IP6)) is Refusal.NOT_AUTHORIZED
    assert await refused(home, pinhole(80)) is Refusal.NOT_AUTHORIZED
    gateway = "2001:db8:77::1"
    assert await refused(home, pinhole(client=gateway, source=CONSOLE_IP6)) is Refusal.NOT_AUTHORIZED


@pytest.mark.spec("IGD-211")
async def test_an_ipv4_caller_is_the_same_device(home: GatewayFixture) -> None:
    """Deviation: "its own address" is judged by the device, not by the address family."""
    assert (await opened(home, pinhole(source=CONSOLE_IP))).device == CONSOLE
    assert await refused(home, pinhole(8081, source=PC_IP)) is Refusal.NOT_AUTHORIZED


async def test_an_internal_client_that_is_not_known_yet_is_resolved(tmp_path: Path) -> None:
    """upnpc -6 asks from its link-local address: the gateway has not seen the global one yet."""
    async with gateway_fixture(tmp_path) as fixture:
        queried: list[str] = []

        async def resolve(address: object, interface: str) -> bool:
            queried.append(str(address))
            fixture.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP6), CONSOLE, interface))
            return True

        fixture.lan_hosts.probe = resolve
        await opened(fixture, pinhole(source=CONSOLE_IP))
        await opened(fixture, pinhole(source=CONSOLE_IP))
        assert queried == [CONSOLE_IP6]
        assert await refused(fixture, pinhole(client="2001:db8:99::1", source=CONSOLE_IP)) is Refusal.NOT_AUTHORIZED
        assert queried == [CONSOLE_IP6], "not on this LAN: nobody is asked for it"


@pytest.mark.spec("IGD-216")
async def test_an_update_of_an_ended_pinhole_makes_none(home: GatewayFixture) -> None:
    await opened(home, pinhole(lifetime=60))
    home.clock.pass_s(61)
    assert await refused(home, pinhole(standing_only=True)) is Refusal.NO_SUCH
    assert len(home.decider.ledger.table) == 0


async def test_an_ended_pinhole_is_not_found_before_it_is_swept(home: GatewayFixture) -> None:
    stood = await opened(home, pinhole(lifetime=60))
    home.clock.pass_s(61)
    assert home.view.pinhole(Source(ip_address(CONSOLE_IP6), "lan0"), stood.unique_id) is None


@pytest.mark.spec("IGD-216", "IGD-217")
async def test_another_device_neither_reads_nor_ends_it(home: GatewayFixture) -> None:
    stood = await opened(home, pinhole())
    pc = Source(ip_address(PC_IP6), "lan0")
    assert isinstance(home.view.pinhole(pc, stood.unique_id), Refused)
    assert await refused(home, UnmapRequest(Via.IGD2, pc, stood.key)) is Refusal.NOT_AUTHORIZED
    owner = Source(ip_address(CONSOLE_IP6), "lan0")
    assert isinstance(await home.gateway.handle(UnmapRequest(Via.IGD2, owner, stood.key)), Removed)
    assert home.view.pinhole(owner, stood.unique_id) is None


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ((None, 0), ("2001:db8:a::2", 0), True),
        ((None, 0), (None, 443), True),
        (("2001:db8:a::2", 0), ("2001:db8:a::2", 443), True),
        (("2001:db8:a::2", 443), ("2001:db8:a::2", 444), True),
        (("2001:db8:a::2", 443), ("2001:db8:a::3", 443), True),
        ((None, 443), ("2001:db8:a::2", 443), False),
        (("2001:db8:a::2", 443), (None, 443), False),
    ],
)
@pytest.mark.spec("IGD-220")
async def test_two_pinholes_of_one_endpoint(
    home: GatewayFixture, first: tuple[str | None, int], second: tuple[str | None, int], fits: bool
) -> None:
    """Pinholes that the kernel cannot hold beside each other are refused before the kernel is asked."""
    for (remote, port), last in ((first, False), (second, True)):
        request = pinhole(remote=remote, remote_port=port)
        if fits or not last:
            await opened(home, request)
        else:
            assert await refused(home, request) is Refusal.CONFLICT
    assert len(home.decider.ledger.table) == (2 if fits else 1)


@pytest.mark.spec("IGD-220")
async def test_the_remote_port_reaches_the_kernel(home: GatewayFixture) -> None:
    await opened(home, pinhole(remote="2001:db8:a::2", remote_port=443))
    await opened(home, pinhole(remote_port=444))
    forwards = {forward.remote_port: forward for forward, _ in home.firewall.installed.values()}
    assert forwards[443].remote == ip_network("2001:db8:a::2")
    assert forwards[444].remote == ip_network("::/0")


POLICY = """
version = 1
default = "deny"
[device.console]
mac = ["{mac}"]
[[grant]]
name = "both"
who = "console"
int_ports = [8080]
max_mappings = 4
{more}
owner = "me"
reason = "test"
review_by = 2099-01-01
"""


async def test_one_rule_covers_a_mapping_and_a_pinhole(tmp_path: Path) -> None:
    policy = load_text(POLICY.format(mac=CONSOLE, more=""), "test", date.min).policy
    async with gateway_fixture(tmp_path, policy) as fixture:
        met(fixture)
        four = await fixture.granted(8080)
        six = await opened(fixture, pinhole())
        assert four.mapping.rule == six.rule == "both"
        assert await refused(fixture, pinhole(8081)) is Refusal.NOT_AUTHORIZED
        assert (await fixture.refused(8081)).refusal is Refusal.NOT_AUTHORIZED


async def test_a_remote_port_alone_does_not_widen_the_grant_s_remote_hosts(tmp_path: Path) -> None:
    policy = load_text(POLICY.format(mac=CONSOLE, more='remote = ["2001:db8:a::/48"]'), "test", date.min).policy
    async with gateway_fixture(tmp_path, policy) as fixture:
        await opened(met(fixture), pinhole(remote_port=443))
        ((forward, _),) = fixture.firewall.installed.values()
        assert (forward.remote, forward.remote_port) == (ip_network("2001:db8:a::/48"), 443)


async def test_a_pinhole_over_pcp_and_igd_is_one_with_two_leases(home: GatewayFixture) -> None:
    by_pcp = asks(8080, CONSOLE_IP6, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=b"n" * 12, lifetime=3600)
    first = await opened(home, by_pcp)
    second = await opened(home, pinhole())
    assert first.id == second.id
    assert [hold.via for hold in second.holds] == [Via.PCP, Via.IGD2]
    source = Source(ip_address(CONSOLE_IP6), "lan0")
    await home.gateway.handle(UnmapRequest(Via.IGD2, source, second.key))
    assert home.ports == {(Transport.TCP, 8080)}, "PCP holds it still"
    assert isinstance(await home.gateway.handle(UnmapRequest(Via.IGD2, source, second.key)), Removed)
    assert home.ports == set(), "no lease of IGD stood on it"


async def test_a_removed_lan_prefix_ends_its_pinholes(home: GatewayFixture) -> None:
    await opened(home, pinhole())
    await home.granted(9090)
    home.events.clear()
    lan = home.around.network.lans[0]
    addresses = tuple(a for a in lan.addresses if not isinstance(a, IPv6Interface))
    home.around.network = replace(home.around.network, lans=(replace(lan, addresses=addresses),))
    home.scheduler.network_changed()
    await home.scheduler.settled()
    await home.gateway.settled()
    (table_event,) = [event for event in home.events if isinstance(event, TableChanged)]
    assert [(mapping.key.external_port, why) for mapping, why in table_event.removed] == [(8080, "prefix-gone")]
    assert home.ports == {(Transport.TCP, 9090)}


async def test_the_flows_of_one_remote_port_are_cut_over_a_restart_too(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        met(home)
        for port in (5001, 5002):
            await opened(home, pinhole(remote="2001:db8:1::9/128", remote_port=port))
        (first, _) = home.decider.ledger.table
        await home.gateway.handle(UnmapRequest(Via.IGD2, Source(ip_address(CONSOLE_IP6), "lan0"), first.key))
        assert len(home.decider.ledger.cuts) == 1
    async with gateway_fixture(tmp_path, clock=clock) as home:
        await home.sweep()
        (cut,) = home.firewall.cuts
        assert (str(cut.remote), cut.remote_port) == ("2001:db8:1::9/128", 5001)
