"""Mappings: the list, one mapping with its decision, and what the operator can do with it."""

from collections.abc import Mapping

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Declined
from upnp_gw.page.chart import chart_of
from upnp_gw.page.devices import ROWS, page_of
from upnp_gw.page.forms import WrongField, fields_of, path, printable, time_of
from upnp_gw.page.readings import Readings
from upnp_gw.page.rendering import Texts
from upnp_gw.page.sessions import Notice
from upnp_gw.page.views import View

USUAL_LONGER = "1d"
KEPT_DESCRIPTION = 256


class MappingPages:
    def __init__(self, client: ControlClient, readings: Readings, texts: Texts) -> None:
        self._client = client
        self._readings = readings
        self._texts = texts

    async def all(self, request: web.Request) -> View:
        mappings = await self._readings.mappings()
        words = printable(request.query.get("find", "")[:100]).lower()
        found = [mapping for mapping in mappings if words in words_of(mapping)][::-1]
        page, pages = page_of(request, len(found))
        return View(
            "mappings.html",
            {
                "mappings": found[(page - 1) * ROWS : page * ROWS],
                "count": len(found),
                "find": words,
                "page": page,
                "pages": pages,
                "path": "/mappings",
            },
        )

    async def one(self, request: web.Request) -> View:
        name = request.match_info["id"]
        traffic = await self._client.traffic(name)  # first: it reads the counters that the mapping shows
        mapping = await self._client.mapping(name)
        return View(
            "mapping.html",
            {"mapping": mapping, "explained": await self._explained(mapping), "chart": chart_of(traffic)},
        )

    async def _explained(self, mapping: api.Mapping) -> api.Explained | None:
        """None: the decision has left the log."""
        try:
            return await self._client.explain(mapping.decision)
        except Declined:
            return None

    # -- actions

    async def end_form(self, request: web.Request) -> View:
        return View("mapping_end.html", {"mapping": await self._client.mapping(request.match_info["id"])})

    async def end(self, request: web.Request, _: Mapping[str, str]) -> tuple[str, Notice]:
        ended = await self._client.delete(request.match_info["id"])
        text = self._texts("done.ended", port=f"{ended.transport.value.upper()} {ended.external_port}")
        return "/mappings", Notice("good", text)

    async def longer_form(self, request: web.Request) -> View:
        mapping = await self._client.mapping(request.match_info["id"])
        fields = {"for": USUAL_LONGER} | fields_of(dict(request.query))
        return View("mapping_longer.html", {"mapping": mapping, "fields": fields})

    async def longer(self, request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
        """The operator holds the mapping too: it lives until the last hold ends."""
        for_s = time_of(fields, USUAL_LONGER)
        if for_s is None:
            raise WrongField("Choose one of the times.")
        mapping = await self._client.mapping(request.match_info["id"])
        kept = await self._hold(mapping, for_s)
        text = self._texts("done.longer")
        if kept.crosses:
            text = self._texts("done.longer_crosses", what="; ".join(kept.crosses))
        return path("mappings", kept.id), Notice("bad" if kept.crosses else "good", text)

    async def _hold(self, mapping: api.Mapping, for_s: int) -> api.Added:
        """A mapping is for all external addresses or for one of them; the list does not say which."""
        try:
            return await self._client.add(same(mapping, for_s))
        except Declined as error:
            if mapping.external_address is None or error.status != 409:
                raise
            return await self._client.add({**same(mapping, for_s), "external_address": mapping.external_address})


def same(mapping: api.Mapping, for_s: int) -> dict[str, object]:
    """The operator's request for the mapping that is there."""
    return {
        "transport": mapping.transport.value,
        "external_port": mapping.external_port,
        "internal_client": mapping.internal_client,
        "internal_port": mapping.internal_port,
        "remote_host": mapping.remote_host,
        "lease_s": for_s,
        "description": mapping.description[:KEPT_DESCRIPTION],
    }


def words_of(mapping: api.Mapping) -> str:
    """The text that a search looks through."""
    parts = (mapping.device_name or "", mapping.device, mapping.internal_client, mapping.description, mapping.rule)
    ports = f"{mapping.external_port} {mapping.internal_port} {mapping.transport.value} {mapping.id}"
    return f"{' '.join(parts)} {ports}".lower()
