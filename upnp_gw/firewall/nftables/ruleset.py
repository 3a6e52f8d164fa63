"""Our table as text, made from ``FirewallSettings`` and nothing else.

The structure (sets, maps, hooks) and the contents (rules, interfaces, addresses) are apart: with the structure of a
previous run in place only the rules are renewed, and the mappings in the maps live on.

Transport protocols are numbers (6, 17): libnftables looks a name up in /etc/protocols, which a minimal Debian and
most containers lack.
"""

import hashlib
import re
from ipaddress import IPv4Address

from upnp_gw.errors import FirewallError
from upnp_gw.firewall.base import FirewallMode, FirewallSettings
from upnp_gw.firewall.nftables import shares
from upnp_gw.network import Network

TABLE = "inet upnp_gw"
FAMILY, NAME = TABLE.split()
INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
OURS = 127
"""The conntrack label of a flow that came through our lookup, where a static dnat of another table has none, or
through a pinhole: it is all that other tables can know a pinhole's flow by."""

_PEER = "inet_proto . inet_service"
_TO = "ipv4_addr . inet_service"
_INNER, _INNER6 = "inet_proto . ipv4_addr . inet_service", "inet_proto . ipv6_addr . inet_service"

PORT_MAPS = {
    "pm": f"{_PEER} : {_TO}",
    "pm_ip": f"ipv4_addr . {_PEER} : {_TO}",
    "pm_rh": f"{_PEER} . ipv4_addr : {_TO}",
    "pm_ip_rh": f"ipv4_addr . {_PEER} . ipv4_addr : {_TO}",
    "pm_net": f"{_PEER} . ipv4_addr . inet_service : {_TO}",
    "pm_ip_net": f"ipv4_addr . {_PEER} . ipv4_addr . inet_service : {_TO}",
}
"""External side : internal endpoint. ip: one of several external addresses, rh: a remote host, net: a prefix of
remote hosts and a range of their ports."""
HOLES = {
    "hole6": _INNER6,
    "hole6_rh": f"{_INNER6} . ipv6_addr",
    "hole6_net": f"{_INNER6} . ipv6_addr . inet_service",
}
"""Pinholes, likewise."""
INTERVALS = ("pm_net", "pm_ip_net", "hole6_net")
"""Keys with ranges: the kernel takes no two that overlap, unless they are equal."""
OPENING = (*PORT_MAPS, *HOLES)
"""What opens something. Every element in there ends by itself (SR-29)."""
FILLED = (*OPENING, "out", "live")
"""What a refill replaces. ``cut`` and ``cut6`` close, they are left to run out."""
MAPS = (*PORT_MAPS, "out")
"""Those that nftables calls maps; the others are sets."""

_LOOKUPS = {
    "pm_ip_rh": "ip daddr . meta l4proto . th dport . ip saddr",
    "pm_rh": "meta l4proto . th dport . ip saddr",
    "pm_ip_net": "ip daddr . meta l4proto . th dport . ip saddr . th sport",
    "pm_net": "meta l4proto . th dport . ip saddr . th sport",
    "pm_ip": "ip daddr . meta l4proto . th dport",
    "pm": "meta l4proto . th dport",
}
"""The most special one first."""

_HOOKS = {
    "prerouting": "type nat hook prerouting priority dstnat + 1; policy accept;",  # a static dnat of others wins
    "output": "type nat hook output priority -100; policy accept;",
    "postrouting": "type nat hook postrouting priority srcnat - 1; policy accept;",  # before any masquerade
    "forward": "type filter hook forward priority filter; policy accept;",
}
_ALONGSIDE_HOOKS = {
    **_HOOKS,
    # before the filters of others: they know a pinhole's flow by our label
    "forward": "type filter hook forward priority filter - 1; policy accept;",
}
_ROUTER_HOOKS = {**_HOOKS, "input": "type filter hook input priority filter; policy accept;"}


def structure(settings: FirewallSettings) -> str:
    """The declarations, without rules: adding them to a table of the same structure changes nothing."""
    declarations = _structure_body(settings)
    return f"table {TABLE} {{\n{declarations}\n chain {version(settings)} {{ }}\n}}\n"


def version(settings: FirewallSettings) -> str:
    """The name of an empty chain that says which structure the table has."""
    return "structure_" + hashlib.sha256(_structure_body(settings).encode()).hexdigest()[:12]


def _structure_body(settings: FirewallSettings) -> str:
    # the books keep to ``settings.size``; a transaction that closes what has just expired adds it once more first
    size = 2 * settings.size
    bound = f"flags timeout; counter; size {size};"
    ranges = f"flags interval,timeout; counter; size {size};"
    lines = [f"map {m} {{ type {t}; {ranges if m in INTERVALS else bound} }}" for m, t in PORT_MAPS.items()]
    lines += [f"set {s} {{ type {t}; {ranges if s in INTERVALS else bound} }}" for s, t in HOLES.items()]
    lines += [
        f"map out {{ type {_INNER} : {_TO}; flags timeout; size {size}; }}",
        # endpoints of forwards that were just closed wait in ``live`` beside the open ones, in ``cut`` for longer
        f"set live {{ type {_INNER}; flags timeout; counter; size {size}; }}",
        f"set cut {{ type {_INNER}; flags timeout; size {4 * size}; }}",
        f"set cut6 {{ type {_INNER6}; flags timeout; size {4 * size}; }}",
        "set wan { typeof iifname; }",
        "set lan { typeof iifname; }",
        "set same_lan { type ifname . ifname; }",
        "set external { typeof ip daddr; }",
        *shares.sets(),
        "chain lookup { }",
        "chain count { }",
        *(f"chain {name} {{ }}" for name in shares.chains()),
    ]
    hooks = _ROUTER_HOOKS if settings.mode is FirewallMode.ROUTER else _ALONGSIDE_HOOKS
    lines += [f"chain {name} {{ {hook} }}" for name, hook in {**hooks, **shares.hooks()}.items()]
    return "\n".join(f" {line}" for line in lines)


def contents(settings: FirewallSettings) -> str:
    """Renews every rule and the sets of our own interfaces and addresses; mappings stay."""
    router = settings.mode is FirewallMode.ROUTER
    chains = {
        "lookup": _lookup(router),
        "count": _count(settings.hairpin == "same"),
        "prerouting": [
            "iifname @wan ip daddr @external jump lookup",
            "iifname @lan ip daddr @external jump lookup",
        ],
        "output": ['oifname "lo" ip daddr @external jump lookup'],
        "postrouting": _postrouting(router),
        "forward": _forward(router),
        **shares.rules(settings.http_port),
    }
    if router:
        chains["input"] = _INPUT
    body = "\n".join(
        f" chain {name} {{\n" + "\n".join(f"  {rule}" for rule in rules) + "\n }" for name, rules in chains.items()
    )
    return f"flush table {TABLE}\ntable {TABLE} {{\n{body}\n}}\n" + own_sets(settings.network)


def own_sets(network: Network) -> str:
    """The sets of our own interfaces and addresses, renewed. Raises FirewallError for an impossible name."""
    lans = [_quoted(link.name) for link in network.lans]
    sets = {
        "wan": [_quoted(network.wan.name)],
        "lan": lans,
        "same_lan": [f"{name} . {name}" for name in lans],
        "external": [str(IPv4Address(address)) for address in network.external],
    }
    lines = []
    for name, elements in sets.items():
        lines.append(f"flush set {TABLE} {name}")
        if elements:
            lines.append(f"add element {TABLE} {name} {{ {', '.join(elements)} }}")
    return "\n".join(lines) + "\n"


def _quoted(interface: str) -> str:
    if not INTERFACE.fullmatch(interface):
        raise FirewallError("an interface name that nftables cannot take: letters, digits, _ . - @, at most 15")
    return f'"{interface}"'


def _lookup(router: bool) -> list[str]:
    label = [f"ct label set {OURS}"] if router else []
    # nftables 1.0.6 wants the match on l4proto in each of them
    maps = [f"meta l4proto {{ 6, 17 }} dnat ip to {key} map @{name}" for name, key in _LOOKUPS.items()]
    return label + maps


def _count(same_lan_only: bool) -> list[str]:
    inbound = "ct direction original meta l4proto . ip daddr . th dport @live"
    hairpin = [f"iifname @lan {inbound} iifname . oifname != @same_lan drop"] if same_lan_only else []
    return [
        *hairpin,
        f"{inbound} accept",
        "ct direction reply meta l4proto . ip saddr . th sport @live accept",
    ]


def _postrouting(router: bool) -> list[str]:
    rules = [
        "oifname @wan meta l4proto { 6, 17 } snat ip to meta l4proto . ip saddr . th sport map @out",
        # hairpin, and only ours: a redirect of somebody else between LAN hosts keeps its sources
        "iifname @lan oifname @lan ct status dnat ct original ip daddr @external"
        " meta l4proto . ip daddr . th dport @live masquerade",
    ]
    if router:
        rules.append("oifname @wan ip saddr != @external masquerade")
    return rules


def _forward(router: bool) -> list[str]:
    let_in = f"ct label set {OURS} accept"
    pinholes = [
        f"iifname @wan meta l4proto . ip6 daddr . th dport @hole6 {let_in}",
        f"iifname @wan meta l4proto . ip6 daddr . th dport . ip6 saddr @hole6_rh {let_in}",
        f"iifname @wan meta l4proto . ip6 daddr . th dport . ip6 saddr . th sport @hole6_net {let_in}",
    ]
    not_syn = "meta l4proto 6 ct state new tcp flags & (fin|syn|rst|ack) != syn"
    cut = [  # conntrack would take up a cut flow again as an outbound one when the LAN host sends first
        f"{not_syn} meta l4proto . ip saddr . th sport @cut reject with tcp reset",
        f"{not_syn} meta l4proto . ip6 saddr . th sport @cut6 reject with tcp reset",
    ]
    if not router:
        return ["ct status dnat jump count", *pinholes, *cut]
    return [
        # a WAN with a smaller MTU (PPPoE) stalls every TCP flow whose path drops ICMP
        "oifname @wan tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu",
        "iifname @wan tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu",
        "ct status dnat jump count",
        # ICMP errors belong to the flow that they tell of
        "meta l4proto { 1, 58 } ct state related accept",
        # the end of a lease ends its live flows in the kernel, with the daemon dead
        f"ct status dnat ct label {OURS} drop",
        *pinholes,  # before established, so that they count
        *cut,
        "ct state established,related accept",
        "ct state invalid drop",
        "iifname @wan icmpv6 type echo-request accept",  # RFC 4890 section 4.3.1
        "iifname @wan ct status dnat accept",  # a static forward of another table: the operator's own
        "iifname @wan drop",
    ]


_INPUT = [
    "iifname != @wan accept",
    "ct state established,related accept",
    "ct state invalid drop",
    # RFC 4890 section 4.4.1: neighbour and router discovery, multicast listeners, ping
    "ip6 hoplimit 255 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept",
    "ip6 saddr fe80::/10 icmpv6 type { mld-listener-query, mld-listener-report, mld2-listener-report } accept",
    "icmpv6 type echo-request limit rate 20/second accept",
    "icmp type echo-request limit rate 20/second accept",
    "udp sport 67 udp dport 68 accept",  # DHCP answers, RFC 2131
    "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",  # DHCPv6 answers, RFC 8415
    "drop",
]
