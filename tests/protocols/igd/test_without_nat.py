"""UPnP IGD on a LAN without NAT, over the real path of a request: each host has its own address outside."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.fake_gateway import SERVICE_MODELS, default_connection, mapping_arguments
from tests.fixtures.gateway import (
    CONSOLE_IP,
    GUEST_IP,
    PC_IP,
    TWO_LANS,
    GatewayFixture,
    gateway_fixture,
    source_of,
)
from upnp_gw.model.mapping import Endpoint, MappingKind, Transport
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd.engine import Answer, Caller, CountedAnswer, PendingAction, perform, query
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd_services import IgdVersion

NETWORK = replace(TWO_LANS, without_nat=frozenset({"lan0"}))
EXTERNAL = "11.22.33.44"
WAN = "WANIPConnection"


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """A host that calls actions."""

    home: GatewayFixture
    address: str = CONSOLE_IP
    igd_version: IgdVersion = IgdVersion.IGD1

    @property
    def caller(self) -> Caller:
        source = source_of(self.address)
        return Caller(self.igd_version, source, self.home.view, default_connection(self.igd_version))

    async def call(self, name: str, **arguments: str) -> Answer:
        model = SERVICE_MODELS[self.igd_version, WAN]
        outcome = perform(ROWS[WAN], model, self.caller, name, tuple(arguments.items()))
        if isinstance(outcome, PendingAction):
            return outcome.answer(await self.home.handle(outcome.request))
        assert not isinstance(outcome, CountedAnswer)
        return outcome

    async def add(self, external: int, internal: int | None = None, name: str = "AddPortMapping") -> Answer:
        ports = {"NewExternalPort": str(external), "NewInternalPort": str(internal or external)}
        return await self.call(name, **mapping_arguments(NewInternalClient=self.address, **ports))

    def variable(self, name: str) -> str | Fault:
        return query(ROWS[WAN], SERVICE_MODELS[self.igd_version, WAN], self.caller, name)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(tmp_path, network=NETWORK) as fixture:
        fixture.around.neighbours.learn(Neighbour(ip_address(GUEST_IP), "02:00:00:00:00:88", "lan1"))
        yield fixture


@pytest.mark.spec("IGD-202", "IGD-203")
@pytest.mark.parametrize("igd_version", IgdVersion)
async def test_each_host_has_its_own_external_address(home: GatewayFixture, igd_version: IgdVersion) -> None:
    for address, external, nat in ((CONSOLE_IP, CONSOLE_IP, "0"), (PC_IP, PC_IP, "0"), (GUEST_IP, EXTERNAL, "1")):
        point = ControlPoint(home, address, igd_version)
        assert await point.call("GetExternalIPAddress") == {"NewExternalIPAddress": external}
        assert await point.call("GetNATRSIPStatus") == {"NewRSIPAvailable": False, "NewNATEnabled": nat == "1"}
        assert (point.variable("ExternalIPAddress"), point.variable("NATEnabled")) == (external, nat)


@pytest.mark.spec("IGD-202")
async def test_a_control_point_over_ipv6_has_no_known_ipv4_address(home: GatewayFixture) -> None:
    for interface, external in (("lan0", None), ("lan1", ip_address(EXTERNAL))):
        status = home.view.wan(Source(ip_address("fe80::10"), interface))
        assert (status.external_address, status.connected, status.nat) == (external, True, interface == "lan1")


@pytest.mark.spec("IGD-204")
async def test_the_gateway_needs_no_ipv4_address_outside(home: GatewayFixture) -> None:
    home.around.network = replace(NETWORK, external=(), connected_at=None)
    console, guest = ControlPoint(home), ControlPoint(home, GUEST_IP)
    assert (console.variable("ConnectionStatus"), guest.variable("ConnectionStatus")) == (
        "Connected",
        "Disconnected",
    )
    assert await console.call("GetExternalIPAddress") == {"NewExternalIPAddress": CONSOLE_IP}
    assert await console.call("RequestConnection") == {}
    home.around.network = replace(home.around.network, wan=replace(NETWORK.wan, up=False))
    assert console.variable("ConnectionStatus") == "Disconnected"
    assert await console.call("GetExternalIPAddress") == {"NewExternalIPAddress": ""}


@pytest.mark.spec("IGD-205")
@pytest.mark.parametrize(("igd_version", "code"), [(IgdVersion.IGD1, 724), (IgdVersion.IGD2, 718)])
async def test_only_the_internal_port_can_be_the_external_one(
    home: GatewayFixture, igd_version: IgdVersion, code: int
) -> None:
    point = ControlPoint(home, igd_version=igd_version)
    refused = await point.add(8081, 8080)
    assert isinstance(refused, Fault)
    assert refused.code == code
    assert not home.ports
    assert await point.add(8080) == {}
    [row] = home.decider.ledger.table
    assert row.kind is MappingKind.PINHOLE
    assert (row.key.external_address, row.key.external_port) == (row.internal.address, 8080)
    guest = ControlPoint(home, GUEST_IP, igd_version)
    assert await guest.add(8081, 8080) == {}, "the LAN beside it has NAT"


@pytest.mark.spec("IGD-206")
async def test_add_any_port_mapping_returns_the_internal_port(home: GatewayFixture) -> None:
    point = ControlPoint(home, igd_version=IgdVersion.IGD2)
    assert await point.add(9090, 8080, "AddAnyPortMapping") == {"NewReservedPort": 8080}
    [row] = home.decider.ledger.table.to_internal(Transport.TCP, Endpoint(ip_address(CONSOLE_IP), 8080))
    assert row.kind is MappingKind.PINHOLE


@pytest.mark.spec("IGD-205")
async def test_two_hosts_may_both_have_a_port(home: GatewayFixture) -> None:
    points = [ControlPoint(home, address) for address in (CONSOLE_IP, PC_IP)]
    assert [await point.add(8443) for point in points] == [{}, {}]
    for point in points:
        entry = await point.call("GetGenericPortMappingEntry", NewPortMappingIndex="0")
        assert not isinstance(entry, Fault)
        assert (entry["NewExternalPort"], entry["NewInternalClient"]) == (8443, point.address)
