"""Parses the few rtnetlink messages that the gateway needs (linux/rtnetlink.h). Pure.

A library would cost too much: a host on the LAN can cause thousands of neighbour events a second. pyroute2 takes
0.56 ms for an event, 56 ms for a dump of 1,000 neighbours and 0.3 s to import; this takes 0.03 ms, 9 ms and nothing
(measured).

``parse`` accepts any bytes: it skips messages that it does not understand.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.netlink import parse_attributes, parse_messages


class MessageType(IntEnum):
    """linux/rtnetlink.h and linux/netlink.h."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22
    NEWROUTE = 24
    DELROUTE = 25
    GETROUTE = 26
    NEWNEIGH = 28
    DELNEIGH = 29
    GETNEIGH = 30


class NeighbourState(IntFlag):
    """States of a neighbour entry (linux/neighbour.h)."""

    INCOMPLETE = 0x01
    REACHABLE = 0x02
    STALE = 0x04
    DELAY = 0x08
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80


KNOWN = (
    NeighbourState.REACHABLE
    | NeighbourState.STALE
    | NeighbourState.DELAY
    | NeighbourState.PROBE
    | NeighbourState.PERMANENT
)
"""States in which the MAC address of an entry is valid."""

LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBi")
NEIGHBOUR = struct.Struct("=BxxxiHBB")
ROUTE = struct.Struct("=BBBBBBBBI")
COUNTERS = struct.Struct("=4Q")

IFF_UP, IFF_LOOPBACK, IFF_RUNNING, IFF_NOARP = 0x1, 0x8, 0x40, 0x80
IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_STATS64 = 1, 3, 5, 10, 18, 23
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_SECONDARY, IFA_F_OPTIMISTIC, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x1, 0x4, 0x8, 0x20, 0x40
IFA_F_PERMANENT = 0x80
NDA_DST, NDA_LLADDR = 1, 2
NTF_USE, NTF_PROXY = 0x1, 0x8
RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH, RTA_TABLE = 1, 2, 3, 4, 5, 6, 9, 15
RTN_UNICAST, RT_TABLE_MAIN = 1, 254


@dataclass(frozen=True, slots=True)
class LinkMessage:
    deleted: bool
    index: int
    name: str
    up: bool
    """IFF_UP and IFF_RUNNING: switched on, with carrier."""
    kind: str = ""
    """``bridge``, ``vlan``, ``wireguard``, ...; empty for a physical one."""
    master: int = 0
    """Index of the bridge or bond that it is a port of."""
    counters: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Bytes sent, bytes received, packets sent, packets received."""
    has_macs: bool = True
    """True if its hosts have MAC addresses (neither IFF_NOARP nor IFF_LOOPBACK)."""
    parent: int = 0
    """Index of the interface below a VLAN or macvlan. For a veth: its peer, maybe in another net namespace."""
    mac: str | None = None
    """Its own MAC address; None: it has none."""


@dataclass(frozen=True, slots=True)
class AddressMessage:
    deleted: bool
    index: int
    address: IPv4Interface | IPv6Interface
    usable: bool
    """False while duplicate address detection runs or has failed, and once the address is deprecated."""
    secondary: bool
    scope: int
    permanent: bool = True
    """False: it has an end, as one from DHCP or a router advertisement."""


@dataclass(frozen=True, slots=True)
class NeighbourMessage:
    deleted: bool
    index: int
    address: IPAddress
    mac: str | None
    state: int
    """One of ``NeighbourState``."""


@dataclass(frozen=True, slots=True)
class RouteMessage:
    """A default route of the main table."""

    family: int
    index: int
    metric: int


@dataclass(frozen=True, slots=True)
class RouteReply:
    """The link by which the kernel sends to an address, and the router there."""

    index: int
    gateway: IPAddress | None = None
    """None: the address is on the link itself, or the route has several hops."""


Message = LinkMessage | AddressMessage | NeighbourMessage | RouteMessage | RouteReply


def parse(data: bytes) -> Iterator[Message]:
    """The messages of a datagram that this module understands."""
    for raw in parse_messages(data):
        message = parse_one(raw.kind, raw.body)
        if message is not None:
            yield message


def parse_one(kind: int, body: bytes) -> Message | None:
    reader = READERS.get(kind)
    if reader is None:
        return None
    layout, read = reader
    if len(body) < layout.size:
        return None
    return read(kind, layout.unpack_from(body), parse_attributes(body, layout.size))


def _link(kind: int, fields: tuple[int, ...], attributes: dict[int, bytes]) -> LinkMessage | None:
    family, _, index, flags, _ = fields
    name = attributes.get(IFLA_IFNAME)
    # AF_BRIDGE messages are about a bridge's port; its DELLINK does not mean that the interface has ended
    if family != socket.AF_UNSPEC or name is None:
        return None
    up = flags & IFF_UP and flags & IFF_RUNNING
    info = parse_attributes(attributes.get(IFLA_LINKINFO, b""))
    stats = attributes.get(IFLA_STATS64, b"")
    received, sent, received_bytes, sent_bytes = (
        COUNTERS.unpack_from(stats) if len(stats) >= COUNTERS.size else (0,) * 4
    )
    return LinkMessage(
        kind == MessageType.DELLINK,
        index,
        _text(name),
        bool(up),
        _text(info.get(IFLA_INFO_KIND, b"")),
        _number(attributes.get(IFLA_MASTER)),
        (sent_bytes, received_bytes, sent, received),
        not flags & (IFF_NOARP | IFF_LOOPBACK),
        _number(attributes.get(IFLA_LINK)),
        _mac(attributes.get(IFLA_ADDRESS, b"")),
    )


def _address(kind: int, fields: tuple[int, ...], attributes: dict[int, bytes]) -> AddressMessage | None:
    _, prefix, flags, scope, index = fields
    # on a point-to-point link (ppp0) IFA_ADDRESS is the peer's address
    address = ip(attributes.get(IFA_LOCAL, attributes.get(IFA_ADDRESS, b"")))
    if address is None or prefix > address.max_prefixlen:
        return None
    flags = _number(attributes.get(IFA_FLAGS)) or flags
    waiting = flags & IFA_F_TENTATIVE and not flags & IFA_F_OPTIMISTIC
    return AddressMessage(
        kind == MessageType.DELADDR,
        index,
        IPv4Interface((address, prefix)) if isinstance(address, IPv4Address) else IPv6Interface((address, prefix)),
        not (waiting or flags & (IFA_F_DADFAILED | IFA_F_DEPRECATED)),
        bool(flags & IFA_F_SECONDARY),
        scope,
        bool(flags & IFA_F_PERMANENT),
    )


def _neighbour(kind: int, fields: tuple[int, ...], attributes: dict[int, bytes]) -> NeighbourMessage | None:
    family, index, state, flags, _ = fields
    address = ip(attributes.get(NDA_DST, b""))
    if family not in (socket.AF_INET, socket.AF_INET6) or address is None or flags & NTF_PROXY:
        return None
    mac = _mac(attributes.get(NDA_LLADDR, b""))
    return NeighbourMessage(kind == MessageType.DELNEIGH, index, address, mac, state)


def _route(kind: int, fields: tuple[int, ...], attributes: dict[int, bytes]) -> RouteMessage | None:
    family, to, _, _, table, _, _, route_type, _ = fields
    table = _number(attributes.get(RTA_TABLE)) or table
    if to != 0 or table != RT_TABLE_MAIN or route_type != RTN_UNICAST:
        return None
    return RouteMessage(family, _out(attributes), _number(attributes.get(RTA_PRIORITY)))


def _out(attributes: dict[int, bytes]) -> int:
    """The link of a route, or of the first of its hops."""
    index = _number(attributes.get(RTA_OIF))
    hops = attributes.get(RTA_MULTIPATH, b"")
    return struct.unpack_from("=i", hops, 4)[0] if not index and len(hops) >= 8 else index


def parse_route_reply(kind: int, body: bytes) -> RouteReply | None:
    """Parses the answer to ``Rtnetlink.interface_to``."""
    if kind != MessageType.NEWROUTE or len(body) < ROUTE.size or ROUTE.unpack_from(body)[7] != RTN_UNICAST:
        return None
    attributes = parse_attributes(body, ROUTE.size)
    return RouteReply(_out(attributes), ip(attributes.get(RTA_GATEWAY, b"")))


def has_route_messages(data: bytes) -> bool:
    """True for a datagram that reports a changed route."""
    return any(raw.kind in (MessageType.NEWROUTE, MessageType.DELROUTE) for raw in parse_messages(data))


READERS: dict[int, tuple[struct.Struct, Callable[[int, tuple[int, ...], dict[int, bytes]], Message | None]]] = {
    MessageType.NEWLINK.value: (LINK, _link),
    MessageType.DELLINK.value: (LINK, _link),
    MessageType.NEWADDR.value: (ADDRESS, _address),
    MessageType.DELADDR.value: (ADDRESS, _address),
    MessageType.NEWROUTE.value: (ROUTE, _route),
    MessageType.NEWNEIGH.value: (NEIGHBOUR, _neighbour),
    MessageType.DELNEIGH.value: (NEIGHBOUR, _neighbour),
}


def ip(packed: bytes) -> IPAddress | None:
    """The address of 4 or 16 bytes."""
    if len(packed) == 4:
        return IPv4Address(packed)
    return IPv6Address(packed) if len(packed) == 16 else None


def _mac(packed: bytes) -> str | None:
    return packed.hex(":") if len(packed) == 6 and any(packed) else None


def _number(payload: bytes | None) -> int:
    return int(struct.unpack_from("=I", payload)[0]) if payload and len(payload) >= 4 else 0


def _text(payload: bytes) -> str:
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")
