"""The first page of the operator: the gateway in one look."""

from aiohttp import web

from upnp_gw.page.readings import Readings
from upnp_gw.page.views import View


class OverviewPage:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def __call__(self, _: web.Request) -> View:
        status = await self._readings.status()
        return View("overview.html", {"status": status})
