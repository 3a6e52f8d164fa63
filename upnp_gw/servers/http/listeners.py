"""The listening sockets: one for each address of each LAN link, bound to the address and to the link (SR-1)."""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Network

BACKLOG = 1024
"""Connections of all hosts that wait to be accepted. If the queue is full the kernel drops a SYN, and its sender
retries after a second. At 64, one host that connects in a loop delayed every other one that long."""
ATTEMPTS = 8
"""Attempts to find a port that is free on every address."""
UNACKNOWLEDGED_MS = 10_000
"""Milliseconds for which the kernel keeps a connection whose client acknowledges no data, even after the daemon
closed it. Without a limit the kernel probes a client with a zero window for minutes, and keeps the answer in
memory."""
SEND_BYTES = 8 * 1024
"""Bytes of an answer in the kernel's send buffer (the kernel doubles it). The rest waits in this process, where it
has a deadline and counts against its host."""
IP_FREEBIND = 15
IPV6_FREEBIND = 78
"""linux/in6.h: bind to an address that is still tentative, or is not there yet."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """The interface and address on which one socket listens."""

    interface: str
    index: int
    address: IPAddress

    def __str__(self) -> str:
        return f"{self.address} on {self.interface}"


def listen_addresses(network: Network) -> frozenset[ListenAddress]:
    """Every LAN address, IPv4 and IPv6, link-local ones among them."""
    return frozenset(
        ListenAddress(link.name, link.index, address)
        for link in network.lans
        if link.index
        for addresses in (link.ipv4, link.ipv6)
        for address in addresses
    )


def listen(where: ListenAddress, port: int) -> socket.socket:
    """A listening socket for connections over this interface. Raises OSError."""
    version6 = where.address.version == 6
    sock = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # accepted connections inherit both
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, where.interface.encode())
        if version6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            scope = where.index if where.address.is_link_local else 0
            sock.bind((str(where.address), port, 0, scope))
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            sock.bind((str(where.address), port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


Listen = Callable[[ListenAddress, int], socket.socket]


class HttpListeners:
    """The open sockets, kept equal to the network's LAN addresses."""

    def __init__(self, connection: Callable[[str], asyncio.Protocol], listen: Listen = listen) -> None:
        """``listen``: see ``servers.wire``."""
        self._connection = connection
        self._listen_on = listen
        self._open: dict[ListenAddress, asyncio.Server] = {}
        self.port = 0

    async def start(self, network: Network, port: int) -> int:
        """Listens on every address on one port; 0: a free one. Returns the port. Raises OSError: then no socket is
        open."""
        for attempt in range(ATTEMPTS):
            self.port = port
            try:
                for where in sorted(listen_addresses(network), key=str):
                    await self._listen(where)
            except OSError as error:
                self.close()
                if port or error.errno != errno.EADDRINUSE or attempt == ATTEMPTS - 1:
                    raise
            else:
                return self.port
        raise AssertionError("the last attempt returns or raises")

    async def follow(self, network: Network) -> list[tuple[ListenAddress, OSError]]:
        """Closes and opens sockets until they match the network. Returns the failures."""
        current = listen_addresses(network)
        for where in [where for where in self._open if where not in current]:
            self._open.pop(where).close()
        failed = []
        for where in sorted(current - self._open.keys(), key=str):
            try:
                await self._listen(where)
            except OSError as error:
                failed.append((where, error))
        return failed

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    @property
    def open(self) -> frozenset[ListenAddress]:
        return frozenset(self._open)

    async def _listen(self, where: ListenAddress) -> None:
        sock = self._listen_on(where, self.port)
        self.port = sock.getsockname()[1]
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: self._connection(where.interface), sock=sock, backlog=BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._open[where] = server
