"""The screen of ``list --watch`` at a terminal: mappings, incidents, questions and the last denials.

It fits the terminal, whatever its size, and is drawn again when that changes. Parts that have no room are counted,
with the command that shows them all.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from shutil import get_terminal_size

import click
import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient, EventStream
from upnp_gw.cli.decisions import decision_heading, paint_verdict
from upnp_gw.cli.incidents import format_incident
from upnp_gw.cli.mapping_table import mapping_table
from upnp_gw.cli.terminal import BAD, CAUTION, HEADING, LONGEST_TEXT, paint, print_text
from upnp_gw.text.escape import cut, shown

REDRAW_S = 2.0
"""Seconds: leases count down."""
CLEAR_SCREEN = "\x1b[H\x1b[2J"
MOST_DENIALS = 50
LEAST_ROWS = 24
"""A lower terminal scrolls."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The answers of the daemon."""

    mappings: list[api.Mapping]
    incidents: list[api.Incident]
    questions: list[api.Question]
    denials: list[api.Decision]
    """The newest first."""


def watch(daemon: DaemonClient, events: EventStream) -> None:
    """Draws at each change until the daemon stops."""
    with _size_changes() as changed:
        running = True
        while running:
            size = get_terminal_size()
            screen = draw(_asked(daemon), datetime.now(UTC), size.columns, size.lines)
            sys.stdout.write(CLEAR_SCREEN)  # click.echo would remove it if colours are off
            click.echo("\n".join(screen))
            running = events.wait(REDRAW_S, changed)
    print_text("upnp-gw stopped", err=True)


@contextmanager
def _size_changes() -> Iterator[int | None]:
    """A file descriptor that can be read when the size of the terminal has changed (SIGWINCH)."""
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    handler = signal.signal(signal.SIGWINCH, lambda number, frame: None)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGWINCH, handler)
        os.close(reading)
        os.close(writing)


def _asked(daemon: DaemonClient) -> Shown:
    denied = {"verdict": "deny", "limit": MOST_DENIALS, "unchanged": "false"}
    return Shown(
        msgspec.json.decode(daemon.request("GET", "/v1/mappings"), type=list[api.Mapping]),
        msgspec.json.decode(daemon.request("GET", "/v1/incidents"), type=list[api.Incident]),
        msgspec.json.decode(daemon.request("GET", "/v1/queue"), type=list[api.Question]),
        msgspec.json.decode(daemon.request("GET", "/v1/decisions", query=denied), type=list[api.Decision]),
    )


def draw(found: Shown, now: datetime, columns: int, rows: int) -> list[str]:
    """The lines of the screen, at most ``rows - 1``: the cursor stands below them."""
    room = max(rows, LEAST_ROWS) - 1
    above = _part("INCIDENTS", list(map(_incident, found.incidents)), room // 4, columns, BAD, "upnp-gw devices")
    above += _part("QUESTIONS", list(map(_question, found.questions)), room // 4, columns, CAUTION, "upnp-gw queue")
    denials = list(map(_denial, found.denials))
    most_denials = max(room // 4, room - len(above) - _height(found.mappings, now, columns, room) - 1)
    below = _part("LAST DENIALS", denials, most_denials, columns, HEADING, "upnp-gw log --verdict deny")
    below = ["", *below] if below else []
    return above + _mappings(found.mappings, now, columns, room - len(above) - len(below)) + below


def _height(mappings: Sequence[api.Mapping], now: datetime, columns: int, room: int) -> int:
    """Lines that all mappings need; more than ``room`` if they do not fit."""
    return len(mapping_table(list(mappings), now, columns)) if len(mappings) < room else room + 1


def _part(title: str, lines: Sequence[str], room: int, columns: int, style: str, command: str) -> list[str]:
    """A title and its lines, each one row of the terminal; nothing without lines."""
    if not lines:
        return []
    fit = max(1, room - 1)
    kept = lines if len(lines) <= fit else lines[: max(1, fit - 1)]
    more = len(lines) - len(kept)
    rest = [cut(f"and {more} more: {command}", columns)] if more else []
    return [paint(cut(title, columns), style), *(_row(line, columns) for line in kept), *rest]


def _row(line: str, columns: int) -> str:
    verdict = "deny" if " deny " in line[:30] else ""
    return paint_verdict(cut(line, columns), verdict) if verdict else cut(line, columns)


def _mappings(mappings: list[api.Mapping], now: datetime, columns: int, room: int) -> list[str]:
    """As many mappings as fit, the oldest first; one can need several lines."""
    kept = len(mappings)
    while True:
        lines = mapping_table(mappings[:kept], now, columns)
        more = len(mappings) - kept
        if kept <= 1 or len(lines) + bool(more) <= room:
            break
        kept = min(kept - 1, room)
    return lines + ([cut(f"and {formats.plural(more, 'more mapping')}: upnp-gw list", columns)] if more else [])


def _incident(incident: api.Incident) -> str:
    return shown(format_incident(incident), LONGEST_TEXT)


def _question(question: api.Question) -> str:
    """``3: ps5 asks for udp -> 192.168.1.23:3074, 2 times: upnp-gw approve 3``."""
    device = shown(question.device_name or question.device)
    target = formats.endpoint(shown(question.internal_client), question.internal_port)
    times = "" if question.times == 1 else f", {question.times} times"
    number = question.number
    return f"{number}: {device} asks for {question.transport} -> {target}{times}: upnp-gw approve {number}"


def _denial(decision: api.Decision) -> str:
    why = shown(decision.reasons[-1], LONGEST_TEXT) if decision.reasons else shown(decision.refusal or "")
    times = f" (x{decision.count})" if decision.count > 1 else ""
    return f"{decision_heading(decision)}{times}: {why}"
