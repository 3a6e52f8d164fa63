"""Sockets of rtnetlink: one that receives events, one that sends requests and waits for the answers.

They see the net namespace in which they were made, whatever /sys shows.
"""

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REPLACE,
    InterruptedDump,
    NetlinkSocket,
    attribute,
    enlarge_receive_buffer,
)
from upnp_gw.system.rtnetlink import (
    ADDRESS,
    IFLA_IFNAME,
    LINK,
    NDA_DST,
    NDA_LLADDR,
    NEIGHBOUR,
    NTF_USE,
    ROUTE,
    RTA_DST,
    RTA_IIF,
    RTA_OIF,
    RTA_SRC,
    AddressMessage,
    LinkMessage,
    Message,
    MessageType,
    NeighbourMessage,
    NeighbourState,
    RouteMessage,
    RouteReply,
    parse_one,
    parse_route_reply,
)

M = TypeVar("M", LinkMessage, AddressMessage, NeighbourMessage, RouteMessage)
Parse = Callable[[int, bytes], Message | None]

GROUPS = 0x1 | 0x4 | 0x10 | 0x100
"""Multicast groups: links, neighbours, IPv4 and IPv6 addresses."""
ROUTE_GROUPS = 0x40 | 0x400
"""IPv4 and IPv6 routes."""

DUMP_TRIES = 5
NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL, errno.EXDEV})
"""Also for unreachable, prohibit and blackhole routes, and a source that the filter of reverse paths refuses."""


def event_socket(receive_bytes: int, routes: bool = False) -> socket.socket:
    """A non-blocking socket that receives the events of links, addresses and neighbours; with ``routes``, of routes
    too."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        enlarge_receive_buffer(sock, receive_bytes)
        sock.bind((0, GROUPS | (ROUTE_GROUPS if routes else 0)))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class Rtnetlink(NetlinkSocket):
    """Sends requests to the kernel and waits for the answers: 0.02 to 0.05 ms each. In the net namespace where it
    was made.

    Every method raises OSError with the kernel's errno.
    """

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    def links(self) -> list[LinkMessage]:
        return self._dump(MessageType.GETLINK, bytes(LINK.size), LinkMessage)

    def addresses(self) -> list[AddressMessage]:
        """IPv4 and IPv6, each link's in the kernel's order."""
        return self._dump(MessageType.GETADDR, bytes(ADDRESS.size), AddressMessage)

    def neighbours(self) -> list[NeighbourMessage]:
        return self._dump(MessageType.GETNEIGH, bytes(NEIGHBOUR.size), NeighbourMessage)

    def default_routes(self) -> list[RouteMessage]:
        """The default routes of the main table, IPv4 and IPv6."""
        return self._dump(MessageType.GETROUTE, bytes(ROUTE.size), RouteMessage)

    def interface_to(self, address: IPAddress, source: IPAddress | None = None, inward: int = 0) -> int:
        """The index of the link by which the kernel sends to this address; 0: it has no route.

        ``source`` and ``inward``: of packets that it forwards, their source and the index of the link on which
        they come in.
        """
        length = address.max_prefixlen
        body = ROUTE.pack(_family(address), length, length if source else 0, *bytes(6))
        body += attribute(RTA_DST, address.packed)
        if source is not None:
            body += attribute(RTA_SRC, source.packed) + attribute(RTA_IIF, inward.to_bytes(4, sys.byteorder))
        try:
            messages = list(self._parsed(MessageType.GETROUTE, NLM_F_ACK, body, parse_route_reply))
        except OSError as error:
            if error.errno in NO_ROUTE:
                return 0
            raise
        return next((message.index for message in messages if isinstance(message, RouteReply)), 0)

    def gateway_to(self, address: IPAddress, outward: int) -> IPAddress | None:
        """The router to which the kernel sends for this address by the link of index ``outward``; None: it has no
        route there, or the link has no routers (point to point)."""
        body = ROUTE.pack(_family(address), address.max_prefixlen, 0, *bytes(6))
        body += attribute(RTA_DST, address.packed) + attribute(RTA_OIF, outward.to_bytes(4, sys.byteorder))
        try:
            messages = list(self._parsed(MessageType.GETROUTE, NLM_F_ACK, body, parse_route_reply))
        except OSError as error:
            if error.errno in NO_ROUTE:
                return None
            raise
        return next((message.gateway for message in messages if isinstance(message, RouteReply)), None)

    def link(self, name: str) -> LinkMessage | None:
        """The link of this name with its counters; None: there is none."""
        body = bytes(LINK.size) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        return self._get(MessageType.GETLINK, body, LinkMessage)

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None:
        """The kernel's entry for this address on this link; None: there is none."""
        body = NEIGHBOUR.pack(_family(address), index, 0, 0, 0) + attribute(NDA_DST, address.packed)
        return self._get(MessageType.GETNEIGH, body, NeighbourMessage)

    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None:
        """Makes the kernel ask the host of an existing entry by unicast. ``mac``: sets the entry to this host
        first."""
        if mac is not None:
            # An entry that is in PROBE already keeps its timer, and its count of probes: the kernel would ask the
            # new host up to a second later. The state STALE between them ends both.
            self._set_entry(address, index, NeighbourState.STALE, mac)
        self._set_entry(address, index, NeighbourState.PROBE, mac)

    def _set_entry(self, address: IPAddress, index: int, state: NeighbourState, mac: str | None) -> None:
        body = NEIGHBOUR.pack(_family(address), index, state, 0, 0) + attribute(NDA_DST, address.packed)
        if mac is not None:
            body += attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
        self._ask(MessageType.NEWNEIGH, NLM_F_REPLACE | NLM_F_CREATE if mac else NLM_F_REPLACE, body)

    def resolve(self, address: IPAddress, index: int) -> None:
        """Makes the kernel find the host of an address without a valid entry, by broadcast or multicast."""
        body = NEIGHBOUR.pack(_family(address), index, NeighbourState.INCOMPLETE, NTF_USE, 0)
        self._ask(MessageType.NEWNEIGH, NLM_F_CREATE, body + attribute(NDA_DST, address.packed))

    def _dump(self, kind: int, body: bytes, of: type[M]) -> list[M]:
        """The entries. If the table changes during each try, those of the last one: events report the changes."""
        messages: list[Message] = []
        for _ in range(DUMP_TRIES):
            messages.clear()
            try:
                messages.extend(self._parsed(kind, NLM_F_DUMP, body))
            except InterruptedDump:
                continue
            break
        return [message for message in messages if isinstance(message, of)]

    def _get(self, kind: int, body: bytes, of: type[M]) -> M | None:
        """The one reply; None if the kernel has no such entry."""
        try:
            return next((message for message in self._ask(kind, 0, body) if isinstance(message, of)), None)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return None
            raise

    def _ask(self, kind: int, flags: int, body: bytes) -> list[Message]:
        return list(self._parsed(kind, NLM_F_ACK | flags, body))

    def _parsed(self, kind: int, flags: int, body: bytes, read: Parse = parse_one) -> Iterator[Message]:
        for reply in self.exchange(kind, flags, body):
            message = read(reply.kind, reply.body)
            if message is not None:
                yield message


def _family(address: IPAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
