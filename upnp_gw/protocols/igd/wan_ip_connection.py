"""WANIPConnection:1 and :2 (IGD section 5.1): the status of the connection, and the rows of all actions.

``port_mappings`` has the actions on port mappings. A control point can neither choose the type of the connection
nor end it (IGD-106, IGD-107).
"""

from upnp_gw.protocols.igd import port_mappings
from upnp_gw.protocols.igd.arguments import SPACE, Arguments
from upnp_gw.protocols.igd.engine import Action, Answer, Caller, ServiceRows
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd_services import IgdVersion

ROUTED = "IP_Routed"
CONNECTION_TYPES = frozenset({"Unconfigured", ROUTED, "IP_Bridged"})


def connection_status(caller: Caller) -> str:
    """ConnectionStatus: ``Connected`` while the WAN is up and with NAT has an address, else ``Disconnected``
    (IGD-101)."""
    return "Connected" if caller.wan.connected else "Disconnected"


def external_ip_address(caller: Caller) -> str:
    """The external IPv4 address, empty if there is none, never 0.0.0.0 (IGD-103). Without NAT it is the control
    point's own (IGD-202)."""
    return str(caller.wan.external_address or "")


def uptime(caller: Caller) -> int:
    """Uptime: seconds since the WAN is connected; 0 if it is not."""
    wan = caller.wan
    return min(wan.uptime_s, 2**32 - 1) if wan.connected else 0


def get_nat_rsip_status(caller: Caller, _: Arguments) -> Answer:
    """GetNATRSIPStatus: whether the control point is translated (IGD-102)."""
    return {"NewRSIPAvailable": False, "NewNATEnabled": caller.wan.nat}


def set_connection_type(caller: Caller, arguments: Arguments) -> Answer:
    """SetConnectionType: 601 for an unknown type, else 731 (version 1: 501): it is read-only (IGD-106)."""
    if arguments.text("NewConnectionType").strip(SPACE) not in CONNECTION_TYPES:
        return Fault(601)
    return Fault(
        731 if caller.igd_version is IgdVersion.IGD2 else 501, "the gateway configures its connection itself"
    )


def request_connection(caller: Caller, _: Arguments) -> Answer:
    """RequestConnection: success if the WAN is connected. Version 1 clients may call it before they map a port."""
    if caller.igd_version is IgdVersion.IGD1 and caller.wan.connected:
        return {}
    return Fault(606 if caller.igd_version is IgdVersion.IGD2 else 501, "the gateway connects by itself")


def force_termination(caller: Caller, _: Arguments) -> Answer:
    """ForceTermination: always refused, 606 (version 1: 501). No client may disconnect the LAN (IGD-107)."""
    return Fault(606 if caller.igd_version is IgdVersion.IGD2 else 501, "the gateway stays connected")


def get_status_info(caller: Caller, _: Arguments) -> Answer:
    """GetStatusInfo (IGD-101). libminiupnpc maps ports only if it reads ``Connected``."""
    return {
        "NewConnectionStatus": connection_status(caller),
        "NewLastConnectionError": "ERROR_NONE",
        "NewUptime": uptime(caller),
    }


def constant(values: dict[str, str | int | bool]) -> Action:
    """An action that always answers these values."""
    return lambda caller, arguments: values


ROWS = ServiceRows(
    actions={
        "SetConnectionType": set_connection_type,
        "GetConnectionTypeInfo": constant({"NewConnectionType": ROUTED, "NewPossibleConnectionTypes": ROUTED}),
        "RequestConnection": request_connection,
        "ForceTermination": force_termination,
        "GetStatusInfo": get_status_info,
        "GetAutoDisconnectTime": constant({"NewAutoDisconnectTime": 0}),
        "GetIdleDisconnectTime": constant({"NewIdleDisconnectTime": 0}),
        "GetWarnDisconnectDelay": constant({"NewWarnDisconnectDelay": 0}),
        "GetNATRSIPStatus": get_nat_rsip_status,
        "GetExternalIPAddress": lambda caller, _: {"NewExternalIPAddress": external_ip_address(caller)},
        "GetGenericPortMappingEntry": port_mappings.get_generic_entry,
        "GetSpecificPortMappingEntry": port_mappings.get_specific_entry,
        "GetListOfPortMappings": port_mappings.get_list_of_port_mappings,
        "AddPortMapping": port_mappings.add_port_mapping,
        "AddAnyPortMapping": port_mappings.add_any_port_mapping,
        "DeletePortMapping": port_mappings.delete_port_mapping,
        "DeletePortMappingRange": port_mappings.delete_port_mapping_range,
    },
    variables={
        "ConnectionType": lambda caller: ROUTED,
        "PossibleConnectionTypes": lambda caller: ROUTED,
        "ConnectionStatus": connection_status,
        "Uptime": uptime,
        "LastConnectionError": lambda caller: "ERROR_NONE",
        "RSIPAvailable": lambda caller: False,
        "NATEnabled": lambda caller: caller.wan.nat,
        "ExternalIPAddress": external_ip_address,
        "PortMappingNumberOfEntries": lambda caller: caller.view.count(caller.source),
        "SystemUpdateID": lambda caller: caller.view.system_update_id(),
    },
)
