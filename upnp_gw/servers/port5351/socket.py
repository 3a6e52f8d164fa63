"""One UDP socket on port 5351 of one LAN address: bound to the address and to its interface.

On the wildcard address the kernel would answer from whichever address it likes, and clients drop that; bound to the
device as well, nothing that comes in on the WAN reaches it, whatever address it names (SR-1).
"""

import socket
from ipaddress import IPv4Address
from typing import NamedTuple

from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.pcp.codec import MAX_BYTES
from upnp_gw.protocols.port5351 import CLIENT_PORT, PORT
from upnp_gw.servers import udp_options
from upnp_gw.servers.udp_filter import SocketFilter

ALL_HOSTS = "224.0.0.1"
ALL_NODES = "ff02::1"


class SocketKey(NamedTuple):
    """One socket: an interface by name and kernel index (another may come back under the name), and its address."""

    interface: str
    ifindex: int
    address: IPAddress

    @property
    def version(self) -> int:
        return self.address.version


SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module has it: with flow label and zone for IPv6."""


class Datagram(NamedTuple):
    """One datagram from the LAN."""

    data: bytes
    """Cut to a little more than the most that a message may have."""
    peer: SocketAddress


class Port5351Socket:
    """Raises OSError where the address is not (or not yet) to be had, or the port is taken."""

    def __init__(self, key: SocketKey) -> None:
        self.key = key
        four = isinstance(key.address, IPv4Address)
        self._group: SocketAddress = (ALL_HOSTS, CLIENT_PORT) if four else (ALL_NODES, CLIENT_PORT, 0, key.ifindex)
        self._socket = socket.socket(
            socket.AF_INET if four else socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        )
        try:
            udp_options.enlarge(self._socket)
            self._filter = SocketFilter(self._socket, key.version)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, key.interface.encode())
            if four:
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
                self._socket.bind((str(key.address), PORT))
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 1)
                zone = key.ifindex if key.address.is_link_local else 0
                self._socket.bind((str(key.address), PORT, 0, zone))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def dropped(self) -> int:
        """Datagrams that came while the receive buffer was full."""
        return udp_options.dropped(self._socket)

    def over_share(self, sender: IPAddress) -> None:
        """Counts a datagram over this address's share. After many, the kernel drops the sender for a second."""
        self._filter.over_share(sender)

    def receive(self) -> Datagram | None:
        """The next datagram; None: nothing waits. Raises OSError."""
        try:
            data, peer = self._socket.recvfrom(MAX_BYTES + 4)
        except BlockingIOError:
            return None
        return Datagram(data, peer)

    def send(self, data: bytes, peer: SocketAddress) -> None:
        """From this address, out of this interface. Raises OSError."""
        self._socket.sendto(data, peer)

    def announce(self, data: bytes) -> None:
        """To every host of the LAN. Raises OSError."""
        self.send(data, self._group)

    def close(self) -> None:
        self._filter.close()
        self._socket.close()
