"""WAN and LANs proposed for real kinds of machines; where a person has to say which side is which."""

import re
from dataclasses import dataclass

import pytest

from tests.setup.dumps import interfaces, routes
from upnp_gw.setup.interfaces import configured, describe, has_public_addresses, propose_lans, propose_wan

LO = "lo 127.0.0.1/8 ::1/128\n"


@dataclass(frozen=True)
class Case:
    """A machine, and the proposals for it. An empty doubt: --yes takes the proposal."""

    links: str
    routes: str
    wan: str = ""
    lans: str = ""
    wan_doubt: str = ""
    lan_doubt: str = ""
    carriers: frozenset[str] = frozenset()
    candidates: str | None = None
    """Of the LAN, in order."""


SURE = {
    "two cards": Case("eth0 11.0.0.2/24 dhcp\neth1 192.168.1.1/24", "default dev eth0", "eth0", "eth1"),
    "a bridge of cards and Wi-Fi": Case(
        """eth0 11.0.0.2/24 dhcp
        br-lan 192.168.1.1/24 fd01::1/64 bridge
        eth1 master=br-lan
        wlan0 master=br-lan""",
        "default dev eth0",
        "eth0",
        "br-lan",
    ),
    "behind another router": Case(
        "enp1s0 192.168.178.20/24 dhcp\nenp2s0 10.0.0.1/24", "default dev enp1s0 metric 100", "enp1s0", "enp2s0"
    ),
    "PPPoE on a card without an address": Case(
        "eth0\neth1 192.168.1.1/24\nppp0 11.9.8.7/32 ppp",
        "default dev ppp0",
        "ppp0",
        "eth1",
        carriers=frozenset({"eth0"}),
    ),
    "PPPoE with an address for the modem": Case(
        "eth0 192.168.0.2/24\neth1 192.168.1.1/24\nppp0 11.9.8.7/32 ppp",
        "default dev ppp0",
        "ppp0",
        "eth1",
        carriers=frozenset({"eth0"}),
    ),
    "PPPoE over a VLAN, the modem below it": Case(
        """eth0 192.168.0.2/24
        eth0.7@eth0 vlan
        eth1 192.168.1.1/24
        ppp0 11.9.8.7/32 ppp""",
        "default dev ppp0",
        "ppp0",
        "eth1",
        carriers=frozenset({"eth0.7"}),
    ),
    "a VLAN to the provider, with the modem below it": Case(
        "eth0 192.168.0.2/24\neth0.7@eth0 11.0.0.2/24 vlan dhcp\neth1 192.168.1.1/24",
        "default dev eth0.7",
        "eth0.7",
        "eth1",
    ),
    "one card with two VLANs": Case(
        "eth0\neth0.10@eth0 192.168.1.1/24 vlan\neth0.20@eth0 11.0.0.2/24 vlan dhcp",
        "default dev eth0.20",
        "eth0.20",
        "eth0.10",
    ),
    "VLANs of a bridge": Case(
        "eth0 11.0.0.2/24\nbr0 bridge\neth1 master=br0\nbr0.10@br0 192.168.10.1/24 vlan",
        "default dev eth0",
        "eth0",
        "br0.10",
    ),
    "a bond": Case(
        "eth0 11.0.0.2/24\nbond0 192.168.1.1/24 bond\neth1 master=bond0\neth2 master=bond0",
        "default dev eth0",
        "eth0",
        "bond0",
    ),
    "Docker, libvirt and WireGuard beside the LAN": Case(
        """eth0 11.0.0.2/24 dhcp
        br0 192.168.1.1/24 bridge
        docker0 172.17.0.1/16 bridge
        br-0123456789ab 172.18.0.1/16 bridge
        veth12ab34c@if9 veth master=docker0
        virbr0 192.168.122.1/24 bridge
        wg0 10.8.0.1/24 wireguard""",
        "default dev eth0",
        "eth0",
        "br0",
        candidates="br0 docker0 br-0123456789ab virbr0 wg0",
    ),
    "a WireGuard interface with another name": Case(
        "eth0 11.0.0.2/24\nhome 10.8.0.1/24 wireguard\neth1 192.168.1.1/24", "default dev eth0", "eth0", "eth1"
    ),
    "Proxmox with a bridge to the internet": Case(
        "eno1 master=vmbr0\nvmbr0 11.0.0.2/24 bridge\nvmbr1 10.10.10.1/24 bridge\ntap100i0 tun master=vmbr1",
        "default dev vmbr0",
        "vmbr0",
        "vmbr1",
    ),
    "a guest network is a LAN for guests": Case(
        "eth0 11.0.0.2/24\nbr-guest 192.168.3.1/24 bridge\nbr-lan 192.168.1.1/24 bridge",
        "default dev eth0",
        "eth0",
        "br-lan br-guest",
    ),
    "a second way to the internet by LTE": Case(
        "eth0 11.0.0.2/24 dhcp\nwwan0 10.64.9.2/30\neth1 192.168.1.1/24",
        "default dev eth0 metric 100\ndefault dev wwan0 metric 700",
        "eth0",
        "eth1",
    ),
    "a second way to the internet by another router": Case(
        "eth0 11.0.0.2/24 dhcp\neth2 192.168.8.2/24\neth1 192.168.1.1/24",
        "default dev eth0 metric 100\ndefault dev eth2 metric 200",
        "eth0",
        "eth1",
    ),
    "IPv4 and IPv6 by two providers: IPv4 counts": Case(
        "eth0 11.0.0.2/24 dhcp\neth2 2a11::2/64\neth1 192.168.1.1/24",
        "default dev eth0 metric 100\n-6 default dev eth2 metric 10",
        "eth0",
        "eth1",
    ),
    "LTE that has no route now": Case(
        "eth0 11.0.0.2/24 dhcp\nwwan0 10.64.9.2/30\neth1 192.168.1.1/24", "default dev eth0", "eth0", "eth1"
    ),
    "IPv6 alone to the internet": Case(
        "eth0 2a11::2/64 dhcp\neth1 192.168.1.1/24 2a11:0:0:1::1/64",
        "-6 default dev eth0 metric 1024",
        "eth0",
        "eth1",
    ),
    "IPv6 alone on both sides": Case(
        "eth0 2a11::2/64\neth1 fe80::1/64 2a11:0:0:1::1/64", "-6 default dev eth0", "eth0", "eth1"
    ),
    "DS-Lite: IPv4 by a tunnel of the provider": Case(
        "eth0 2a11::2/64\nds-wan@eth0 192.0.0.2/29 ip6tnl\neth1 192.168.1.1/24",
        "default dev ds-wan\n-6 default dev eth0 metric 512",
        "eth0",
        "eth1",
    ),
    "6in4: IPv6 by a tunnel": Case(
        "eth0 11.0.0.2/24\nhe-ipv6@eth0 2a11::2/64 sit\neth1 192.168.1.1/24",
        "default dev eth0\n-6 default dev he-ipv6",
        "eth0",
        "eth1",
    ),
    "wg-quick keeps the default route of the main table": Case(
        "eth0 11.0.0.2/24\nwg0 10.2.0.2/32 wireguard\neth1 192.168.1.1/24", "default dev eth0", "eth0", "eth1"
    ),
    "a container with two networks": Case(
        "eth0@if12 11.0.0.2/24 veth\neth1@if14 192.168.1.1/24 veth", "default dev eth0", "eth0", "eth1"
    ),
    "Wi-Fi to the internet": Case(
        "wlan0 192.168.43.7/24 dhcp\neth0 192.168.1.1/24", "default dev wlan0 metric 600", "wlan0", "eth0"
    ),
    "a macvlan to the provider": Case(
        "eth0\nwan@eth0 11.0.0.2/24 macvlan dhcp\neth1 192.168.1.1/24", "default dev wan", "wan", "eth1"
    ),
    "a dummy and ifb": Case(
        "dummy0 10.99.0.1/32 dummy\nifb0 down ifb\neth0 11.0.0.2/24\neth1 192.168.1.1/24",
        "default dev eth0",
        "eth0",
        "eth1",
    ),
    "an office with a DMZ of public addresses beside the LAN": Case(
        "eth0 11.0.0.2/24\neth1 192.168.1.1/24\neth2 9.9.8.1/26",
        "default dev eth0",
        "eth0",
        "eth1",
        candidates="eth1 eth2",
    ),
}


@pytest.mark.parametrize("case", SURE.values(), ids=SURE)
def test_a_machine_without_doubt(case: Case) -> None:
    links, ways = interfaces(LO + case.links), routes(case.routes)
    wan = propose_wan(links, ways)
    assert (wan.names, wan.doubt) == ((case.wan,), "")
    lan = propose_lans(links, ways, case.wan, case.carriers)
    assert (" ".join(lan.names), lan.doubt) == (case.lans, "")
    assert wan.why
    assert lan.why
    if case.candidates is not None:
        assert " ".join(lan.candidates) == case.candidates


DOUBTFUL = {
    "two LANs": Case(
        "eth0 11.0.0.2/24\neth1 192.168.1.1/24\neth2 192.168.2.1/24",
        "default dev eth0",
        "eth0",
        lan_doubt=r"2 interfaces could be the LAN: eth1 \(192.168.1.1/24\), eth2 \(192.168.2.1/24\)",
        candidates="eth1 eth2",
    ),
    "a second network that gives this machine its address": Case(
        "eth0 11.0.0.2/24 dhcp\neth1 192.168.50.9/24 dhcp",
        "default dev eth0",
        "eth0",
        lan_doubt=r"no interface is surely the LAN: eth1 \(a DHCP server gave it 192.168.50.9/24\)",
    ),
    "the wire below the WAN, as for a switch with VLANs": Case(
        "eth0 192.168.1.1/24\neth0.7@eth0 11.0.0.2/24 vlan dhcp",
        "default dev eth0.7",
        "eth0.7",
        lan_doubt=r"eth0 \(eth0.7 is a VLAN of it\)",
    ),
    "a modem's network and no LAN yet": Case(
        "eth0 192.168.0.2/24\nppp0 11.9.8.7/32 ppp\neth1",
        "default dev ppp0",
        "ppp0",
        carriers=frozenset({"eth0"}),
        lan_doubt=r"eth0 \(it carries the PPPoE connection to the modem\), eth1 \(it has no address\)",
    ),
    "only virtual machines behind it": Case(
        "eth0 11.0.0.2/24\nvirbr0 192.168.122.1/24 bridge",
        "default dev eth0",
        "eth0",
        lan_doubt=r"virbr0 \(virtual machine\)",
        candidates="virbr0",
    ),
    "one interface": Case(
        "eth0 11.0.0.2/24", "default dev eth0", "eth0", lan_doubt="there is no interface beside eth0"
    ),
    "a LAN of public addresses": Case(
        "eth0 11.0.0.2/24\nlab 9.9.8.1/26",
        "default dev eth0",
        "eth0",
        lan_doubt=r"its address 9.9.8.1/26 is public",
    ),
    "guests alone": Case(
        "eth0 11.0.0.2/24\nbr-guest 192.168.3.1/24 bridge", "default dev eth0", "eth0", lan_doubt="guests alone"
    ),
    "two default routes of one metric": Case(
        "eth0 11.0.0.2/24\neth1 11.1.0.2/24\neth2 192.168.1.1/24",
        "default dev eth0\ndefault dev eth1",
        wan_doubt="eth0 and eth1 have equal default routes",
        lan_doubt="-",
    ),
    "no default route yet": Case(
        "eth0\neth1 192.168.1.1/24", "", wan_doubt="no interface has a default route", lan_doubt="-"
    ),
    "all traffic into a VPN": Case(
        "eth0 11.0.0.2/24\ntun0 10.2.0.2/24 tun\neth1 192.168.1.1/24",
        "default dev tun0\ndefault dev eth0 metric 100",
        "eth0",
        "eth1",
        wan_doubt=r"the best default route is on tun0 \(VPN or dial-up\), and eth0 has another",
    ),
    "only a VPN has a default route": Case(
        "eth0 11.0.0.2/24\nwg0 10.2.0.2/24 wireguard\neth1 192.168.1.1/24",
        "default dev wg0",
        wan_doubt="only wg0 has a default route",
        lan_doubt="-",
    ),
    "only docker0 has a default route": Case(
        "eth0 11.0.0.2/24\ndocker0 172.17.0.1/16 bridge\neth1 192.168.1.1/24",
        "default dev docker0",
        wan_doubt="only docker0 has a default route",
        lan_doubt="-",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_machine_with_a_doubt(case: Case) -> None:
    links, ways = interfaces(LO + case.links), routes(case.routes)
    wan = propose_wan(links, ways)
    assert " ".join(wan.names) == case.wan
    assert bool(wan.doubt) == bool(case.wan_doubt)
    assert re.search(case.wan_doubt, wan.doubt), wan.doubt
    if case.lan_doubt == "-":
        return
    lan = propose_lans(links, ways, case.wan, case.carriers)
    assert " ".join(lan.names) == case.lans
    assert bool(lan.doubt) == bool(case.lan_doubt)
    assert re.search(case.lan_doubt, lan.doubt), lan.doubt
    if case.candidates is not None:
        assert " ".join(lan.candidates) == case.candidates


NEVER = ("docker0", "br-0123456789ab", "veth12ab34c", "virbr0", "cni0", "podman1", "lxcbr0", "incusbr0",
         "wg0", "tun0", "tap0", "tailscale0", "zt1234abcd", "ipsec0", "nordlynx")  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
@pytest.mark.parametrize("metric", [0, 50, 500])
def test_a_container_or_a_vpn_is_never_proposed(name: str, metric: int) -> None:
    """Neither as the WAN, whatever its default route is, nor as the LAN."""
    links = interfaces(f"eth0 11.0.0.2/24\n{name} 10.20.0.1/24\neth1 192.168.1.1/24")
    ways = routes(f"default dev {name} metric {metric}\ndefault dev eth0 metric 100")
    assert propose_wan(links, ways).names == ("eth0",)
    assert propose_wan(links, ways[:1]).names == ()
    assert propose_lans(links, ways, "eth0").names == ("eth1",)
    assert propose_lans(links[:2], ways, "eth0").names == ()


def test_a_given_lan_is_no_wan() -> None:
    links = interfaces("eth0 192.168.1.1/24\neth1 11.0.0.2/24")
    ways = routes("default dev eth0 metric 1\ndefault dev eth1 metric 2")
    assert propose_wan(links, ways, ["eth0"]).names == ("eth1",)


@pytest.mark.parametrize(
    ("dump", "wan"),
    [
        ("br0 11.0.0.2/24 bridge\neth0 master=br0\neth1 192.168.1.1/24 master=br0", "br0"),
        ("eth0 11.0.0.2/24\nmac0@eth0 192.168.1.1/24 macvlan", "eth0"),
    ],
)
def test_the_wire_of_the_wan_is_no_candidate(dump: str, wan: str) -> None:
    lan = propose_lans(interfaces(dump), routes(f"default dev {wan}"), wan)
    assert (lan.names, lan.candidates) == ((), ())


def test_the_configuration_comes_before_what_is_detected() -> None:
    links, ways = (
        interfaces("eth0 11.0.0.2/24\neth1 192.168.1.1/24\neth2 192.168.2.1/24"),
        routes("default dev eth0"),
    )
    lan = configured(("eth2",), links, propose_lans(links, ways, "eth0"))
    assert (lan.names, lan.doubt, lan.candidates) == (("eth2",), "", ("eth2", "eth1"))
    gone = configured(("eth9",), links, propose_lans(links, ways, "eth0"))
    assert gone.doubt == "the configuration names eth9, which this machine does not have"
    assert configured(("ppp0",), links, propose_wan(links, ways)).doubt == "", "it comes when it has dialled"


def test_a_description_has_what_tells_the_sides_apart() -> None:
    links = interfaces(
        "eth0 11.0.0.2/24 fe80::1/64 dhcp\nppp0 11.9.8.7/32 ppp\nwg0 10.8.0.1/24 wireguard\neth3 down"
    )
    ways = routes("default dev eth0\n-6 default dev eth0")
    assert [describe(link, ways, {"eth3"}) for link in links] == [
        "11.0.0.2/24, default route of IPv4 and IPv6, address from DHCP",
        "11.9.8.7/32, dial-up",
        "10.8.0.1/24, VPN or dial-up",
        "no address, carries PPPoE, down",
    ]


def test_hosts_with_public_addresses_need_no_nat() -> None:
    lab, home, bare = interfaces("lab 9.9.8.1/26\nhome 192.168.1.1/24\nbare")
    assert [has_public_addresses(link) for link in (lab, home, bare)] == [True, False, False]
