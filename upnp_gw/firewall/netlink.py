"""nfnetlink: connection tracking and the elements of our own maps (linux/netfilter/nfnetlink.h)."""

import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from upnp_gw.system.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLMSG_ERROR,
    Attributes,
    NetlinkMessage,
    NetlinkSocket,
    parse_attributes,
    parse_messages,
)

NETLINK_NETFILTER = 12
NFPROTO_INET = 1
SUBSYS_CONNTRACK, SUBSYS_NFTABLES = 1, 10
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
SO_SNDBUFFORCE = 32
SEND_OVERHEAD = 32
"""Bytes of the send buffer that a message cannot use (netlink_sendmsg)."""
ERROR_BYTES = 4096
"""More than an error has. The buffer is made for each batch."""
ATTR_OFFSET = 2
"""NLMSGERR_ATTR_OFFS: the offset of the refused attribute in the refused message."""
_NFGEN = struct.Struct("!BBH")
NFGEN_BYTES = _NFGEN.size
_ERROR = struct.Struct("=iIHHII")
"""The errno, negative, and the header of the refused message. NETLINK_CAP_ACK leaves out the rest of it."""


def attributes_of(message: NetlinkMessage) -> Attributes:
    """The attributes behind the nfgenmsg header. ``message.kind`` is subsystem << 8 | message type."""
    return parse_attributes(message.body, _NFGEN.size)


def nfgen_body(family: int, attributes: bytes) -> bytes:
    """The body of a message: nfgenmsg header, attributes."""
    return _NFGEN.pack(family, 0, 0) + attributes


class NfnetlinkSocket(NetlinkSocket):
    """NETLINK_NETFILTER in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER)

    def dump(
        self,
        subsystem: int,
        kind: int,
        family: int,
        attributes: bytes = b"",
        wanted: Callable[[bytes], bool] = lambda datagram: True,
    ) -> Iterator[NetlinkMessage]:
        """Every entry, but for datagrams that are not ``wanted``. Read it to its end.

        Raises OSError, InterruptedDump among them.
        """
        return self.exchange(subsystem << 8 | kind, NLM_F_DUMP, nfgen_body(family, attributes), wanted)

    def request(self, subsystem: int, kind: int, family: int, attributes: bytes) -> NetlinkMessage | None:
        """One request and its reply; None if the kernel has no such entry or sends none. Raises OSError."""
        reply: NetlinkMessage | None = None
        try:
            for message in self.exchange(subsystem << 8 | kind, NLM_F_ACK, nfgen_body(family, attributes)):
                reply = message
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None
        return reply


class Failure(NamedTuple):
    """A message of a batch that the kernel refused."""

    sequence: int
    errno: int
    offset: int | None
    """Offset of the refused attribute in the message, in bytes from its header; None: not known."""


class BatchSocket(NetlinkSocket):
    """Sends batches, each one transaction, in the network namespace of the thread that makes it.

    The kernel handles a batch before the send returns. So errors are there at once, and no answer is success.
    """

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER)
        self._socket.setblocking(False)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)

    def send_batch(self, batch: bytes) -> list[Failure]:
        """The failures in the order of the messages; none: the batch is in force. With any failure nothing changed.

        Raises OSError, with EMSGSIZE for a batch that the socket cannot send.
        """
        try:
            self._socket.sendto(batch, (0, 0))
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._enlarge(len(batch) + SEND_OVERHEAD)
            self._socket.sendto(batch, (0, 0))
        failures = list(self._failures())
        return sorted(failures, key=lambda failure: failure.sequence)

    def _failures(self) -> Iterator[Failure]:
        while True:
            try:
                data, (sender, _) = self._socket.recvfrom(ERROR_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield Failure(LAST, errno.ENOBUFS, None)  # there were more errors than the socket holds
                continue
            if sender != 0:  # not from the kernel
                continue
            for message in parse_messages(data):
                if message.kind == NLMSG_ERROR and len(message.body) >= _ERROR.size:
                    number, _, _, _, sequence, _ = _ERROR.unpack_from(message.body)
                    at = parse_attributes(message.body, _ERROR.size).get(ATTR_OFFSET)
                    yield Failure(sequence, -number, int.from_bytes(at, sys.byteorder) if at is not None else None)

    def _enlarge(self, size: int) -> None:
        """Without CAP_NET_ADMIN in the first user namespace, the limit of net.core.wmem_max holds."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, size)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


LAST = 0xFFFFFFFF
"""A sequence number behind those of all messages."""
