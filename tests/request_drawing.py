"""Draws the way of a request: ``python -m tests.request_drawing`` writes docs/request.svg.

The steps are functions of the program, so a renamed one fails here. ``tests/test_request_drawing.py`` sends a
request to the daemon and checks that it calls these functions in this order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from tests import ROOT
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.requests import RequestOperations
from upnp_gw.engine.writer import Writer
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.gate.decide import decide
from upnp_gw.gate.facts import gather
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.forwards import kernel_changes
from upnp_gw.ledger.plan import Planner
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.protocols.igd.port_mappings import add_port_mapping
from upnp_gw.protocols.igd.soap import build_response, parse_call
from upnp_gw.servers.http.connection import Connection
from upnp_gw.servers.http.control import Control
from upnp_gw.servers.http.server import HttpServer
from upnp_gw.store.store import Store

DRAWING = ROOT / "docs" / "request.svg"


@dataclass(frozen=True, slots=True)
class Step:
    function: Callable[..., Any]
    does: str
    in_memory: Callable[..., Any] | None = None
    """The function that takes its place where there is no kernel."""

    @property
    def traced(self) -> Callable[..., Any]:
        return self.in_memory or self.function

    @property
    def package(self) -> str:
        return self.function.__module__.split(".")[1]

    @property
    def file(self) -> str:
        return self.function.__module__.removeprefix("upnp_gw.").replace(".", "/") + ".py"


STEPS = (
    Step(Connection.received, "reads head and body, within limits and deadlines"),
    Step(HttpServer.respond, "checks Host and path; finds the control URL"),
    Step(Control.serve, "answers one call"),
    Step(parse_call, "bytes become a call: action and arguments"),
    Step(add_port_mapping, "one MapRequest for every protocol"),
    Step(Gateway.handle, "waits until the device of the sender is known"),
    Step(Writer._attempt, "one task: requests in order, in batches"),
    Step(RequestOperations.map, "one request is one transaction"),
    Step(gather, "facts: MAC address, LAN, name, mappings so far"),
    Step(decide, "verdict: allow, deny or ask, with reasons"),
    Step(Planner.plan, "external port, lease, conflict"),
    Step(Transaction.put, "the row; the next request of the batch sees it"),
    Step(kernel_changes, "rows become Open and Close"),
    Step(NftablesFirewall.apply, "one nftables transaction for the batch", MemoryFirewall.apply),
    Step(Store.write_blocking, "one SQLite transaction for the batch, on the same thread", Store.write),
    Step(build_response, "the Reply becomes bytes"),
    Step(Events.publish, "to subscribers, the log and list --watch"),
)

COLOURS = {
    "servers": "#dbe7f5",
    "protocols": "#e6e0f3",
    "engine": "#fbe8d3",
    "gate": "#f8d9d9",
    "ledger": "#f7f0c8",
    "firewall": "#d9efdc",
    "store": "#d6eef0",
}
WIDTH, ROW, GAP, TOP, MIDDLE = 780, 34, 12, 62, 118


def draw() -> str:
    """The drawing as SVG: a row for each step, a band for each package on the way."""
    height = TOP + len(STEPS) * (ROW + GAP) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="13" fill="#222">',
        "<title>The way of an AddPortMapping through upnp-gw</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>',
        f'<text x="{MIDDLE}" y="26" font-weight="bold">AddPortMapping from a control point on the LAN</text>',
        _arrow(34, TOP - 2),
    ]
    for row, step in enumerate(STEPS):
        y = TOP + row * (ROW + GAP)
        before = STEPS[row - 1].package if row else ""
        if step.package != before:
            rows = 1
            while row + rows < len(STEPS) and STEPS[row + rows].package == step.package:
                rows += 1
            lines.append(
                f'<rect x="8" y="{y - 4}" width="{WIDTH - 16}" height="{rows * (ROW + GAP) - 4}" rx="6"'
                f' fill="{COLOURS[step.package]}"/>'
            )
            lines.append(f'<text x="18" y="{y + 21}" font-weight="bold">{step.package}/</text>')
        if row:
            lines.append(_arrow(y - GAP, y - 1))
        lines.append(_step(y, step))
    y = TOP + len(STEPS) * (ROW + GAP)
    lines += [
        _arrow(y - GAP, y + 12),
        f'<text x="{MIDDLE}" y="{y + 28}" font-weight="bold">The answer does not wait for the events</text>',
    ]
    return "\n".join([*lines, "</svg>", ""])


def _step(y: int, step: Step) -> str:
    name = step.function.__qualname__
    return (
        f'<rect x="{MIDDLE - 10}" y="{y}" width="296" height="{ROW}" rx="4" fill="#fff" stroke="#888"/>'
        f'<text x="{MIDDLE}" y="{y + 15}" font-size="11" fill="#555">{escape(step.file)}</text>'
        f'<text x="{MIDDLE}" y="{y + 29}" font-family="monospace">{escape(name)}</text>'
        f'<text x="{MIDDLE + 302}" y="{y + 22}">{escape(step.does)}</text>'
    )


def _arrow(top: int, bottom: int) -> str:
    x = MIDDLE + 20
    return f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="#555" marker-end="url(#arrow)"/>'


if __name__ == "__main__":
    DRAWING.write_text(draw(), "utf-8")
