"""The UDP sockets of an emulator, and the ports that they have."""

import socket
from ipaddress import IPv6Address
from typing import Protocol

from upnp_gw.model.errors import ConfigError
from upnp_gw.protocols.port5351 import PORT
from upnp_gw.protocols.ssdp.groups import PORT as SEARCH_PORT
from upnp_gw.servers.udp.socket import SocketKey
from upnp_gw.servers.udp.sockets import LanSocket
from upnp_gw.testing.announcements import Announced
from upnp_gw.testing.datagram_sockets import Noted, NotedSocket, port5351_socket, search_socket
from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.place import Place
from upnp_gw.testing.plain_sockets import PlainSocket, multicast, unicast

IPV6_LOOPBACK = IPv6Address("::1")
"""There is one only: of several emulators with IPv6 the first has its port 5351, and the last its port 1900."""


class NotedAndAnnounced(Noted, Protocol):
    """The emulator, as its sockets use it."""

    announcements: Announced


class Ports:
    """The ports stay the same after a reboot."""

    def __init__(self, noted: NotedAndAnnounced, options: EmulatorOptions, place: Place) -> None:
        self.search = options.search_port
        """None: not known yet."""
        self.pcp = options.pcp_port
        """None: not known yet."""
        self.unopened: list[ConfigError] = []
        """Sockets that could not be opened."""
        self._search: NotedSocket | None = None
        self._noted = noted
        self._multicast = options.multicast
        self._place = place

    def open_search(self, key: SocketKey) -> LanSocket:
        """The socket of SSDP. Raises OSError."""
        if key.version == 6:
            own6 = key._replace(address=IPV6_LOOPBACK)
            return search_socket(
                self._noted, PlainSocket(own6, unicast(IPV6_LOOPBACK, (SEARCH_PORT,), shared=True))
            )
        own = self._place.own.ip
        group = multicast(own) if self._multicast else None
        opened = self._opened("search_port", SEARCH_PORT, self.search, self._place.exclusive)
        sock = PlainSocket(key._replace(address=own), opened, group, self._noted.announcements.add)
        self.search = sock.port
        self._search = search_socket(self._noted, sock)
        return self._search

    async def send_byebye(self) -> None:
        """Takes back what was announced to the multicast group. Raises ValueError where nothing is announced."""
        if self._search is None or not self._multicast:
            raise ValueError("announcements are sent with Emulator(multicast=True) only")
        await self._search.send_byebye()

    def open_port5351(self, key: SocketKey) -> LanSocket:
        """The socket of NAT-PMP and PCP. Raises OSError."""
        if key.version == 6:
            return port5351_socket(self._noted, PlainSocket(key, unicast(IPV6_LOOPBACK, (PORT,))))
        sock = PlainSocket(key, self._opened("pcp_port", PORT, self.pcp))
        self.pcp = sock.port
        return port5351_socket(self._noted, sock)

    def _opened(self, option: str, usual: int, chosen: int | None, shared: bool = False) -> socket.socket:
        """A UDP socket on the chosen port; None: on the usual one, or any. Raises OSError."""
        own = self._place.own.ip
        try:
            return unicast(own, (usual, 0) if chosen is None else (chosen,), shared=shared)
        except OSError as error:
            problem = f"cannot open this UDP port of {own} ({error.strerror}); accepted: a free port"
            self.unopened.append(ConfigError(option, str(chosen), problem))
            raise
