"""``upnp-gw setup`` on real machines of the lab: it writes files, and the daemon serves with them."""

from pathlib import Path

import pytest

from tests.lab.end_to_end import TCP, Home
from upnp_gw.lab import Lab, Topology
from upnp_gw.lab.daemon import COMMAND, LabDaemon
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab


def set_up(lab: Lab, directory: Path, *options: str, check: bool = True) -> str:
    argv = [*COMMAND, "setup", "--config-dir", str(directory / "etc"), "--runtime-dir", str(directory / "run")]
    done = lab.gateway.run([*argv, *options], check=check)
    return done.stdout + done.stderr


def test_a_bare_machine_becomes_a_router_that_serves_clients(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology()) as lab:
        told = set_up(lab, tmp_path, "--yes")
        print(told)
        assert "upnp-gw run --config" in told
        with LabDaemon(lab.gateway, tmp_path, "--config", str(tmp_path / "etc/config.toml")) as daemon:
            home = Home(lab, daemon)
            with EchoServer(home.console, TCP, 8080):
                home.point().add(8080)
                assert home.reach(8080).answered_by == "console"
        assert "nothing to change" in set_up(lab, tmp_path, "--yes")
