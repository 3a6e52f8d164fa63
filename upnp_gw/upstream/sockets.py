"""Sockets towards the gateway above. Each is bound to the WAN interface, and sends only what we ask.

The two that listen for announcements are bound to multicast groups and never send (CAS-032). The kernel drops at
them what has another source.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.port5351 import CLIENT_PORT, PORT
from upnp_gw.protocols.ssdp.groups import IPV4
from upnp_gw.protocols.ssdp.groups import PORT as SSDP_PORT
from upnp_gw.system.socket_filter import JUMP_EQUAL, LOAD_WORD, RETURN, attach, packed
from upnp_gw.upstream.way import Way

ALL_HOSTS, ALL_NODES = "224.0.0.1", "ff02::1"
RECEIVE_BYTES = 1 << 16
TTL = 2
_SOURCE = {4: (-0x100000 + 12, 1), 6: (-0x100000 + 8, 4)}
"""IP version -> offset of the source address (SKF_NET_OFF, linux/filter.h) and its words."""
_MREQN = struct.Struct("=4s4si")


def request_socket(way: Way) -> socket.socket:
    """For PCP and NAT-PMP. Connected: the kernel drops datagrams of any other address and port (CAS-023), and
    reports that nothing listens. Raises OSError."""
    sock = _socket(way, socket.SOCK_DGRAM)
    with _closed_on_error(sock):
        sock.bind(_at(way, way.source, 0))
        sock.connect(_at(way, way.gateway, PORT))
    return sock


def stream_socket(way: Way) -> socket.socket:
    """For HTTP, not connected. Raises OSError."""
    sock = _socket(way, socket.SOCK_STREAM)
    with _closed_on_error(sock):
        sock.bind(_at(way, way.source, 0))
    return sock


def search_socket(way: Way) -> socket.socket:
    """For searches by SSDP and the answers to them, IPv4. Raises OSError."""
    sock = _socket(way, socket.SOCK_DGRAM)
    with _closed_on_error(sock):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        member = _MREQN.pack(bytes(4), way.source.packed, way.ifindex)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, member)
        _accept_only(sock, way.gateway)
        sock.bind(_at(way, way.source, 0))
    return sock


def announcement_socket(way: Way) -> socket.socket:
    """For announcements of PCP and NAT-PMP: port 5350, all hosts. Raises OSError."""
    sock = _listening(way)
    with _closed_on_error(sock):
        if way.version == 4:
            sock.bind((ALL_HOSTS, CLIENT_PORT))
        else:
            sock.bind((ALL_NODES, CLIENT_PORT, 0, way.ifindex))
            group = socket.inet_pton(socket.AF_INET6, ALL_NODES) + struct.pack("@I", way.ifindex)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    return sock


def ssdp_socket(way: Way) -> socket.socket:
    """For the announcements of SSDP, IPv4. Raises OSError."""
    sock = _listening(way)
    with _closed_on_error(sock):
        sock.bind((str(IPV4.address), SSDP_PORT))
        member = _MREQN.pack(IPV4.address.packed, bytes(4), way.ifindex)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    return sock


def address_of(peer: tuple[str, int]) -> tuple[str, int]:
    """Address without its zone, and port."""
    return peer[0].partition("%")[0], peer[1]


def _socket(way: Way, kind: int) -> socket.socket:
    family = socket.AF_INET if way.version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    with _closed_on_error(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, way.interface.encode())
    return sock


def _listening(way: Way) -> socket.socket:
    """All clients on this machine can share the port."""
    sock = _socket(way, socket.SOCK_DGRAM)
    with _closed_on_error(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        _accept_only(sock, way.gateway)
    return sock


@contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError:
        sock.close()
        raise


def _accept_only(sock: socket.socket, source: IPAddress) -> None:
    """Drops datagrams from any other address: other devices of the WAN link do not wake the process."""
    offset, words = _SOURCE[source.version]
    rows = []
    for word in range(words):
        at = 4 * word
        rows.append((LOAD_WORD, 0, 0, offset + at & 0xFFFFFFFF))
        rows.append((JUMP_EQUAL, 1, 0, int.from_bytes(source.packed[at : at + 4], "big")))
        rows.append((RETURN, 0, 0, 0))
    attach(sock, packed([*rows, (RETURN, 0, 0, 0xFFFFFFFF)]))


def _at(way: Way, address: IPAddress, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if way.version == 4:
        return str(address), port
    return str(address), port, 0, way.ifindex if address.is_link_local else 0
