"""The end of ``upnp-gw setup``: commands are run after a yes and not before, and what came back is told.

Programs are recorded here; tests/lab/test_setup.py runs real ones, and a package's walk the real systemctl.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.fixtures.fake_operator import ServedOperator, served
from upnp_gw import api
from upnp_gw.cli import setup_after
from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.setup_after import After, finish
from upnp_gw.config.settings import Config
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.installation.programs import Result
from upnp_gw.setup.machine import Machine
from upnp_gw.setup.service import CLOSED, GATEWAY, PAGE, Service

SYSCTL = "sysctl -w net.ipv4.ip_forward=1"
FORWARDING = api.Check(
    name="forwarding", outcome="fail", finding="IPv4 is not forwarded", remedy=SYSCTL, commands=[SYSCTL]
)
DROPS = api.Check(
    name="other tables", outcome="fail", finding="x drops", remedy="nft a", commands=["nft a", "nft b"]
)
LASTING = api.Check(
    name="other tables", outcome="warn", finding="y drops", remedy="ufw a", commands=["ufw a"], lasting=True
)
FINE = api.Check(name="state", outcome="ok", finding="it can be written")
UNITS = frozenset({GATEWAY, PAGE, CLOSED})


@dataclass
class Ran:
    """The programs that were started, the answers to questions, and the results."""

    commands: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    says: Callable[[str], bool] = lambda question: True
    failing: str = ""


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    recorded = Ran()

    def run(argv: list[str]) -> Result:
        recorded.commands.append(" ".join(argv))
        return Result(1, "it is broken\x1b[31m") if recorded.failing == argv[0] else Result(0, "")

    def confirm(question: str, default: bool = False) -> bool:
        recorded.questions.append(question.strip())
        return recorded.says(question)

    monkeypatch.setattr(setup_after, "run", run)
    monkeypatch.setattr("click.confirm", confirm)
    monkeypatch.setattr(setup_after, "_examine", lambda after, pid: [FINE, FORWARDING])
    monkeypatch.setattr(setup_after, "SYSCTLS", tmp_path / "60-upnp-gw.conf")
    monkeypatch.setattr(setup_after, "runs_as_service", lambda pid: True)
    return recorded


@pytest.fixture
def after(tmp_path: Path) -> After:
    return After(
        config_file=tmp_path / "config.toml",
        policy_file=tmp_path / "policy.toml",
        config=Config(wan="eth0", lan=("br0",)),
        machine=Machine((), (), service=Service(True, UNITS)),
        daemon=DaemonClient(tmp_path / "run"),
        asks=True,
        fix=False,
        start=True,
        for_service=True,
        config_changed=True,
        policy_changed=True,
        unit_changed=False,
    )


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ServedOperator]:
    with served(tmp_path / "run") as daemon:
        yield daemon


START = ["systemctl enable --now upnp-gw", "systemctl enable --now upnp-gw-page"]


def test_after_an_installation_a_person_says_yes_to_each(
    ran: Ran, after: After, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert finish(after) == 0
    assert ran.commands == [SYSCTL, *START]
    assert ran.questions == ["Run this now?", f"Keep it at boot, in {tmp_path}/60-upnp-gw.conf?", "Run these now?"]
    assert (tmp_path / "60-upnp-gw.conf").read_text().endswith("net.ipv4.ip_forward = 1\n")
    told = capsys.readouterr().out
    assert "The doctor checked the machine: 1 of 2 findings ok." in told
    assert "The doctor checked again:" in told
    assert "$ systemctl enable --now upnp-gw\n  done" in told
    assert "upnp-gw status" in told
    assert "upnp-gw open" in told


def test_nothing_is_run_without_a_yes(ran: Ran, after: After, tmp_path: Path) -> None:
    ran.says = lambda question: False
    assert finish(after) == 0
    assert ran.commands == []
    assert not (tmp_path / "60-upnp-gw.conf").exists()


def test_commands_that_take_something_from_others_need_a_person(
    ran: Ran, after: After, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = structs.replace(FORWARDING, name="bridge", caution="Kubernetes needs it")
    monkeypatch.setattr(setup_after, "_examine", lambda after, pid: [bridge])
    assert finish(replace(after, asks=False, fix=True, start=False)) == 0
    assert ran.commands == []
    assert finish(replace(after, fix=True, start=False)) == 0
    assert ran.commands == [SYSCTL]
    assert "note: Kubernetes needs it." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fix", "start", "commands"),
    [(False, True, START), (False, False, []), (True, False, [SYSCTL]), (True, True, [SYSCTL, *START])],
)
def test_without_a_person_the_options_are_the_yes(
    ran: Ran, after: After, fix: bool, start: bool, commands: list[str]
) -> None:
    assert finish(replace(after, asks=False, fix=fix, start=start)) == 0
    assert (ran.commands, ran.questions) == (commands, [])


def test_a_command_that_fails_ends_its_finding_and_is_told(
    ran: Ran, after: After, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_after, "_examine", lambda after, pid: [DROPS, LASTING])
    ran.failing = "nft"
    assert finish(replace(after, start=False)) == 1
    assert ran.commands == ["nft a", "ufw a"], "nft b needs nft a"
    told = capsys.readouterr().out
    assert "$ nft a\n  it is broken\\x1b[31m\n  failed, exit code 1" in told
    assert "this ends with the next boot" not in told, "ufw writes it down"
    ran.failing, ran.commands = "", []
    assert finish(replace(after, start=False)) == 0
    assert ran.commands == ["nft a", "nft b", "ufw a"]
    assert "note: this ends with the next boot" in capsys.readouterr().out


def test_a_service_that_does_not_start(ran: Ran, after: After, capsys: pytest.CaptureFixture[str]) -> None:
    ran.failing = "systemctl"
    assert finish(after) == 1
    assert ran.commands == [SYSCTL, START[0]]
    assert "journalctl -u upnp-gw" in capsys.readouterr().out


WITHOUT_SYSTEMD = {
    "not booted": (
        Service(False, UNITS),
        True,
        f"systemd does not run this machine now. Once it does:\n  {START[0]}",
    ),
    "not installed": (Service(True), True, "To start the gateway: upnp-gw run --config"),
    "another directory": (Service(True, UNITS), False, "To start the gateway: upnp-gw run --config"),
}


@pytest.mark.parametrize(("service", "ours", "text"), WITHOUT_SYSTEMD.values(), ids=WITHOUT_SYSTEMD)
def test_without_systemd_the_command_is_printed(
    ran: Ran, after: After, capsys: pytest.CaptureFixture[str], service: Service, ours: bool, text: str
) -> None:
    ran.says = lambda question: False
    assert finish(replace(after, machine=Machine((), (), service=service), for_service=ours)) == 0
    assert ran.commands == []
    assert text in capsys.readouterr().out


RUNS = Service(True, UNITS, frozenset({GATEWAY, PAGE}))


def test_a_running_gateway_restarts_for_a_configuration(ran: Ran, after: After, daemon: ServedOperator) -> None:
    """It loads a new policy without a restart: tests/lab/test_setup.py."""
    here = replace(after, asks=False, machine=Machine((), (), service=RUNS))
    assert finish(here) == 0
    assert ran.commands == ["systemctl restart upnp-gw", "systemctl restart upnp-gw-page"]
    ran.commands.clear()
    router = replace(here, config=replace(here.config, firewall=FirewallMode.ROUTER), unit_changed=True)
    assert finish(router) == 0
    assert ran.commands[:2] == ["systemctl daemon-reload", "systemctl enable upnp-gw-closed"]


def test_a_gateway_that_a_person_started_is_left_to_him(
    ran: Ran,
    after: After,
    daemon: ServedOperator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(setup_after, "runs_as_service", lambda pid: False)
    assert finish(replace(after, asks=False)) == 0
    assert ran.commands == []
    assert "The new configuration needs a restart: upnp-gw run --config" in capsys.readouterr().out
