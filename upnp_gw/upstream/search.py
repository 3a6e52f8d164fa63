"""Finds the description of the gateway above by SSDP, and hears its announcements.

The search goes to the gateway itself and to the group: a firewall of this machine lets in only answers to the first
one, and some routers answer only the second.
"""

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.foreign_description import HttpPlace, parse_place
from upnp_gw.protocols.ssdp.foreign import ForeignMessage, build_search, parse_foreign_message
from upnp_gw.protocols.ssdp.groups import IPV4, PORT
from upnp_gw.upstream.sockets import address_of, search_socket
from upnp_gw.upstream.way import Way

AGAIN_S = (0.5, 1.0)
"""Waits before the search is sent again, seconds; the last one repeats."""
BETTER_S = 0.25
"""Seconds to wait for the description of IGD version 2 after that of version 1 was found."""


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, gateway: IPv4Address, on_message: Callable[[ForeignMessage], None]) -> None:
        self._gateway = gateway
        self._on_message = on_message

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        if address_of(peer)[0] == str(self._gateway):
            message = read_message(data)
            if message is not None:
                self._on_message(message)


async def search(way: Way, on_message: Callable[[ForeignMessage], None]) -> HttpPlace:
    """The LOCATION of the gateway above, of IGD version 2 if it has both. Waits without end. Raises OSError.

    ``on_message`` gets every answer. A LOCATION at another address than the gateway's is not used.
    """
    assert isinstance(way.gateway, IPv4Address)
    gateway = way.gateway
    found: dict[int, HttpPlace] = {}
    first, best = asyncio.Event(), asyncio.Event()

    def answered(message: ForeignMessage) -> None:
        on_message(message)
        place = place_of(message, gateway)
        if place is not None:
            found[message.igd_version] = place
            (best if message.igd_version == 2 else first).set()
            first.set()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answers(gateway, answered), sock=search_socket(way))
    try:
        tries = 0
        while not first.is_set():
            for version in (2, 1):
                transport.sendto(build_search(version, str(gateway)), (str(gateway), PORT))
                transport.sendto(build_search(version), (str(IPV4.address), PORT))
            await _wait(first, AGAIN_S[min(tries, len(AGAIN_S) - 1)])
            tries += 1
        await _wait(best, BETTER_S)
        return found[max(found)]
    finally:
        transport.close()


def place_of(message: ForeignMessage, gateway: IPv4Address) -> HttpPlace | None:
    """The LOCATION of a root device of IGD, at the gateway above itself; None: it is something else."""
    if not message.igd_version:
        return None
    try:
        return parse_place(message.location, gateway)
    except WireError:
        return None


def read_message(data: bytes) -> ForeignMessage | None:
    """None: it is no message of a device."""
    try:
        return parse_foreign_message(data)
    except WireError:
        return None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
