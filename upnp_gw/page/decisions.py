"""The log: decisions with filters, and the explanation of each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Declined
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.page.forms import TIMES, fields_of
from upnp_gw.page.views import View

ROWS = 50
SCANNED = 500
"""Decisions that are looked through for a transport, for which the daemon has no filter."""
FILTERS = ("device", "verdict", "via", "transport", "rule", "port", "within")
VERDICTS = ("allow", "deny", "ask", "busy")


class LogPages:
    def __init__(self, client: ControlClient) -> None:
        self._client = client

    async def all(self, request: web.Request) -> View:
        fields = dict.fromkeys(FILTERS, "") | fields_of(dict(request.query))
        wrong = ""
        decisions: list[api.Decision] = []
        transport = fields["transport"]
        try:
            limit = SCANNED if transport else ROWS + 1
            decisions = await self._client.decisions(**query_of(fields), limit=limit)
        except Declined as error:
            if error.problem.error != "invalid":
                raise
            wrong = error.problem.message
        found = [d for d in decisions if not transport or (d.transport and d.transport.value == transport)]
        more = len(found) > ROWS or (bool(transport) and len(decisions) == SCANNED)
        rows = found[:ROWS]
        last = rows[-1].id if len(found) > ROWS else decisions[-1].id if decisions else ""
        return View(
            "log.html",
            {
                "decisions": rows,
                "fields": fields,
                "wrong": wrong,
                "older": {**{n: v for n, v in fields.items() if v and n in FILTERS}, "before": last}
                if more
                else None,
                "verdicts": VERDICTS,
                "vias": [via.value for via in Via],
                "transports": [each.value for each in Transport],
                "times": list(TIMES),
                "first_page": not fields.get("before"),
            },
        )

    async def one(self, request: web.Request) -> View:
        return View("decision.html", {"explained": await self._client.explain(request.match_info["id"])})


def query_of(fields: Mapping[str, str]) -> dict[str, object]:
    """The filters that the daemon has, as ``api.DecisionFilter`` names them."""
    query: dict[str, object] = {
        name: fields[name] for name in ("device", "verdict", "via", "rule", "port") if fields[name]
    }
    if fields["within"] in TIMES:
        query["since"] = (datetime.now(UTC) - timedelta(seconds=TIMES[fields["within"]])).isoformat()
    if before := fields.get("before"):
        query["before"] = before
    return query | {"unchanged": False}
