"""The closed table of a router before its daemon runs, and the daemon that takes it over."""

from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, served_home
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.firewall.nftables import installed_mode, uninstall
from upnp_gw.lab import HOME, Lab
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach

pytestmark = pytest.mark.lab

CLOSED = Path(__file__).parents[2] / "examples" / "systemd" / "closed.nft"


def close(lab: Lab) -> None:
    """As the unit does before the network comes up."""
    lab.gateway.sysctl("net/ipv4/ip_forward", "1")
    lab.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
    lab.gateway.nft(CLOSED.read_text("utf-8").replace('"eth0"', '"wan0"'))
    peer, console = lab.hosts["peer1"], lab.hosts["console"]
    with EchoServer(lab.gateway, TCP, 2222), EchoServer(console, TCP, 8080):
        assert not reach(peer, TCP, lab.external[0], 2222, timeout=REFUSED_S), "the gateway itself, from the WAN"
        assert not reach(peer, TCP, lab.external6, 2222, timeout=REFUSED_S)
        assert not reach(peer, TCP, console.address6, 8080, timeout=REFUSED_S), "a host of the LAN, over IPv6"
        assert reach(console, TCP, HOME.network[1], 2222), "the LAN reaches its gateway"


@pytest.mark.spec("SR-3")
def test_nothing_comes_in_before_the_daemon_and_it_replaces_the_closed_table(
    namespaces: None, tmp_path: Path
) -> None:
    with served_home(tmp_path, *ROUTER, before=close) as home:
        home.point().add(8080)
        with EchoServer(home.console, TCP, 8080), EchoServer(home.gateway, TCP, 2222):
            assert home.reach(8080).answered_by == "console"
            assert home.shut(2222)
        home.agree()


def test_uninstall_removes_a_closed_table_that_no_daemon_took_over(namespaces: None, tmp_path: Path) -> None:
    """Else a machine stays shut whose daemon never started, and nothing on it names the table."""
    with served_home(tmp_path, *ROUTER) as home:
        home.daemon.stop()
        assert home.gateway.call(uninstall)
        close(home.lab)
        assert home.gateway.call(installed_mode) is FirewallMode.ROUTER
        assert home.gateway.call(uninstall)
        assert not home.gateway.call(uninstall)
        assert "upnp_gw" not in home.gateway.run(["nft", "list", "tables"]).stdout
        assert home.gateway.sysctl("net/ipv4/ip_forward") == "0", "nothing filters it any more"
        with EchoServer(home.gateway, TCP, 2222):
            assert reach(home.peer, TCP, home.external, 2222)
