"""Netlink: messages and attributes as bytes, and one blocking socket for requests (linux/netlink.h).

Links, neighbours, connection tracking, sets of nftables and listening sockets are read this way. Libraries for it
cost seconds and hundreds of megabytes on large tables.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
NLM_F_DUMP_INTR = 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
SO_RCVBUFFORCE = 33
NLA_F_NESTED = 0x8000
_ATTRIBUTE_TYPE = 0x3FFF

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_TIMEVAL = struct.Struct("@ll")
_DONE_BYTES = HEADER.size + _ERRNO.size

RECEIVE_BYTES = 1 << 17
TIMEOUT_S = 10
"""The kernel answers at once. A longer wait means that something is badly wrong."""

Attributes = dict[int, bytes]
"""Attribute type -> value."""


class NetlinkMessage(NamedTuple):
    kind: int
    flags: int
    sequence: int
    """The number of the request that it answers."""
    port: int
    """The port id of the socket whose request it answers or reports; 0: the kernel itself."""
    body: bytes
    """The bytes after the netlink header."""


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def parse_attributes(data: bytes, at: int = 0) -> Attributes:
    """The attributes from offset ``at`` on; of a repeated type the last one. One that is cut short ends them."""
    attributes: Attributes = {}
    end, unpack = len(data), _ATTRIBUTE.unpack_from
    while end - at >= 4:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            break
        attributes[kind & _ATTRIBUTE_TYPE] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return attributes


def iter_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in order. Lists repeat one type."""
    at, end = 0, len(data)
    while end - at >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > end:
            return
        yield kind & _ATTRIBUTE_TYPE, data[at + 4 : at + length]
        at += (length + 3) & ~3


def build_message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def parse_messages(data: bytes) -> Iterator[NetlinkMessage]:
    """The messages of one datagram. One that is cut short ends them."""
    at, end = 0, len(data)
    while end - at >= HEADER.size:
        length, kind, flags, sequence, port = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > end:
            return
        yield NetlinkMessage(kind, flags, sequence, port, data[at + HEADER.size : at + length])
        at += (length + 3) & ~3


def enlarge_receive_buffer(sock: socket.socket, size: int) -> None:
    """Without CAP_NET_ADMIN in the first user namespace, the limit of net.core.rmem_max holds."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        return


class InterruptedDump(OSError):
    """The table changed during the dump: some entries may be missing or doubled."""


class NetlinkSocket:
    """A blocking socket in the network namespace of the thread that makes it. Closed by ``with``."""

    def __init__(self, protocol: int) -> None:
        """``protocol``: NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_SOCK_DIAG."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.bind((0, 0))
            # a timeout of Python's would poll before each call
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(TIMEOUT_S, 0))
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def exchange(
        self, kind: int, flags: int, body: bytes, wanted: Callable[[bytes], bool] = lambda datagram: True
    ) -> Iterator[NetlinkMessage]:
        """Sends a request with NLM_F_ACK or NLM_F_DUMP. Yields the replies, without the end of the dump or the ACK.

        ``wanted`` gets each datagram of some hundred replies; where it is False, none of them is parsed or yielded.
        Raises OSError with the kernel's errno, TimeoutError, and after the last reply InterruptedDump.
        """
        sequence = self._send(kind, flags, body)
        interrupted = False
        while True:
            data = self._receive()
            if not (_ends(data) or wanted(data)):
                continue
            for message in parse_messages(data):
                if message.sequence != sequence:  # the rest of an exchange that its caller gave up
                    continue
                interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind not in (NLMSG_DONE, NLMSG_ERROR):
                    yield message
                    continue
                _raise_failure(message)
                if interrupted:
                    raise InterruptedDump(errno.EINTR, "the table changed during the dump")
                return

    def ask(self, kind: int, body: bytes) -> NetlinkMessage:
        """Sends a request that has one reply, without NLM_F_ACK. Raises OSError with the kernel's errno."""
        sequence = self._send(kind, 0, body)
        while True:
            for message in parse_messages(self._receive()):
                if message.sequence == sequence:
                    if message.kind == NLMSG_ERROR:
                        _raise_failure(message)
                    return message

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        """Returns the number of the request."""
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        self._socket.sendto(build_message(kind, NLM_F_REQUEST | flags, self._sequence, body), (0, 0))
        return self._sequence

    def _receive(self) -> bytes:
        """The next datagram of the kernel."""
        while True:
            try:
                data, (sender, _) = self._socket.recvfrom(RECEIVE_BYTES)
            except BlockingIOError:
                raise TimeoutError(errno.ETIMEDOUT, "the kernel does not answer") from None
            if sender == 0:
                return data


def _ends(data: bytes) -> bool:
    """True if the first or the last message of the datagram may end an exchange."""
    if len(data) < HEADER.size or HEADER.unpack_from(data)[1] in (NLMSG_DONE, NLMSG_ERROR):
        return True
    length, kind, *_ = HEADER.unpack_from(data, len(data) - _DONE_BYTES) if len(data) >= _DONE_BYTES else (0, 0)
    return bool(length == _DONE_BYTES and kind == NLMSG_DONE)


def _raise_failure(end: NetlinkMessage) -> None:
    failure = -_ERRNO.unpack_from(end.body)[0] if len(end.body) >= _ERRNO.size else 0
    if failure:
        raise OSError(failure, os.strerror(failure))
