"""Runs the demo: builds the lab, runs the steps in order, reports them, removes everything."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from upnp_gw.lab.daemon import DaemonFailed, LabDaemon
from upnp_gw.lab.demo import rehearsal
from upnp_gw.lab.demo.report import FAILED, PROVED, SHOWN, SKIPPED, Report, StepFindings, StepOutcome
from upnp_gw.lab.demo.stage import Console, NotProved, Stage, require
from upnp_gw.lab.demo.steps import GAME, STEPS
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.privilege import LabUnavailable, acquire
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport

EXIT_FAILED = 1
EXIT_REHEARSED = 4
"""Exit code: no step failed, but on the memory backend nothing is proved."""

PICTURE = (
    "  peer 11.50.1.10 ── 11.22.33.44 [gateway] 192.168.77.1 ─┬─ .10 console",
    "                                                         └─ .20 PC, infected",
)

Scene = TypeVar("Scene")


def play(report: Report) -> int:
    """Runs the demo. Returns the exit code: 0 if every step was proved."""
    started = time.monotonic()
    try:
        place = acquire()
    except LabUnavailable as problem:
        return _rehearse(report, str(problem), started)
    with _exit_on_sigterm():
        report.opening(f"in network namespaces, as {place}", "nftables", [_printable(line) for line in PICTURE])
        outcomes = _perform(report)
    report.summary(outcomes, "nftables", time.monotonic() - started)
    return 0 if all(outcome.result == PROVED for outcome in outcomes) else EXIT_FAILED


def _perform(report: Report) -> list[StepOutcome]:
    with _directory() as directory:
        with Lab() as lab:
            console = lab.hosts["console"]
            daemon = LabDaemon(lab.gateway, directory, "--lan", "lan0", "--wan", "wan0", "--firewall", "router")
            stage = Stage(lab, daemon, Console(console, console.address))
            with EchoServer(console, Transport.TCP, GAME), EchoServer(console, Transport.UDP, GAME):
                outcomes = _run(report, STEPS, stage, PROVED)
            daemon.stop()
            namespaces = {host.call(os.readlink, "/proc/thread-self/ns/net") for host in lab.hosts.values()}
        last = (("gone", "The lab is gone", _check_gone),)
        failed = any(outcome.result != PROVED for outcome in outcomes)
        return outcomes + _run(report, last, namespaces, PROVED, first=len(STEPS) + 1, skip=failed)


def _rehearse(report: Report, reason: str, started: float) -> int:
    """Runs the steps that need no kernel, on the memory backend."""
    report.opening("NO KERNEL, NO PACKETS", "memory", [f"No lab: {reason}"])
    with (
        _exit_on_sigterm(),
        _directory() as directory,
        rehearsal.rehearsal(directory) as scene,
    ):
        outcomes = _run(report, rehearsal.STEPS, scene, SHOWN)
    report.summary(outcomes, "memory", time.monotonic() - started)
    return EXIT_FAILED if any(outcome.result != SHOWN for outcome in outcomes) else EXIT_REHEARSED


def _run(
    report: Report,
    steps: Sequence[tuple[str, str, Callable[[Scene], StepFindings]]],
    scene: Scene,
    result: str,
    *,
    first: int = 1,
    skip: bool = False,
) -> list[StepOutcome]:
    """Runs the steps until one fails. The rest are reported as not run."""
    outcomes = []
    for number, (name, title, step) in enumerate(steps, first):
        report.begins(number, title)
        if skip:
            outcome = StepOutcome(name, title, SKIPPED, StepFindings([]), 0.0)
        else:
            outcome = _attempt(name, title, step, scene, result)
            skip = outcome.result == FAILED
        report.ended(outcome)
        outcomes.append(outcome)
    return outcomes


def _attempt(
    name: str, title: str, step: Callable[[Scene], StepFindings], scene: Scene, result: str
) -> StepOutcome:
    started = time.monotonic()
    try:
        findings = step(scene)
    except subprocess.CalledProcessError as error:
        findings, result = (
            StepFindings([f"NOT PROVED: {error}", *f"{error.stdout}{error.stderr}".splitlines()]),
            FAILED,
        )
    except (NotProved, DaemonFailed, subprocess.TimeoutExpired, OSError) as error:
        findings, result = StepFindings(f"NOT PROVED: {error}".splitlines()), FAILED
    return StepOutcome(name, title, result, findings, time.monotonic() - started)


def _check_gone(namespaces: set[str]) -> StepFindings:
    """Checks that no process is left in a namespace of the lab."""
    remaining = []
    for entry in Path("/proc").glob("[0-9]*/task/*/ns/net"):
        try:
            if os.readlink(entry) in namespaces:
                remaining.append(entry.parts[2])
        except OSError:
            continue  # it has ended, or belongs to another user, so it is not ours
    require(not remaining, f"processes are left in the lab: {sorted(set(remaining))}")
    return StepFindings(
        [f"no process and no thread is left in its {len(namespaces)} hosts; the kernel drops the namespaces"],
        {"hosts": len(namespaces)},
    )


@contextmanager
def _directory() -> Iterator[Path]:
    """A directory that is removed at the end, also if SIGTERM or Ctrl-C arrives while it is made."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with tempfile.TemporaryDirectory(prefix="upnp-gw-demo-") as name:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield Path(name)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo like Ctrl-C: everything is cleaned up."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _printable(line: str) -> str:
    """The line in ASCII if the terminal cannot show box characters."""
    try:
        line.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return line.translate(str.maketrans("─┬└", "-+`"))
    return line
