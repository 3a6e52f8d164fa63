"""Connection tracking: find the flows of a mapping and end them. Packing and parsing are pure.

The kernel is asked with a filter and sends only what matches; one that knows no filter (before 5.8) sends
everything, so every entry is looked at again here. Values are those of linux/netfilter/nfnetlink_conntrack.h.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.netlink import (
    SUBSYS_CONNTRACK,
    Attributes,
    Message,
    NetlinkSocket,
    attribute,
    nest,
    parse_attributes,
)
from upnp_gw.model import Endpoint, IPAddress, IPNetwork, Transport

CT_GET, CT_DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_ID, CTA_ZONE, CTA_FILTER = 1, 2, 3, 12, 18, 25
CTA_TUPLE_IP, CTA_TUPLE_PROTO, CTA_TUPLE_ZONE = 1, 2, 3
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_FILTER_ORIG_FLAGS = 1
FILTER_PROTO_AND_DST_PORT = 1 << 3 | 1 << 5
ANSWERED = {Transport.TCP: 1 << 2, Transport.UDP: 1 << 1}
"""The status bit of a flow that both ends take part in: IPS_ASSURED, as a reset is a reply too; IPS_SEEN_REPLY."""

FILTERED_MOST = 8
"""Up to so many ports are asked for one by one; for more, one dump of everything is cheaper."""
PEERS_MOST = 64
"""Peers of one forward that are told."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Flows that shall end: those from outside to one external port."""

    transport: Transport
    port: int
    """The destination port as the sender sees it."""
    address: IPAddress | None
    """The destination address likewise; None: any."""
    remote: IPNetwork | None
    internal: Endpoint | None
    """Where they are translated to; None: those that are not translated at all."""
    remote_port: int = 0
    """The port that they come from; 0: any."""
    spared: tuple["Flows", ...] = ()
    """Those among them that another forward lets in go on."""

    @classmethod
    def through(cls, forward: Forward) -> "Flows":
        """The flows that this forward let in, hairpin ones among them."""
        v6 = forward.internal.address.version == 6
        port = forward.internal.port if v6 else forward.external_port
        address = forward.internal.address if v6 else forward.external_address
        return cls(forward.transport, port, address, forward.remote, forward.internal, forward.remote_port)

    @classmethod
    def untranslated(cls, forward: Forward) -> "Flows":
        """Flows to its external port from before it stood: they would keep their sender away from it."""
        port, address = forward.external_port, forward.external_address
        return cls(forward.transport, port, address, forward.remote, None, forward.remote_port)

    @property
    def family(self) -> int:
        address = self.internal.address if self.internal is not None else self.address
        return socket.AF_INET6 if address is not None and address.version == 6 else socket.AF_INET

    def include(self, entry: "Entry") -> bool:
        """True where this entry is one of them; its transport and port have been compared already."""
        to = entry.reply.source
        if self.internal is None:
            translated = to != entry.original.destination
            if translated:
                return False
        elif to != self.internal:
            return False
        if self.address is not None and entry.original.destination.address != self.address:
            return False
        if self.remote_port not in (0, entry.original.source.port):
            return False
        if self.remote is not None and entry.original.source.address not in self.remote:
            return False
        port = entry.original.destination.port
        return not any(other.port == port and other.include(entry) for other in self.spared)


class Tuple(NamedTuple):
    """One direction of a flow."""

    transport: Transport
    source: Endpoint
    destination: Endpoint


class Entry(NamedTuple):
    """One tracked flow, and what names it in a delete."""

    original: Tuple
    reply: Tuple
    name: bytes
    """The attributes tuple, zone and id as the kernel sent them."""
    status: int = 0

    @property
    def answered(self) -> bool:
        """False for a knock at a port where nobody answers."""
        return bool(self.status & ANSWERED[self.original.transport])


def parse_entry(message: Message, wanted: "Wanted") -> Entry | None:
    """None for flows to other ports than the wanted ones, and for transports that cannot be mapped."""
    attributes = message.attributes
    raw = attributes.get(CTA_TUPLE_ORIG, b"")
    proto = parse_attributes(parse_attributes(raw).get(CTA_TUPLE_PROTO, b""))
    if _port_of(proto) not in wanted:  # most entries of a full dump end here
        return None
    original, reply = parse_tuple(raw), parse_tuple(attributes.get(CTA_TUPLE_REPLY, b""))
    if original is None or reply is None:
        return None
    name = nest(CTA_TUPLE_ORIG, raw)
    name += b"".join(attribute(kind, attributes[kind]) for kind in (CTA_ZONE, CTA_ID) if kind in attributes)
    return Entry(original, reply, name, int.from_bytes(attributes.get(CTA_STATUS, b""), "big"))


def parse_tuple(data: bytes) -> Tuple | None:
    """One direction; None for anything but TCP and UDP over IP."""
    nested = parse_attributes(data)
    ip, proto = parse_attributes(nested.get(CTA_TUPLE_IP, b"")), parse_attributes(nested.get(CTA_TUPLE_PROTO, b""))
    to = _port_of(proto)
    source = ip.get(CTA_IP_V4_SRC) or ip.get(CTA_IP_V6_SRC)
    destination = ip.get(CTA_IP_V4_DST) or ip.get(CTA_IP_V6_DST)
    from_port = proto.get(CTA_PROTO_SRC_PORT)
    if to is None or not (source and destination and from_port) or {len(source), len(destination)} - {4, 16}:
        return None
    return Tuple(
        to[0],
        Endpoint(ip_address(source), int.from_bytes(from_port, "big")),
        Endpoint(ip_address(destination), to[1]),
    )


def _port_of(proto: Attributes) -> tuple[Transport, int] | None:
    transport = Transport.of_number((proto.get(CTA_PROTO_NUM) or b"\0")[0])
    port = proto.get(CTA_PROTO_DST_PORT)
    return None if transport is None or port is None else (transport, int.from_bytes(port, "big"))


def build_filter(transport: Transport, port: int) -> bytes:
    """The attributes of a dump that wants only flows of this transport to this port, as the sender sees it."""
    proto = nest(
        CTA_TUPLE_PROTO,
        attribute(CTA_PROTO_NUM, bytes([transport.number])),
        attribute(CTA_PROTO_DST_PORT, port.to_bytes(2, "big")),
    )
    flags = attribute(CTA_FILTER_ORIG_FLAGS, struct.pack("=I", FILTER_PROTO_AND_DST_PORT))
    return nest(CTA_TUPLE_ORIG, proto) + nest(CTA_FILTER, flags)


Wanted = dict[tuple[Transport, int] | None, list[Flows]]
"""By transport and port."""


def wanted_of(flows: Iterable[Flows]) -> Wanted:
    wanted: Wanted = {}
    for one in flows:
        wanted.setdefault((one.transport, one.port), []).append(one)
    return wanted


_DST_PORT = attribute(CTA_PROTO_DST_PORT, b"\0\0")[:4]


def _names_one_of(body: bytes, ports: frozenset[bytes]) -> bool:
    """False where no destination port in this message is one of these: so most of a full dump is not parsed."""
    at = body.find(_DST_PORT)
    while at >= 0:
        if body[at + 4 : at + 6] in ports:
            return True
        at = body.find(_DST_PORT, at + 1)
    return False


def find(messages: Iterable[Message], wanted: Wanted) -> Iterator[Entry]:
    """The entries of a dump that are among the wanted flows."""
    ports = frozenset(key[1].to_bytes(2, "big") for key in wanted if key is not None)
    for message in messages:
        if not _names_one_of(message.body, ports):
            continue
        entry = parse_entry(message, wanted)
        if entry is None:
            continue
        candidates = wanted[entry.original.transport, entry.original.destination.port]
        if any(flows.include(entry) for flows in candidates):
            yield entry


def end_flows(flows: Sequence[Flows]) -> int:
    """Ends them in the network namespace of the calling thread; the answer is how many there were.

    Blocks for a millisecond or a few a port. Raises OSError.
    """
    ended = 0
    with NetlinkSocket() as netlink:
        for family, entry in _dumped(netlink, flows):
            netlink.ask(SUBSYS_CONNTRACK, CT_DELETE, family, entry.name)
            ended += 1
    return ended


def peers_of(forwards: Sequence[Forward]) -> dict[str, frozenset[IPAddress]]:
    """Forward id -> who talks through it now, at most ``PEERS_MOST`` each. Blocks likewise. Raises OSError."""
    ids: dict[Flows, str] = {Flows.through(forward): forward.id for forward in forwards}
    wanted = wanted_of(ids)
    found: dict[str, set[IPAddress]] = {}
    with NetlinkSocket() as netlink:
        for _, entry in _dumped(netlink, list(ids)):
            to = entry.original
            for flows in wanted[to.transport, to.destination.port] if entry.answered else ():
                peers = found.setdefault(ids[flows], set())
                if flows.include(entry) and len(peers) < PEERS_MOST:
                    peers.add(to.source.address)
    return {forward_id: frozenset(peers) for forward_id, peers in found.items() if peers}


def _dumped(netlink: NetlinkSocket, flows: Sequence[Flows]) -> Iterator[tuple[int, Entry]]:
    """The kernel's entries that are among these flows, each with its address family."""
    for family in (socket.AF_INET, socket.AF_INET6):
        wanted = wanted_of(one for one in flows if one.family == family)
        if len(wanted) <= FILTERED_MOST:
            filters = [build_filter(*key) for key in wanted if key is not None]
        else:
            filters = [b""]
        for wish in filters:
            # to its end first: one socket, one conversation
            for entry in list(find(netlink.dump(SUBSYS_CONNTRACK, CT_GET, family, wish), wanted)):
                yield family, entry
