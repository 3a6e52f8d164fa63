"""A machine is replaced: a backup under load, a restore into an empty directory, the same clients, a packet."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, Home, served_home
from tests.lab.test_end_to_end_restart import Load, identity
from tests.lab.test_request import request
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    with served_home(tmp_path, *ROUTER) as home:
        yield home


def replace_machine(home: Home, directory: Path) -> None:
    """Another machine in place of the gateway: no state, nothing in the kernel. It is not started yet."""
    home.daemon.stop()
    home.gateway.nft("flush ruleset")
    home.gateway.run(["conntrack", "-F"], check=False)
    options = home.daemon.options
    home.daemon = LabDaemon(home.gateway, directory, *options)
    home.daemon.state_dir.rmdir()


def restore(home: Home, file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return home.daemon.cli("restore", str(file), "--state-dir", str(home.daemon.state_dir), *words, check=False)


def test_a_machine_is_replaced_and_its_clients_go_on(home: Home, tmp_path: Path) -> None:
    point, pc = home.point(), home.point("pc")
    point.add(8080, NewInternalPort=8000, NewLeaseDuration=600, NewPortMappingDescription="a game")
    assert request(home, tmp_path, "tcp", 8090, "--via", "pcp", "--ttl", "10m").returncode == 0
    home.daemon.cli("block", str(home.pc.address))
    home.daemon.cli("name", str(home.console.address), "console")
    home.daemon.cli("release", str(home.pc.address))
    home.daemon.cli("add", "tcp", "8100", str(home.console.address), "--permanent")
    point.add(8070, NewLeaseDuration=1)
    known, file = identity(home), tmp_path / "backup.tar"
    load = Load(home, 9000)
    load.await_granted(20)
    home.daemon.cli("backup", str(file))
    in_backup = len(home.rows())
    load.await_granted(len(load.granted) + 20)
    load.stop()
    before = home.row(8080)
    replace_machine(home, tmp_path / "new")
    try:
        shown = restore(home, file, "--dry-run")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert f"tcp 8080 -> {home.console.address}:8000" in shown.stdout
        assert "added by the operator" in shown.stdout
        assert not home.daemon.state_dir.exists(), "a dry run changes nothing"
        assert restore(home, file, "--yes").returncode == 0
        home.daemon.start()
        home.agree()
        after = home.row(8080)
        assert {**after, "lease_left_s": 0, "bytes": 0, "connections": 0, "last_used": None} == {
            **before, "lease_left_s": 0, "bytes": 0, "connections": 0, "last_used": None,
        }  # fmt: skip
        assert after["lease_left_s"] <= before["lease_left_s"], "a lease does not grow"
        assert 20 < len(home.rows()) <= in_backup
        until(lambda: 8070 not in {row["external_port"] for row in home.rows()})  # its second may not be over yet
        assert identity(home) == known
        assert "console" in {device["name"] for device in home.daemon.json("devices")}
        assert home.daemon.json("explain", after["decision"])["verdict"] == "allow"
        home.daemon.cli("erase", "--device", "console", "--yes")
        assert home.row(8080)["id"] == after["id"], "what is open stays open"
        with EchoServer(home.console, TCP, 8000), EchoServer(home.console, TCP, 8090):
            assert home.reach(8080).answered_by == "console"
            point.add(8080, NewInternalPort=8000, NewLeaseDuration=600)
            assert request(home, tmp_path, "tcp", 8090, "--via", "pcp", "--ttl", "10m").returncode == 0
            assert home.reach(8080).answered_by == "console"
            assert home.reach(8090).answered_by == "console"
        assert home.row(8080)["id"] == after["id"], "it is the same mapping"
        pc.add(8071)
        assert home.row(8071)["id"] not in {before["id"], after["id"]}
    finally:
        home.daemon.stop()
