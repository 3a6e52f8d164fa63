"""The listening sockets: one for each address of each LAN link, bound to the address and to the link (SR-1)."""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Network

BACKLOG = 1024
"""Connections that wait to be accepted, of all hosts together. Where it is full the kernel drops a SYN, and whoever
sent it tries again after a second: a host that connects in a loop made everybody wait that long at 64."""
ATTEMPTS = 8
"""Attempts to find a port that is free on every address."""
TAKEN_MS = 10_000
"""Milliseconds for which the kernel keeps a connection whose client takes no data, even after the daemon closed it.
Without a bound it probes a client with a window of zero for minutes, and holds the answer."""
SEND_BYTES = 8 * 1024
"""Most bytes of an answer in the kernel's send buffer (it takes twice that for its own use). The rest waits here,
where it has a deadline and counts against its host."""
IP_FREEBIND = 15
IPV6_FREEBIND = 78
"""<linux/in6.h>: bind to an address that is still tentative, or comes a moment later."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where one socket listens."""

    interface: str
    index: int
    address: IPAddress

    def __str__(self) -> str:
        return f"{self.address} on {self.interface}"


def places(network: Network) -> frozenset[ListenAddress]:
    """Every LAN address, IPv4 and IPv6, link-local ones among them."""
    return frozenset(
        ListenAddress(link.name, link.index, address)
        for link in network.lans
        if link.index
        for addresses in (link.ipv4, link.ipv6)
        for address in addresses
    )


def listen(place: ListenAddress, port: int) -> socket.socket:
    """A listening socket that takes only connections over the place's link. Raises OSError."""
    version6 = place.address.version == 6
    sock = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # both are inherited by the connections
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TAKEN_MS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.interface.encode())
        if version6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            scope = place.index if place.address.is_link_local else 0
            sock.bind((str(place.address), port, 0, scope))
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            sock.bind((str(place.address), port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


class HttpListeners:
    """The open sockets, kept equal to the network's LAN addresses."""

    def __init__(self, connection: Callable[[str], asyncio.Protocol]) -> None:
        self._connection = connection
        self._open: dict[ListenAddress, asyncio.Server] = {}
        self.port = 0

    async def start(self, network: Network, port: int) -> int:
        """Opens every place on one port, 0: a free one. Raises OSError, then nothing is open."""
        for attempt in range(ATTEMPTS):
            self.port = port
            try:
                for place in sorted(places(network), key=str):
                    await self._listen(place)
            except OSError as error:
                self.close()
                if port or error.errno != errno.EADDRINUSE or attempt == ATTEMPTS - 1:
                    raise
            else:
                return self.port
        raise AssertionError("the last attempt returns or raises")

    async def follow(self, network: Network) -> list[tuple[ListenAddress, OSError]]:
        """Closes what is gone, opens what is new; the answer names what could not be opened."""
        wanted = places(network)
        for place in [place for place in self._open if place not in wanted]:
            self._open.pop(place).close()
        failed = []
        for place in sorted(wanted - self._open.keys(), key=str):
            try:
                await self._listen(place)
            except OSError as error:
                failed.append((place, error))
        return failed

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    @property
    def open(self) -> frozenset[ListenAddress]:
        return frozenset(self._open)

    async def _listen(self, place: ListenAddress) -> None:
        sock = listen(place, self.port)
        self.port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: self._connection(place.interface), sock=sock, backlog=BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._open[place] = server
