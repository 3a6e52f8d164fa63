"""WANIPv6FirewallControl:1 (IGD section 5.5): pinholes to IPv6 addresses of the LAN.

The gate decides about every valid request. A pinhole that was made over PCP is the same pinhole. The UniqueID of a
pinhole never changes, also over restarts. Arguments are checked in the order of their codes, so that the fault is
the most specific one.
"""

from collections.abc import Callable
from functools import partial
from ipaddress import AddressValueError, IPv6Address, IPv6Network

from upnp_gw.model.mapping import Endpoint, Mapping, Transport
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Refused, Reply, UnmapRequest
from upnp_gw.protocols.igd.arguments import SPACE, Arguments, InvalidArgument
from upnp_gw.protocols.igd.engine import Answer, Caller, CountedAnswer, Outcome, PendingAction, ServiceRows
from upnp_gw.protocols.igd.faults import Fault, fault_of

ANY_PROTOCOL = 65535
LEASE_MAX_S = 86400
UI4_MAX = 2**32 - 1
ANYONE = frozenset({"", "*", "::"})
"""Remote hosts that mean anyone. The standard has the empty string, which some clients cannot send."""
CODES = {
    Refusal.QUOTA: 701,
    Refusal.TABLE_FULL: 701,
    Refusal.NO_PORT: 701,
    Refusal.CONFLICT: 701,
    Refusal.CONFLICT_OTHER: 701,
    Refusal.SAME_PORT: 701,
    Refusal.NO_SUCH: 704,
    Refusal.UNSUPPORTED: 703,
    Refusal.RATE: 606,
}
"""Codes of this service that differ from WANIPConnection:2."""

Found = Callable[[Caller, Mapping, Arguments], Outcome]


def get_firewall_status(caller: Caller, _: Arguments) -> Answer:
    """GetFirewallStatus: answered in any state (IGD-210). Tables of other programs count too (decision 19)."""
    firewall = caller.view.ipv6_firewall()
    return {"FirewallEnabled": firewall.enabled, "InboundPinholeAllowed": firewall.pinholes}


def get_outbound_pinhole_timeout(caller: Caller, arguments: Arguments) -> Answer:
    """GetOutboundPinholeTimeout: the timeout of connection tracking for flows that a LAN host began; the same for
    all hosts."""
    if not caller.view.ipv6_firewall().enabled:
        return Fault(702)
    transport = Transport.of_number(arguments.number("Protocol"))
    if transport is None:
        return Fault(705)
    return {"OutboundPinholeTimeout": min(caller.view.idle_timeout_s(transport), UI4_MAX)}


def add_pinhole(caller: Caller, arguments: Arguments) -> Outcome:
    """AddPinhole. The same five-tuple again renews the pinhole and returns its UniqueID (IGD-212)."""
    if closed := _closed(caller):
        return closed
    client = _internal_client(arguments.text("InternalClient"))
    transport = _transport(arguments.number("Protocol"))
    if (port := arguments.number("InternalPort")) == 0:
        return Fault(706)
    request = MapRequest(
        via=caller.via,
        source=caller.source,
        transport=transport,
        internal=Endpoint(client, port),
        external_port=port,
        choice=PortChoice.EXACT,
        lifetime_s=_lease_s("LeaseTime", arguments),
        remote=_remote_host(arguments.text("RemoteHost")),
        remote_port=arguments.number("RemotePort"),
        keep_description=True,
    )
    return PendingAction(request, partial(_added, caller))


def update_pinhole(caller: Caller, mapping: Mapping, arguments: Arguments) -> PendingAction:
    """UpdatePinhole. The new lease begins now. A pinhole that has just ended is not made again."""
    request = MapRequest(
        via=caller.via,
        source=caller.source,
        transport=mapping.key.transport,
        internal=mapping.internal,
        external_port=mapping.internal.port,
        choice=PortChoice.EXACT,
        lifetime_s=_lease_s("NewLeaseTime", arguments),
        remote=mapping.key.remote,
        remote_port=mapping.key.remote_port,
        keep_description=True,
        standing_only=True,
    )
    return PendingAction(request, partial(_done, caller))


def delete_pinhole(caller: Caller, mapping: Mapping, _: Arguments) -> PendingAction:
    """DeletePinhole (IGD-217)."""
    return PendingAction(UnmapRequest(caller.via, caller.source, mapping.key), partial(_done, caller))


def get_pinhole_packets(caller: Caller, mapping: Mapping, _: Arguments) -> CountedAnswer:
    """GetPinholePackets: packets since the pinhole was made, at most 2^32-1 (IGD-218)."""
    return CountedAnswer(lambda: {"PinholePackets": min(caller.view.packets(mapping), UI4_MAX)})


def check_pinhole_working(caller: Caller, mapping: Mapping, _: Arguments) -> CountedAnswer:
    """CheckPinholeWorking: true if a packet came through; else a fault, because it is not known (IGD-218)."""
    return CountedAnswer(lambda: {"IsWorking": True} if caller.view.packets(mapping) else Fault(709))


def on_pinhole(action: Found) -> Callable[[Caller, Arguments], Outcome]:
    """An action on the pinhole with the given UniqueID."""

    def find_first(caller: Caller, arguments: Arguments) -> Outcome:
        if closed := _closed(caller):
            return closed
        match caller.view.pinhole(caller.source, arguments.number("UniqueID")):
            case None:
                return Fault(704)
            case Refused() as refused:
                return fault_of(caller.igd_version, refused, CODES)
            case found:
                return action(caller, found, arguments)

    return find_first


def _closed(caller: Caller) -> Fault | None:
    firewall = caller.view.ipv6_firewall()
    if not firewall.enabled:
        return Fault(702, "nothing filters IPv6 here, no pinhole is needed")
    return None if firewall.pinholes else Fault(703, "another firewall on the gateway drops traffic to pinholes")


def _internal_client(text: str) -> IPv6Address:
    word = text.strip(SPACE)
    if not word:
        raise InvalidArgument(708)
    return _address("InternalClient", word)


def _remote_host(text: str) -> IPv6Network | None:
    word = text.strip(SPACE)
    return None if word in ANYONE else IPv6Network(_address("RemoteHost", word))


def _address(name: str, word: str) -> IPv6Address:
    """An address literal without a zone; no name is resolved (SR-16)."""
    try:
        address = IPv6Address(word)
    except AddressValueError:
        raise InvalidArgument(600, f"{name} is not an IPv6 address") from None
    if address.scope_id is not None:
        raise InvalidArgument(600, f"{name} has a zone")
    return address


def _transport(number: int) -> Transport:
    if number == ANY_PROTOCOL:
        raise InvalidArgument(707)
    if (transport := Transport.of_number(number)) is None:
        raise InvalidArgument(705)
    return transport


def _lease_s(name: str, arguments: Arguments) -> int:
    """1 to 86400 seconds, else 402, as in both known implementations."""
    lease_s = arguments.number(name)
    if not 1 <= lease_s <= LEASE_MAX_S:
        raise InvalidArgument(402, f"{name} is not 1 to {LEASE_MAX_S}")
    return lease_s


def _added(caller: Caller, reply: Reply) -> Answer:
    match reply:
        case Granted(mapping):
            return {"UniqueID": mapping.unique_id}
        case Refused():
            return fault_of(caller.igd_version, reply, CODES)
    raise TypeError("a pinhole was asked for, not a removal")


def _done(caller: Caller, reply: Reply) -> Answer:
    return fault_of(caller.igd_version, reply, CODES) if isinstance(reply, Refused) else {}


ROWS = ServiceRows(
    actions={
        "GetFirewallStatus": get_firewall_status,
        "GetOutboundPinholeTimeout": get_outbound_pinhole_timeout,
        "AddPinhole": add_pinhole,
        "UpdatePinhole": on_pinhole(update_pinhole),
        "DeletePinhole": on_pinhole(delete_pinhole),
        "GetPinholePackets": on_pinhole(get_pinhole_packets),
        "CheckPinholeWorking": on_pinhole(check_pinhole_working),
    },
    variables={
        "FirewallEnabled": lambda caller: caller.view.ipv6_firewall().enabled,
        "InboundPinholeAllowed": lambda caller: caller.view.ipv6_firewall().pinholes,
    },
)
