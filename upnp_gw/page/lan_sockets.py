"""The sockets of the page for the LAN: on each LAN address, and on new ones when the network changes."""

import asyncio
import logging
from contextlib import suppress

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import Declined, Unreachable
from upnp_gw.model.mapping import Endpoint
from upnp_gw.page.connections import Connections
from upnp_gw.page.feed import Feed
from upnp_gw.page.http_protocol import protocols
from upnp_gw.page.listeners import Place, bound, places
from upnp_gw.page.readings import Readings

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""Seconds after which the addresses are looked at although nothing was said of them."""


class LanSockets:
    """Serves one application on many sockets, which come and go."""

    def __init__(self, application: web.Application, connections: Connections, port: int) -> None:
        self._connections = connections
        self._port = port
        self._servers: dict[Place, asyncio.Server] = {}
        self._failed: set[Place] = set()
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=2.0)

    async def start(self) -> None:
        await self._runner.setup()

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        await self._runner.cleanup()

    async def follow(self, readings: Readings, feed: Feed) -> None:
        """Keeps a socket on each LAN address, until it is cancelled."""
        seen = -1
        while True:
            with suppress(Declined, Unreachable):  # the sockets stay; the page says that the daemon does not answer
                await self.serve((await readings.status()).lan)
            await asyncio.sleep(1.0)
            seen = await feed.wait(seen, LOOK_S)

    async def serve(self, lans: list[api.LanState]) -> None:
        """Opens the sockets that are missing and closes those of addresses that are gone."""
        wanted = places(lans)
        for place in self._servers.keys() - wanted:
            self._servers.pop(place).close()
        self._failed &= wanted
        assert self._runner.server is not None
        factory = self._connections.guarded(protocols(self._runner.server))
        for place in wanted - self._servers.keys():
            try:
                listener = bound(Endpoint(place.address, self._port), place.interface)
                server = await asyncio.get_running_loop().create_server(factory, sock=listener)
            except OSError as error:
                if place not in self._failed:
                    log.error("the page cannot listen at %s, port %d: %s", place, self._port, error.strerror)
                self._failed.add(place)
                continue
            self._failed.discard(place)
            self._servers[place] = server

    @property
    def places(self) -> frozenset[Place]:
        """The addresses at which it listens."""
        return frozenset(self._servers)
