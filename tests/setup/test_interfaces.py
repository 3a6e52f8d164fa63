"""WAN and LANs proposed for real kinds of machines, and the doubts."""

from ipaddress import ip_interface

import pytest

from upnp_gw.config.interface_detection import DefaultRoute, Interface
from upnp_gw.setup.interfaces import propose_lans, propose_wan


def link(name: str, *addresses: str, **more: str) -> Interface:
    return Interface(name, 1, True, tuple(map(ip_interface, addresses)), **more)  # type: ignore[arg-type]


def test_a_home_router_has_no_doubt() -> None:
    links = [
        link("lo", "127.0.0.1/8"),
        link("eth0", "11.0.0.2/24"),
        link("br-lan", "192.168.1.1/24", kind="bridge"),
    ]
    routes = [DefaultRoute("eth0")]
    wan = propose_wan(links, routes)
    assert (wan.names, wan.doubt) == (("eth0",), "")
    lan = propose_lans(links, routes, "eth0")
    assert (lan.names, lan.doubt) == (("br-lan",), "")


@pytest.mark.parametrize("name", ["wg0", "docker0", "tun0", "tailscale0", "virbr0"])
def test_a_vpn_or_a_container_is_never_proposed_as_the_wan(name: str) -> None:
    links = [link("eth0", "11.0.0.2/24"), link(name, "10.8.0.2/24")]
    assert propose_wan(links, [DefaultRoute(name)]).names == ()
    assert propose_wan(links, [DefaultRoute(name), DefaultRoute("eth0", 100)]).names == ("eth0",)
