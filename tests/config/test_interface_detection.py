"""WAN and LAN found, or the command to type; SR-4 by a list of cases."""

from collections.abc import Sequence
from ipaddress import ip_interface

import pytest

from upnp_gw.config.interface_detection import DefaultRoute, Interface, detect
from upnp_gw.model.errors import ConfigError


def interface(name: str, *addresses: str, kind: str = "", master: str = "", parent: str = "") -> Interface:
    return Interface(
        name, 1, True, tuple(ip_interface(text) for text in addresses), kind=kind, master=master, parent=parent
    )


LO = interface("lo", "127.0.0.1/8", "::1/128")
ETH0 = interface("eth0", "11.0.0.2/24", "2a22::2/64")
BR_LAN = interface("br-lan", "192.168.1.1/24", "fd01::1/64", kind="bridge")
DOCKER = interface("docker0", "172.17.0.1/16", kind="bridge")
DOCKER_NET = interface("br-0123456789ab", "172.18.0.1/16", kind="bridge")
WG = interface("home", "10.8.0.1/24", kind="wireguard")
BY_ETH0 = (DefaultRoute("eth0"),)


@pytest.mark.parametrize(
    "lan",
    [
        BR_LAN,
        interface("br0", "10.0.0.1/8", kind="bridge"),
        interface("eth1", "172.31.0.1/24"),
        interface("lan0", "192.168.77.1/24", kind="veth"),  # in a container or the lab
        interface("eth1.20", "192.168.20.1/24", kind="vlan"),
        interface("bond0", "192.168.20.1/24", kind="bond"),
        interface("enp3s0", "8.8.8.8/32", "192.168.1.1/24"),
        interface("wlan0", "192.168.1.1/24"),
        interface("vmbr0", "192.168.1.1/24", kind="bridge"),
        interface("br-guest", "192.168.1.1/24", kind="bridge"),
    ],
    ids=lambda lan: lan.name,
)
def test_the_only_private_interface_is_the_lan(lan: Interface) -> None:
    found = detect([LO, ETH0, DOCKER, DOCKER_NET, WG, lan], BY_ETH0)
    assert (found.wan, found.lan) == ("eth0", (lan.name,))
    assert found.why[0] == "WAN eth0: it has the IPv4 default route"
    assert lan.name in found.why[1]
    assert "docker0 (container)" in found.why[1]
    assert "home (VPN or dial-up)" in found.why[1]


@pytest.mark.parametrize(
    "other",
    [
        "docker0",
        "docker_gwbridge",
        "br-0123456789ab",
        "veth12ab34c",
        "virbr0",
        "cni0",
        "flannel.1",
        "cali1234",
        "tun0",
        "tap0",
        "wg0",
        "tailscale0",
        "ppp0",
        "podman1",
        "lxcbr0",
        "lxdbr0",
        "vmnet8",
        "ztabcdefgh",
        "incusbr0",
    ],
)
def test_container_vm_and_vpn_interfaces_are_left_out_by_name(other: str) -> None:
    assert detect([LO, ETH0, BR_LAN, interface(other, "10.200.0.1/24")], BY_ETH0).lan == ("br-lan",)
    with pytest.raises(ConfigError, match=r"only container.*type: upnp-gw run --lan \S+ --wan eth0$"):
        detect([LO, ETH0, interface(other, "10.200.0.1/24")], BY_ETH0)


@pytest.mark.parametrize("kind", ["wireguard", "tun", "vxlan", "gre", "ppp", "dummy", "ip6tnl", "vrf"])
def test_and_by_kind_whatever_their_name(kind: str) -> None:
    assert detect([ETH0, BR_LAN, interface("office", "10.200.0.1/24", kind=kind)], BY_ETH0).lan == ("br-lan",)


@pytest.mark.parametrize(
    ("routes", "wan"),
    [
        ([DefaultRoute("eth0", 100), DefaultRoute("eth2", 50)], "eth2"),
        ([DefaultRoute("eth0", 0, 6), DefaultRoute("eth2", 200, 4)], "eth2"),
        ([DefaultRoute("eth0", 1024, 6)], "eth0"),
        ([DefaultRoute("eth0", 5), DefaultRoute("eth0", 5), DefaultRoute("eth2", 9)], "eth0"),
    ],
)
def test_the_wan_has_the_default_route_of_the_lowest_metric(routes: list[DefaultRoute], wan: str) -> None:
    assert detect([ETH0, interface("eth2", "11.2.0.2/24"), BR_LAN], routes).wan == wan


def test_a_second_way_to_the_internet_is_no_lan() -> None:
    """Its private address is the provider's, or a modem's: it would be asked for ports from outside."""
    lte = interface("wwan0", "10.64.1.2/30")
    routes = [DefaultRoute("eth0", 100), DefaultRoute("wwan0", 700)]
    assert detect([ETH0, BR_LAN, lte], routes).lan == ("br-lan",)
    with pytest.raises(ConfigError, match="no interface except eth0 has a private IPv4 address"):
        detect([ETH0, lte], routes)


def test_options_and_file_are_applied() -> None:
    two = interface("eth5", "192.168.5.1/24")
    assert detect([ETH0, BR_LAN, two], BY_ETH0, lan=["eth5"]).lan == ("eth5",)
    assert detect([ETH0, BR_LAN, two], BY_ETH0, lan=["eth5", "br-lan"]).lan == ("eth5", "br-lan")
    assert detect([ETH0, BR_LAN, DOCKER], BY_ETH0, lan=["docker0"]).lan == ("docker0",)
    found = detect([ETH0, BR_LAN], (), wan="eth0")
    assert (found.wan, found.lan) == ("eth0", ("br-lan",))
    later = detect([BR_LAN], (), wan="ppp0")
    assert (later.wan, later.lan) == ("ppp0", ("br-lan",))
    assert not [sentence for sentence in later.why if "ppp0" in sentence], "nothing was chosen about it"


def test_a_router_behind_a_router_is_served() -> None:
    behind = interface("eth0", "192.168.178.20/24")
    assert detect([behind, BR_LAN], BY_ETH0).lan == ("br-lan",)


Given = dict[str, object]


@pytest.mark.spec("SR-4")
@pytest.mark.parametrize(
    ("interfaces", "routes", "wan", "lan", "message"),
    [
        pytest.param([ETH0, BR_LAN], BY_ETH0, "eth0", ["eth0"], "also the WAN", id="the same"),
        pytest.param(
            [ETH0, BR_LAN],
            BY_ETH0,
            None,
            ["br-lan", "eth0"],
            "default route is on a LAN interface",
            id="WAN as LAN",
        ),
        pytest.param(
            [ETH0, interface("eth1", "11.0.0.9/24")], BY_ETH0, None, ["eth1"], "overlap", id="the same prefix"
        ),
        pytest.param(
            [interface("eth0", "192.168.1.20/24"), BR_LAN],
            BY_ETH0,
            None,
            [],
            "overlap",
            id="found, behind a router",
        ),
        pytest.param(
            [interface("eth0", "10.0.0.2/8"), interface("eth1", "10.1.0.1/16")],
            BY_ETH0,
            None,
            ["eth1"],
            "overlap",
            id="a LAN inside the WAN's prefix",
        ),
        pytest.param(
            [interface("eth0", "10.1.0.2/16"), interface("eth1", "10.0.0.1/8")],
            BY_ETH0,
            None,
            ["eth1"],
            "overlap",
            id="the WAN inside the LAN's prefix",
        ),
        pytest.param(
            [ETH0, interface("eth1", "12.0.0.2/24")],
            [DefaultRoute("eth0"), DefaultRoute("eth1", 9)],
            None,
            ["eth1"],
            "leads to the internet",
            id="a LAN with default route and public address",
        ),
        pytest.param(
            [ETH0, interface("eth1", "192.168.1.1/24", "12.0.0.2/24")],
            [DefaultRoute("eth1")],
            "eth0",
            ["eth1"],
            "leads to the internet",
            id="the public address is its second",
        ),
        pytest.param(
            [interface("eth0", master="br-lan"), BR_LAN],
            BY_ETH0,
            None,
            ["br-lan"],
            "bridged",
            id="the WAN in the LAN's bridge",
        ),
        pytest.param(
            [interface("br9", "11.0.0.2/24"), interface("eth1", master="br9")],
            [DefaultRoute("br9")],
            None,
            ["eth1"],
            "bridged",
            id="the LAN in the WAN's bridge",
        ),
        pytest.param(
            [interface("eth0", master="br9"), interface("eth1", master="br9")],
            (),
            "eth0",
            ["eth1"],
            "bridged",
            id="both in one bridge",
        ),
        pytest.param(
            [ETH0, interface("mv0", "192.168.1.1/24", kind="macvlan", parent="eth0")],
            BY_ETH0,
            None,
            ["mv0"],
            "bridged",
            id="the LAN a macvlan over the WAN",
        ),
        pytest.param(
            [
                ETH0,
                interface("br-lan", "192.168.1.1/24", kind="bridge"),
                interface("mv0", kind="macvlan", parent="eth0", master="br-lan"),
            ],
            BY_ETH0,
            None,
            ["br-lan"],
            "bridged",
            id="a macvlan over the WAN in the LAN's bridge",
        ),
        pytest.param(
            [ETH0, BR_LAN, interface("eth1", master="br-lan")], BY_ETH0, None, ["eth1"], "--lan br-lan", id="a port"
        ),
    ],
)
def test_a_choice_that_would_serve_the_internet_is_refused(
    interfaces: Sequence[Interface], routes: Sequence[DefaultRoute], wan: str | None, lan: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        detect(interfaces, routes, wan=wan, lan=lan)


@pytest.mark.spec("SR-4")
def test_a_lan_with_a_default_route_and_private_addresses_alone_is_served() -> None:
    lan = interface("eth1", "192.168.1.1/24")
    assert detect([ETH0, lan], [DefaultRoute("eth1")], wan="eth0").lan == ("eth1",)


@pytest.mark.parametrize(
    ("interfaces", "routes", "lan", "message"),
    [
        pytest.param(
            [ETH0, BR_LAN, interface("eth5", "10.5.0.1/24")],
            BY_ETH0,
            [],
            r"2 interfaces could be the LAN: br-lan \(192.168.1.1/24\), eth5 \(10.5.0.1/24\); type: "
            r"upnp-gw run --lan br-lan --wan eth0 or upnp-gw run --lan eth5 --wan eth0$",
            id="two LANs",
        ),
        pytest.param(
            [LO, ETH0, interface("eth9")],
            BY_ETH0,
            [],
            r"type: upnp-gw run --lan IF --wan eth0 \(interfaces: eth9\)$",
            id="no LAN",
        ),
        pytest.param([LO, ETH0], BY_ETH0, [], r"\(interfaces: none\)$", id="nothing else"),
        pytest.param(
            [LO, ETH0, BR_LAN],
            (),
            [],
            r"no interface has a default route; type: upnp-gw run --lan IF --wan IF \(interfaces: br-lan, eth0\)$",
            id="no WAN",
        ),
        pytest.param(
            [ETH0, BR_LAN],
            (),
            ["br-lan"],
            r"type: upnp-gw run --lan br-lan --wan IF \(interfaces: eth0\)$",
            id="no WAN, LAN given",
        ),
        pytest.param(
            [ETH0, BR_LAN, interface("eth2")],
            [DefaultRoute("eth0", 5), DefaultRoute("eth2", 5)],
            [],
            r"eth0 and eth2 have equal .* type: upnp-gw run --wan eth0 or upnp-gw run --wan eth2$",
            id="two equal WANs",
        ),
        pytest.param(
            [ETH0, interface("eth1", "192.168.1.1/24", master="br7"), interface("br7", kind="bridge")],
            BY_ETH0,
            [],
            "no interface except eth0",
            id="a port with an address is no LAN",
        ),
        pytest.param(
            [ETH0, interface("eth1", "100.64.0.1/24", "169.254.1.1/16", "fd00::1/64")],
            BY_ETH0,
            [],
            "no interface except eth0",
            id="not private",
        ),
    ],
)
def test_an_ambiguous_interface_is_reported_with_the_command_to_type(
    interfaces: Sequence[Interface], routes: Sequence[DefaultRoute], lan: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        detect(interfaces, routes, lan=lan)
