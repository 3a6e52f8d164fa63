"""The needs of hosts without NAT in other firewalls; the printed commands meet them, tried by packets."""

from collections.abc import Iterator
from ipaddress import ip_interface

import pytest

from tests.firewall.other_tables.test_drops import listed, recorded, shell
from tests.firewall.other_tables.test_listing import filters
from tests.fixtures.firewall_driver import driving, settings
from tests.fixtures.without_nat import hole, network_without_nat
from upnp_gw.firewall.base import FirewallMode, Open
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.firewall.other_tables.drops import pinhole_drops
from upnp_gw.firewall.other_tables.without_nat import Missing, missing_for
from upnp_gw.lab import HOME, OFFICE, Host, Lab, Topology
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Link

TCP = Transport.TCP
HOME_LINK = Link("lan0", 3, True, (ip_interface("192.168.77.1/24"), ip_interface("fe80::1/64")))
SERVER_LINK = Link("lan1", 4, True, (ip_interface("11.60.77.1/24"), ip_interface("fe80::1/64")))
LANS = HOME_LINK, SERVER_LINK
APART = frozenset({"lan1"})


def nat(*rules: str) -> str:
    body = "\n".join(rules)
    return f"table ip home {{\nchain post {{\ntype nat hook postrouting priority srcnat;\n{body}\n}}\n}}\n"


DROPPED = filters("ct state established,related accept", 'iifname "lan1" accept')
CASES = {
    "nothing": ("", True, False),
    "filtered": (DROPPED, False, False),
    "filtered for another LAN": (filters('oifname "lan0" drop', policy="accept"), True, False),
    "filtered for its prefix": (filters("ip daddr 11.60.77.0/24 drop", policy="accept"), False, False),
    "one host is let in": (filters("ip daddr 11.60.77.10 tcp dport 80 accept"), False, False),
    "new from the WAN accepted": (filters('iifname "wan0" accept'), True, False),
    "IPv6 alone": (filters(table="ip6 filter6"), True, False),
    "masqueraded": (DROPPED + nat('oifname "wan0" masquerade'), False, True),
    "translated": (DROPPED + nat('oifname "wan0" snat to 11.22.33.44'), False, True),
    "the LAN with NAT alone": (DROPPED + nat('ip saddr 192.168.77.0/24 oifname "wan0" masquerade'), False, False),
    "all but it": (DROPPED + nat("ip saddr 11.60.77.0/24 accept", "masquerade"), False, False),
    "on another way out": (DROPPED + nat('oifname "tun0" masquerade'), False, False),
}


@pytest.fixture
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    yield host
    host.close()


@pytest.mark.lab
@pytest.mark.parametrize("case", CASES)
def test_what_is_missing(bare: Host, case: str) -> None:
    text, opened, translated = CASES[case]
    bare.nft(text)
    found = missing_for(listed(bare), "wan0", LANS, APART, router=False)
    assert [("all their ports are open" in one.finding, "translates" in one.finding) for one in found] == [
        *([(True, False)] if opened else []),
        *([(False, True)] if translated else []),
    ]
    for one in found:
        shell(bare, *one.lines)
    assert missing_for(listed(bare), "wan0", LANS, APART, router=False) == ()
    assert missing_for(listed(bare), "wan0", LANS, frozenset(), router=False) == ()


@pytest.mark.lab
def test_iptables_that_masquerades(bare: Host) -> None:
    shell(bare, "iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE", "iptables -P FORWARD DROP")
    (one,) = missing_for(listed(bare), "wan0", LANS, APART, router=False)
    assert one.lines == ("iptables -t nat -I POSTROUTING -s 11.60.77.0/24 -j ACCEPT",)
    shell(bare, *one.lines)
    assert missing_for(listed(bare), "wan0", LANS, APART, router=False) == ()
    (drop,) = pinhole_drops(listed(bare), "wan0", ["lan0", "lan1"], ["lan1"])
    assert drop.lines == ("iptables -I FORWARD -m connlabel --label 127 -j ACCEPT",)


def test_firewalld_translates_a_zone() -> None:
    both = missing_for(recorded("firewalld"), "wan0", LANS, APART, router=True)
    assert [one.lines for one in both] in (
        [],
        [
            (
                "firewall-cmd --permanent --zone external --remove-masquerade",
                "firewall-cmd --permanent --zone external --add-rich-rule"
                " 'rule family=ipv4 source address=192.168.77.0/24 masquerade'",
                "firewall-cmd --reload",
            )
        ],
    )


def test_router_mode_filters_itself() -> None:
    assert missing_for({"nftables": []}, "wan0", LANS, APART, router=True) == ()
    (one,) = missing_for({"nftables": []}, "wan0", LANS, APART, router=False)
    assert isinstance(one, Missing)
    assert "hosts on lan1, which have no NAT" in one.finding


@pytest.mark.lab
def test_the_commands_shut_the_hosts_and_leave_pinholes_open(namespaces: None) -> None:
    """Another firewall translates everything and filters nothing; then an iptables of it drops everything."""
    with Lab(Topology(lans=(HOME, OFFICE))) as lab:
        gateway, peer, server, pc = (lab.hosts[name] for name in ("gateway", "peer1", "server", "pc"))
        gateway.sysctl("net/ipv4/ip_forward", "1")
        gateway.nft(nat('oifname "wan0" masquerade'))
        network = network_without_nat(lab)
        with (
            driving(NftablesFirewall(), gateway) as driver,
            EchoServer(server, TCP, 443),
            EchoServer(server, TCP, 22),
        ):
            driver.open(settings(FirewallMode.ALONGSIDE, network))
            driver.apply(Open(hole(lab, "server", "m1", 443)))
            with EchoServer(peer, TCP, 80):
                assert reach(peer, TCP, server.address, 22), "all ports are open"
                assert reach(server, TCP, peer.address, 80).seen_from == lab.external[0]
                found = missing_for(listed(gateway), "wan0", network.lans, APART, router=False)
                assert len(found) == 2
                for one in found:
                    shell(gateway, *one.lines)
                assert reach(peer, TCP, server.address, 22, timeout=REFUSED_S).how == "timeout"
                assert reach(peer, TCP, server.address, 443)
                assert reach(server, TCP, peer.address, 80).seen_from == server.address
                assert reach(pc, TCP, peer.address, 80).seen_from == lab.external[0]
            shell(gateway, "iptables -P FORWARD DROP")
            assert not reach(peer, TCP, server.address, 443, timeout=REFUSED_S)
            (drop,) = pinhole_drops(listed(gateway), "wan0", ["lan0", "lan1"], ["lan1"])
            shell(gateway, *drop.lines)
            assert pinhole_drops(listed(gateway), "wan0", ["lan0", "lan1"], ["lan1"]) == []
            assert reach(peer, TCP, server.address, 443)
