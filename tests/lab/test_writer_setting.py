"""The daemon writes elements through libnftables, as the setting says."""

from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, served_home
from upnp_gw.firewall.nftables import Writing
from upnp_gw.lab.probe import EchoServer
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab


def test_a_daemon_that_writes_through_libnftables(namespaces: None, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[firewall]\nwriter = "{Writing.LIBNFTABLES.value}"\n')
    with served_home(tmp_path, *ROUTER, "--config", str(config)) as home, EchoServer(home.console, TCP, 3074):
        point = home.point("console", IgdVersion.IGD2)
        for _ in range(2):
            point.add(3074, NewRemoteHost=home.peer.address)
            assert home.reach(3074)
        home.daemon.kill()
        home.daemon.start()
        assert home.reach(3074)
        assert home.shut(3074, peer="peer2")
        home.agree()
        home.clear()
        assert home.shut(3074)
