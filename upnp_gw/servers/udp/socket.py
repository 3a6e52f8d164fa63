"""One UDP socket on a LAN interface. It is bound to the interface, so no packet of the WAN reaches it (SR-1)."""

import socket
import struct
from abc import ABC, abstractmethod
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.peer import Peer
from upnp_gw.servers.udp import options
from upnp_gw.servers.udp.filter import SocketFilter

IP_PKTINFO = 8
"""linux/in.h; Python's socket module does not name it everywhere."""
PKTINFO = struct.Struct("=i4s4s")
PKTINFO6 = struct.Struct("=16si")


class SocketKey(NamedTuple):
    """Names one socket. The index is part of it, because another interface may come back under the same name."""

    interface: str
    ifindex: int
    address: IPAddress
    """The address that the socket is bound to; 0.0.0.0 or :: for every address of the interface."""

    @property
    def version(self) -> int:
        """The IP version, 4 or 6."""
        return self.address.version


class Datagram(NamedTuple):
    """One datagram from the LAN."""

    data: bytes
    """Cut to the size that the socket reads."""
    peer: Peer
    destination: IPAddress
    """The address it was sent to: a multicast group or one of the gateway's."""
    ifindex: int
    """The interface that it came in on."""


class UdpSocket(ABC):
    """A subclass sets the options and binds. Raises OSError if the interface or the address is not there, or the
    port is in use."""

    def __init__(self, key: SocketKey, max_bytes: int, start: bytes = b"") -> None:
        """``max_bytes``: the most that is read of a datagram. ``start``: eight bytes; the kernel drops datagrams
        that do not begin with them."""
        self.key = key
        self._max_bytes = max_bytes
        family = socket.AF_INET if key.version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            options.enlarge(self._socket)
            self._filter = SocketFilter(self._socket, key.version, start)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, key.interface.encode())
            self._bind(self._socket)
        except OSError:
            self._socket.close()
            raise

    @abstractmethod
    def _bind(self, sock: socket.socket) -> None:
        """Sets the options of the protocol, and binds. Raises OSError."""

    def filenos(self) -> tuple[int, ...]:
        """For the event loop."""
        return (self._socket.fileno(),)

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel dropped: the receive buffer was full, or the filter refused them."""
        return options.dropped(self._socket)

    def over_share(self, sender: IPAddress) -> None:
        """Counts a datagram over this address's share. After many, the kernel drops the sender for a second."""
        self._filter.over_share(sender)

    def receive(self) -> Datagram | None:
        """The next datagram; None: no datagram waits. Raises OSError."""
        try:
            data, control, _, source = self._socket.recvmsg(self._max_bytes, socket.CMSG_SPACE(PKTINFO6.size))
        except BlockingIOError:
            return None
        return Datagram(data, Peer(ip_address(source[0]), source[1]), *self._destination(control))

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        """Sends out of this interface, from ``own`` or from the address that the socket is bound to.

        Raises OSError, also when the send queue is full.
        """
        index = self.key.ifindex
        if self.key.version == 4:
            pktinfo = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(index, own.packed, bytes(4))) if own else None
            address: tuple[object, ...] = (str(peer.address), peer.port)
        else:
            pktinfo = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, PKTINFO6.pack(own.packed, index)) if own else None
            scope = index if peer.address.is_link_local or peer.address.is_multicast else 0
            address = (str(peer.address), peer.port, 0, scope)
        self._socket.sendmsg([data], [pktinfo] if pktinfo else [], 0, address)

    def close(self) -> None:
        """Closes the socket and its filter."""
        self._filter.close()
        self._socket.close()

    def _destination(self, control: list[tuple[int, int, bytes]]) -> tuple[IPAddress, int]:
        """Destination address and interface index, by the ancillary data if the socket asks for them."""
        for level, kind, data in control:
            if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
                index, _, address = PKTINFO.unpack(data)
                return IPv4Address(address), index
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                address, index = PKTINFO6.unpack(data)
                return IPv6Address(address), index
        return self.key.address, self.key.ifindex
