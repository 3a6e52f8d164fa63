"""A device's quotas count a port once over all its addresses, and a full one refuses or makes room."""

from collections.abc import AsyncIterator
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP, GatewayFixture, gateway_fixture
from tests.fixtures.policies import policy_of
from tests.fixtures.port5351 import TCP, UDP, Line
from upnp_gw.ledger.charges import InternalPort
from upnp_gw.model.mapping import RemotePeers, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, PortChoice, Refusal, Refused
from upnp_gw.protocols.pcp.messages import ResultCode

IP6 = ("2001:db8:77::10", "2001:db8:77::a1", "2001:db8:77::a2")
"""The console's own IPv6 addresses: a stable one, a temporary and a deprecated one."""
ADDRESSES = (CONSOLE_IP, *IP6)
PCP: dict[str, Any] = {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": b"n" * 12}
ROOMY = "[limits]\nrequests_per_minute = 6000\n"
ALL = '[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1024-65535"]\n'


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    """The built-in home policy: 8 mappings for a device."""
    async with gateway_fixture(tmp_path) as fixture:
        add_addresses(fixture)
        yield fixture


def add_addresses(home: GatewayFixture, *addresses: str) -> None:
    """The console answers at these addresses too."""
    for address in addresses or IP6:
        home.around.neighbours.learn(Neighbour(ip_address(address), CONSOLE, "lan0"))
        home.present.add(ip_address(address))


def with_limits(home: GatewayFixture, text: str) -> None:
    home.policy = policy_of(text)


def counted(home: GatewayFixture) -> int:
    return home.decider.ledger.table.counted(CONSOLE)


def rows(home: GatewayFixture) -> set[tuple[str, Transport, int]]:
    found = home.decider.ledger.table.of_device(CONSOLE)
    return {(str(row.internal.address), row.key.transport, row.key.external_port) for row in found}


# -- a port counts once


@pytest.mark.spec("SR-5", "PCP-081")
async def test_a_dual_stack_client_maps_its_ports_on_every_address_and_leaves_room(home: GatewayFixture) -> None:
    line = Line(home)
    for client in ADDRESSES:
        for protocol in (6, 17):
            answer = await line.map(51413, 51413, client=client, protocol=protocol)
            assert answer.result is ResultCode.SUCCESS
    before = rows(home)
    assert (len(before), counted(home)) == (8, 2)
    for port in range(6000, 6006):
        await home.granted(port)
    assert (await home.refused(6006)).refusal is Refusal.QUOTA
    assert before < rows(home)
    assert len(rows(home)) == 14
    assert (await line.map(51413, 51413, client=IP6[0])).result is ResultCode.SUCCESS


async def test_a_new_address_of_a_device_with_a_full_quota_gets_the_port_that_is_counted(
    home: GatewayFixture,
) -> None:
    for port in range(6000, 6008):
        await home.granted(port, IP6[0], via=Via.PCP, nonce=b"n" * 12)
    await home.granted(6000, IP6[1])
    await home.granted(6000)
    await home.granted(6001, **PCP)
    assert (await home.refused(6008, IP6[1])).refusal is Refusal.QUOTA
    assert (await home.refused(6002, transport=UDP)).refusal is Refusal.QUOTA
    assert (await home.refused(6009, internal=6002)).refusal is Refusal.QUOTA
    assert counted(home) == 8


@pytest.mark.parametrize("limit", ["", "[limits]\nper_device = 8\n" + ALL])
async def test_where_the_gateway_chooses_a_full_quota_leaves_the_counted_port_alone(
    home: GatewayFixture, limit: str
) -> None:
    """The other device has external port 6000: any other one would be a ninth mapping, for the grant's quota or for
    the device's."""
    if limit:
        with_limits(home, limit)
    await home.granted(6000, PC_IP)
    for port in range(6000, 6008):
        await home.granted(port, IP6[0])
    await home.granted(0, internal=6001, **PCP)
    assert (CONSOLE_IP, TCP, 6001) in rows(home)
    await home.refused(0, internal=6000, **PCP)
    assert counted(home) == 8


async def test_a_deleted_address_of_a_port_frees_nothing_until_the_last_is_deleted(home: GatewayFixture) -> None:
    for port in range(6000, 6008):
        await home.granted(port)
    await home.granted(6000, IP6[0], via=Via.IGD2)
    await home.unmap(6000)
    assert (await home.refused(6010)).refusal is Refusal.QUOTA
    six = home.decider.ledger.table.to_client(ip_address(IP6[0]))[0]
    turn_end(home, six.id)
    await home.gateway.settled()
    await home.granted(6010)


def turn_end(home: GatewayFixture, mapping_id: str) -> None:
    table = home.decider.ledger.table
    mapping = table.get(mapping_id)
    assert mapping is not None
    home.gateway.submit(lambda transaction: transaction.end(mapping, "deleted"))


async def test_a_grants_room_is_counted_in_the_same_way(home: GatewayFixture) -> None:
    with_limits(home, ROOMY + ALL + "max_mappings = 2\n")
    for client in ADDRESSES:
        await home.granted(5000, client)
        await home.granted(5001, client)
    assert (await home.refused(5002, IP6[2])).refusal is Refusal.QUOTA
    assert home.decider.ledger.table.charged(CONSOLE, InternalPort(TCP, 1, None)).by_grant == {"all": 2}


async def test_a_port_is_counted_for_each_grant_that_it_is_charged_to(home: GatewayFixture) -> None:
    four = ALL.replace('"all"', '"a4"') + 'family = ["ip4"]\nmax_mappings = 1\n'
    six = ALL.replace('"all"', '"b6"') + 'family = ["ip6"]\nmax_mappings = 1\n'
    with_limits(home, ROOMY + four + six)
    for client in ADDRESSES:
        await home.granted(5000, client)
    assert home.decider.ledger.table.charged(CONSOLE, InternalPort(TCP, 1, None)).by_grant == {"a4": 1, "b6": 1}
    assert counted(home) == 1
    for client in ADDRESSES:
        assert (await home.refused(5001, client)).refusal is Refusal.QUOTA


async def test_a_port_held_since_yesterday_is_none_of_todays_on_a_new_address(home: GatewayFixture) -> None:
    """The address of a host changes every day (RFC 8981), its ports do not."""
    with_limits(home, ROOMY + ALL + "max_ports_per_day = 2\n")
    await home.granted(5000, IP6[0], lifetime=None)
    home.clock.pass_s(86_400)
    await home.sweep()
    await home.granted(5001)
    await home.granted(5002, IP6[0])
    assert (await home.refused(5003, IP6[1])).refusal is Refusal.NOT_AUTHORIZED
    await home.granted(5000, IP6[1])


async def test_another_hosts_addresses_are_counted_each(home: GatewayFixture) -> None:
    """A grant with ``for``: the same port of three other hosts is three mappings."""
    others = [f"2001:db8:77::b{n}" for n in range(3)]
    for n, address in enumerate(others):
        home.around.neighbours.learn(Neighbour(ip_address(address), f"02:00:00:00:01:0{n}", "lan0"))
    with_limits(home, ROOMY + ALL + 'for = ["2001:db8:77::/64"]\nmax_mappings = 2\n')
    await home.granted(5000, IP6[0], target=others[0])
    await home.granted(5000, IP6[0], target=others[1])
    assert (await home.refused(5000, IP6[0], target=others[2])).refusal is Refusal.QUOTA


@pytest.mark.spec("SR-5")
async def test_one_port_on_a_thousand_addresses_ends_at_the_cap_of_a_device(home: GatewayFixture) -> None:
    with_limits(home, ROOMY + "per_device = 4\nelements_per_device = 20\n" + ALL)
    first = int(IPv6Address("2001:db8:77::1:0"))
    clients = [str(IPv6Address(first + n)) for n in range(1000)]
    add_addresses(home, *clients)
    replies = [await home.map(5000, client, via=Via.PCP, nonce=b"n" * 12) for client in clients]
    assert sum(isinstance(reply, Granted) for reply in replies) == 20
    assert {reply.refusal for reply in replies if isinstance(reply, Refused)} == {Refusal.QUOTA}
    assert len(home.decider.ledger.table) == len(home.firewall.installed) == 20
    await home.granted(5000, clients[3], via=Via.PCP, nonce=b"n" * 12)
    await home.granted(5000, PC_IP)


async def test_the_cap_of_a_device_is_four_times_its_quota_where_the_policy_names_none() -> None:
    assert policy_of("[limits]\nper_device = 7\n").limits.elements_per_device == 28


@pytest.mark.spec("SR-5")
async def test_each_filter_is_an_element_of_the_kernel(home: GatewayFixture) -> None:
    with_limits(home, ROOMY + "per_device = 4\nelements_per_device = 6\n" + ALL)
    hosts = [RemotePeers(ip_network(f"203.0.113.{n}/32")) for n in range(5)]
    await home.granted(5000, **PCP, filters=tuple(hosts[:4]))
    assert (await home.refused(5001, **PCP, filters=tuple(hosts[:3]))).refusal is Refusal.TOO_MANY_FILTERS
    await home.granted(5001, **PCP, filters=tuple(hosts[:2]))
    assert (await home.refused(5002, **PCP)).refusal is Refusal.QUOTA
    assert (await home.refused(5001, **PCP, filters=(hosts[4],))).refusal is Refusal.TOO_MANY_FILTERS
    await home.granted(5001, **PCP)
    assert len(home.firewall.installed) == 6


@pytest.mark.spec("PCP-082")
async def test_a_lower_cap_ends_nothing_before_it_is_decided_again(home: GatewayFixture) -> None:
    """A client may still renew the mappings that it has."""
    with_limits(home, ROOMY + ALL)
    for client in ADDRESSES:
        await home.granted(5000, client)
    with_limits(home, ROOMY + "per_device = 1\nelements_per_device = 4\n" + ALL)
    for client in ADDRESSES:
        await home.granted(5000, client)


# -- what makes room


@pytest.mark.spec("PCP-081", "SR-26")
@pytest.mark.parametrize("via", [Via.PCP, Via.NATPMP, Via.IGD2])
async def test_a_full_quota_refuses_the_newcomer_and_ends_no_lease(home: GatewayFixture, via: Via) -> None:
    """RFC 6887 section 15: nobody connected to any of them yet, and none is displaced."""
    for port in range(6000, 6008):
        await home.granted(port, via=via, nonce=b"n" * 12 if via is Via.PCP else None, lifetime=7200)
    home.present.clear()
    home.clock.pass_s(3700)
    await home.sweep()
    assert all(row.parked for row in home.decider.ledger.table)
    home.present.add(ip_address(CONSOLE_IP))
    before = rows(home)
    others: list[dict[str, Any]] = [{}, {"via": Via.NATPMP, "choice": PortChoice.SUGGESTED}]
    for more in others:
        assert (await home.refused(6008, **more)).refusal is Refusal.QUOTA
    assert rows(home) == before
    home.clock.pass_s(3600)
    await home.sweep()
    await home.granted(6008)


async def test_a_mapping_without_a_lease_yields_where_its_device_is_not(home: GatewayFixture) -> None:
    """Asked for with lease 0, and nobody answers at the address any more: the oldest one goes."""
    for port in range(6000, 6004):
        await home.granted(port, lifetime=None)
    for port in range(6004, 6007):
        await home.granted(port, PC_IP, lifetime=None)
    for port in range(6007, 6010):
        await home.granted(port, IP6[0])
    await home.granted(6010, IP6[0], lifetime=None)
    assert (await home.refused(6011, IP6[0])).refusal is Refusal.QUOTA, "it is there, and nothing yields"
    home.present.remove(ip_address(CONSOLE_IP))
    home.clock.pass_s(3700)
    for port in range(6007, 6010):
        await home.granted(port, IP6[0])
    await home.sweep()
    assert all(row.parked for row in home.decider.ledger.table.to_client(ip_address(CONSOLE_IP)))
    assert (await home.refused(6011, IP6[0], via=Via.PCP, nonce=b"n" * 12)).refusal is Refusal.QUOTA
    await home.granted(6011, IP6[0])
    assert (CONSOLE_IP, TCP, 6000) not in rows(home)
    assert (CONSOLE_IP, TCP, 6001) in rows(home)
    assert counted(home) == 8
    assert home.ports >= {(TCP, 6004), (TCP, 6005), (TCP, 6006)}, "another device's"


async def test_a_parked_mapping_with_a_lease_over_pcp_beside_lease_0_does_not_yield(home: GatewayFixture) -> None:
    for port in range(6000, 6008):
        await home.granted(port, lifetime=None)
        await home.granted(port, **{**PCP, "lifetime": 86_400})
    home.present.remove(ip_address(CONSOLE_IP))
    home.clock.pass_s(3700)
    await home.sweep()
    assert all(row.parked for row in home.decider.ledger.table)
    assert (await home.refused(6008, IP6[0])).refusal is Refusal.QUOTA
    assert counted(home) == 8
