"""The port-mapping actions of WANIPConnection:1 and :2 (IGD section 6).

Arguments are checked in the order of IGD section 6.1, so that the fault is the most specific one. The gate decides
about every valid request.
"""

from functools import partial

from upnp_gw.model.mapping import Endpoint, Mapping, MappingKey
from upnp_gw.model.request import (
    Granted,
    MapRequest,
    PortChoice,
    Refusal,
    Refused,
    Removed,
    Reply,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
)
from upnp_gw.protocols.igd.arguments import (
    SPACE,
    Arguments,
    InvalidArgument,
    description,
    internal_client,
    remote_host,
    transport,
)
from upnp_gw.protocols.igd.engine import Answer, Caller, PendingAction, Values
from upnp_gw.protocols.igd.faults import Fault, fault_of
from upnp_gw.protocols.igd.port_listing import build_port_listing, remote_text
from upnp_gw.protocols.igd_services import IgdVersion

LEASE_MAX_V2 = 604800
"""Seconds: the longest lease of WANIPConnection:2; a longer one is cut to it (IGD-133)."""
ANY_CONFLICT = dict.fromkeys((Refusal.CONFLICT, Refusal.CONFLICT_OTHER, Refusal.SAME_PORT), 728)
"""AddAnyPortMapping never answers 718: if no port is free, it answers 728 (IGD-174)."""
NOTHING_IN_RANGE = {Refusal.NO_SUCH: 730}


def add_port_mapping(caller: Caller, arguments: Arguments) -> PendingAction:
    """AddPortMapping: exactly the requested external port, or a fault (IGD section 6.2)."""
    request = _map_request(caller, arguments, PortChoice.EXACT)
    return PendingAction(request, partial(_added, caller.igd_version))


def add_any_port_mapping(caller: Caller, arguments: Arguments) -> PendingAction:
    """AddAnyPortMapping: if the port is in use, the gateway chooses another. Port 0: any (IGD-173)."""
    request = _map_request(caller, arguments, PortChoice.SUGGESTED)
    return PendingAction(request, partial(_added_any, caller.igd_version))


def delete_port_mapping(caller: Caller, arguments: Arguments) -> Answer | PendingAction:
    """DeletePortMapping. An empty NewProtocol means both (SR-15): nat-port-mapper sends it, and its ports would
    stay open otherwise."""
    port = arguments.number("NewExternalPort")
    request: UnmapRequest | UnmapPortRequest
    if arguments.text("NewProtocol").strip(SPACE):
        request = UnmapRequest(caller.via, caller.source, _key(caller, arguments))
    else:
        remote = remote_host(caller.igd_version, arguments.text("NewRemoteHost"))
        request = UnmapPortRequest(caller.via, caller.source, port, remote)
    if port == 0:
        return Fault(714)  # there are no wildcard mappings
    return PendingAction(request, partial(_deleted, caller.igd_version))


def delete_port_mapping_range(caller: Caller, arguments: Arguments) -> PendingAction:
    """DeletePortMappingRange: ends all mappings in the range that the caller may end, as one change.

    730 if there is none, 733 for a reversed range (IGD-160 to IGD-164).
    """
    protocol = transport(caller.igd_version, arguments.text("NewProtocol"))
    start, end = _range(arguments)
    request = UnmapRangeRequest(
        caller.via, caller.source, protocol, start, end, everyone=arguments.flag("NewManage")
    )
    return PendingAction(request, partial(_deleted_range, caller.igd_version))


def get_generic_entry(caller: Caller, arguments: Arguments) -> Answer:
    """GetGenericPortMappingEntry. The index counts only mappings that this control point may see, so a loop over
    all entries ends with 713 and never gets 606."""
    mapping = caller.view.at(caller.source, arguments.number("NewPortMappingIndex"))
    if mapping is None:
        return Fault(713)
    return {
        "NewRemoteHost": remote_text(mapping),
        "NewExternalPort": mapping.outside_port,
        "NewProtocol": mapping.key.transport.value.upper(),
        **_entry(caller, mapping),
    }


def get_specific_entry(caller: Caller, arguments: Arguments) -> Answer:
    """GetSpecificPortMappingEntry. The mapping of another device is 606, not 714: weupnp takes 714 for a free
    port."""
    key = _key(caller, arguments)
    match caller.view.find(caller.source, key):
        case None:
            return Fault(714)
        case Refused() as refused:
            return fault_of(caller.igd_version, refused)
        case found:
            return _entry(caller, found)


def get_list_of_port_mappings(caller: Caller, arguments: Arguments) -> Answer:
    """GetListOfPortMappings: visible mappings of a range by external port, at most NewNumberOfPorts (0: all).

    730 if there is none (IGD-165 to IGD-169).
    """
    protocol = transport(caller.igd_version, arguments.text("NewProtocol"))
    start, end = _range(arguments)
    mappings = caller.view.in_range(
        caller.source, protocol, start, end, arguments.flag("NewManage"), arguments.number("NewNumberOfPorts")
    )
    if not mappings:
        return Fault(730)
    return {
        "NewPortListing": build_port_listing(zip(mappings, caller.view.lefts_s(mappings, caller.via), strict=True))
    }


def _entry(caller: Caller, mapping: Mapping) -> Values:
    return {
        "NewInternalPort": mapping.internal.port,
        "NewInternalClient": str(mapping.internal.address),
        "NewEnabled": mapping.enabled,
        "NewPortMappingDescription": mapping.description,
        "NewLeaseDuration": caller.view.left_s(mapping, caller.via),
    }


def _map_request(caller: Caller, arguments: Arguments, choice: PortChoice) -> MapRequest:
    igd_version = caller.igd_version
    protocol = transport(igd_version, arguments.text("NewProtocol"))
    client = internal_client(igd_version, arguments.text("NewInternalClient"))
    internal_port = arguments.number("NewInternalPort")
    if internal_port == 0:
        raise (
            InvalidArgument(732) if igd_version is IgdVersion.IGD2 else InvalidArgument(402, "NewInternalPort is 0")
        )
    remote = remote_host(igd_version, arguments.text("NewRemoteHost"))
    external_port = arguments.number("NewExternalPort")
    if external_port == 0 and choice is PortChoice.EXACT:
        raise InvalidArgument(716)  # a wildcard would take every port that is not mapped (IGD-121)
    return MapRequest(
        via=caller.via,
        source=caller.source,
        transport=protocol,
        internal=Endpoint(client, internal_port),
        external_port=external_port,
        choice=choice,
        lifetime_s=_lifetime(igd_version, arguments.number("NewLeaseDuration")),
        remote=remote,
        enabled=arguments.flag("NewEnabled"),
        description=description(arguments.text("NewPortMappingDescription")),
    )


def _lifetime(igd_version: IgdVersion, requested_s: int) -> int | None:
    """0 means as long as possible in both versions: clients that request 0 do not renew (docs/decisions/0004)."""
    if requested_s == 0:
        return None
    return min(requested_s, LEASE_MAX_V2) if igd_version is IgdVersion.IGD2 else requested_s


def _key(caller: Caller, arguments: Arguments) -> MappingKey:
    protocol = transport(caller.igd_version, arguments.text("NewProtocol"))
    remote = remote_host(caller.igd_version, arguments.text("NewRemoteHost"))
    return MappingKey(protocol, None, arguments.number("NewExternalPort"), remote)


def _range(arguments: Arguments) -> tuple[int, int]:
    start, end = arguments.number("NewStartPort"), arguments.number("NewEndPort")
    if start > end:
        raise InvalidArgument(733)
    return start, end


def _added(igd_version: IgdVersion, reply: Reply) -> Answer:
    return fault_of(igd_version, reply) if isinstance(reply, Refused) else {}


def _added_any(igd_version: IgdVersion, reply: Reply) -> Answer:
    match reply:
        case Refused():
            return fault_of(igd_version, reply, ANY_CONFLICT)
        case Granted():
            return {"NewReservedPort": reply.mapping.outside_port}
        case Removed():
            raise TypeError("a mapping was asked for, not a removal")


def _deleted(igd_version: IgdVersion, reply: Reply) -> Answer:
    return fault_of(igd_version, reply) if isinstance(reply, Refused) else {}


def _deleted_range(igd_version: IgdVersion, reply: Reply) -> Answer:
    if isinstance(reply, Refused):
        return fault_of(igd_version, reply, NOTHING_IN_RANGE)
    return {} if isinstance(reply, Removed) and reply.mappings else Fault(730)
