"""Layer3Forwarding:1 (IGD section 5.4): the only connection is the default one."""

from collections.abc import Mapping

from upnp_gw.protocols.igd.arguments import SPACE, Arguments
from upnp_gw.protocols.igd.engine import Answer, Caller, ServiceRows
from upnp_gw.protocols.igd.faults import Fault
from upnp_gw.protocols.igd_services import IgdVersion, Level, service_of


def default_connection_service(igd_version: IgdVersion, udns: Mapping[Level, str]) -> str:
    """DefaultConnectionService: ``uuid:...:WANConnectionDevice:v,urn:upnp-org:serviceId:WANIPConn1``."""
    service = service_of(igd_version, "WANIPConnection")
    assert service is not None
    device = f"{udns[Level.CONNECTION]}:{Level.CONNECTION.value}:{igd_version.version}"
    return f"{device},urn:upnp-org:serviceId:{service.service_id}"


def get_default_connection_service(caller: Caller, _: Arguments) -> Answer:
    """GetDefaultConnectionService: the WANIPConnection service of the called version (IGD-108)."""
    return {"NewDefaultConnectionService": caller.default_connection}


def set_default_connection_service(caller: Caller, arguments: Arguments) -> Answer:
    """Success for the current connection, else 720, 721 or 723 (IGD-109)."""
    device, comma, service = arguments.text("NewDefaultConnectionService").strip(SPACE).partition(",")
    if not comma:
        return Fault(723)
    own_device, _, own_service = caller.default_connection.partition(",")
    if device != own_device:
        return Fault(720)
    return {} if service.lstrip(SPACE) == own_service else Fault(721)


ROWS = ServiceRows(
    actions={
        "GetDefaultConnectionService": get_default_connection_service,
        "SetDefaultConnectionService": set_default_connection_service,
    },
    variables={"DefaultConnectionService": lambda caller: caller.default_connection},
)
