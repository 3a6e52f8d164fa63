"""Reports of the demo: text for a terminal of 80 columns at most, or one JSON object a line."""

import json
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, HEADING, paint
from upnp_gw.lab.demo.report import FAILED, INDENT, PROVED, SHOWN, SKIPPED, StepOutcome, columns
from upnp_gw.text.escape import shown

STYLES = {PROVED: GOOD, SHOWN: CAUTION, FAILED: BAD, SKIPPED: CAUTION}


class TextReport:
    """Plain text with check marks, at most 80 columns wide. The output of commands is not wrapped."""

    def __init__(self) -> None:
        encoding = (sys.stdout.encoding or "ascii").lower()
        self.marks = (
            {PROVED: "✓", SHOWN: "·", FAILED: "✗", SKIPPED: "-"}
            if encoding.startswith("utf")
            else {PROVED: "ok", SHOWN: "..", FAILED: "!!", SKIPPED: "--"}
        )

    def opening(self, place: str, backend: str, lines: Sequence[str]) -> None:
        _print(*textwrap.wrap(f"upnp-gw demo ({place}; {backend} backend)", columns()), "")
        for line in lines:
            _print(*textwrap.wrap(line, columns()))

    def begins(self, number: int, title: str) -> None:
        lines = textwrap.wrap(title, columns() - len(INDENT))
        _print("", *(f"{'' if at else number:>2}  {paint(line, HEADING)}" for at, line in enumerate(lines)))

    def ended(self, outcome: StepOutcome) -> None:
        for line in outcome.findings.lines:
            _print(*_wrapped(line))
        seconds = "" if outcome.result == SKIPPED else f" ({outcome.took_s:.1f} s)"
        mark = f"{self.marks[outcome.result]:>2}"
        _print(f" {paint(mark, STYLES[outcome.result])}  {outcome.result}{seconds}")

    def summary(self, outcomes: Sequence[StepOutcome], backend: str, took_s: float) -> None:
        counts = ", ".join(
            f"{sum(o.result == result for o in outcomes)} {result}"
            for result in (PROVED, SHOWN, FAILED, SKIPPED)
            if any(o.result == result for o in outcomes)
        )
        _print("", f"{len(outcomes)} steps in {took_s:.1f} s: {counts}.")
        if backend == "memory":
            _print(*textwrap.wrap(MEMORY_NOTE, columns()))


class JsonReport:
    """One object for each step, then one with ``summary``."""

    def opening(self, place: str, backend: str, lines: Sequence[str]) -> None:
        pass

    def begins(self, number: int, title: str) -> None:
        pass

    def ended(self, outcome: StepOutcome) -> None:
        step: dict[str, Any] = {
            "step": outcome.name,
            "title": outcome.title,
            "result": outcome.result,
            "proved": outcome.result == PROVED,
            "took_s": round(outcome.took_s, 3),
            "lines": [line.strip() for line in outcome.findings.lines],
            "facts": dict(outcome.findings.facts),
        }
        _print(json.dumps(step))

    def summary(self, outcomes: Sequence[StepOutcome], backend: str, took_s: float) -> None:
        counts = {
            "proved": all(o.result == PROVED for o in outcomes),
            "backend": backend,
            "steps": len(outcomes),
            "took_s": round(took_s, 3),
        }
        _print(json.dumps({"summary": counts}))


MEMORY_NOTE = (
    "MEMORY BACKEND: no network namespace could be made here, so no port was opened and no packet was sent. "
    "The steps above show decisions of the gateway, not a kernel that enforces them. For the proof, run it as root "
    "or allow user namespaces."
)


def _wrapped(line: str) -> list[str]:
    """The line, wrapped if it is too long; output of a command is indented by two."""
    further = INDENT + ("    " if line.startswith(" ") else "")
    return textwrap.wrap(
        shown(line.rstrip(), 1000),
        columns(),
        initial_indent=INDENT,
        subsequent_indent=further,
        break_on_hyphens=False,
    )


def _print(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
