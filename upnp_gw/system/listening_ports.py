"""Ports on which the gateway itself can be reached from the WAN (SR-24).

A socket counts if it is bound to the wildcard or a WAN address, and listens (TCP) or is unconnected (UDP). A UDP
socket with a port in the ephemeral range counts only after it has existed for a while: WireGuard's 51820 stays, the
query port of a resolver does not. A socket bound to another interface than the WAN does not count.
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Network
from upnp_gw.system.rtnetlink import ip
from upnp_gw.system.sock_diag import BoundSocket, ask_bound, unmapped

PROC_NET = Path("/proc/self/net")
"""Shows the net namespace of the process."""
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
DEFAULT_RANGE = (32768, 60999)

LISTEN, UNCONNECTED = "0A", "07"
FRESH_S = 1.0
"""Most age of the list that a decision uses, seconds."""
LASTING_S = 30.0
"""Age in seconds from which a UDP socket in the ephemeral range counts."""
ANY4, ANY6 = IPv4Address(0), IPv6Address(0)
ALWAYS = float("-inf")

Ports = frozenset[tuple[Transport, int]]


def parse_bound(lines: Iterator[str], transport: Transport) -> Iterator[BoundSocket]:
    """Sockets of /proc/net/{tcp,udp}{,6}. Listening TCP sockets come first there, and the rest is not read."""
    state = LISTEN if transport is Transport.TCP else UNCONNECTED
    next(lines, None)
    for line in lines:
        fields = line.split(None, 10)
        if len(fields) < 10 or fields[3] != state:
            if transport is Transport.TCP:
                return
            continue
        packed, _, port = fields[1].partition(":")
        address = ip(_unswap(packed))
        if address is not None:
            yield BoundSocket(transport, unmapped(address), int(port, 16), int(fields[9]))


def _unswap(words: str) -> bytes:
    """The kernel prints an address as 32-bit words in the host's byte order."""
    return b"".join(socket.ntohl(int(words[i : i + 8], 16)).to_bytes(4) for i in range(0, len(words), 8))


def find_bound() -> Iterable[BoundSocket]:
    """Lists the sockets by inet_diag, or from /proc if the kernel lacks its modules (small routers)."""
    try:
        return tuple(ask_bound())
    except OSError:
        return read_bound()


def read_bound(proc: Path = PROC_NET) -> Iterator[BoundSocket]:
    for transport in Transport:
        for family in ("", "6"):
            try:
                with open(proc / f"{transport}{family}", encoding="ascii") as lines:
                    yield from parse_bound(lines, transport)
            except FileNotFoundError:
                continue  # a kernel without IPv6


def read_ephemeral(path: Path = PORT_RANGE) -> tuple[int, int]:
    """The range from which the kernel chooses source ports, inclusive."""
    try:
        low, high = path.read_text("ascii").split()
        return int(low), int(high)
    except (OSError, ValueError):
        return DEFAULT_RANGE


class ListeningPorts:
    """``ports`` reads at most once a second, so every decision can call it. The daemon also calls it on a timer, to
    know the age of UDP sockets before a client requests their ports."""

    def __init__(
        self,
        network: Callable[[], Network],
        boottime: Callable[[], float],
        *,
        read: Callable[[], Iterable[BoundSocket]] = find_bound,
        ephemeral: Callable[[], tuple[int, int]] = read_ephemeral,
    ) -> None:
        self._network = network
        self._boottime = boottime
        self._read = read
        self._ephemeral = ephemeral
        self._read_at: float | None = None
        self._since: dict[tuple[int, int], float] = {}
        """(inode, port) of a UDP socket in the ephemeral range -> when it was first seen."""
        self._ports: Ports = frozenset()

    def ports(self) -> Ports:
        """The (transport, port) pairs of the gateway itself, at most a second old."""
        now = self._boottime()
        if self._read_at is None or now - self._read_at >= FRESH_S:
            self._refresh(now)
        return self._ports

    def _refresh(self, now: float) -> None:
        network = self._network()
        exposed = {ANY4, ANY6, *network.wan.ipv4, *network.wan.ipv6, *network.external}
        exposed_sockets = [
            b for b in self._read() if b.address in exposed and b.interface in (0, network.wan.index)
        ]
        low, high = self._ephemeral()
        young = {
            (b.inode, b.port) for b in exposed_sockets if b.transport is Transport.UDP and low <= b.port <= high
        }
        # sockets older than the daemon count at once: to refuse the port of a query for a while does no harm
        first = now - LASTING_S if self._read_at is None else now
        self._since = {key: self._since.get(key, first) for key in young}
        self._ports = frozenset(
            (b.transport, b.port)
            for b in exposed_sockets
            if b.transport is Transport.TCP or now - self._since.get((b.inode, b.port), ALWAYS) >= LASTING_S
        )
        self._read_at = now
