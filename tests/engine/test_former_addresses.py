"""A device asks from a new address (DHCP): over every protocol it gets the external port that it had at the old
one, if nobody answers there any more."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, GatewayFixture, gateway_fixture
from tests.fixtures.policies import policy_of
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Source

NEW_IP = "192.168.77.50"
TCP = Transport.TCP
NONCE = b"n" * 12
ASKS: dict[str, dict[str, Any]] = {
    "AddPortMapping": {"via": Via.IGD1},
    "AddAnyPortMapping": {"via": Via.IGD2, "choice": PortChoice.SUGGESTED},
    "NAT-PMP": {"via": Via.NATPMP, "choice": PortChoice.SUGGESTED},
    "PCP": {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": NONCE},
    "PREFER_FAILURE": {"via": Via.PCP, "choice": PortChoice.EXACT, "nonce": NONCE},
}
POLICY = '[limits]\nrequests_per_minute = 600\n[[grant]]\nname = "all"\nwho = "*"\nmax_mappings = 2\n'


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(tmp_path, policy_of(POLICY)) as fixture:
        fixture.lan_hosts.probe = fixture.probe
        yield fixture


def moves(home: GatewayFixture, removed: bool = True) -> None:
    """The console's MAC address is at a new address; the old one is not forgotten by the kernel. ``gone``: nobody
    answers there."""
    if removed:
        home.present.remove(ip_address(CONSOLE_IP))
    home.present.add(ip_address(NEW_IP))
    home.around.neighbours.learn(Neighbour(ip_address(NEW_IP), CONSOLE, "lan0"))


def open_to(home: GatewayFixture) -> dict[int, str]:
    """External port -> internal endpoint, in the firewall."""
    now = home.clock.now.boot
    return {f.external_port: str(f.internal) for f, until in home.firewall.installed.values() if until > now}


@pytest.mark.parametrize("held", ASKS)
@pytest.mark.parametrize("requested", ASKS)
async def test_the_port_moves_along_if_no_host_answers_at_the_old_address(
    home: GatewayFixture, held: str, requested: str
) -> None:
    await home.granted(8080, internal=8000, **ASKS[held])
    moves(home)
    again = await home.granted(8080, NEW_IP, internal=8000, **ASKS[requested])
    assert (again.mapping.key.external_port, again.mapping.device) == (8080, CONSOLE)
    assert open_to(home) == {8080: f"{NEW_IP}:8000"}
    assert [hold.via for hold in again.mapping.holds] == [ASKS[requested]["via"]]
    assert len(home.decider.ledger.table) == 1


@pytest.mark.parametrize("held", ASKS)
@pytest.mark.parametrize("requested", ASKS)
async def test_a_host_that_answers_at_the_old_address_keeps_its_port(
    home: GatewayFixture, held: str, requested: str
) -> None:
    """A Wi-Fi extender shows its own MAC address for every host behind it."""
    await home.granted(8080, internal=8000, **ASKS[held])
    moves(home, removed=False)
    reply = await home.map(8080, NEW_IP, internal=8000, **ASKS[requested])
    if ASKS[requested].get("choice", PortChoice.EXACT) is PortChoice.EXACT:
        assert not isinstance(reply, Granted)
        assert reply.refusal is Refusal.CONFLICT  # type: ignore[union-attr]
        assert open_to(home) == {8080: f"{CONSOLE_IP}:8000"}
    else:
        assert isinstance(reply, Granted)
        other = reply.mapping.key.external_port
        assert open_to(home) == {8080: f"{CONSOLE_IP}:8000", other: f"{NEW_IP}:8000"}


async def test_it_needs_no_room_of_its_own(home: GatewayFixture) -> None:
    """Two mappings are all that the grant gives; the one with another internal port takes the old one's place."""
    for port in (8080, 8081):
        await home.granted(port)
    moves(home)
    await home.granted(8080, NEW_IP, internal=8000)
    assert open_to(home) == {8080: f"{NEW_IP}:8000"}, "the other one waits for its address"
    await home.granted(8081, NEW_IP, **ASKS["PCP"])
    assert open_to(home) == {8080: f"{NEW_IP}:8000", 8081: f"{NEW_IP}:8081"}


@pytest.mark.parametrize("requested", ["AddAnyPortMapping", "NAT-PMP", "PCP"])
async def test_without_a_suggested_port_the_internal_port_decides(home: GatewayFixture, requested: str) -> None:
    await home.granted(8080, internal=8000, **ASKS["NAT-PMP"])
    moves(home)
    again = await home.granted(0, NEW_IP, internal=8000, **ASKS[requested])
    assert again.mapping.key.external_port == 8080
    assert open_to(home) == {8080: f"{NEW_IP}:8000"}


async def test_a_request_that_is_refused_moves_nothing(home: GatewayFixture) -> None:
    await home.granted(8080, **ASKS["PCP"])
    moves(home)
    home.policy = policy_of('[[forbid]]\nname = "no"\nwho = "*"\n')
    await home.refused(8080, NEW_IP, **ASKS["PCP"])
    (row,) = home.decider.ledger.table
    assert (str(row.internal.address), row.parked) == (CONSOLE_IP, True)


async def test_mappings_of_the_operator_stay_at_their_address(home: GatewayFixture) -> None:
    client = Endpoint(ip_address(CONSOLE_IP), 8080)
    source = Source(ip_address(CONSOLE_IP), "")
    made = MapRequest(Via.OPERATOR, source, TCP, client, 8080, PortChoice.EXACT, 86_400)
    assert isinstance(await home.gateway.handle(made), Granted)
    moves(home)
    assert (await home.refused(8080, NEW_IP)).refusal is Refusal.CONFLICT
    assert len(home.decider.ledger.table) == 1


async def test_another_device_at_the_new_address_gets_nothing(home: GatewayFixture) -> None:
    await home.granted(8080)
    home.present.remove(ip_address(CONSOLE_IP))
    assert (await home.refused(8080, PC_IP)).refusal is Refusal.CONFLICT
    home.around.neighbours.learn(Neighbour(ip_address(NEW_IP), PC, "lan0"))
    assert (await home.refused(8080, NEW_IP)).refusal is Refusal.CONFLICT
    assert open_to(home) == {8080: f"{CONSOLE_IP}:8080"}


async def test_a_forged_address_is_asked_for_as_seldom_as_a_request_comes(home: GatewayFixture) -> None:
    """Only where a mapping is in the way, and not where it is parked already."""
    queried: list[str] = []

    async def probe(address: Any, interface: str) -> bool:
        queried.append(str(address))
        return await home.probe(address, interface)

    home.lan_hosts.probe = probe
    await home.granted(8080)
    moves(home)
    await home.granted(9000, NEW_IP)
    await home.granted(9000, NEW_IP)
    assert queried == []
    await home.granted(8080, NEW_IP)
    assert queried == [CONSOLE_IP]
