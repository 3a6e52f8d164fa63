"""The description of another gateway: foreign bytes -> its services and their control URLs.

Every URL must be http at the gateway's own address, as a number: a description cannot send us to another host.
"""

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from urllib.parse import urljoin

from lxml import etree

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.control_call import parse_foreign, text_of
from upnp_gw.protocols.igd_services import SERVICE

DESCRIPTION_MAX = 256 * 1024
"""Most bytes of a description. Those of real routers have 3 to 30 KB."""
ELEMENTS_MAX = 4096
NS = "{urn:schemas-upnp-org:device-1-0}"
CONNECTIONS = ("WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1")
"""Services that make port mappings, the best one first."""
FIREWALL = "WANIPv6FirewallControl:1"
CONNECTIONS_MAX = 4
"""WAN connections that are looked at."""

_URL = re.compile(r"http://([0-9.]{7,15})(?::([0-9]{1,5}))?(/[!-~]{0,511})?", re.IGNORECASE)
_UDN = re.compile(r"uuid:[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class HttpPlace:
    """A URL at an IPv4 address."""

    address: IPv4Address
    port: int
    path: str
    """Printable ASCII, from ``/`` on."""

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class ForeignService:
    """A service of another gateway."""

    urn: str
    """One of ours: ``urn:schemas-upnp-org:service:WANIPConnection:1``."""
    place: HttpPlace
    """Of its control URL."""

    @property
    def version(self) -> int:
        return int(self.urn[-1])


@dataclass(frozen=True, slots=True)
class ForeignDescription:
    """The services of another gateway that can be asked; None: it has none."""

    udn: str
    """Of its root device; empty where it has none."""
    connections: tuple[ForeignService, ...]
    """For port mappings: the services of the best kind, of each WAN connection."""
    firewall: ForeignService | None
    """For pinholes."""

    @property
    def connection(self) -> ForeignService | None:
        """The one that is asked."""
        return self.connections[0] if self.connections else None

    def with_first(self, service: ForeignService) -> "ForeignDescription":
        """With this service as the one that is asked."""
        return replace(self, connections=(service,))


def parse_place(url: str, address: IPv4Address) -> HttpPlace:
    """The place of a URL. Raises WireError where it is not http at this address."""
    match = _URL.fullmatch(url)
    if match is None:
        raise WireError("bad-url")
    port = int(match[2] or 80)
    if match[1] != str(address) or not 0 < port < 65536:
        raise WireError("other-host")
    return HttpPlace(address, port, match[3] or "/")


def parse_description(body: bytes, location: HttpPlace) -> ForeignDescription:
    """Reads the description at ``location``. Raises WireError. A service with a bad URL is left out."""
    root = parse_foreign(body, DESCRIPTION_MAX, ELEMENTS_MAX)
    if root.tag != f"{NS}root":
        raise WireError("no-description")
    base = location.url
    for element in root.iterfind(f"{NS}URLBase"):
        base = text_of(element) or base
    found: dict[str, list[ForeignService]] = {}
    for service in root.iter(f"{NS}service"):
        urn = _field(service, "serviceType")
        name = urn.removeprefix(SERVICE)
        if urn.startswith(SERVICE) and name in (*CONNECTIONS, FIREWALL):
            try:
                url = urljoin(base, _field(service, "controlURL")).replace(" ", "%20")
                place = parse_place(url, location.address)
            except (WireError, ValueError):
                continue
            found.setdefault(name, []).append(ForeignService(urn, place))
    udn = next((text_of(element) for element in root.iterfind(f"{NS}device/{NS}UDN")), "")
    best = next((found[name] for name in CONNECTIONS if name in found), [])
    return ForeignDescription(
        udn if _UDN.fullmatch(udn) else "",
        tuple(best[:CONNECTIONS_MAX]),
        next(iter(found.get(FIREWALL, [])), None),
    )


def _field(service: etree._Element, name: str) -> str:
    element = service.find(f"{NS}{name}")
    return "" if element is None else text_of(element)
