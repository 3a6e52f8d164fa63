"""A full run on a CI machine (the variable ``CI`` is set) fails where a test was skipped for no listed reason.

``tests/run.sh`` installs what the tests need, so little may be missing there. Elsewhere pytest lists the skips.
"""

import os

import pytest

ALLOWED = (
    # the kernel
    "this kernel has no flowtables",
    "no user namespaces here",
    "no disk of our own here",
    # the user
    "this user namespace has root alone",
    "only root of a user namespace with other users in it can",
    "only root of a machine can",
    "needs the root of the machine",
    # the place of the clone and of Python, which other users cannot reach
    "nobody cannot reach",
    "the user nobody may not",
    "other users cannot run",
    # the system
    "ten seconds more: tests/guides.sh",
    "dockerd is not installed",  # tests/guides.sh
    "libvirtd is not installed",  # tests/guides.sh
    "mallopt is glibc's",
    "systemd-analyze is not installed",  # containers
    "transmission-daemon is not installed",  # where systemd runs: its package would start a service
)
"""Each is the beginning of a reason."""


class Skips:
    """The pytest plugin. ``full``: every test is in the run."""

    def __init__(self, full: bool = False) -> None:
        self.full = full and bool(os.environ.get("CI"))
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):  # a string: a failure that was expected
            reason = str(report.longrepr[2]).removeprefix("Skipped: ")
            if not reason.startswith(ALLOWED):
                self.unlisted.append(f"{report.nodeid}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.full and session.exitstatus == pytest.ExitCode.OK and self.unlisted:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.full and self.unlisted:
            terminalreporter.section("SKIPPED ON CI, AND NOT LISTED in tests/skips.py")
            for line in self.unlisted:
                terminalreporter.line(line)
