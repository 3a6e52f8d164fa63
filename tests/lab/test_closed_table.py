"""The closed table of a router before its daemon runs, and the daemon that takes it over."""

from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, served_home
from upnp_gw.lab import HOME, Lab
from upnp_gw.lab.probe import EchoServer, reach

pytestmark = pytest.mark.lab

CLOSED = Path(__file__).parents[2] / "examples" / "systemd" / "closed.nft"


def close(lab: Lab) -> None:
    """As the unit does before the network comes up."""
    lab.gateway.sysctl("net/ipv4/ip_forward", "1")
    lab.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
    lab.gateway.nft(CLOSED.read_text("utf-8").replace('"eth0"', '"wan0"'))
    peer, console = lab.hosts["peer1"], lab.hosts["console"]
    with EchoServer(lab.gateway, TCP, 2222), EchoServer(console, TCP, 8080):
        assert not reach(peer, TCP, lab.external[0], 2222), "the gateway itself, from the WAN"
        assert not reach(peer, TCP, lab.external6, 2222)
        assert not reach(peer, TCP, console.address6, 8080), "a host of the LAN, over IPv6"
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
