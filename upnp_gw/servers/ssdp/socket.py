"""The UDP socket on port 1900 of one LAN interface, IPv4 or IPv6. It has joined the multicast groups."""

import socket
import struct

from upnp_gw.protocols.ssdp.groups import GROUPS, PORT
from upnp_gw.protocols.ssdp.search import MAX_BYTES, START_LINE
from upnp_gw.servers.udp.socket import IP_PKTINFO, SocketKey, UdpSocket

# Not in Python's socket module everywhere: linux/in.h, linux/in6.h.
IP_MULTICAST_ALL = 49
IPV6_MULTICAST_ALL = 29

IPV4_TTL = 2
IPV6_SITE_HOPS = 10

MREQN = struct.Struct("=4s4si")
MREQ6 = struct.Struct("=16si")


class SsdpSocket(UdpSocket):
    """Bound to every address of the interface. Other SSDP programs of this machine can use the port too. The kernel
    drops datagrams that do not begin like a search."""

    def __init__(self, key: SocketKey) -> None:
        super().__init__(key, MAX_BYTES + 1, START_LINE[:8])

    def _bind(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.key.version == 4:
            self._bind_ipv4(sock)
        else:
            self._bind_ipv6(sock)

    def _bind_ipv4(self, sock: socket.socket) -> None:
        for option, value in (
            (IP_MULTICAST_ALL, 0),
            (IP_PKTINFO, 1),
            (socket.IP_MULTICAST_TTL, IPV4_TTL),
            (socket.IP_MULTICAST_LOOP, 0),
        ):
            sock.setsockopt(socket.IPPROTO_IP, option, value)
        sock.bind(("", PORT))
        for group in (g.address.packed for g in GROUPS if g.address.version == 4):
            join = MREQN.pack(group, bytes(4), self.key.ifindex)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)

    def _bind_ipv6(self, sock: socket.socket) -> None:
        for option, value in (
            (socket.IPV6_V6ONLY, 1),
            (IPV6_MULTICAST_ALL, 0),
            (socket.IPV6_RECVPKTINFO, 1),
            (socket.IPV6_MULTICAST_HOPS, IPV6_SITE_HOPS),
            (socket.IPV6_MULTICAST_LOOP, 0),
        ):
            sock.setsockopt(socket.IPPROTO_IPV6, option, value)
        sock.bind(("::", PORT))
        for group in (g.address.packed for g in GROUPS if g.address.version == 6):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, MREQ6.pack(group, self.key.ifindex))
