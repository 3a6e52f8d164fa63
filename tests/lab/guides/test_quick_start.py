"""The quick start, followed on a bare machine with two network cards. Without systemd: the test starts the daemon.

What installs the program is tested by tests/pipx.sh.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests import ROOT
from tests.lab.end_to_end import UDP
from tests.lab.guides.machine import LAN, bash, guide_home
from tests.lab.guides.pages import page, shows
from tests.lab.guides.test_beside import finds, goes_out, proved
from tests.lab.page_process import page_process
from upnp_gw.lab import Topology
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab

TWO_CARDS = Topology(lans=(replace(LAN, interface="eth1"),), wan="eth0")


def test_quick_start(namespaces: None, tmp_path: Path) -> None:
    with (
        page("guides/quick-start.md") as guide,
        guide_home(tmp_path, topology=TWO_CARDS, config=None, forward=False, unpacked=True) as home,
    ):
        heading = "1. The home network"
        assert f"address {home.gateway.address}/24" in guide.take(heading, "interfaces")
        bash(
            home.gateway,
            f"cat >/run/lan.conf <<'EOF'\n{guide.take(heading, 'dnsmasq')}\nEOF\ndnsmasq --test -C /run/lan.conf",
        )
        assert guide.take(heading).splitlines() == ["ifup eth1", "apt-get install -y dnsmasq"]
        tested = (ROOT / "docs" / "install-pipx.md").read_text("utf-8")
        for line in guide.take("2. Install").splitlines():
            words = line.removeprefix("apt-get install -y ").removeprefix("~/.local/bin/")
            assert words in tested, line

        (line,) = guide.take("3. Set up").splitlines()
        said = home.shell(f"{line} --yes")
        for answer in ("eth0", "eth1", "own", "home"):
            assert answer in said
        home.daemon.start()
        assert home.daemon.json("status")["firewall"] == "router"
        assert goes_out(home)
        assert finds(home)

        heading = "4. A console asks"
        home.point().add(3074, UDP, NewLeaseDuration=0)
        assert shows(home.shell(guide.take(heading)), guide.take(heading, "text"))
        assert shows(home.shell(guide.take(heading)), guide.take(heading, "text"))
        with EchoServer(home.console, UDP, 3074):
            assert home.reach(3074, UDP).answered_by == "console"
        assert proved(home)
        with page_process(home, tmp_path) as running:
            home.gateway.run(["ln", "-s", str(running.directory), "/run/upnp-gw-page"])
            assert "http://127.0.0.1:5081/sign-in/" in home.shell(guide.take("6. The page"))
