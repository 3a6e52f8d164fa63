"""The evented variables of every service, as one subscriber may see them (IGD section 7.6).

The service descriptions declare which variables are evented, and their values are those of QueryStateVariable, so
that description, action and event agree. Values are for each subscriber: a device counts only mappings that it may
see.
"""

from collections.abc import Mapping

from upnp_gw.model.request import Source, View
from upnp_gw.protocols.gena.subscriptions import Properties
from upnp_gw.protocols.igd.engine import Caller, Variable, wire_text
from upnp_gw.protocols.igd.layer3_forwarding import default_connection_service
from upnp_gw.protocols.igd.model import ServiceModels
from upnp_gw.protocols.igd.services import ROWS
from upnp_gw.protocols.igd_services import IgdVersion, Level, Service


def evented_properties(
    view: View, models: ServiceModels, udns: Mapping[IgdVersion, Mapping[Level, str]]
) -> Properties:
    """The function that gives the values for events. ``udns``: ``uuid:...`` of each device of each served version.

    Raises KeyError for an evented variable that no service reads.
    """
    evented: dict[tuple[IgdVersion, str], dict[str, Variable]] = {
        (igd_version, service): {
            name: ROWS[service].variables[name] for name, sent in model.variables.items() if sent
        }
        for (igd_version, service), model in models.items()
    }

    connections = {igd_version: default_connection_service(igd_version, own) for igd_version, own in udns.items()}

    def properties(igd_version: IgdVersion, service: Service, source: Source) -> dict[str, str]:
        readers = evented.get((igd_version, service.name))
        if not readers:
            return {}
        caller = Caller(igd_version, source, view, connections[igd_version])
        return {name: wire_text(read(caller)) for name, read in readers.items()}

    return properties
