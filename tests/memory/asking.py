"""Asks a daemon that has ``inside`` for reports, and says what grew from one to the next."""

import json
import os
import signal
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fixtures.waiting import until
from tests.memory.inside import MEMORY, MEMORY_TRACE, OBJECTS

REPORT_S = 120.0
LEAST_KIB = 2.0
"""A smaller growth is not printed."""
LINES = 40


@dataclass
class Asking:
    """The reports of one daemon. ``directory``: an empty one, which the daemon's user can write to. ``trace``: by
    line of the program, too."""

    directory: Path
    trace: bool = False
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """For the daemon."""
        return {MEMORY: str(self.directory), **({MEMORY_TRACE: "1"} if self.trace else {})}

    def restarted(self) -> None:
        """Another process begins with report 0."""
        for path in self.directory.iterdir():
            path.unlink()
        self.reports.clear()

    def ask(self, pid: int, objects: bool = False) -> str:
        """A new report, and its figures as a line. ``objects``: the report has the objects as well. Raises
        AssertionError if none comes."""
        path, wanted = self.directory / f"{len(self.reports)}.json", self.directory / OBJECTS
        if objects:
            wanted.touch()
        os.kill(pid, signal.SIGUSR2)
        assert until(path.exists, REPORT_S), "the daemon does not report its memory"
        wanted.unlink(missing_ok=True)
        self.reports.append(json.loads(path.read_text("utf-8")))
        return ", ".join(f"{name} {kib:,.0f}" for name, kib in self.figures(-1).items())

    def figures(self, number: int) -> dict[str, float]:
        """KiB by name."""
        found: dict[str, float] = self.reports[number]["kib"]
        return found

    @property
    def set_aside(self) -> dict[str, int]:
        """Garbage that the collector never looks at, in the last report with objects: type -> number."""
        whole = [report for report in self.reports if "objects" in report]
        found: dict[str, int] = whole[-1]["set aside"] if whole else {}
        return found

    def growth(self) -> list[str]:
        """Lines that say what grew between the last two reports with objects. Empty: there are no two."""
        whole = [number for number, report in enumerate(self.reports) if "objects" in report]
        if len(whole) < 2:
            return []
        first, last = whole[-2:]
        before, after = self.figures(first), self.figures(last)
        lines = [f"from report {first + 1} to report {last + 1}, KiB:"]
        lines += [f"{after[name] - before[name]:+10.1f} {name} (now {after[name]:,.0f})" for name in after]
        lines += self._growth_by_type(first, last)
        lines += ["garbage that was set aside, objects:"]
        lines += [f"{count:10} {name}" for name, count in self.set_aside.items()]
        return lines + (self._growth_by_line(first, last) if self.trace else [])

    def _growth_by_type(self, first: int, last: int) -> list[str]:
        before, after = (self.reports[number]["objects"] for number in (first, last))
        found = []
        for name in before.keys() | after.keys():
            (count_before, kib_before), (count, kib) = before.get(name, (0, 0.0)), after.get(name, (0, 0.0))
            if abs(kib - kib_before) >= LEAST_KIB:
                found.append((kib - kib_before, f"in {count - count_before:+} {name} (now {count})"))
        return ["objects by type, KiB:"] + [f"{kib:+10.1f} {text}" for kib, text in sorted(found, reverse=True)]

    def _growth_by_line(self, first: int, last: int) -> list[str]:
        before, after = (
            tracemalloc.Snapshot.load(str(self.directory / f"{number}.trace")) for number in (first, last)
        )
        lines = ["allocated by line, KiB:"]
        for each in after.compare_to(before, "traceback")[:LINES]:
            if each.size_diff >= LEAST_KIB * 1024:
                lines.append(f"{each.size_diff / 1024:+10.1f} in {each.count_diff:+} blocks")
                lines += [f"{'':20}{line}" for line in each.traceback.format(most_recent_first=True)]
        return lines
