"""Chooses the dumps of connection tracking that find some flows, with filters that the kernel applies. Pure.

A dump walks over every bucket of the kernel's table (8 ms for 262,144 empty ones, 30 ms with 100,000 entries), and
an entry that the kernel sends costs 3 us more. So few entries are dumped at once, without a filter. Many entries
are filtered by port if there are few ports, else by what all flows of a kind have in common.

Values are those of linux/netfilter/nfnetlink_conntrack.h. A filter is a hint: Linux before 5.8 ignores CTA_FILTER,
before 5.15 CTA_STATUS_MASK, and then sends more entries.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from upnp_gw.firewall.flows import ASSURED, EarlierFlows, Flows, FlowsToEnd, OutgoingFlows
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.system.netlink import attribute, nest

CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS = 1, 2, 3
CTA_FILTER, CTA_STATUS_MASK = 25, 26
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST = 1, 2
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS = 1, 2
BY_SOURCE, BY_DESTINATION, BY_PROTOCOL, BY_SOURCE_PORT, BY_DESTINATION_PORT = 1, 2, 1 << 3, 1 << 4, 1 << 5
"""CTA_FILTER_F_*: the parts of a tuple that a filter compares."""
SEEN_REPLY, DESTINATION_TRANSLATED = 1 << 1, 1 << 5
"""IPS_SEEN_REPLY, IPS_DST_NAT."""

FEW_ENTRIES = 3000
"""At most so many entries are dumped at once: to send them costs no more than another walk."""
PORTS_MOST = 3
"""The most ports that are dumped one by one."""


class PortSide(Enum):
    """The port of a flow that a search compares."""

    TO = "destination port of the original direction"
    BACK = "destination port of the reply direction"
    FROM = "source port of the original direction"


class Group(Enum):
    """Flows that one filter can tell from most others."""

    UNTRANSLATED = "to one of our addresses, not translated"
    LET_IN = "translated by a mapping"
    LET_IN_UNTRANSLATED = "let in by a pinhole"
    TCP_OUT = "from inside over TCP, without an answer"
    UDP = "from inside over UDP"


Key = tuple[Transport, int, PortSide]
"""Transport, port number, and its side of the flow."""
FlowsByKey = Mapping[Key, Sequence[FlowsToEnd]]

SIDES = {Flows: PortSide.TO, OutgoingFlows: PortSide.BACK, EarlierFlows: PortSide.FROM}


def key_of(flows: FlowsToEnd) -> Key:
    return flows.transport, flows.port, SIDES[type(flows)]


def flows_by_key(flows: Iterable[FlowsToEnd]) -> FlowsByKey:
    """Groups the flows by transport, port and side."""
    wanted: dict[Key, list[FlowsToEnd]] = {}
    for one in flows:
        wanted.setdefault(key_of(one), []).append(one)
    return wanted


def dumps_for(flows: Iterable[FlowsToEnd], entries: int, answered: bool = False) -> list[bytes]:
    """The filter attributes of each dump that is needed to find the flows, all of one address family.

    ``entries``: how many flows the kernel tracks. ``answered``: only answered flows are wanted.
    """
    groups: dict[Group, list[FlowsToEnd]] = {}
    for one in flows:
        groups.setdefault(_group_of(one), []).append(one)
    if not groups or not entries:
        return []
    if entries <= FEW_ENTRIES:
        return [b""]
    dumps: list[bytes] = []
    for group, members in groups.items():
        dumps += _dumps_of(group, members, answered)
    return [b""] if b"" in dumps else dumps


def _group_of(flows: FlowsToEnd) -> Group:
    if not isinstance(flows, Flows):
        return Group.UDP if flows.transport is Transport.UDP else Group.TCP_OUT
    if flows.internal is None:
        return Group.UNTRANSLATED
    return Group.LET_IN if flows.translated else Group.LET_IN_UNTRANSLATED


def _dumps_of(group: Group, members: Sequence[FlowsToEnd], answered: bool) -> list[bytes]:
    ports = [dump_filter(*key) for key in dict.fromkeys(map(key_of, members))]
    few = len(ports) <= PORTS_MOST
    bits = SEEN_REPLY if answered else 0
    match group:
        case Group.UNTRANSLATED:  # the port alone would also match what LAN hosts send to that port of any server
            own = dict.fromkeys(one.address for one in members if isinstance(one, Flows))
            return (
                [untranslated_filter(address) for address in own if address is not None]
                if None not in own
                else ports
            )
        case Group.LET_IN:
            status = status_filter(bits | DESTINATION_TRANSLATED, bits | DESTINATION_TRANSLATED)
            return [port + status for port in ports] if few else [status]
        case Group.LET_IN_UNTRANSLATED:
            status = status_filter(bits, bits) if bits else b""
            return [port + status for port in ports] if few else [status]
        case Group.TCP_OUT:
            status = status_filter(0, ASSURED)
            return [ports[0] + status] if len(ports) == 1 else [transport_filter(Transport.TCP) + status]
        case Group.UDP:
            return ports if few else [transport_filter(Transport.UDP)]


def dump_filter(transport: Transport, port: int, side: PortSide = PortSide.TO) -> bytes:
    """The flows of this transport with this port."""
    from_port = side is PortSide.FROM
    proto = nest(
        CTA_TUPLE_PROTO,
        attribute(CTA_PROTO_NUM, bytes([transport.number])),
        attribute(CTA_PROTO_SRC_PORT if from_port else CTA_PROTO_DST_PORT, port.to_bytes(2, "big")),
    )
    flags = _flags(BY_PROTOCOL | (BY_SOURCE_PORT if from_port else BY_DESTINATION_PORT), side is PortSide.BACK)
    return nest(CTA_TUPLE_REPLY if side is PortSide.BACK else CTA_TUPLE_ORIG, proto) + nest(CTA_FILTER, flags)


def untranslated_filter(address: IPAddress) -> bytes:
    """The flows to this address that its own host answers."""
    to = nest(CTA_TUPLE_ORIG, nest(CTA_TUPLE_IP, attribute(CTA_IP_V4_DST, address.packed)))
    back = nest(CTA_TUPLE_REPLY, nest(CTA_TUPLE_IP, attribute(CTA_IP_V4_SRC, address.packed)))
    return to + back + nest(CTA_FILTER, _flags(BY_DESTINATION), _flags(BY_SOURCE, reply=True))


def transport_filter(transport: Transport) -> bytes:
    """The flows of this transport."""
    proto = nest(CTA_TUPLE_PROTO, attribute(CTA_PROTO_NUM, bytes([transport.number])))
    return nest(CTA_TUPLE_ORIG, proto) + nest(CTA_FILTER, _flags(BY_PROTOCOL))


def status_filter(value: int, mask: int) -> bytes:
    """The flows that have these status bits."""
    return attribute(CTA_STATUS, struct.pack("!I", value)) + attribute(CTA_STATUS_MASK, struct.pack("!I", mask))


def _flags(parts: int, reply: bool = False) -> bytes:
    return attribute(CTA_FILTER_REPLY_FLAGS if reply else CTA_FILTER_ORIG_FLAGS, struct.pack("=I", parts))
