"""Listens for announcements of the gateway above on the WAN link: port 5350, and SSDP over IPv4. Never sends
(CAS-032).

A firewall of this machine may keep them out: then the next answer of the gateway above shows the same.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from upnp_gw.protocols.port5351 import PORT
from upnp_gw.protocols.ssdp.foreign import FOREIGN_MAX, ForeignMessage
from upnp_gw.upstream.search import read_message
from upnp_gw.upstream.sockets import address_of, announcement_socket, ssdp_socket
from upnp_gw.upstream.way import Way

log = logging.getLogger(__name__)

BATCH = 16
"""Datagrams that are read before the event loop serves others."""


class Announcements:
    """Open until ``close``. ``on_datagram`` gets those from port 5351 of the gateway above (CAS-024)."""

    def __init__(
        self,
        way: Way,
        on_datagram: Callable[[bytes], None],
        on_message: Callable[[ForeignMessage], None],
    ) -> None:
        self.way = way
        self._on_datagram = on_datagram
        self._on_message = on_message
        self._open: list[socket.socket] = []
        self._listen(announcement_socket, self._port5350)
        if way.version == 4:
            self._listen(ssdp_socket, self._ssdp)

    def close(self) -> None:
        """Closes both sockets."""
        for sock in self._open:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._open.clear()

    def _listen(
        self, opened: Callable[[Way], socket.socket], on_data: Callable[[bytes, tuple[str, int]], None]
    ) -> None:
        try:
            sock = opened(self.way)
        except OSError as error:
            log.warning(
                "cannot listen for announcements of the gateway above on %s: %s", self.way.interface, error.strerror
            )
            return
        self._open.append(sock)
        asyncio.get_running_loop().add_reader(sock, self._readable, sock, on_data)

    def _readable(self, sock: socket.socket, on_data: Callable[[bytes, tuple[str, int]], None]) -> None:
        for _ in range(BATCH):
            try:
                data, peer = sock.recvfrom(FOREIGN_MAX + 1)
            except OSError:
                return
            address, port = address_of(peer)
            if address == str(self.way.gateway):
                on_data(data, (address, port))

    def _port5350(self, data: bytes, peer: tuple[str, int]) -> None:
        if peer[1] == PORT:
            self._on_datagram(data)

    def _ssdp(self, data: bytes, peer: tuple[str, int]) -> None:
        message = read_message(data)
        if message is not None:
            self._on_message(message)
