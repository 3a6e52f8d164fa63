"""Sockets of the emulator: bound to an address, with what Linux, macOS and Windows all have."""

import os
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_address

from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.ssdp.groups import IPV4
from upnp_gw.protocols.ssdp.groups import PORT as SEARCH_PORT
from upnp_gw.servers.http.listeners import BACKLOG, ListenAddress
from upnp_gw.servers.udp.socket import Datagram, SocketKey

LARGEST = 65536
"""Bytes: more than any datagram has. Windows gives an error for one that is cut."""
MULTICAST_TTL = 2
"""Of announcements (UDA 1.1 section 1.2)."""
NOTIFY = b"NOTIFY "
"""Announcements, also its own ones. A router's kernel drops them (``servers.udp.filter``)."""
IP_MULTICAST_ALL = 49
"""linux/in.h: 0: no datagrams of groups that another program has joined on another interface."""


def listen(where: ListenAddress, port: int) -> socket.socket:
    """A listening TCP socket. Raises OSError."""
    sock = socket.socket(_family(where.address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name != "nt":  # Windows would let two programs have the same port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(where.address), port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def unicast(address: IPAddress, ports: Sequence[int], *, shared: bool = False) -> socket.socket:
    """A UDP socket on the first of these ports that is free; 0: any. Raises OSError if none is.

    ``shared``: also beside a program that has this port on every address.
    """
    failure = OSError("no port")
    for port in ports:
        sock = socket.socket(_family(address), socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(address), port))
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def multicast(interface: IPv4Address) -> socket.socket:
    """A UDP socket for searches to 239.255.255.250 over the interface with this address. Other programs can have
    one, too. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "darwin":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        # Windows cannot bind to a group
        sock.bind(("" if os.name == "nt" else str(IPV4.address), SEARCH_PORT))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, IPV4.address.packed + interface.packed)
    except OSError:
        sock.close()
        raise
    return sock


class PlainSocket:
    """A ``LanSocket`` of one address. With ``group`` it also reads what came to the multicast group there, and
    sends announcements to it."""

    def __init__(
        self,
        key: SocketKey,
        sock: socket.socket,
        group: socket.socket | None = None,
        announced: Callable[[bytes], None] | None = None,
    ) -> None:
        """``announced`` is given each announcement that is sent."""
        self._key = key
        self._socket = sock
        self._group = group
        self._announced = announced
        if group is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, key.address.packed)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, MULTICAST_TTL)
        self.port = int(sock.getsockname()[1])

    @property
    def dropped(self) -> int:
        """Not counted."""
        return 0

    def filenos(self) -> tuple[int, ...]:
        return tuple(sock.fileno() for sock in (self._socket, self._group) if sock is not None)

    def over_share(self, sender: IPAddress) -> None:
        """A sender of too many datagrams is not cut off."""

    def receive(self) -> Datagram | None:
        """Raises OSError."""
        found = self._read(self._socket, self._key.address)
        while found is None and self._group is not None:
            found = self._read(self._group, IPV4.address)
            if found is None:
                break
            if found.data.startswith(NOTIFY):
                found = None
        return found

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        """Raises OSError. Without ``group`` no announcement is sent: it would reach programs that are no part of
        the test."""
        if peer.address.is_multicast:
            if self._group is None:
                return
            if self._announced is not None:
                self._announced(data)
        self._socket.sendto(data, (str(peer.address), peer.port))

    def close(self) -> None:
        self._socket.close()
        if self._group is not None:
            self._group.close()

    def _read(self, sock: socket.socket, destination: IPAddress) -> Datagram | None:
        try:
            data, source = sock.recvfrom(LARGEST)
        except BlockingIOError:
            return None
        return Datagram(data, Peer(ip_address(source[0]), source[1]), destination, self._key.ifindex)


def _family(address: IPAddress) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
