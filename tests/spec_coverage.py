"""The numbered assertions of docs/spec that the run covered: printed at its end. Wrong numbers fail their test.

A test names its numbers with ``@pytest.mark.spec("IGD-110", "SR-2")``. A number counts as covered when at least
one test that names it passed and none failed. A test that names a number without text in docs/spec fails. What
nobody covers is in docs/spec/uncovered.toml with its reason: a full run fails where that list is not the truth.
"""

import re
import tomllib
from collections.abc import Generator

import pytest

from tests import ROOT

SPEC_DIR = ROOT / "docs" / "spec"
TEXT = re.compile(r"^(?:- |\| |\d+\. \*\*)((?:IGD|PMP|PCP|CAS|SR)-\d+)\b", re.MULTILINE)
PREFIXES = ("IGD", "PMP", "PCP", "CAS", "SR")


def known_ids() -> frozenset[str]:
    """Every id that has a text in docs/spec."""
    return frozenset(
        found for path in sorted(SPEC_DIR.glob("*.md")) for found in TEXT.findall(path.read_text("utf-8"))
    )


def excused() -> dict[str, str]:
    """Id -> why no test covers it."""
    known = known_ids()
    found: dict[str, str] = {}
    for prefix, reasons in tomllib.loads((SPEC_DIR / "uncovered.toml").read_text("utf-8")).items():
        for numbers, reason in reasons.items():
            first, _, last = numbers.partition("-")
            every = [f"{prefix}-{n:0{len(first)}}" for n in range(int(first), int(last or first) + 1)]
            found |= {spec_id: reason for spec_id in every if spec_id in known}
    return found


def ids_of(item: pytest.Item) -> set[str]:
    return {str(arg) for mark in item.iter_markers("spec") for arg in mark.args}


def by_number(spec_id: str) -> int:
    return int(spec_id.split("-")[1])


class SpecCoverage:
    """The pytest plugin. ``full``: every test is in the run, so that the list can be judged."""

    def __init__(self, full: bool = False) -> None:
        self.known = known_ids()
        self.full = full
        self.outcomes: dict[str, set[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # not in the collection: a worker of xdist cannot tell its controller of an error there
        if dangling := ids_of(item) - self.known:
            pytest.fail(f"docs/spec has no text of {', '.join(sorted(dangling))}", pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """The ids go with the report: a worker of xdist sends it to the process that prints the list."""
        report = yield
        vars(report)["spec_ids"] = sorted(ids_of(item))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            for spec_id in getattr(report, "spec_ids", ()):  # a worker that died sent none
                self.outcomes.setdefault(spec_id, set()).add(report.outcome)

    @property
    def unexplained(self) -> set[str]:
        """No test names it, and no reason is given."""
        return set(self.known) - self.outcomes.keys() - excused().keys()

    @property
    def outdated(self) -> set[str]:
        """A reason is given, and a test names it all the same."""
        return self.outcomes.keys() & excused().keys()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.full and session.exitstatus == pytest.ExitCode.OK and (self.unexplained or self.outdated):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.outcomes:
            return
        terminalreporter.section("assertions of docs/spec")
        for prefix in PREFIXES:
            every = sorted((i for i in self.known if i.startswith(prefix)), key=by_number)
            covered = [i for i in every if self.outcomes.get(i) == {"passed"}]
            if covered or self.full:
                terminalreporter.line(f"{prefix}: {len(covered)} of {len(every)} covered")
                terminalreporter.line(f"  covered: {' '.join(i.split('-')[1] for i in covered) or 'none'}")
                missing = [i for i in every if i not in covered]
                terminalreporter.line(f"  not covered: {' '.join(i.split('-')[1] for i in missing) or 'none'}")
        if self.full:
            self._explain(terminalreporter)

    def _explain(self, terminalreporter: pytest.TerminalReporter) -> None:
        reasons: dict[str, list[str]] = {}
        for spec_id, reason in excused().items():
            reasons.setdefault(reason, []).append(spec_id)
        for reason, ids in reasons.items():
            shown = ids[0] if len(ids) == 1 else f"{ids[0]} ... {ids[-1]} ({len(ids)})"
            terminalreporter.line(f"  {shown}: {reason}")
        for spec_id in sorted(self.unexplained):
            terminalreporter.line(f"  {spec_id}: NO TEST, AND NO REASON in docs/spec/uncovered.toml")
        for spec_id in sorted(self.outdated):
            terminalreporter.line(f"  {spec_id}: covered now, but excused in docs/spec/uncovered.toml")
