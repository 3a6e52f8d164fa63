"""The UDP socket on port 5351 of one LAN address.

On the wildcard address the kernel would choose the source address of an answer, and clients drop answers from
another address than they asked.
"""

import socket
from ipaddress import IPv4Address, IPv6Address

from upnp_gw.protocols.pcp.codec import MAX_BYTES
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.port5351 import CLIENT_PORT, PORT
from upnp_gw.servers.udp.socket import SocketKey, UdpSocket

ALL_CLIENTS = {
    4: Peer(IPv4Address("224.0.0.1"), CLIENT_PORT),
    6: Peer(IPv6Address("ff02::1"), CLIENT_PORT),
}
"""IP version -> where announcements go: every host of the LAN."""


class Port5351Socket(UdpSocket):
    """Bound to the address and to its interface."""

    def __init__(self, key: SocketKey) -> None:
        super().__init__(key, MAX_BYTES + 4)

    def _bind(self, sock: socket.socket) -> None:
        address = self.key.address
        if address.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            sock.bind((str(address), PORT))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
            sock.bind((str(address), PORT, 0, self.key.ifindex if address.is_link_local else 0))
