"""The handlers of the HTTP server's paths: a fixed table, built once (SR-13)."""

from collections.abc import Mapping
from dataclasses import dataclass

from upnp_gw.protocols.igd.model import ServiceModels
from upnp_gw.protocols.igd.soap import CONTENT_TYPE
from upnp_gw.protocols.igd_services import (
    SERVICES,
    IgdVersion,
    Level,
    Service,
    control_path,
    description_path,
    event_path,
    scpd_path,
    service_of,
)

OLD_AGENTS = ("Microsoft", "FDSSDP")
"""Windows reads a version 2 description and then does nothing: these get version 1 everywhere (IGD-015)."""
NEW_AGENT = "MiniUPnPc"
"""``upnpc -6`` searches for version 1 alone, reads its description over IPv6 and then asks for pinholes, which
version 1 has none of: over IPv6 it gets version 2, which it knows as well (docs/decisions/0018)."""
PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>upnp-gw</title></head>
<body><h1>upnp-gw</h1><p>This internet gateway opens ports for applications in this network, as far as its policy
allows. On the gateway itself, <code>upnp-gw list</code> shows what is open and <code>upnp-gw log</code> why.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class ServedDescriptions:
    """What the server says of its devices, made once at the start."""

    documents: Mapping[str, bytes]
    """URL path -> XML."""
    token: str
    """Part of the control and event paths: only who has read a description knows them."""
    udns: Mapping[IgdVersion, Mapping[Level, str]]
    models: ServiceModels
    server_header: str
    """The three tokens of SERVER."""


@dataclass(frozen=True, slots=True)
class ServedDocument:
    body: bytes
    content_type: str = CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class ControlUrl:
    igd_version: IgdVersion
    service: Service


@dataclass(frozen=True, slots=True)
class EventUrl:
    igd_version: IgdVersion
    service: Service


Resource = ServedDocument | ControlUrl | EventUrl
METHODS: dict[type[Resource], tuple[str, ...]] = {
    ServedDocument: ("GET", "HEAD"),
    ControlUrl: ("POST",),
    EventUrl: ("SUBSCRIBE", "UNSUBSCRIBE"),
}
KNOWN_METHODS = frozenset({"PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}).union(*METHODS.values())
"""A method of HTTP that a path does not take is 405, one that is not known at all is 501."""


def routes(documents: Mapping[str, bytes], token: str) -> dict[str, Resource]:
    """Path -> what is there. Control and event paths exist for the faces whose description is served."""
    table: dict[str, Resource] = {"/": ServedDocument(PAGE, 'text/html; charset="utf-8"')}
    table |= {path: ServedDocument(body) for path, body in documents.items()}
    for igd_version in IgdVersion:
        if description_path(igd_version) in documents:
            for service in SERVICES[igd_version]:
                table[control_path(token, igd_version, service)] = ControlUrl(igd_version, service)
                table[event_path(token, igd_version, service)] = EventUrl(igd_version, service)
    return table


def new_paths(documents: Mapping[str, bytes]) -> dict[str, str]:
    """Path of the version 1 description -> the version 2 one in its place for ``NEW_AGENT``."""
    both = {description_path(igd_version) for igd_version in IgdVersion} <= documents.keys()
    return {description_path(IgdVersion.IGD1): description_path(IgdVersion.IGD2)} if both else {}


def old_paths(documents: Mapping[str, bytes]) -> dict[str, str]:
    """Path of a version 2 document -> the version 1 document in its place for ``OLD_AGENTS``."""
    twins = {description_path(IgdVersion.IGD2): description_path(IgdVersion.IGD1)}
    for service in SERVICES[IgdVersion.IGD2]:
        if twin := service_of(IgdVersion.IGD1, service.name):
            twins[scpd_path(IgdVersion.IGD2, service)] = scpd_path(IgdVersion.IGD1, twin)
    return {path: twin for path, twin in twins.items() if twin in documents}
