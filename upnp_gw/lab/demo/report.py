"""The results of the demo's steps, and the interface of reports (``cli.demo_report``)."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

INDENT = "    "


def columns() -> int:
    """80, or the terminal's where it is narrower."""
    return min(80, shutil.get_terminal_size((80, 24)).columns)


def output_columns() -> int:
    """Columns for the output of a command inside a step."""
    return columns() - len(INDENT) - 2


PROVED = "proved"
"""A packet arrived or was refused, as claimed."""
SHOWN = "shown"
"""Only an answer was seen, without a packet: the most that a step on the memory backend can show."""
FAILED = "failed"
SKIPPED = "not run"


@dataclass(frozen=True, slots=True)
class StepFindings:
    """The observations of a step: ``lines`` for the text report, ``facts`` for JSON."""

    lines: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of a step."""

    name: str
    title: str
    result: str
    """PROVED, SHOWN, FAILED or SKIPPED."""
    findings: StepFindings
    took_s: float


class Report(Protocol):
    def opening(self, place: str, backend: str, lines: Sequence[str]) -> None: ...
    def begins(self, number: int, title: str) -> None: ...
    def ended(self, outcome: StepOutcome) -> None: ...
    def summary(self, outcomes: Sequence[StepOutcome], backend: str, took_s: float) -> None: ...
