"""A MAC address that appears on another LAN: a laptop that moved, or a host that copied it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, GUEST_IP, TWO_LANS, GatewayFixture, gateway_fixture
from tests.fixtures.policies import policy_of
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, PortChoice, Refusal

TCP = Transport.TCP
HOME, AWAY = f"{CONSOLE}@lan0", f"{CONSOLE}@lan1"
ANYBODY = policy_of('[[grant]]\nname = "all"\nwho = "*"\nmax_mappings = 8\n')
NAMED = policy_of(
    f"""
[device.laptop]
mac = "{CONSOLE}"
lan = ["lan0", "lan1"]
[[grant]]
name = "laptop"
who = "laptop"
max_mappings = 8
"""
)


@pytest.fixture(params=[ANYBODY, NAMED], ids=["anybody", "named on both"])
async def here(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[GatewayFixture]:
    policy: Policy = request.param
    async with gateway_fixture(tmp_path, policy, network=TWO_LANS) as fixture:
        fixture.around.neighbours.learn(Neighbour(ip_address(GUEST_IP), CONSOLE, "lan1"))
        fixture.present |= {ip_address(GUEST_IP)}
        yield fixture


async def moves(here: GatewayFixture, old: str, new: str, removed: bool = True) -> None:
    """The MAC address appears at another address; ``gone``: nobody answers at the old one."""
    if removed:
        here.present.discard(ip_address(old))
        here.around.neighbours.forget(ip_address(old))
    appears(here, new)
    await here.scheduler.settled()
    await here.gateway.settled()


def appears(here: GatewayFixture, address: str) -> None:
    lan = TWO_LANS.lan_of(ip_address(address))
    neighbour = Neighbour(ip_address(address), CONSOLE, lan)
    here.around.neighbours.learn(neighbour)
    here.present.add(ip_address(address))
    here.scheduler.device_seen(neighbour)


def held(here: GatewayFixture) -> set[tuple[str, str]]:
    """(device, state) of every mapping."""
    return {(m.device, "parked" if m.parked else "active") for m in here.decider.ledger.table}


async def test_a_device_that_moves_to_the_first_lan_gets_its_port_there(here: GatewayFixture) -> None:
    await here.granted(8080, GUEST_IP)
    assert (await here.refused(8080)).refusal is Refusal.CONFLICT, "the other one is there"
    await moves(here, GUEST_IP, CONSOLE_IP)
    assert held(here) == {(AWAY, "parked")}
    assert here.ports == set()
    await here.granted(8080)
    assert held(here) == {(HOME, "active")}
    (forward,) = (forward for forward, _ in here.firewall.installed.values())
    assert str(forward.internal.address) == CONSOLE_IP


async def test_parked_mappings_come_back_with_the_device(here: GatewayFixture) -> None:
    await here.granted(8080, GUEST_IP)
    await moves(here, GUEST_IP, CONSOLE_IP)
    await moves(here, CONSOLE_IP, GUEST_IP)
    assert held(here) == {(AWAY, "active")}
    assert here.ports == {(TCP, 8080)}


async def test_a_copied_mac_address_parks_nothing_of_a_device_that_is_there(here: GatewayFixture) -> None:
    await here.granted(8080)
    await moves(here, CONSOLE_IP, GUEST_IP, removed=False)
    assert held(here) == {(HOME, "active")}
    assert (await here.refused(8080, GUEST_IP)).refusal is Refusal.CONFLICT


async def test_on_another_lan_only_a_device_that_the_policy_names_there_takes_its_port_along(
    here: GatewayFixture,
) -> None:
    """A guest with the MAC address of a console that sleeps would end what it holds."""
    await here.granted(8080)
    await moves(here, CONSOLE_IP, GUEST_IP)
    assert held(here) == {(HOME, "parked")}
    reply = await here.map(8080, GUEST_IP)
    if "laptop" in here.decider.in_force.policy.devices:
        assert isinstance(reply, Granted)
        assert held(here) == {(AWAY, "active")}
    else:
        assert not isinstance(reply, Granted)
        assert held(here) == {(HOME, "parked")}
        chosen = await here.granted(8080, GUEST_IP, via=Via.PCP, choice=PortChoice.SUGGESTED)
        assert chosen.mapping.key.external_port != 8080
        appears(here, CONSOLE_IP)
        await here.gateway.settled()
        assert (HOME, "active") in held(here)


async def test_a_suggested_port_is_taken_along_too(here: GatewayFixture) -> None:
    await here.granted(8080, GUEST_IP, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
    await moves(here, GUEST_IP, CONSOLE_IP)
    again = await here.granted(8080, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
    assert again.mapping.key.external_port == 8080
    assert held(here) == {(HOME, "active")}


async def test_a_request_that_is_refused_ends_nothing(here: GatewayFixture) -> None:
    """By the gate, or since the gateway has no external address now."""
    await here.granted(8080, GUEST_IP)
    await moves(here, GUEST_IP, CONSOLE_IP)
    here.reserved_ports((TCP, 8080))
    await here.refused(8080)
    here.reserved_ports()
    here.around.network = replace(TWO_LANS, external=())
    await here.refused(8080, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
    assert held(here) == {(AWAY, "parked")}


async def test_the_operators_mapping_stays(here: GatewayFixture) -> None:
    await here.granted(8080, GUEST_IP, via=Via.OPERATOR)
    await moves(here, GUEST_IP, CONSOLE_IP)
    assert held(here) == {(AWAY, "parked")}
    assert (await here.refused(8080)).refusal is Refusal.CONFLICT


async def test_one_host_with_one_mac_address_on_two_lans(tmp_path: Path) -> None:
    """A NAS in two VLANs that the policy names on both: its grants on each, and a ``for`` for the other address."""
    joined = f'[device.nas]\nmac = "{CONSOLE}"\nlan = "*"\n[[grant]]\nname = "nas"\nwho = "nas"\n'
    delegated = f'[[grant]]\nname = "other"\nwho = "nas"\nfor = ["{CONSOLE_IP}/32"]\n'
    for text, may in ((joined, False), (joined + delegated, True)):
        async with gateway_fixture(tmp_path / str(may), policy_of(text), network=TWO_LANS) as fixture:
            fixture.around.neighbours.learn(Neighbour(ip_address(GUEST_IP), CONSOLE, "lan1"))
            await fixture.granted(8080)
            await fixture.granted(9090, GUEST_IP)
            reply = await fixture.map(9091, GUEST_IP, target=CONSOLE_IP)
            assert isinstance(reply, Granted) is may
            assert {m.device for m in fixture.decider.ledger.table} == {HOME, AWAY}


async def test_a_flood_of_appearances_probes_once_at_a_time(here: GatewayFixture) -> None:
    await here.granted(8080)
    requests = 0

    async def probe(address: object, interface: str) -> bool:
        nonlocal requests
        requests += 1
        return True

    here.scheduler._probe = probe
    for number in range(50):
        here.scheduler.device_seen(Neighbour(ip_address(f"192.168.88.{100 + number}"), CONSOLE, "lan1"))
    await here.scheduler.settled()
    assert requests == 1
