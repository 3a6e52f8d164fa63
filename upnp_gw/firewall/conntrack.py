"""Connection tracking: finds the flows of a mapping and ends them. Packing and parsing are pure.

The kernel filters the entries that it sends. Before 5.8 it ignores the filter and sends all, so every entry is
checked again here. Values are those of linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import logging
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from ipaddress import ip_address

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.flows import ConntrackEntry, EarlierFlows, Flows, FlowsToEnd, FlowTuple, OutgoingFlows
from upnp_gw.firewall.netlink import SUBSYS_CONNTRACK, NfnetlinkSocket, attributes_of
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.system.netlink import Attributes, NetlinkMessage, attribute, nest, parse_attributes

log = logging.getLogger(__name__)

CT_GET, CT_DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_ID, CTA_ZONE = 1, 2, 3, 12, 18
CTA_LABELS, CTA_FILTER = 22, 25
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS = 1, 2
FILTER_PROTO_AND_SRC_PORT, FILTER_PROTO_AND_DST_PORT = 1 << 3 | 1 << 4, 1 << 3 | 1 << 5

FILTERED_MOST = 8
"""The most ports that are dumped one by one. For more, one dump of everything is cheaper."""
OFFLOADED_IDLE_S = 30
"""Seconds without packets after which a flow leaves a flowtable (nf_flowtable_tcp_timeout)."""
PEERS_MOST = 64
"""The most remote hosts in the result for one forward."""


class PortSide(Enum):
    """The port of a flow that a search compares."""

    TO = "destination port of the original direction"
    BACK = "destination port of the reply direction"
    FROM = "source port of the original direction"


Key = tuple[Transport, int, PortSide]
"""Transport, port number, and its side of the flow."""
FlowsByKey = Mapping[Key, Sequence[FlowsToEnd]]


def parse_entry(message: NetlinkMessage, wanted: FlowsByKey) -> ConntrackEntry | None:
    """The entry of a message; None if no port of it is wanted or its transport cannot be mapped."""
    attributes = attributes_of(message)
    raw, raw_reply = attributes.get(CTA_TUPLE_ORIG, b""), attributes.get(CTA_TUPLE_REPLY, b"")
    if not any(key in wanted for key in _keys_of(raw, raw_reply)):  # most entries of a full dump end here
        return None
    original, reply = parse_tuple(raw), parse_tuple(raw_reply)
    if original is None or reply is None:
        return None
    name = nest(CTA_TUPLE_ORIG, raw)
    name += b"".join(attribute(kind, attributes[kind]) for kind in (CTA_ZONE, CTA_ID) if kind in attributes)
    status = int.from_bytes(attributes.get(CTA_STATUS, b""), "big")
    return ConntrackEntry(original, reply, name, status, attributes.get(CTA_LABELS, b""))


def _keys_of(original: bytes, reply: bytes) -> Iterator[Key]:
    for side, raw in ((PortSide.TO, original), (PortSide.BACK, reply), (PortSide.FROM, original)):
        proto = parse_attributes(parse_attributes(raw).get(CTA_TUPLE_PROTO, b""))
        port = _port_of(proto, CTA_PROTO_SRC_PORT if side is PortSide.FROM else CTA_PROTO_DST_PORT)
        if port is not None:
            yield (*port, side)


def parse_tuple(data: bytes) -> FlowTuple | None:
    """One direction; None for anything but TCP and UDP over IP."""
    nested = parse_attributes(data)
    ip, proto = parse_attributes(nested.get(CTA_TUPLE_IP, b"")), parse_attributes(nested.get(CTA_TUPLE_PROTO, b""))
    to = _port_of(proto)
    source = ip.get(CTA_IP_V4_SRC) or ip.get(CTA_IP_V6_SRC)
    destination = ip.get(CTA_IP_V4_DST) or ip.get(CTA_IP_V6_DST)
    from_port = proto.get(CTA_PROTO_SRC_PORT)
    if to is None or not (source and destination and from_port) or {len(source), len(destination)} - {4, 16}:
        return None
    return FlowTuple(
        to[0],
        Endpoint(ip_address(source), int.from_bytes(from_port, "big")),
        Endpoint(ip_address(destination), to[1]),
    )


def _port_of(proto: Attributes, kind: int = CTA_PROTO_DST_PORT) -> tuple[Transport, int] | None:
    transport = Transport.of_number((proto.get(CTA_PROTO_NUM) or b"\0")[0])
    port = proto.get(kind)
    return None if transport is None or port is None else (transport, int.from_bytes(port, "big"))


def dump_filter(transport: Transport, port: int, side: PortSide = PortSide.TO) -> bytes:
    """The filter attributes of a dump for the flows of this transport with this port."""
    proto = nest(
        CTA_TUPLE_PROTO,
        attribute(CTA_PROTO_NUM, bytes([transport.number])),
        attribute(CTA_PROTO_SRC_PORT if side is PortSide.FROM else CTA_PROTO_DST_PORT, port.to_bytes(2, "big")),
    )
    back = side is PortSide.BACK
    direction, flags = (
        (CTA_TUPLE_REPLY, CTA_FILTER_REPLY_FLAGS) if back else (CTA_TUPLE_ORIG, CTA_FILTER_ORIG_FLAGS)
    )
    what = FILTER_PROTO_AND_SRC_PORT if side is PortSide.FROM else FILTER_PROTO_AND_DST_PORT
    requested = attribute(flags, struct.pack("=I", what))
    return nest(direction, proto) + nest(CTA_FILTER, requested)


SIDES = {Flows: PortSide.TO, OutgoingFlows: PortSide.BACK, EarlierFlows: PortSide.FROM}


def flows_by_key(flows: Iterable[FlowsToEnd]) -> FlowsByKey:
    """Groups the flows by transport, port and side: the kernel can filter a dump by these."""
    wanted: dict[Key, list[FlowsToEnd]] = {}
    for one in flows:
        wanted.setdefault((one.transport, one.port, SIDES[type(one)]), []).append(one)
    return wanted


_HEADS = tuple(attribute(kind, b"\0\0")[:4] for kind in (CTA_PROTO_DST_PORT, CTA_PROTO_SRC_PORT))


def _names_one_of(body: bytes, ports: frozenset[bytes]) -> bool:
    """False if the message has none of these ports. So most messages of a full dump need no parsing."""
    for head in _HEADS:
        at = body.find(head)
        while at >= 0:
            if body[at + 4 : at + 6] in ports:
                return True
            at = body.find(head, at + 1)
    return False


def matching_entries(messages: Iterable[NetlinkMessage], wanted: FlowsByKey) -> Iterator[ConntrackEntry]:
    """The entries of a dump that are among the wanted flows."""
    ports = frozenset(port.to_bytes(2, "big") for _, port, _ in wanted)
    for message in messages:
        if not _names_one_of(message.body, ports):
            continue
        entry = parse_entry(message, wanted)
        if entry is None:
            continue
        to, back = entry.original, entry.reply.destination
        candidates = (
            *wanted.get((to.transport, to.destination.port, PortSide.TO), ()),
            *wanted.get((to.transport, back.port, PortSide.BACK), ()),
            *wanted.get((to.transport, to.source.port, PortSide.FROM), ()),
        )
        if any(flows.include(entry) for flows in candidates):
            yield entry


def end_flows(flows: Sequence[FlowsToEnd]) -> int:
    """Ends the flows in the network namespace of the calling thread. Returns the number of ended flows.

    Blocks for a few milliseconds per port. Raises OSError.
    """
    ended = offloaded = 0
    with NfnetlinkSocket() as netlink:
        for family, entry in _dumped(netlink, flows):
            try:
                netlink.request(SUBSYS_CONNTRACK, CT_DELETE, family, entry.name)
                ended += 1
            except OSError as error:
                if error.errno != errno.EBUSY:  # EBUSY: a flowtable has the flow
                    raise
                offloaded += 1
    if offloaded:
        log.warning(
            "%d flow(s) of ended mappings go on until they pause for %d s: another table offloads them (flowtable),"
            " and this kernel cannot delete offloaded flows",
            offloaded,
            OFFLOADED_IDLE_S,
        )
    return ended


def remote_hosts_of(forwards: Sequence[Forward]) -> dict[str, frozenset[IPAddress]]:
    """Forward id -> remote hosts with answered flows through it now, at most ``PEERS_MOST`` each.

    Blocks for a few milliseconds per port. Raises OSError.
    """
    ids: dict[Flows, str] = {Flows.through(forward): forward.id for forward in forwards}
    by_port: dict[tuple[Transport, int], list[Flows]] = {}
    for flows in ids:
        by_port.setdefault((flows.transport, flows.port), []).append(flows)
    found: dict[str, set[IPAddress]] = {}
    with NfnetlinkSocket() as netlink:
        for _, entry in _dumped(netlink, list(ids)):
            to = entry.original
            for flows in by_port[to.transport, to.destination.port] if entry.answered else ():
                peers = found.setdefault(ids[flows], set())
                if flows.include(entry) and len(peers) < PEERS_MOST:
                    peers.add(to.source.address)
    return {forward_id: frozenset(peers) for forward_id, peers in found.items() if peers}


def _dumped(netlink: NfnetlinkSocket, flows: Sequence[FlowsToEnd]) -> Iterator[tuple[int, ConntrackEntry]]:
    """The kernel's entries that are among these flows, each with its address family."""
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = flows_by_key(one for one in flows if one.family == family)
        filters = [dump_filter(*key) for key in wanted] if len(wanted) <= FILTERED_MOST else [b""]
        for requested in filters:
            # the dump is read to its end first, since the caller sends deletes on the same socket
            for entry in list(matching_entries(netlink.dump(SUBSYS_CONNTRACK, CT_GET, family, requested), wanted)):
                yield family, entry
