"""The classes that read from and write to the LAN. The emulator has its own, which note and change the bytes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.servers.http.connection import Connection, ConnectionContext
from upnp_gw.servers.http.gena_delivery import Deliver, send
from upnp_gw.servers.http.listeners import Listen, listen
from upnp_gw.servers.port5351.socket import Port5351Socket
from upnp_gw.servers.ssdp.socket import SsdpSocket
from upnp_gw.servers.udp.socket import SocketKey
from upnp_gw.servers.udp.sockets import LanSocket

EpochOf = Callable[[], int]
"""The epoch of NAT-PMP and PCP, seconds."""


@dataclass(frozen=True, slots=True)
class WireClasses:
    """A router has the defaults, always."""

    connection: Callable[[ConnectionContext, str, asyncio.AbstractEventLoop], Connection] = Connection
    """Context, LAN interface, loop -> one HTTP connection."""
    listen: Listen = listen
    """Address, port -> a listening socket."""
    ssdp_socket: Callable[[SocketKey], LanSocket] = SsdpSocket
    port5351_socket: Callable[[SocketKey], LanSocket] = Port5351Socket
    deliver: Deliver = send
    """Sends one event."""


def router_wire(epoch_s: EpochOf) -> WireClasses:
    """Those of a router. The lab gives the daemon others, which answer with errors that a test asks for."""
    return WireClasses()
