"""Which variables each service events, and how they are written."""

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import cast

import pytest

from upnp_gw.protocols.faces import Face, service_of
from upnp_gw.protocols.igd.evented import default_connection_service, evented_properties
from upnp_gw.request import Source, View, WanStatus

CONSOLE = Source(ip_address("192.168.1.20"), "br0")
LAPTOP = Source(ip_address("192.168.1.21"), "br0")
UDNS = {face: f"uuid:44f5824f-c57d-418c-a131-f22b34e1411{face.version}" for face in Face}
UP = WanStatus("wan0", True, True, 60, ip_address("198.51.100.7"))


@dataclass
class Seen:
    """The part of the view that is evented."""

    status: WanStatus = UP
    counts: dict[Source, int] | None = None
    update_id: int = 41

    def wan(self) -> WanStatus:
        return self.status

    def count(self, source: Source) -> int:
        return (self.counts or {}).get(source, 0)

    def system_update_id(self) -> int:
        return self.update_id

    def values(self, face: Face, name: str, source: Source = CONSOLE) -> dict[str, str]:
        service = service_of(face, name)
        assert service is not None
        return dict(evented_properties(cast("View", self), UDNS)(face, service, source))


@pytest.mark.spec("IGD-180", "IGD-201")
def test_wanipconnection_1_never_shows_system_update_id() -> None:
    assert Seen().values(Face.IGD1, "WANIPConnection") == {
        "PossibleConnectionTypes": "IP_Routed",
        "ConnectionStatus": "Connected",
        "ExternalIPAddress": "198.51.100.7",
        "PortMappingNumberOfEntries": "0",
    }


@pytest.mark.spec("IGD-180", "IGD-194")
def test_wanipconnection_2_adds_system_update_id() -> None:
    first, second = (Seen().values(face, "WANIPConnection") for face in Face)
    assert second == {**first, "SystemUpdateID": "41"}


@pytest.mark.spec("IGD-196")
def test_a_lost_address_is_an_empty_string_and_a_lost_link_is_down() -> None:
    seen = Seen(replace(UP, connected=False, external_address=None))
    assert seen.values(Face.IGD1, "WANIPConnection")["ExternalIPAddress"] == ""
    assert seen.values(Face.IGD1, "WANIPConnection")["ConnectionStatus"] == "Disconnected"
    assert seen.values(Face.IGD1, "WANCommonInterfaceConfig") == {"PhysicalLinkStatus": "Up"}
    seen.status = replace(seen.status, up=False)
    assert seen.values(Face.IGD1, "WANCommonInterfaceConfig") == {"PhysicalLinkStatus": "Down"}


def test_a_device_counts_what_it_may_see_and_no_more_than_a_ui2_holds() -> None:
    """A deviation: the count is the subscriber's own, not the table's."""
    seen = Seen(counts={CONSOLE: 3, LAPTOP: 70_000})
    assert seen.values(Face.IGD1, "WANIPConnection", CONSOLE)["PortMappingNumberOfEntries"] == "3"
    assert seen.values(Face.IGD1, "WANIPConnection", LAPTOP)["PortMappingNumberOfEntries"] == "65535"


@pytest.mark.parametrize("face", Face)
def test_the_default_connection_is_this_faces_own(face: Face) -> None:
    assert Seen().values(face, "Layer3Forwarding") == {
        "DefaultConnectionService": default_connection_service(face, UDNS[face])
    }


def test_the_default_connection_is_written_as_the_standard_says() -> None:
    assert default_connection_service(Face.IGD1, "uuid:44f5824f-c57d-418c-a131-f22b34e14111") == (
        "uuid:44f5824f-c57d-418c-a131-f22b34e14111:WANConnectionDevice:1,urn:upnp-org:serviceId:WANIPConn1"
    )


def test_a_service_that_is_not_in_the_table_events_nothing() -> None:
    service = service_of(Face.IGD1, "Layer3Forwarding")
    assert service is not None
    view = cast("View", Seen())
    assert evented_properties(view, UDNS)(Face.IGD1, replace(service, name="Other"), CONSOLE) == {}
