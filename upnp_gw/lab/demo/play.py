"""Plays the demo: makes the stage, runs the steps in order, tells the report, leaves nothing."""

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
"""Nothing failed, but on the memory backend nothing was proved either."""

PICTURE = (
    "  peer 11.50.1.10 ── 11.22.33.44 [gateway] 192.168.77.1 ─┬─ .10 console",
    "                                                         └─ .20 PC, infected",
)

Scene = TypeVar("Scene")


def play(report: Report) -> int:
    """The whole demo. Returns the exit code: 0 only where every step was proved."""
    begun = time.monotonic()
    try:
        place = acquire()
    except LabUnavailable as problem:
        return _rehearse(report, str(problem), begun)
    report.opening(f"in network namespaces, as {place}", "nftables", [_drawable(line) for line in PICTURE])
    with _ended_by_sigterm():
        outcomes = _perform(report)
    report.summary(outcomes, "nftables", time.monotonic() - begun)
    return 0 if all(outcome.result == PROVED for outcome in outcomes) else EXIT_FAILED


def _perform(report: Report) -> list[StepOutcome]:
    with tempfile.TemporaryDirectory(prefix="upnp-gw-demo-") as directory:
        with Lab() as lab:
            console = lab.hosts["console"]
            daemon = LabDaemon(
                lab.gateway, Path(directory), "--lan", "lan0", "--wan", "wan0", "--firewall", "router"
            )
            stage = Stage(lab, daemon, Console(console, console.address))
            with EchoServer(console, Transport.TCP, GAME), EchoServer(console, Transport.UDP, GAME):
                outcomes = _run(report, STEPS, stage, PROVED)
            daemon.stop()
            namespaces = {host.call(os.readlink, "/proc/thread-self/ns/net") for host in lab.hosts.values()}
        gone = (("gone", "The lab is gone", _gone),)
        failed = any(outcome.result != PROVED for outcome in outcomes)
        return outcomes + _run(report, gone, namespaces, PROVED, first=len(STEPS) + 1, skip=failed)


def _rehearse(report: Report, why: str, begun: float) -> int:
    """The steps that need no kernel, on the memory backend."""
    report.opening("NO KERNEL, NO PACKETS", "memory", [f"No lab: {why}"])
    with (
        _ended_by_sigterm(),
        tempfile.TemporaryDirectory(prefix="upnp-gw-demo-") as directory,
        rehearsal.rehearsal(Path(directory)) as scene,
    ):
        outcomes = _run(report, rehearsal.STEPS, scene, SHOWN)
    report.summary(outcomes, "memory", time.monotonic() - begun)
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
    """Runs the steps until one fails; the rest are told as not run."""
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
    begun = time.monotonic()
    try:
        found = step(scene)
    except subprocess.CalledProcessError as error:
        found, result = (
            StepFindings([f"NOT PROVED: {error}", *f"{error.stdout}{error.stderr}".splitlines()]),
            FAILED,
        )
    except (NotProved, DaemonFailed, subprocess.TimeoutExpired, OSError) as error:
        found, result = StepFindings(f"NOT PROVED: {error}".splitlines()), FAILED
    return StepOutcome(name, title, result, found, time.monotonic() - begun)


def _gone(namespaces: set[str]) -> StepFindings:
    """No process is left in any of the lab's namespaces; the kernel has let them go."""
    left = []
    for entry in Path("/proc").glob("[0-9]*/task/*/ns/net"):
        try:
            if os.readlink(entry) in namespaces:
                left.append(entry.parts[2])
        except OSError:
            continue  # gone meanwhile, or another user's: ours are ours to read
    require(not left, f"processes are left in the lab: {sorted(set(left))}")
    return StepFindings(
        [f"no process and no thread is left in its {len(namespaces)} hosts; the kernel drops the namespaces"],
        {"hosts": len(namespaces)},
    )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: through the clean-up."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _drawable(line: str) -> str:
    """The picture for a terminal that has no lines to draw with."""
    try:
        line.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return line.translate(str.maketrans("─┬└", "-+`"))
    return line
