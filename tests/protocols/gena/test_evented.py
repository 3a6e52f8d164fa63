"""The evented variables of each service, and the form of their values."""

from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import cast

import pytest
from lxml import etree

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.request import Source, View, WanStatus
from upnp_gw.protocols.gena.subscriptions import Properties
from upnp_gw.protocols.igd.evented import evented_properties
from upnp_gw.protocols.igd.model import ServiceModel, ServiceModels, service_description
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion, Level, Service, service_of

CONSOLE = Source(ip_address("192.168.1.20"), "br0")
LAPTOP = Source(ip_address("192.168.1.21"), "br0")
UDNS = {level: f"uuid:44f5824f-c57d-418c-a131-f22b34e1411{n}" for n, level in enumerate(Level)}
UP = WanStatus("wan0", True, True, 60, ip_address("198.51.100.7"))
SCPD = "{urn:schemas-upnp-org:service-1-0}"


def declared(service: Service) -> ServiceModel:
    """The variables of the description that is served."""
    variables = etree.fromstring(service_description(service)).iterfind(f".//{SCPD}stateVariable")
    return ServiceModel({}, {str(v.findtext(f"{SCPD}name")): v.get("sendEvents") == "yes" for v in variables})


MODELS: ServiceModels = {
    (igd_version, service.name): declared(service)
    for igd_version in IgdVersion
    for service in SERVICES[igd_version]
}


@dataclass
class Seen:
    """The part of the view that is evented."""

    status: WanStatus = UP
    own: dict[Source, IPAddress] = field(default_factory=dict)
    """Subscribers without NAT, and the addresses that they have outside."""
    counts: dict[Source, int] | None = None
    update_id: int = 41

    def wan(self, source: Source) -> WanStatus:
        own = self.own.get(source)
        return replace(self.status, external_address=own, nat=False) if own is not None else self.status

    def count(self, source: Source) -> int:
        return (self.counts or {}).get(source, 0)

    def system_update_id(self) -> int:
        return self.update_id

    def properties(self, models: ServiceModels = MODELS) -> Properties:
        return evented_properties(cast("View", self), models, dict.fromkeys(IgdVersion, UDNS))

    def values(self, igd_version: IgdVersion, name: str, source: Source = CONSOLE) -> dict[str, str]:
        service = service_of(igd_version, name)
        assert service is not None
        return dict(self.properties()(igd_version, service, source))


@pytest.mark.spec("IGD-019", "IGD-180", "IGD-201")
def test_wanipconnection_1_never_shows_system_update_id() -> None:
    assert Seen().values(IgdVersion.IGD1, "WANIPConnection") == {
        "PossibleConnectionTypes": "IP_Routed",
        "ConnectionStatus": "Connected",
        "ExternalIPAddress": "198.51.100.7",
        "PortMappingNumberOfEntries": "0",
    }


@pytest.mark.spec("IGD-019", "IGD-180", "IGD-194")
def test_wanipconnection_2_adds_system_update_id() -> None:
    first, second = (Seen().values(igd_version, "WANIPConnection") for igd_version in IgdVersion)
    assert second == {**first, "SystemUpdateID": "41"}


@pytest.mark.spec("IGD-019")
@pytest.mark.parametrize("igd_version", IgdVersion)
def test_the_other_services_event_one_variable_each(igd_version: IgdVersion) -> None:
    connection = (
        f"{UDNS[Level.CONNECTION]}:WANConnectionDevice:{igd_version.version},urn:upnp-org:serviceId:WANIPConn1"
    )
    assert Seen().values(igd_version, "Layer3Forwarding") == {"DefaultConnectionService": connection}
    assert Seen().values(igd_version, "WANCommonInterfaceConfig") == {"PhysicalLinkStatus": "Up"}


@pytest.mark.spec("IGD-196")
def test_a_lost_address_is_an_empty_string_and_a_lost_link_is_down() -> None:
    seen = Seen(replace(UP, connected=False, external_address=None))
    assert seen.values(IgdVersion.IGD1, "WANIPConnection")["ExternalIPAddress"] == ""
    assert seen.values(IgdVersion.IGD1, "WANIPConnection")["ConnectionStatus"] == "Disconnected"
    seen.status = replace(seen.status, up=False)
    assert seen.values(IgdVersion.IGD1, "WANCommonInterfaceConfig") == {"PhysicalLinkStatus": "Down"}


def test_a_device_counts_its_visible_mappings() -> None:
    """A deviation: the count is the subscriber's own, not the table's."""
    seen = Seen(counts={CONSOLE: 3, LAPTOP: 7})
    assert seen.values(IgdVersion.IGD1, "WANIPConnection", CONSOLE)["PortMappingNumberOfEntries"] == "3"
    assert seen.values(IgdVersion.IGD2, "WANIPConnection", LAPTOP)["PortMappingNumberOfEntries"] == "7"


@pytest.mark.spec("IGD-202")
@pytest.mark.parametrize("igd_version", IgdVersion)
def test_a_subscriber_without_nat_gets_its_own_address(igd_version: IgdVersion) -> None:
    seen = Seen(own={LAPTOP: LAPTOP.address})
    assert seen.values(igd_version, "WANIPConnection", CONSOLE)["ExternalIPAddress"] == "198.51.100.7"
    assert seen.values(igd_version, "WANIPConnection", LAPTOP)["ExternalIPAddress"] == "192.168.1.21"


def test_a_service_that_no_description_declares_events_nothing() -> None:
    service = replace(SERVICES[IgdVersion.IGD1][0], name="Other")
    assert Seen().properties()(IgdVersion.IGD1, service, CONSOLE) == {}


def test_an_evented_variable_without_a_value_is_found_at_the_start() -> None:
    models = {(IgdVersion.IGD1, "Layer3Forwarding"): ServiceModel({}, {"Unheard": True})}
    with pytest.raises(KeyError):
        Seen().properties(models)
