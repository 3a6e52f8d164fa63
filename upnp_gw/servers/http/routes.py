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
"""User-Agents of Windows: it reads a version 2 description and then does nothing. It gets version 1 (IGD-015)."""
NEW_AGENT = "MiniUPnPc"
"""``upnpc -6`` searches for version 1 only, reads its description over IPv6 and asks for pinholes, which version 1
does not have. Over IPv6 it gets version 2, which it knows too (docs/decisions/0018)."""


@dataclass(frozen=True, slots=True)
class ServedDescriptions:
    """The description documents of the server's devices, made once at the start."""

    documents: Mapping[str, bytes]
    """URL path -> XML."""
    token: str
    """Part of the control and event paths: only clients that have read a description know them."""
    udns: Mapping[IgdVersion, Mapping[Level, str]]
    models: ServiceModels
    server_header: str
    """The three tokens of SERVER."""


@dataclass(frozen=True, slots=True)
class ServedDocument:
    """The path of a description."""

    body: bytes
    content_type: str = CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class ControlUrl:
    """The path for SOAP calls of a service."""

    igd_version: IgdVersion
    service: Service

    def __str__(self) -> str:
        return f"control URL of {self.igd_version} {self.service.name}"


@dataclass(frozen=True, slots=True)
class EventUrl:
    """The path for subscriptions of a service."""

    igd_version: IgdVersion
    service: Service

    def __str__(self) -> str:
        return f"event URL of {self.igd_version} {self.service.name}"


@dataclass(frozen=True, slots=True)
class PresentationUrl:
    """The path for people."""

    def __str__(self) -> str:
        return "presentation URL"


Resource = ServedDocument | PresentationUrl | ControlUrl | EventUrl
METHODS: dict[type[Resource], tuple[str, ...]] = {
    PresentationUrl: ("GET", "HEAD"),
    ServedDocument: ("GET", "HEAD"),
    ControlUrl: ("POST",),
    EventUrl: ("SUBSCRIBE", "UNSUBSCRIBE"),
}
"""The other methods that are read (``protocols.http.head.METHODS``) are answered 405, any other one 501."""


def routes(documents: Mapping[str, bytes], token: str) -> dict[str, Resource]:
    """Path -> resource. Control and event paths exist for the IGD versions whose description is served."""
    table: dict[str, Resource] = {"/": PresentationUrl()}
    table |= {path: ServedDocument(body) for path, body in documents.items()}
    for igd_version in IgdVersion:
        if description_path(igd_version) in documents:
            for service in SERVICES[igd_version]:
                table[control_path(token, igd_version, service)] = ControlUrl(igd_version, service)
                table[event_path(token, igd_version, service)] = EventUrl(igd_version, service)
    return table


def new_paths(documents: Mapping[str, bytes]) -> dict[str, str]:
    """Path of the version 1 description -> path of the version 2 one, which ``NEW_AGENT`` gets instead."""
    both = {description_path(igd_version) for igd_version in IgdVersion} <= documents.keys()
    return {description_path(IgdVersion.IGD1): description_path(IgdVersion.IGD2)} if both else {}


def old_paths(documents: Mapping[str, bytes]) -> dict[str, str]:
    """Path of a version 2 document -> path of the version 1 one, which ``OLD_AGENTS`` get instead."""
    version1 = {description_path(IgdVersion.IGD2): description_path(IgdVersion.IGD1)}
    for service in SERVICES[IgdVersion.IGD2]:
        if older := service_of(IgdVersion.IGD1, service.name):
            version1[scpd_path(IgdVersion.IGD2, service)] = scpd_path(IgdVersion.IGD1, older)
    return {path: old for path, old in version1.items() if old in documents}
