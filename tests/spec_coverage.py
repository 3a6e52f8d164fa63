"""Which numbered assertions of docs/spec the run covered: printed at its end, wrong numbers fail the collection.

A test names its numbers with ``@pytest.mark.spec("IGD-110", "SR-2")``. A number counts as covered when at least
one test that names it passed and none failed. A number without text in docs/spec is a usage error.
"""

import re
from collections.abc import Generator
from pathlib import Path

import pytest

SPEC_DIR = Path(__file__).parent.parent / "docs" / "spec"
TEXT = re.compile(r"^(?:- |\| |\d+\. \*\*)((?:IGD|PMP|PCP|CAS|SR)-\d+)\b", re.MULTILINE)


def known_ids() -> frozenset[str]:
    """Every id that has a text in docs/spec."""
    return frozenset(
        found for path in sorted(SPEC_DIR.glob("*.md")) for found in TEXT.findall(path.read_text("utf-8"))
    )


def ids_of(item: pytest.Item) -> set[str]:
    return {str(arg) for mark in item.iter_markers("spec") for arg in mark.args}


class SpecCoverage:
    """The pytest plugin."""

    def __init__(self) -> None:
        self.known = known_ids()
        self.outcomes: dict[str, set[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        dangling = {(item.nodeid, wrong) for item in items for wrong in ids_of(item) - self.known}
        if dangling:
            lines = "\n".join(f"  {node}: {wrong}" for node, wrong in sorted(dangling))
            raise pytest.UsageError(f"tests name assertions without a text in docs/spec:\n{lines}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.when == "call" or report.outcome != "passed":
            for spec_id in ids_of(item):
                self.outcomes.setdefault(spec_id, set()).add(report.outcome)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.outcomes:
            return
        terminalreporter.section("assertions of docs/spec")
        for prefix in ("IGD", "PMP", "PCP", "CAS", "SR"):
            every = sorted((i for i in self.known if i.startswith(prefix)), key=lambda i: int(i.split("-")[1]))
            covered = [i for i in every if self.outcomes.get(i) == {"passed"}]
            if covered:
                missing = [i.split("-")[1] for i in every if i not in covered]
                terminalreporter.line(f"{prefix}: {len(covered)} of {len(every)} covered")
                terminalreporter.line(f"  covered: {' '.join(i.split('-')[1] for i in covered)}")
                terminalreporter.line(f"  not covered: {' '.join(missing) or 'none'}")
