"""nfnetlink: connection tracking and the elements of our own maps (linux/netfilter/nfnetlink.h)."""

import errno
import struct
from collections.abc import Callable, Iterator

from upnp_gw.system.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    Attributes,
    NetlinkMessage,
    NetlinkSocket,
    parse_attributes,
)

NETLINK_NETFILTER = 12
SUBSYS_CONNTRACK, SUBSYS_NFTABLES = 1, 10
_NFGEN = struct.Struct("!BBH")


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
