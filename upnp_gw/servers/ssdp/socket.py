"""One UDP socket on port 1900 of one LAN interface, IPv4 or IPv6: groups joined, addresses seen and chosen."""

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Link
from upnp_gw.protocols.ssdp.groups import GROUPS, PORT
from upnp_gw.protocols.ssdp.responder import Peer
from upnp_gw.protocols.ssdp.search import MAX_BYTES, START_LINE
from upnp_gw.servers import udp_options
from upnp_gw.servers.udp_filter import SocketFilter

# Not in Python's socket module everywhere: linux/in.h, linux/in6.h.
IP_PKTINFO = 8
IP_MULTICAST_ALL = 49
IPV6_MULTICAST_ALL = 29

IPV4_TTL = 2
IPV6_SITE_HOPS = 10

MREQN = struct.Struct("=4s4si")
MREQ6 = struct.Struct("=16si")
PKTINFO = struct.Struct("=i4s4s")
PKTINFO6 = struct.Struct("=16si")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram from the LAN."""

    data: bytes
    """Cut to one byte more than a search may have."""
    peer: Peer
    destination: IPAddress
    """The address it was sent to: a group or one of ours."""
    ifindex: int
    """The interface that it came in on."""


class SsdpSocket:
    """Bound to the interface, so that nothing of the WAN reaches it (SR-1); shares the port with other SSDP users.

    Raises OSError where the interface, the address family or the port is not to be had.
    """

    def __init__(self, link: Link, version: int) -> None:
        self.interface = link.name
        self.index = link.index
        self.version = version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp_options.enlarge(self._socket)
            self._filter = SocketFilter(self._socket, version, START_LINE[:8])
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
            (self._set_up_ipv4 if version == 4 else self._set_up_ipv6)()
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def dropped(self) -> int:
        """Datagrams that are no search, or that came while the receive buffer was full."""
        return udp_options.dropped(self._socket)

    def over_share(self, sender: IPAddress) -> None:
        """Counts a datagram over this address's share. After many, the kernel drops the sender for a second."""
        self._filter.over_share(sender)

    def receive(self) -> Datagram | None:
        """The next datagram; None: nothing waits. Raises OSError."""
        try:
            data, extra, _, source = self._socket.recvmsg(MAX_BYTES + 1, socket.CMSG_SPACE(PKTINFO6.size))
        except BlockingIOError:
            return None
        destination, index = self._destination(extra)
        return Datagram(data, Peer(ip_address(source[0]), source[1]), destination, index)

    def send(self, data: bytes, peer: Peer, own: IPAddress) -> None:
        """Send from this address of ours, out of this interface. Raises OSError, also when the queue is full."""
        if self.version == 4:
            control = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(self.index, own.packed, bytes(4)))
            self._socket.sendmsg([data], [control], 0, (str(peer.address), peer.port))
        else:
            control = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, PKTINFO6.pack(own.packed, self.index))
            scope = self.index if peer.address.is_link_local or peer.address.is_multicast else 0
            self._socket.sendmsg([data], [control], 0, (str(peer.address), peer.port, 0, scope))

    def close(self) -> None:
        self._filter.close()
        self._socket.close()

    def _set_up_ipv4(self) -> None:
        for option, value in (
            (IP_MULTICAST_ALL, 0),
            (IP_PKTINFO, 1),
            (socket.IP_MULTICAST_TTL, IPV4_TTL),
            (socket.IP_MULTICAST_LOOP, 0),
        ):
            self._socket.setsockopt(socket.IPPROTO_IP, option, value)
        self._socket.bind(("", PORT))
        for group in (g.address.packed for g in GROUPS if g.address.version == 4):
            join = MREQN.pack(group, bytes(4), self.index)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)

    def _set_up_ipv6(self) -> None:
        for option, value in (
            (socket.IPV6_V6ONLY, 1),
            (IPV6_MULTICAST_ALL, 0),
            (socket.IPV6_RECVPKTINFO, 1),
            (socket.IPV6_MULTICAST_HOPS, IPV6_SITE_HOPS),
            (socket.IPV6_MULTICAST_LOOP, 0),
        ):
            self._socket.setsockopt(socket.IPPROTO_IPV6, option, value)
        self._socket.bind(("::", PORT))
        for group in (g.address.packed for g in GROUPS if g.address.version == 6):
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, MREQ6.pack(group, self.index))

    def _destination(self, extra: list[tuple[int, int, bytes]]) -> tuple[IPAddress, int]:
        """From the ancillary data: where it was sent to, and the interface, or 0.0.0.0 and 0."""
        for level, kind, data in extra:
            if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
                index, _, address = PKTINFO.unpack(data)
                return IPv4Address(address), index
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                address, index = PKTINFO6.unpack(data)
                return IPv6Address(address), index
        return IPv4Address(0), 0
