"""Other tables and our traffic: real rulesets as libnftables lists them, and forms that iptables leaves."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.other_tables.drops import Drop, forward_drops
from upnp_gw.firewall.other_tables.listing import foreign_ruleset, forward_filters
from upnp_gw.firewall.other_tables.static_forwards import static_ports
from upnp_gw.lab import Host
from upnp_gw.model.mapping import Transport

EXTERNAL = (IPv4Address("11.22.33.44"),)
TCP, UDP = Transport.TCP, Transport.UDP


@pytest.fixture(scope="module")
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    yield host
    host.close()


@pytest.fixture
def load(bare: Host) -> Iterator[Any]:
    """Loads a script and gives the listing back, as the daemon reads it."""

    def listed(script: str) -> Any:
        bare.nft("flush ruleset\n" + script)

        def read() -> Any:
            with bare.inside():
                return foreign_ruleset(Session())

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(read).result()

    yield listed
    bare.nft("flush ruleset")


def nat(*rules: str, more: str = "", family: str = "ip") -> str:
    body = "\n".join(rules)
    return f"""table {family} static {{
    {more}
    chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    {body}
    }}
}}
"""


def both(*ports: int) -> set[tuple[Transport, int]]:
    return {(t, p) for p in ports for t in Transport}


def tcp(*ports: int) -> set[tuple[Transport, int]]:
    return {(TCP, p) for p in ports}


STATIC = {
    "one": (nat("tcp dport 80 dnat to 10.0.0.1"), tcp(80)),
    "inet": (nat("tcp dport 80 dnat ip to 10.0.0.1:8080", family="inet"), tcp(80)),
    "set": (nat("udp dport { 53, 5000-5002 } dnat to 10.0.0.1"), {(UDP, p) for p in (53, 5000, 5001, 5002)}),
    "range": (nat("tcp dport 80-82 redirect to :8080"), tcp(80, 81, 82)),
    "th": (nat("meta l4proto { tcp, udp } th dport 80 dnat to 10.0.0.1"), both(80)),
    "miniupnpd": (nat("@nh,72,8 0x6 tcp dport 80 dnat ip to 10.0.0.1:8080", family="inet"), tcp(80)),
    "raw ports": (nat("@nh,72,8 0x11 @th,16,16 53 dnat ip to 10.0.0.1", family="inet"), {(UDP, 53)}),
    "raw addresses": (nat("@nh,128,32 0x0b16212d tcp dport 80 dnat to 10.0.0.1"), set()),
    "another raw place": (nat("@nh,72,8 != 0x6 udp dport 9 @nh,128,32 0x0b16212c dnat to 10.0.0.1"), {(UDP, 9)}),
    "protocol": (nat("ip protocol udp th dport 80 dnat to 10.0.0.1"), {(UDP, 80)}),
    "named set": (
        nat("tcp dport @web dnat to 10.0.0.1", more="set web { type inet_service; elements = { 80, 443 }; }"),
        tcp(80, 443),
    ),
    "named range": (
        nat(
            "tcp dport @web dnat to 10.0.0.1",
            more="set web { type inet_service; flags interval; elements = { 80-81 }; }",
        ),
        tcp(80, 81),
    ),
    "map": (nat("dnat to tcp dport map { 80 : 10.0.0.1, 443 : 10.0.0.2 }"), tcp(80, 443)),
    "named map": (
        nat(
            "dnat to udp dport map @to",
            more="map to { type inet_service : ipv4_addr; elements = { 9 : 10.0.0.1 }; }",
        ),
        {(UDP, 9)},
    ),
    "map with port": (nat("dnat ip to tcp dport map { 80 : 10.0.0.1 . 8080 }"), tcp(80)),
    "concatenation": (
        nat(
            "dnat to meta l4proto . th dport map @to",
            more="map to { type inet_proto . inet_service : ipv4_addr; elements = { udp . 7 : 10.0.0.1 }; }",
        ),
        {(UDP, 7)},
    ),
    "verdict map": (
        nat(
            "tcp dport vmap { 80 : jump web, 81 : accept }",
            more="chain web { dnat to 10.0.0.1;\n }",
        ),
        tcp(80),
    ),
    "jump": (
        nat("iifname wan0 jump web", more="chain web { tcp dport 80 dnat to 10.0.0.1;\n }"),
        tcp(80),
    ),
    "our address": (nat("ip daddr 11.22.33.44 tcp dport 80 dnat to 10.0.0.1"), tcp(80)),
    "our network": (nat("ip daddr 11.22.33.0/24 tcp dport 80 dnat to 10.0.0.1"), tcp(80)),
    "another address": (nat("ip daddr 11.22.33.45 tcp dport 80 dnat to 10.0.0.1"), set()),
    "a LAN interface": (nat("iifname lan0 tcp dport 53 redirect"), set()),
    "not the WAN": (nat("iifname != wan0 tcp dport 53 redirect"), set()),
    "not a LAN": (nat('iifname != "lan*" tcp dport 53 redirect'), tcp(53)),
    "some senders": (nat("ip saddr 1.2.3.4 tcp dport 80 dnat to 10.0.0.1"), tcp(80)),
    "some senders, every port": (nat("ip saddr 1.2.3.4 dnat to 10.0.0.1"), set()),
    "IPv6": (nat("meta nfproto ipv6 tcp dport 80 dnat ip6 to fd00::1", family="inet"), set()),
    "after a return": (nat("return", "tcp dport 80 dnat to 10.0.0.1"), set()),
    "accept is no dnat": (nat("tcp dport 80 accept"), set()),
    "our own table": (nat("tcp dport 80 dnat ip to 10.0.0.1", family="inet").replace("static", "upnp_gw"), set()),
    "but for one port": (nat("tcp dport 22 return", "tcp dport 20-24 dnat to 10.0.0.1"), tcp(20, 21, 23, 24)),
    "redirect map": (nat("meta l4proto tcp redirect to :tcp dport map { 80 : 8080 }"), tcp(80)),
    "all but some senders": (nat("ip saddr 1.2.3.4 return", "tcp dport 80 dnat to 10.0.0.1"), tcp(80)),
    "negated port": (nat("tcp dport != 22 ip saddr 1.2.3.4 dnat to 10.0.0.1"), set()),
}


@pytest.mark.lab
@pytest.mark.spec("SR-24")
@pytest.mark.parametrize("case", STATIC)
def test_ports_that_a_static_rule_leads_elsewhere(load: Any, case: str) -> None:
    script, ports = STATIC[case]
    assert static_ports(load(script), EXTERNAL, "wan0") == ports


@pytest.mark.lab
def test_a_host_behind_every_port_holds_every_port(load: Any) -> None:
    held = static_ports(load(nat("iifname wan0 meta l4proto udp dnat to 10.0.0.1")), EXTERNAL, "wan0")
    assert held == {(UDP, port) for port in range(1, 65536)}


def filters(
    *rules: str, policy: str = "drop", more: str = "", table: str = "inet fw4", name: str = "forward"
) -> str:
    body = "\n".join(rules)
    return f"""table {table} {{
    {more}
    chain {name} {{
    type filter hook forward priority filter; policy {policy};
    {body}
    }}
}}
"""


IPTABLES_LINE = "iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
LINE = "nft insert rule inet fw4 forward ct status dnat accept"
DROPS = {
    "policy": (filters(), "policy drop"),
    "stateful": (filters("ct state established,related accept", "iifname lan0 accept"), "policy drop"),
    "last rule": (
        filters("ct state vmap { established : accept, invalid : drop }", "drop", policy="accept"),
        "a rule: drop",
    ),
    "reject": (filters("iifname wan0 reject", policy="accept"), "a rule: reject"),
    "sub-chain": (
        filters("iifname wan0 jump from_wan", policy="accept", more="chain from_wan { drop;\n }"),
        "a rule: drop",
    ),
    "dnat accepted": (filters("ct status dnat accept"), ""),
    "dnat accepted in a chain": (
        filters("iifname wan0 jump from_wan", more="chain from_wan { ct status dnat accept;\n drop;\n }"),
        "",
    ),
    "dnat accepted too late": (filters("iifname wan0 drop", "ct status dnat accept"), "a rule: drop"),
    "new from the WAN accepted": (filters("iifname wan0 ct state new accept"), ""),
    "one way accepted": (filters("iifname wan0 oifname lan0 accept"), ""),
    "another way accepted": (filters("iifname wan0 oifname dmz0 accept"), "policy drop"),
    "a block list is no obstacle": (filters("ip saddr 6.6.6.6 drop", "tcp dport 25 drop", policy="accept"), ""),
    "only some ports accepted": (filters("tcp dport 22 accept"), "policy drop"),
    "only TCP accepted": (filters("meta l4proto tcp accept"), "policy drop"),
    "new and invalid dropped": (filters("iifname wan0 ct state invalid,new drop", policy="accept"), "a rule: drop"),
    "what is not dnat dropped": (filters("ct status ! dnat drop", policy="accept"), ""),
    "what is not ours dropped": (filters("ct label ! 127 drop", policy="accept"), "a rule: drop"),
    "other LAN dropped": (filters("iifname guest0 drop", policy="accept"), ""),
    "IPv6 alone": (filters(table="ip6 filter6"), ""),
    "below a rate accepted": (filters("limit rate 10/second accept"), ""),
    "above a rate dropped": (filters("limit rate over 10/second drop", policy="accept"), ""),
    "each transport accepted": (filters("meta l4proto vmap { tcp : accept, udp : accept }"), ""),
    "all but a few senders accepted": (filters("ip saddr != 6.6.6.0/24 accept"), ""),
    "most senders dropped": (filters("ip saddr 0.0.0.0/1 accept", "ip saddr 128.0.0.0/1 drop"), "a rule: drop"),
    "odd ports dropped": (filters("th dport 1-40000 reject", policy="accept"), "a rule: reject"),
    "what somebody marked accepted": (filters("meta mark 7 accept"), "policy drop"),
    "frames to us accepted": (filters("meta pkttype host accept"), ""),
}


@pytest.mark.lab
@pytest.mark.parametrize("case", DROPS)
def test_chains_that_swallow_mapped_traffic(load: Any, case: str) -> None:
    script, why = DROPS[case]
    expected = [Drop("inet fw4 forward", why, "mapped traffic", (LINE,))] if why else []
    assert forward_drops(load(script), "wan0", ("lan0",)) == expected


@pytest.mark.lab
def test_the_line_that_is_named_cures_it(load: Any) -> None:
    assert forward_drops(load(filters() + LINE.removeprefix("nft ")), "wan0", ("lan0",)) == []


@pytest.mark.lab
@pytest.mark.parametrize(
    ("script", "found"),
    [
        (filters(), ["chain inet fw4 forward"]),
        (filters(policy="accept"), []),
        (filters("ct state established accept", "counter", policy="accept"), []),
        (filters("tcp dport 25 drop", policy="accept"), ["chain inet fw4 forward"]),
        (
            filters("jump deep", policy="accept", more="chain deep { ip saddr 1.2.3.4 reject;\n }"),
            ["chain inet fw4 forward"],
        ),
        (filters("tcp dport vmap { 25 : drop }", policy="accept"), ["chain inet fw4 forward"]),
        (
            filters(
                "tcp dport vmap @v",
                policy="accept",
                more="map v { type inet_service : verdict; elements = { 25 : drop }; }",
            ),
            ["chain inet fw4 forward"],
        ),
        (filters(table="inet upnp_gw"), []),
        (nat("tcp dport 80 dnat to 10.0.0.1"), []),
    ],
)
def test_other_filters_of_forwarded_traffic(load: Any, script: str, found: list[str]) -> None:
    assert forward_filters(load(script)) == found


def iptables(*rules: list[Any], policy: str = "drop", hook: str = "forward", kind: str = "filter") -> Any:
    chain = {"family": "ip", "table": "filter", "name": "FORWARD", "hook": hook, "type": kind, "policy": policy}
    return {
        "nftables": [
            {"chain": chain},
            *({"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "expr": rule}} for rule in rules),
        ]
    }


PORT = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 8080}}


def test_iptables_chains_get_an_iptables_line() -> None:
    """Docker, ufw: ``ip filter FORWARD`` with policy drop; what xt matches accept cannot be seen."""
    (drop,) = forward_drops(iptables(), "wan0")
    assert drop == Drop("ip filter FORWARD", "policy drop", "mapped traffic", (IPTABLES_LINE,), program="iptables")
    (drop,) = forward_drops(iptables([{"xt": {"type": "match", "name": "conntrack"}}, {"accept": None}]), "wan0")
    assert not drop.certain


@pytest.mark.spec("SR-24")
@pytest.mark.parametrize("target", [None, {"type": "target", "name": "DNAT"}])
def test_an_iptables_dnat_holds_its_port(target: Any) -> None:
    assert static_ports(iptables([PORT, {"xt": target}], hook="prerouting", kind="nat"), EXTERNAL, "wan0") == tcp(
        8080
    )
    mark = {"type": "target", "name": "MARK"}
    assert not static_ports(iptables([PORT, {"xt": mark}], hook="prerouting", kind="nat"), EXTERNAL, "wan0")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "match",
                    "left",
                    "right",
                    "op",
                    "set",
                    "range",
                    "concat",
                    "payload",
                    "meta",
                    "ct",
                    "key",
                    "map",
                    "data",
                    "dnat",
                    "jump",
                    "vmap",
                    "elem",
                    "val",
                    "target",
                    "field",
                    "protocol",
                    "prefix",
                    "drop",
                    "xt",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["match", "vmap", "dnat", "jump", "drop", "accept", "xt"]), JSON),
        max_size=3,
    )
)
def test_a_statement_of_a_future_nftables_breaks_nothing(rule: list[Any]) -> None:
    for hook, kind in (("forward", "filter"), ("prerouting", "nat")):
        ruleset = json.loads(json.dumps(iptables(rule, hook=hook, kind=kind)))
        static_ports(ruleset, EXTERNAL, "wan0")
        forward_drops(ruleset, "wan0", ("lan0",))
        forward_filters(ruleset)
