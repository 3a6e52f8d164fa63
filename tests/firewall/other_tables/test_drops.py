"""Chains of others that drop our traffic, and the commands that let it through: of firewalld, iptables, Docker.

rulesets/firewalld.json is what firewalld 1.3 writes with lan0 in the zone internal and wan0 in external, as nft
lists it; firewalld-open.json is the same after the commands that ``for_services`` prints for it.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_interface
from typing import Any

import pytest

from tests import ROOT
from tests.firewall.other_tables.test_listing import filters
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.other_tables.drops import Drop, forward_drops, input_drops, ipv6_firewall, pinhole_drops
from upnp_gw.firewall.other_tables.listing import foreign_ruleset
from upnp_gw.firewall.other_tables.static_forwards import static_ports
from upnp_gw.lab import Host
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Link

UDP, TCP = Transport.UDP, Transport.TCP
SERVED = ((UDP, 1900), (UDP, 5351), (TCP, 5000))
LAN = Link("lan0", 3, True, tuple(map(ip_interface, ("192.168.77.1/24", "fe80::1/64", "2001:db8:77::1/64"))))
GUEST = Link("lan1", 4, True, (ip_interface("192.168.88.1/24"),))
ALL = "packets from hosts on lan0 to udp/1900, udp/5351, tcp/5000"
NFT = (
    'nft insert rule inet home input iifname "lan0" udp dport { 1900, 5351 } accept',
    'nft insert rule inet home input iifname "lan0" tcp dport { 5000 } accept',
)
DOCKER = """
iptables -t nat -N DOCKER
iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A DOCKER -i docker0 -j RETURN
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 172.17.0.2:443
iptables -N DOCKER
iptables -N DOCKER-USER
iptables -N DOCKER-ISOLATION-STAGE-1
iptables -N DOCKER-ISOLATION-STAGE-2
iptables -P FORWARD DROP
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 443 -j ACCEPT
iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
iptables -A DOCKER-USER -j RETURN
"""
"""The rules that Docker 26 sets for one container that publishes a port."""
HOME_ROUTER = """
{0} -P INPUT DROP
{0} -A INPUT -i lo -j ACCEPT
{0} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{0} -A INPUT -m conntrack --ctstate INVALID -j DROP
{0} -A INPUT -i lan0 -p tcp --dport 22 -j ACCEPT
{0} -A INPUT -i lan0 -p udp -m multiport --dports 53,67 -m comment --comment "ct state new" -j ACCEPT
"""


def recorded(name: str) -> Any:
    return json.loads((ROOT / "tests" / "firewall" / "rulesets" / f"{name}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    yield host
    host.close()


def listed(host: Host) -> Any:
    """As the daemon reads it."""

    def read() -> Any:
        with host.inside():
            return foreign_ruleset(Session())

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()


def shell(host: Host, *lines: str) -> None:
    host.run(["sh", "-e"], text="\n".join(lines) + "\n")


def inputs(*rules: str, policy: str = "drop", more: str = "") -> str:
    text = filters(*rules, policy=policy, more=more, table="inet home", name="input")
    return text.replace("hook forward", "hook input")


BOTH = "udp dport { 1900, 5351 }"
INPUT = {
    "policy": (inputs(), ALL, NFT),
    "22, 53 and 67 are allowed": (
        inputs("ct state established accept", "tcp dport 22 accept", "udp dport { 53, 67 } accept"),
        ALL,
        NFT,
    ),
    "the LAN is allowed": (inputs('iifname "lan0" accept'), "", ()),
    "another interface is allowed": (inputs('iifname "lan7" accept'), ALL, NFT),
    "all of it is allowed": (inputs(f"{BOTH} accept", "tcp dport 5000 accept"), "", ()),
    "UDP is allowed": (inputs(f"{BOTH} accept"), "packets from hosts on lan0 to tcp/5000", NFT[1:]),
    "IPv4 alone is allowed": (inputs("ip saddr 192.168.0.0/16 accept"), ALL, NFT),
    "both prefixes are allowed": (
        inputs("ip saddr 192.168.77.0/24 accept", "ip6 saddr { fe80::/10, 2001:db8::/32 } accept"),
        "",
        (),
    ),
    "searches by unicast alone": (
        inputs("fib daddr type local accept"),
        "packets from hosts on lan0 to udp/1900",
        (NFT[0].replace("{ 1900, 5351 }", "{ 1900 }"),),
    ),
    "multicast is dropped": (
        inputs("meta pkttype multicast drop", policy="accept"),
        "packets from hosts on lan0 to udp/1900",
        (NFT[0].replace("{ 1900, 5351 }", "{ 1900 }"),),
    ),
    "a drop behind a jump": (
        inputs("jump lan", policy="accept", more="chain lan { tcp dport 5000 reject;\n }"),
        "packets from hosts on lan0 to tcp/5000",
        NFT[1:],
    ),
    "the internet is dropped": (inputs('iifname "wan0" drop', policy="accept"), "", ()),
    "other ports are dropped": (
        inputs("udp dport != { 1900, 5351 } udp dport 1-65535 drop", policy="accept"),
        "",
        (),
    ),
    "a block list": (inputs("ip saddr 10.6.6.6 drop", policy="accept"), "", ()),
    "in prerouting": (
        inputs("tcp dport 5000 drop", policy="accept").replace("hook input", "hook prerouting"),
        "packets from hosts on lan0 to tcp/5000",
        NFT[1:],
    ),
}


@pytest.mark.lab
@pytest.mark.parametrize("case", INPUT)
def test_chains_that_drop_packets_of_lan_hosts_to_the_gateway(bare: Host, case: str) -> None:
    script, what, lines = INPUT[case]
    bare.nft("flush ruleset\n" + script)
    drops = input_drops(listed(bare), "wan0", [LAN], SERVED)
    assert [(drop.chain, drop.traffic, drop.lines, drop.certain) for drop in drops] == (
        [("inet home input", what, lines, True)] if what else []
    )
    for line in lines:
        bare.run(["sh", "-c", line])
    assert input_drops(listed(bare), "wan0", [LAN], SERVED) == [], "the lines cure it"


@pytest.mark.lab
def test_each_lan_is_judged_by_itself(bare: Host) -> None:
    bare.nft("flush ruleset\n" + inputs('iifname "lan0" accept'))
    (drop,) = input_drops(listed(bare), "wan0", [LAN, GUEST], SERVED)
    assert drop.traffic.startswith("packets from hosts on lan1 to")


@pytest.mark.lab
def test_a_drop_before_one_of_several_lans_names_it(bare: Host) -> None:
    """As libvirt's rule before its own network."""
    bare.nft("flush ruleset\n" + filters('oifname "lan1" reject', policy="accept"))
    ruleset = listed(bare)
    assert [drop.traffic for drop in forward_drops(ruleset, "wan0", ["lan0", "lan1"])] == [
        "mapped traffic to hosts on lan1"
    ]
    assert forward_drops(ruleset, "wan0", ["lan0"]) == []
    assert [drop.traffic for drop in pinhole_drops(ruleset, "wan0", ["lan0", "lan1"])] == [
        "traffic to pinholes of hosts on lan1"
    ]
    firewall = ipv6_firewall(ruleset, "wan0", ["lan0", "lan1"])
    assert (firewall.enabled, firewall.pinholes) == (True, False)
    assert not ipv6_firewall(ruleset, "wan0", ["lan0"]).enabled
    bare.nft("flush ruleset\n" + filters('oifname "lan0" drop', 'oifname "lan1" drop', policy="accept"))
    (drop,) = forward_drops(listed(bare), "wan0", ["lan0", "lan1"])
    assert drop.traffic == "mapped traffic", "to all LANs, by a rule for each"


@pytest.mark.lab
@pytest.mark.spec("SR-24")
def test_docker_and_its_own_chain_for_the_operator(bare: Host) -> None:
    bare.nft("flush ruleset")
    shell(bare, DOCKER)
    line = "iptables -I DOCKER-USER -o lan0 -m conntrack --ctstate DNAT -j ACCEPT"
    ruleset = listed(bare)
    assert forward_drops(ruleset, "wan0", ["lan0"]) == [
        Drop("ip filter FORWARD", "policy drop", "mapped traffic", (line,), program="docker")
    ]
    assert static_ports(ruleset, (), "wan0") == {(TCP, 8443)}
    shell(bare, line)
    assert forward_drops(listed(bare), "wan0", ["lan0"]) == [], "the match of iptables is understood"


@pytest.mark.lab
def test_a_home_router_by_iptables(bare: Host) -> None:
    bare.nft("flush ruleset")
    shell(bare, HOME_ROUTER.format("iptables"), HOME_ROUTER.format("ip6tables"))
    drops = input_drops(listed(bare), "wan0", [LAN], SERVED)
    assert [(drop.chain, drop.traffic, drop.certain, drop.program) for drop in drops] == [
        ("ip filter INPUT", ALL, True, "iptables"),
        ("ip6 filter INPUT", ALL, True, "iptables"),
    ]
    assert drops[0].lines == (
        "iptables -I INPUT -i lan0 -p udp -m multiport --dports 1900,5351 -j ACCEPT",
        "iptables -I INPUT -i lan0 -p tcp --dport 5000 -j ACCEPT",
    )
    shell(bare, *drops[0].lines)
    assert input_drops(listed(bare), "wan0", [LAN], SERVED) == drops[1:]
    shell(bare, *drops[1].lines, "iptables -I INPUT -j REJECT")
    (drop,) = input_drops(listed(bare), "wan0", [LAN], SERVED)
    assert (drop.chain, drop.why) == ("ip filter INPUT", "a rule: reject")


@pytest.mark.lab
@pytest.mark.parametrize(
    ("rule", "certain"),
    [
        ("-m conntrack --ctstate DNAT -j ACCEPT", None),
        ("-m conntrack ! --ctstate INVALID -j ACCEPT", None),
        ("-m conntrack --ctstate ESTABLISHED -j ACCEPT", True),
        ("-p tcp -m multiport --dports 1:1023,8080 -j ACCEPT", True),
        ("-m addrtype --dst-type MULTICAST -j ACCEPT", True),
        ("-m statistic --mode random --probability 0.5 -j ACCEPT", False),
        ("-m recent --name x --set -j ACCEPT", False),
        ("-m recent --name x --set -j RETURN", True),
        ("-m recent --name x --set -j DROP", True),
    ],
)
def test_matches_of_iptables_before_a_policy_that_drops(bare: Host, rule: str, certain: bool | None) -> None:
    """None: nothing is dropped."""
    bare.nft("flush ruleset")
    shell(bare, "iptables -P FORWARD DROP", f"iptables -A FORWARD {rule}")
    drops = forward_drops(listed(bare), "wan0", ["lan0"])
    assert [drop.certain for drop in drops] == ([] if certain is None else [certain])


@pytest.mark.lab
@pytest.mark.parametrize(
    ("chains", "policy", "program"),
    [
        ("ufw-before-forward DOCKER-USER", "drop", "ufw"),
        ("PVEFW-FORWARD", "drop", "proxmox"),
        ("DOCKER-USER LIBVIRT_FWI", "drop", "docker"),
        ("DOCKER-USER LIBVIRT_FWI", "accept", "libvirt"),
        ("mine", "drop", "iptables"),
    ],
)
def test_the_program_that_wrote_a_chain_is_known_by_its_names(
    bare: Host, chains: str, policy: str, program: str
) -> None:
    bare.nft("flush ruleset")
    shell(bare, *(f"iptables -N {name}" for name in chains.split()), f"iptables -P FORWARD {policy.upper()}")
    shell(bare, "iptables -A FORWARD -o lan0 -j REJECT")
    (drop,) = forward_drops(listed(bare), "wan0", ["lan0"])
    assert drop.program == program


def test_firewalld_and_its_zone() -> None:
    closed, opened = recorded("firewalld"), recorded("firewalld-open")
    (drop,) = input_drops(closed, "wan0", [LAN], SERVED)
    assert (drop.chain, drop.why, drop.traffic) == ("inet firewalld filter_INPUT", "a rule: reject", ALL)
    assert drop.lines == (
        "firewall-cmd --permanent --zone internal --add-port 1900/udp --add-port 5351/udp --add-port 5000/tcp",
        "firewall-cmd --reload",
    )
    assert drop.lasting
    assert drop.program == "firewalld"
    assert input_drops(opened, "wan0", [LAN], SERVED) == []
    assert forward_drops(closed, "wan0", ["lan0"]) == [], "firewalld accepts what any dnat leads on"


def test_a_lan_in_the_zone_of_the_wan_gets_one_of_its_own_first() -> None:
    """A port that is opened in the zone of the WAN is open to the internet."""
    guest = Link("lan9", 3, True, LAN.addresses)
    (drop,) = input_drops(recorded("firewalld"), "wan9", [guest], SERVED)
    assert drop.lines[0] == "firewall-cmd --permanent --zone internal --change-interface lan9"
    assert drop.lines[1].startswith("firewall-cmd --permanent --zone internal --add-port 1900/udp")


def test_pinholes_beside_firewalld() -> None:
    (drop,) = pinhole_drops(recorded("firewalld"), "wan0", ["lan0"])
    assert drop.lines == (
        "firewall-cmd --permanent --new-policy upnp-gw",
        "firewall-cmd --permanent --policy upnp-gw --add-ingress-zone external",
        "firewall-cmd --permanent --policy upnp-gw --add-egress-zone internal",
        "firewall-cmd --permanent --policy upnp-gw --add-rich-rule"
        " 'rule family=ipv6 destination address=HOST port port=PORT protocol=tcp accept'",
        "firewall-cmd --reload",
    )
    assert ipv6_firewall(recorded("firewalld"), "wan0", ["lan0"]).enabled
    (both,) = pinhole_drops(recorded("firewalld"), "wan0", ["lan0"], ["lan0"])
    assert [line.partition("'")[2][:16] for line in both.lines if "rich" in line] == [
        "rule family=ipv6",
        "rule family=ipv4",
    ]
