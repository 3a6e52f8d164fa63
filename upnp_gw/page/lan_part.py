"""The page for the LAN: read-only, for the device that looks. It has no sign-in, no form, no route of the operator.

A device is known by its address, as the daemon knows its neighbours. Nothing that it sends can name another one.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address

from aiohttp import web

from upnp_gw import api
from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient
from upnp_gw.page.connections import Connections
from upnp_gw.page.feed import Feed
from upnp_gw.page.readings import FRESH_S, Reading, Readings
from upnp_gw.page.request_checks import SERVER, accepts_own, headers_of_answers, own_hosts, whole_requests
from upnp_gw.page.serving import Serving
from upnp_gw.page.static_files import StaticFile, add_static
from upnp_gw.page.views import Frame, Renderer, View

REFUSALS_SHOWN = 10
SCANNED = 100
MAPPINGS_SHOWN = 200
MOST_KEPT = 64
"""Devices whose last answer is kept for a second."""
REFUSED = frozenset({"deny", "ask", "busy"})

Known = tuple[api.KnownDevice, list[api.Decision]]
"""A device and its last decisions."""


class LanPart:
    """Builds the application for all LAN addresses."""

    def __init__(
        self, settings: PageSettings, client: ControlClient, readings: Readings, feed: Feed, renderer: Renderer
    ) -> None:
        self._all = settings.lan == "all"
        self._client = client
        self._readings = readings
        self._clock = time.monotonic
        self._by_address: dict[str, Reading[Known]] = {}
        """The one that looked last is the last."""
        self.connections = Connections(most_of_host=12)
        self.serving = Serving(renderer, feed, self._frame, lambda _: True, SERVER, queries=False)

    def application(self, static: Mapping[str, StaticFile]) -> web.Application:
        """One page and the files of its looks."""
        application = web.Application(
            middlewares=[
                headers_of_answers(SERVER),
                own_hosts(accepts_own(())),
                whole_requests(self.connections),
            ],
            client_max_size=1024,
        )
        add_static(application, static)
        self.serving.add(application, "/", self.own, "lan")
        return application

    async def own(self, request: web.Request) -> View:
        address = address_of(request)
        status, mappings, (known, decisions) = await asyncio.gather(
            self._readings.status(), self._readings.mappings(), self._of(address)()
        )
        held = [mapping for mapping in mappings if mapping.device == known.device]
        others = [mapping for mapping in mappings if mapping.device != known.device] if self._all else []
        return View(
            "lan.html",
            {
                "address": address,
                "known": known,
                "status": status,
                "held": held[:MAPPINGS_SHOWN],
                "others": others[:MAPPINGS_SHOWN],
                "shows_all": self._all,
                "refused": [d for d in decisions if d.verdict in REFUSED][:REFUSALS_SHOWN],
            },
        )

    def _of(self, address: str) -> Reading[Known]:
        """The device and its last decisions, read once a second however often it looks."""
        reading = self._by_address.pop(address, None)
        if reading is None:
            reading = Reading(partial(self._known, address), FRESH_S, self._clock)
        self._by_address[address] = reading
        if len(self._by_address) > MOST_KEPT:
            del self._by_address[next(iter(self._by_address))]
        return reading

    async def _known(self, address: str) -> Known:
        known = await self._client.known(address)
        since = datetime.now(UTC) - timedelta(days=7)
        return known, await self._client.decisions(
            device=known.device, since=since.isoformat(), limit=SCANNED, unchanged=False
        )

    async def _frame(self, request: web.Request, section: str) -> Frame:
        return Frame(section=section)


def address_of(request: web.Request) -> str:
    """The address that the connection comes from; an IPv4 one as such."""
    parsed = ip_address((request.remote or "").partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
