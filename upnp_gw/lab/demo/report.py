"""The results of the demo's steps, and the reports that take them (``cli.demo_report``)."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

INDENT = "    "


def columns() -> int:
    """80, or the terminal's where it is narrower."""
    return min(80, shutil.get_terminal_size((80, 24)).columns)


def room() -> int:
    """Columns for what a command prints."""
    return columns() - len(INDENT) - 2


PROVED = "proved"
"""By a packet that arrived, or did not."""
SHOWN = "shown"
"""Seen in an answer only: what a step on the memory backend can say at most."""
FAILED = "failed"
SKIPPED = "not run"


@dataclass(frozen=True, slots=True)
class StepFindings:
    """What a step saw: lines for people, facts for machines."""

    lines: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How a step ended."""

    name: str
    title: str
    result: str
    """PROVED, SHOWN, FAILED or SKIPPED."""
    found: StepFindings
    took_s: float


class Report(Protocol):
    def opening(self, place: str, backend: str, lines: Sequence[str]) -> None: ...
    def begins(self, number: int, title: str) -> None: ...
    def ended(self, outcome: StepOutcome) -> None: ...
    def summary(self, outcomes: Sequence[StepOutcome], backend: str, took_s: float) -> None: ...
