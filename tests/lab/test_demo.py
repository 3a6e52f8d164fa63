"""``upnp-gw demo`` and its parts: the daemon as a process, the report, the rehearsal without a lab."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from upnp_gw.cli.demo_report import JsonReport, TextReport
from upnp_gw.lab import Lab, LabUnavailable
from upnp_gw.lab.daemon import DaemonFailed, LabDaemon
from upnp_gw.lab.demo import play, rehearsal, steps
from upnp_gw.lab.demo.report import (
    FAILED,
    PROVED,
    SHOWN,
    SKIPPED,
    StepFindings,
    StepOutcome,
)
from upnp_gw.lab.demo.stage import Console, NotProved, Stage
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import Transport

DEMO = (sys.executable, "-m", "upnp_gw", "demo")
NAMES = [name for name, _, _ in steps.STEPS] + ["gone"]
ROUTER = ("--lan", "lan0", "--wan", "wan0", "--firewall", "router")


@pytest.mark.lab
@pytest.mark.usefixtures("namespaces")
def test_the_demo_of_the_installed_wheel_proves_every_step(installed_wheel: Path, tmp_path: Path) -> None:
    program = [str(installed_wheel / "bin" / "upnp-gw"), "demo", "--json"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=180, check=False, cwd=tmp_path)
    *step_reports, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(step["step"], step["result"]) for step in step_reports] == [(name, "proved") for name in NAMES], (
        done.stdout
    )
    assert summary["summary"]["proved"] is True
    assert done.returncode == 0
    by_name = {step["step"]: step["facts"] for step in step_reports}
    assert len(steps.WANTED) == 27
    assert by_name["infected"]["granted"] == [1433, 3306, 4444, 5432, 5555, 6379, 6667, 8080]
    assert by_name["lease"]["ended_after_s"] >= steps.BRIEF_LEASE_S


@pytest.mark.lab
@pytest.mark.usefixtures("namespaces")
def test_the_demo_without_upnpc_uses_igd_device(fresh_lab: Lab, tmp_path: Path) -> None:
    with LabDaemon(fresh_lab.gateway, tmp_path, *ROUTER):
        host = fresh_lab.hosts["console"]
        console = Console(host, host.address)
        console.upnpc = None
        assert console.discover().external_address == str(fresh_lab.external[0])
        assert "granted" in console.map(Transport.UDP, 3074, 60)
        with pytest.raises(NotProved, match="606"):
            console.map(Transport.TCP, 22, 60)
        console.unmap(Transport.UDP, 3074)
        with pytest.raises(NotProved, match="714"):
            console.unmap(Transport.UDP, 3074)


@pytest.mark.lab
@pytest.mark.usefixtures("namespaces")
def test_a_step_that_sees_something_else_fails_the_demo(
    fresh_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gateway that lets everything in must not pass for one that refuses."""
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    lab.gateway.sysctl("net/ipv4/ip_forward", "1")
    lab.gateway.nft(
        "table ip t { chain c { type nat hook prerouting priority -100; iifname wan0 dnat to 192.168.77.10; }; }"
    )
    stage = Stage(lab, LabDaemon(lab.gateway, tmp_path), Console(console, console.address))
    with EchoServer(console, Transport.TCP, steps.GAME), EchoServer(console, Transport.UDP, steps.GAME):
        outcomes = play._run(TextReport(), steps.STEPS[1:3], stage, PROVED)
    assert [outcome.result for outcome in outcomes] == [FAILED, SKIPPED]
    assert "NOT PROVED: tcp/3074 is open: console answered" in capsys.readouterr().out


@pytest.mark.lab
@pytest.mark.usefixtures("namespaces")
def test_sigterm_leaves_no_directory_and_no_daemon(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--json"], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as demo:
        assert demo.stdout is not None
        assert json.loads(demo.stdout.readline())["step"] == "start"
        until(lambda: any(tmp_path.iterdir()))
        demo.send_signal(signal.SIGTERM)
        demo.stdout.read()
        assert demo.wait(20) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_directory_is_made_leaves_none(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir

    def make_and_signal(path: str, mode: int = 0o777) -> None:
        make(path, mode)
        signal.raise_signal(number)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with monkeypatch.context() as patched, play._exit_on_sigterm():
        patched.setattr(os, "mkdir", make_and_signal)
        with pytest.raises((SystemExit, KeyboardInterrupt)), play._directory():
            pytest.fail("the signal was lost")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.lab
def test_a_daemon_that_does_not_start_says_why(lab: Lab, tmp_path: Path) -> None:
    daemon = LabDaemon(lab.gateway, tmp_path, "--lan", "lan0", "--wan", "lan0")
    with pytest.raises(DaemonFailed, match="ended with code 2"):
        daemon.start()
    assert not daemon.running


@pytest.mark.lab
def test_killed_and_started_again_is_the_same_gateway(fresh_lab: Lab, tmp_path: Path) -> None:
    with LabDaemon(fresh_lab.gateway, tmp_path, *ROUTER) as daemon:
        first = daemon.pid
        assert daemon.kill() == -signal.SIGKILL
        daemon.start()
        assert daemon.pid != first
        assert daemon.json("list") == []
        assert daemon.stop() == 0


def test_without_namespaces_decisions_are_shown_and_nothing_is_called_proved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> str:
        raise LabUnavailable("not here.")

    monkeypatch.setattr(play, "acquire", refused)
    assert play.play(TextReport()) == play.EXIT_REHEARSED
    output = capsys.readouterr().out
    assert "MEMORY BACKEND" in output
    assert "proved" not in output
    assert "No lab: not here." in output
    assert play.play(JsonReport()) == play.EXIT_REHEARSED
    *step_reports, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [step["result"] for step in step_reports] == [SHOWN] * len(rehearsal.STEPS)
    assert summary["summary"]["proved"] is False


def test_text_fits_80_columns_and_hides_nothing_foreign(capsys: pytest.CaptureFixture[str]) -> None:
    report = TextReport()
    found = StepFindings(["x" * 200, "  a command printed \x1b[2J this", *("word " * 40 for _ in range(2)), ""])
    report.opening("here", "nftables", play.PICTURE)
    report.begins(1, "A title")
    report.ended(StepOutcome("name", "A title", PROVED, found, 0.1))
    report.summary([StepOutcome("name", "A title", PROVED, found, 0.1)], "memory", 1.0)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_the_memory_backend_never_ends_with_0_and_a_failed_step_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> str:
        raise LabUnavailable("not here.")

    def failing(scene: rehearsal.RehearsalGateway) -> StepFindings:
        raise NotProved("it was otherwise")

    monkeypatch.setattr(play, "acquire", refused)
    broken: Sequence[object] = (("ask", "Broken", failing), *rehearsal.STEPS[1:])
    monkeypatch.setattr(rehearsal, "STEPS", broken)
    assert play.play(TextReport()) == play.EXIT_FAILED
    assert "it was otherwise" in capsys.readouterr().out
