"""The two versions of IGD and their services: one table for SSDP, descriptions, SOAP and GENA.

IGD:1 and IGD:2 are two root devices with their own UDNs over one engine, as on AVM's gateways: Windows and Xbox
fail on IGD:2 descriptions, and other clients search only for IGD:2 (docs/spec/clients.md).
"""

from dataclasses import dataclass
from enum import StrEnum

from upnp_gw.model.mapping import Via

DEVICE = "urn:schemas-upnp-org:device:"
SERVICE = "urn:schemas-upnp-org:service:"


class IgdVersion(StrEnum):
    """A version of IGD, with its own root device. The value is used in URLs."""

    IGD1 = "igd1"
    IGD2 = "igd2"

    @property
    def version(self) -> int:
        """1 or 2, as in the URNs."""
        return 1 if self is IgdVersion.IGD1 else 2

    @property
    def via(self) -> Via:
        """The version as a protocol of the ledger."""
        return Via.IGD1 if self is IgdVersion.IGD1 else Via.IGD2


class Level(StrEnum):
    """The three nested devices (IGD section 1.1). The value is the device type's name."""

    ROOT = "InternetGatewayDevice"
    WAN = "WANDevice"
    CONNECTION = "WANConnectionDevice"

    def urn(self, igd_version: IgdVersion) -> str:
        """The device type, such as ``urn:schemas-upnp-org:device:WANDevice:1``."""
        return f"{DEVICE}{self.value}:{igd_version.version}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a root device."""

    name: str
    """The name of the service type, also used in URLs: ``WANIPConnection``."""
    version: int
    service_id: str
    """The part after ``urn:upnp-org:serviceId:``."""
    level: Level

    @property
    def urn(self) -> str:
        """The service type, such as ``urn:schemas-upnp-org:service:WANIPConnection:2``."""
        return f"{SERVICE}{self.name}:{self.version}"


def _both(version: int) -> tuple[Service, ...]:
    return (
        Service("Layer3Forwarding", 1, "L3Forwarding1", Level.ROOT),
        Service("WANCommonInterfaceConfig", 1, "WANCommonIFC1", Level.WAN),
        Service("WANIPConnection", version, "WANIPConn1", Level.CONNECTION),
    )


SERVICES: dict[IgdVersion, tuple[Service, ...]] = {
    IgdVersion.IGD1: _both(1),
    IgdVersion.IGD2: (*_both(2), Service("WANIPv6FirewallControl", 1, "WANIPv6Firewall1", Level.CONNECTION)),
}
"""The services of each version, in the order of the notify set (IGD section 2.1)."""


def service_of(igd_version: IgdVersion, name: str) -> Service | None:
    """The service of this name in an IGD version; None: that version does not have it."""
    return next((service for service in SERVICES[igd_version] if service.name == name), None)


def description_path(igd_version: IgdVersion) -> str:
    """The path of the root description: ``/igd1.xml``."""
    return f"/{igd_version.value}.xml"


def scpd_path(igd_version: IgdVersion, service: Service) -> str:
    """The path of a service description."""
    return f"/scpd/{igd_version.value}/{service.name}.xml"


def control_path(token: str, igd_version: IgdVersion, service: Service) -> str:
    """The path for SOAP calls. The token is random and kept in the state directory, because clients cache it
    (SR-10)."""
    return f"/{token}/control/{igd_version.value}/{service.name}"


def event_path(token: str, igd_version: IgdVersion, service: Service) -> str:
    """The path for SUBSCRIBE and UNSUBSCRIBE, unique for each service (IGD-009)."""
    return f"/{token}/event/{igd_version.value}/{service.name}"
