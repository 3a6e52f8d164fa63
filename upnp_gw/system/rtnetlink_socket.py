"""Sockets to the kernel's rtnetlink: one that hears events, one that asks and waits.

They see the net namespace in which they were made, whatever /sys shows.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.rtnetlink import (
    ADDRESS,
    HEADER,
    IFLA_IFNAME,
    LINK,
    NDA_DST,
    NDA_LLADDR,
    NEIGHBOUR,
    NTF_USE,
    ROUTE,
    RTA_DST,
    AddressMessage,
    LinkMessage,
    Message,
    MessageType,
    NeighbourMessage,
    NeighbourState,
    RouteMessage,
    RouteReply,
    attribute,
    parse_one,
    parse_way,
    split,
)

M = TypeVar("M", LinkMessage, AddressMessage, NeighbourMessage, RouteMessage)
Parse = Callable[[int, bytes], Message | None]

GROUPS = 0x1 | 0x4 | 0x10 | 0x100
"""Multicast groups: links, neighbours, IPv4 and IPv6 addresses."""
ROUTE_GROUPS = 0x40 | 0x400
"""IPv4 and IPv6 routes."""

REQUEST, ACK, ROOT_MATCH, REPLACE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
DUMP_INTERRUPTED = 0x10
SO_RCVBUFFORCE = 33
ANSWER_BYTES = 1 << 18
ANSWER_S = 5.0
DUMP_TRIES = 5


def event_socket(receive_bytes: int, routes: bool = False) -> socket.socket:
    """A non-blocking socket that hears of links, addresses and neighbours from now on, and of ``routes``."""
    sock = _socket()
    try:
        # RCVBUFFORCE needs CAP_NET_ADMIN; without it the sysctl's limit holds, and a full read comes sooner
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        with suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_bytes)
        sock.bind((0, GROUPS | (ROUTE_GROUPS if routes else 0)))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


class Rtnetlink:
    """Asks the kernel and waits for its answer: 0.02-0.05 ms a question. In the net namespace where it was made.

    Every method raises OSError with the kernel's errno.
    """

    def __init__(self) -> None:
        self._socket = _socket()
        self._socket.settimeout(ANSWER_S)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def links(self) -> list[LinkMessage]:
        return self._dump(MessageType.GETLINK, bytes(LINK.size), LinkMessage)

    def addresses(self) -> list[AddressMessage]:
        """IPv4 and IPv6, each link's in the kernel's order."""
        return self._dump(MessageType.GETADDR, bytes(ADDRESS.size), AddressMessage)

    def neighbours(self) -> list[NeighbourMessage]:
        return self._dump(MessageType.GETNEIGH, bytes(NEIGHBOUR.size), NeighbourMessage)

    def default_routes(self) -> list[RouteMessage]:
        """Of the main table, IPv4 and IPv6."""
        return self._dump(MessageType.GETROUTE, bytes(ROUTE.size), RouteMessage)

    def way_to(self, address: IPAddress) -> int:
        """The index of the link by which the kernel sends to this address; 0: it has no way."""
        body = ROUTE.pack(_family(address), address.max_prefixlen, *bytes(7)) + attribute(RTA_DST, address.packed)
        try:
            found, _ = self._exchange(MessageType.GETROUTE, REQUEST | ACK, body, parse_way)
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return 0  # unreachable, prohibit and blackhole routes among them
            raise
        return next((message.index for message in found if isinstance(message, RouteReply)), 0)

    def link(self, name: str) -> LinkMessage | None:
        """One link with its counters; None where there is none of this name."""
        body = bytes(LINK.size) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        return self._get(MessageType.GETLINK, body, LinkMessage)

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None:
        """The kernel's entry for this address on this link; None where there is none."""
        body = NEIGHBOUR.pack(_family(address), index, 0, 0, 0) + attribute(NDA_DST, address.packed)
        return self._get(MessageType.GETNEIGH, body, NeighbourMessage)

    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None:
        """Makes the kernel ask the host of an existing entry now, by unicast; ``mac``: that host instead."""
        body = NEIGHBOUR.pack(_family(address), index, NeighbourState.PROBE, 0, 0) + attribute(
            NDA_DST, address.packed
        )
        if mac is not None:
            body += attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
        self._ask(MessageType.NEWNEIGH, REPLACE | CREATE if mac else REPLACE, body)

    def resolve(self, address: IPAddress, index: int) -> None:
        """Makes the kernel look for the host of an address without a valid entry, by broadcast or multicast."""
        body = NEIGHBOUR.pack(_family(address), index, NeighbourState.INCOMPLETE, NTF_USE, 0)
        self._ask(MessageType.NEWNEIGH, CREATE, body + attribute(NDA_DST, address.packed))

    def _dump(self, kind: int, body: bytes, of: type[M]) -> list[M]:
        for _ in range(DUMP_TRIES):
            found, interrupted = self._exchange(kind, REQUEST | ROOT_MATCH, body)
            if not interrupted:
                break
        return [message for message in found if isinstance(message, of)]

    def _get(self, kind: int, body: bytes, of: type[M]) -> M | None:
        """The one answer; None where the kernel knows no such thing."""
        try:
            return next((message for message in self._ask(kind, 0, body) if isinstance(message, of)), None)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return None
            raise

    def _ask(self, kind: int, flags: int, body: bytes) -> list[Message]:
        return self._exchange(kind, REQUEST | ACK | flags, body)[0]

    def _exchange(self, kind: int, flags: int, body: bytes, read: Parse = parse_one) -> tuple[list[Message], bool]:
        """The answers up to DONE or the acknowledgement; True where the kernel's table changed meanwhile."""
        self._sequence += 1
        self._socket.sendto(HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0) + body, (0, 0))
        found: list[Message] = []
        interrupted = False
        while True:
            data, sender = self._socket.recvfrom(ANSWER_BYTES)
            for answer, answer_flags, sequence, content in split(data) if sender[0] == 0 else ():
                if sequence != self._sequence:
                    continue
                interrupted |= bool(answer_flags & DUMP_INTERRUPTED)
                if answer in (MessageType.DONE, MessageType.ERROR):
                    failure = -struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0
                    if failure:
                        raise OSError(failure, os.strerror(failure))
                    return found, interrupted
                message = read(answer, content)
                if message is not None:
                    found.append(message)


def _family(address: IPAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
