"""Connection tracking: finds the flows of a mapping and ends them. Packing and parsing are pure.

The kernel filters the entries that it sends (``conntrack_dumps``). It may send more than was asked for, so every
entry is checked again here. Values are those of linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import logging
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.conntrack_dumps import (
    CTA_IP_V4_DST,
    CTA_IP_V4_SRC,
    CTA_PROTO_DST_PORT,
    CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT,
    CTA_STATUS,
    CTA_TUPLE_IP,
    CTA_TUPLE_ORIG,
    CTA_TUPLE_PROTO,
    CTA_TUPLE_REPLY,
    FlowsByKey,
    Key,
    PortSide,
    dumps_for,
    flows_by_key,
)
from upnp_gw.firewall.flows import ConntrackEntry, Flows, FlowsToEnd, FlowTuple
from upnp_gw.firewall.labels import was_let_in
from upnp_gw.firewall.netlink import SUBSYS_CONNTRACK, NfnetlinkSocket, attributes_of
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.system.netlink import Attributes, NetlinkMessage, attribute, nest, parse_attributes

log = logging.getLogger(__name__)

CT_GET, CT_DELETE, CT_STATS = 1, 2, 5
CTA_ID, CTA_ZONE, CTA_LABELS = 12, 18, 22
CTA_STATS_ENTRIES = 1
CTA_IP_V6_SRC, CTA_IP_V6_DST = 3, 4
UNKNOWN = 1 << 32
"""The number of entries where the kernel does not say it: many."""
REFUSED = (errno.EINVAL, errno.EOPNOTSUPP)
"""The errors of a kernel that does not have a filter."""

OFFLOADED_IDLE_S = 30
"""Seconds without packets after which a flow leaves a flowtable (nf_flowtable_tcp_timeout)."""
PAUSE_S = 0.005
"""Seconds between two walks over the kernel's table. During a walk over 100,000 entries its processor does nothing
else for 10 to 20 ms: no packets, no other thread, no answer of the disk."""
PEERS_MOST = 64
"""The most remote hosts in the result for one forward."""


def parse_entry(message: NetlinkMessage, wanted: FlowsByKey) -> ConntrackEntry | None:
    """The entry of a message; None if no port of it is wanted or its transport cannot be mapped."""
    attributes = attributes_of(message)
    raw, raw_reply = attributes.get(CTA_TUPLE_ORIG, b""), attributes.get(CTA_TUPLE_REPLY, b"")
    if not any(key in wanted for key in _keys_of(raw, raw_reply)):  # most entries of a full dump end here
        return None
    original, reply = parse_tuple(raw), parse_tuple(raw_reply)
    if original is None or reply is None:
        return None
    status = int.from_bytes(attributes.get(CTA_STATUS, b""), "big")
    return ConntrackEntry(original, reply, _name_of(attributes), status, attributes.get(CTA_LABELS, b""))


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


_PORTS = re.compile(rb"\x06\0[\x02\x03]\0(..)", re.DOTALL)
"""CTA_PROTO_SRC_PORT and CTA_PROTO_DST_PORT in a message as the kernel sends it."""


def _names_one_of(data: bytes, ports: frozenset[bytes]) -> bool:
    """False if no message in the data has one of these ports. So most of a dump needs no parsing."""
    return not ports.isdisjoint(_PORTS.findall(data))


def _port_values(wanted: FlowsByKey) -> frozenset[bytes]:
    return frozenset(port.to_bytes(2, "big") for _, port, _ in wanted)


def matching_entries(messages: Iterable[NetlinkMessage], wanted: FlowsByKey) -> Iterator[ConntrackEntry]:
    """The entries of a dump that are among the wanted flows."""
    ports = _port_values(wanted)
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


def end_flows(netlink: NfnetlinkSocket, flows: Sequence[FlowsToEnd]) -> int:
    """Ends the flows in the network namespace of the socket. Returns the number of ended flows.

    Blocks for the time of a walk over the kernel's table or of a few. Raises OSError. After that the socket is of
    no more use: a dump may be unfinished.
    """
    # The dumps are read to their end first, since the deletes use the same socket. Of each entry only the name is
    # kept: hosts of the internet can make as many as the kernel tracks.
    return _delete(netlink, dict.fromkeys((family, entry.name) for family, entry in _dumped(netlink, flows)))


def end_all_let_in(netlink: NfnetlinkSocket) -> int:
    """Ends every flow that a mapping or pinhole let in. Otherwise as ``end_flows``."""
    return _delete(netlink, list(_names_of_let_in(netlink)))


def _names_of_let_in(netlink: NfnetlinkSocket) -> Iterator[tuple[int, bytes]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in netlink.dump(SUBSYS_CONNTRACK, CT_GET, family):
            attributes = attributes_of(message)
            if was_let_in(attributes.get(CTA_LABELS, b"")):
                yield family, _name_of(attributes)


def _name_of(attributes: Attributes) -> bytes:
    """The attributes that name one entry, for a request to delete it."""
    name = nest(CTA_TUPLE_ORIG, attributes.get(CTA_TUPLE_ORIG, b""))
    return name + b"".join(attribute(kind, attributes[kind]) for kind in (CTA_ZONE, CTA_ID) if kind in attributes)


def _delete(netlink: NfnetlinkSocket, names: Iterable[tuple[int, bytes]]) -> int:
    """Deletes the entries with these address families and names. Returns the number of deleted ones."""
    ended = offloaded = 0
    for family, name in names:
        try:
            netlink.request(SUBSYS_CONNTRACK, CT_DELETE, family, name)
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


def remote_hosts_of(netlink: NfnetlinkSocket, forwards: Sequence[Forward]) -> dict[str, frozenset[IPAddress]]:
    """Forward id -> remote hosts with answered flows through it now, at most ``PEERS_MOST`` each.

    Blocks for the time of a walk over the kernel's table or of a few. Raises OSError, as ``end_flows`` does.
    """
    ids: dict[Flows, str] = {Flows.through(forward): forward.id for forward in forwards}
    by_port: dict[tuple[Transport, int], list[Flows]] = {}
    for flows in ids:
        by_port.setdefault((flows.transport, flows.port), []).append(flows)
    found: dict[str, set[IPAddress]] = {}
    for _, entry in _dumped(netlink, list(ids), answered=True):
        to = entry.original
        for flows in by_port[to.transport, to.destination.port] if entry.answered else ():
            peers = found.setdefault(ids[flows], set())
            if flows.include(entry) and len(peers) < PEERS_MOST:
                peers.add(to.source.address)
    return {forward_id: frozenset(peers) for forward_id, peers in found.items() if peers}


def _dumped(
    netlink: NfnetlinkSocket, flows: Sequence[FlowsToEnd], answered: bool = False
) -> Iterator[tuple[int, ConntrackEntry]]:
    """The kernel's entries that are among these flows, with their address family. One can come several times."""
    entries = _count(netlink) if flows else 0
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = flows_by_key(one for one in flows if one.family == family)
        dumps = dumps_for((one for one in flows if one.family == family), entries, answered)
        for entry in _found(netlink, family, dumps, wanted):
            yield family, entry


def _found(
    netlink: NfnetlinkSocket, family: int, dumps: Sequence[bytes], wanted: FlowsByKey
) -> Iterator[ConntrackEntry]:
    ports = _port_values(wanted)

    def dumped(requested: bytes) -> Iterator[ConntrackEntry]:
        messages = netlink.dump(
            SUBSYS_CONNTRACK, CT_GET, family, requested, lambda datagram: _names_one_of(datagram, ports)
        )
        return matching_entries(messages, wanted)

    try:
        for number, requested in enumerate(dumps):
            if number:
                time.sleep(PAUSE_S)
            yield from dumped(requested)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        log.debug("the kernel does not filter the entries of connection tracking: %s", error)
        yield from dumped(b"")


def _count(netlink: NfnetlinkSocket) -> int:
    """The number of entries of this network namespace."""
    try:
        answer = netlink.request(SUBSYS_CONNTRACK, CT_STATS, socket.AF_UNSPEC, b"")
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return UNKNOWN
    count = attributes_of(answer).get(CTA_STATS_ENTRIES) if answer is not None else None
    return UNKNOWN if count is None else int.from_bytes(count, "big")
