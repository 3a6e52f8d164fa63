"""The state of each released version opens with today's program: every port is open, nothing is asked again.

``tests/store/record_state.py`` makes the archives. The daemon runs at the time of the record, on another boot.
"""

import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.lab.end_to_end import TCP, UDP, Home, pinhole, served_home
from tests.store.record_state import (
    ASKED_PORT,
    IGD_PORT,
    OPERATOR_PORT,
    PCP_PORT,
    PINHOLE_PORT,
)
from upnp_gw.lab import Lab, daemon
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.page.tokens import Tokens
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.store.schema import SCHEMA_VERSION

pytestmark = pytest.mark.lab

ARCHIVES = sorted((ROOT / "tests" / "store" / "states").glob("*.tar.xz"))
AT_THAT_TIME = """
import sys, time
seconds, now = float(sys.argv.pop(1)) - time.time(), time.time
time.time = lambda: now() + seconds
from upnp_gw.cli import main
from upnp_gw.system import clock
clock.boot_id = lambda: "another boot"
main()
"""
"""The program at another time and on another boot; the argument: Unix seconds."""
KEPT = (
    *("id", "kind", "transport", "external_address", "external_port", "internal_client", "internal_port"),
    *("device", "device_name", "description", "via", "rule", "decision", "state", "granted_at"),
)


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The directories of the archive, below the test's."""
    subprocess.run(["tar", "-xJf", str(request.param), "-C", str(tmp_path)], check=True)
    return tmp_path


def expected(state: Path) -> Any:
    return json.loads((state / "expected.json").read_text())


@pytest.fixture
def home(state: Path, namespaces: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    command = (sys.executable, "-c", AT_THAT_TIME, str(expected(state)["wall"]))
    monkeypatch.setattr(daemon, "COMMAND", command)
    with served_home(state, "--firewall", "router", policy=(state / "policy.toml").read_text()) as home:
        yield home


def end(row: dict[str, Any]) -> float:
    """The end of its lease, Unix seconds."""
    return datetime.fromisoformat(row["expires_at"]).timestamp()


def kept(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["id"]: {name: row[name] for name in KEPT} for row in rows}


def test_every_release_has_an_archive() -> None:
    assert "0.1.0.tar.xz" in {path.name for path in ARCHIVES}
    with tarfile.open(ARCHIVES[0]) as archive:
        assert {"state/ledger.db", "state/approved.toml", "page/tokens.json"} <= set(archive.getnames())


def test_mappings_devices_approvals_and_decisions_are_there_and_packets_arrive(home: Home, state: Path) -> None:
    before = expected(state)
    assert kept(home.rows()) == kept(before["mappings"])
    assert len(before["mappings"]) == 5
    assert [round(end(now) - end(then)) for now, then in zip(home.rows(), before["mappings"], strict=True)] == [
        0
    ] * 5
    home.agree()
    names = {device["device"]: device["name"] for device in before["devices"]}
    assert {device["device"]: device["name"] for device in home.daemon.json("devices")} == names
    assert "study" in names.values()
    log = [json.loads(line) for line in home.daemon.cli("log", "--json").stdout.splitlines()]
    assert {one["id"] for one in before["decisions"]} <= {one["id"] for one in log}
    assert "console-games" in home.daemon.cli("explain", before["mappings"][0]["decision"]).stdout
    assert Tokens(state / "page").check(before["token"]) is not None
    with (
        EchoServer(home.console, UDP, IGD_PORT),
        EchoServer(home.console, TCP, PCP_PORT),
        EchoServer(home.console, TCP, 443),
        EchoServer(home.pc, TCP, ASKED_PORT),
        EchoServer(home.console, TCP, PINHOLE_PORT),
    ):
        assert home.reach(IGD_PORT, UDP)
        assert home.reach(PCP_PORT)
        assert home.reach(OPERATOR_PORT)
        assert home.reach(ASKED_PORT)
        assert reach(home.peer, TCP, home.console.address6, PINHOLE_PORT)
    home.point("pc").add(ASKED_PORT, NewLeaseDuration=600)
    assert home.daemon.json("queue") == [], "the approval is still there"
    home.point("pc").add(51413)
    assert home.row(51413)["device_name"] == "study", "and the rule of the operator"
    assert pinhole(home.point("console", IgdVersion.IGD2), PINHOLE_PORT) > 0


def test_an_older_version_says_so_and_leaves_the_state_as_it_is(
    state: Path, namespaces: None, tmp_path: Path
) -> None:
    """The way back from an upgrade that changed the form of the store."""
    store = state / "state" / "ledger.db"
    with closing(sqlite3.connect(store)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = store.read_bytes()
    with Lab() as lab:
        older = daemon.LabDaemon(lab.gateway, state, "--lan", "lan0", "--wan", "wan0", "--firewall", "router")
        with pytest.raises(daemon.DaemonFailed) as failed:
            older.start()
    message = str(failed.value)
    assert "written by a newer upnp-gw" in message
    assert "Install that version again" in message
    assert "Traceback" not in message
    assert store.read_bytes() == before
