"""The evented variables of every service, as one subscriber may see them (IGD section 7.6).

The only place that says which variables are evented and how they are written; the SCPDs' ``sendEvents`` agree with
it (IGD-019). Values are per subscriber: a device counts only the port mappings that it may see.
"""

from collections.abc import Callable, Mapping

from upnp_gw.protocols.faces import Face, Level, Service, service_of
from upnp_gw.protocols.subscriptions import Properties
from upnp_gw.request import Source, View

COUNT_MAX = 2**16 - 1
"""PortMappingNumberOfEntries is a ui2."""


def evented_properties(view: View, connection_udns: Mapping[Face, str]) -> Properties:
    """The function that eventing asks for values. ``connection_udns``: the UDN (``uuid:...``) of each face's
    WANConnectionDevice."""

    def properties(face: Face, service: Service, source: Source) -> dict[str, str]:
        written = _SERVICES.get(service.name)
        return written(view, face, source, connection_udns[face]) if written else {}

    return properties


def _connection(view: View, face: Face, source: Source, udn: str) -> dict[str, str]:
    wan = view.wan()
    values = {
        "PossibleConnectionTypes": "IP_Routed",
        "ConnectionStatus": "Connected" if wan.connected else "Disconnected",
        # Empty while there is none; not 0.0.0.0 (IGD section 8.2, E12).
        "ExternalIPAddress": str(wan.external_address or ""),
        "PortMappingNumberOfEntries": str(min(view.count(source), COUNT_MAX)),
    }
    if face is Face.IGD2:
        values["SystemUpdateID"] = str(view.system_update_id())
    return values


def _interface(view: View, face: Face, source: Source, udn: str) -> dict[str, str]:
    return {"PhysicalLinkStatus": "Up" if view.wan().up else "Down"}


def _forwarding(view: View, face: Face, source: Source, udn: str) -> dict[str, str]:
    return {"DefaultConnectionService": default_connection_service(face, udn)}


def default_connection_service(face: Face, connection_udn: str) -> str:
    """Layer3Forwarding's one variable: the WANIPConnection of this face (IGD section 5.4)."""
    connection = service_of(face, "WANIPConnection")
    assert connection is not None  # every face serves it
    device = f"{connection_udn}:{Level.CONNECTION.value}:{face.version}"
    return f"{device},urn:upnp-org:serviceId:{connection.service_id}"


_SERVICES: dict[str, Callable[[View, Face, Source, str], dict[str, str]]] = {
    "WANIPConnection": _connection,
    "WANCommonInterfaceConfig": _interface,
    "Layer3Forwarding": _forwarding,
}
