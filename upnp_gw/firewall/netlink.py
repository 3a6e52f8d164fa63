"""nfnetlink: packing and parsing of messages (pure), and one socket that asks and dumps.

Connection tracking and the elements of our own maps are read this way: the libraries for it cost seconds and
hundreds of megabytes on large tables. Values are those of linux/netlink.h and linux/netfilter/nfnetlink.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

NETLINK_NETFILTER = 12
SUBSYS_CONNTRACK, SUBSYS_NFTABLES = 1, 10
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP_INTR = 0x10
NESTED = 0x8000
_ATTRIBUTE_TYPE = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")

RECEIVE_BYTES = 1 << 17
TIMEOUT_S = 10.0
"""The kernel answers at once; more means that something is badly wrong."""

Attributes = dict[int, bytes]


class Message(NamedTuple):
    """One netlink message."""

    kind: int
    """Subsystem << 8 | message type."""
    flags: int
    port: int
    """Whose request it answers or reports: the port id of that socket; 0: the kernel itself."""
    body: bytes
    """What follows the netlink header."""

    @property
    def attributes(self) -> Attributes:
        """The attributes behind the nfgenmsg header."""
        return parse_attributes(self.body[_NFGEN.size :])


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def parse_attributes(data: bytes) -> Attributes:
    """Attribute type -> value. What is cut short is left out: these bytes come from the kernel."""
    found: Attributes = {}
    at, end, unpack = 0, len(data), _ATTRIBUTE.unpack_from
    while end - at >= 4:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            break
        found[kind & _ATTRIBUTE_TYPE] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def iter_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in order: lists repeat one type."""
    at, end = 0, len(data)
    while end - at >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > end:
            return
        yield kind & _ATTRIBUTE_TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def build_message(subsystem: int, kind: int, flags: int, sequence: int, family: int, attributes: bytes) -> bytes:
    """A request: netlink header, nfgenmsg header, attributes."""
    body = _NFGEN.pack(family, 0, 0) + attributes
    return _HEADER.pack(_HEADER.size + len(body), subsystem << 8 | kind, flags, sequence, 0) + body


def parse_messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    at, end = 0, len(data)
    while end - at >= _HEADER.size:
        length, kind, flags, _, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > end:
            return
        yield Message(kind, flags, port, data[at + _HEADER.size : at + length])
        at += length + (-length % 4)


class Interrupted(OSError):
    """The table changed while it was dumped: what came is incomplete."""


class NetlinkSocket:
    """A blocking NETLINK_NETFILTER socket in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(TIMEOUT_S)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def dump(self, subsystem: int, kind: int, family: int, attributes: bytes = b"") -> Iterator[Message]:
        """Every entry that the kernel tells. Read it to its end. Raises OSError, Interrupted among them."""
        self._send(subsystem, kind, NLM_F_REQUEST | NLM_F_DUMP, family, attributes)
        interrupted = False
        while True:
            for message in parse_messages(self._socket.recv(RECEIVE_BYTES)):
                interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind == NLMSG_DONE:
                    if interrupted:
                        raise Interrupted(errno.EINTR, "the table changed during the dump")
                    return
                if message.kind == NLMSG_ERROR:
                    raise _error(message)
                yield message

    def ask(self, subsystem: int, kind: int, family: int, attributes: bytes) -> Message | None:
        """One question, one answer; None where there is no such entry. Raises OSError."""
        self._send(subsystem, kind, NLM_F_REQUEST | NLM_F_ACK, family, attributes)
        answer: Message | None = None
        while True:
            for message in parse_messages(self._socket.recv(RECEIVE_BYTES)):
                if message.kind != NLMSG_ERROR:
                    answer = message
                    continue
                if (error := _error(message)).errno == 0:
                    return answer
                if error.errno == errno.ENOENT:
                    return None
                raise error

    def _send(self, subsystem: int, kind: int, flags: int, family: int, attributes: bytes) -> None:
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        self._socket.send(build_message(subsystem, kind, flags, self._sequence, family, attributes))


def _error(message: Message) -> OSError:
    code = -_ERRNO.unpack_from(message.body)[0]
    return OSError(code, os.strerror(code))
