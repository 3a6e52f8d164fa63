"""Our table as text, made from ``FirewallSettings`` and nothing else.

The structure (sets, maps, hooks) and the contents (rules, interfaces, addresses) are apart: with the structure of a
previous run in place only the rules are renewed, and the mappings in the maps live on.

A mapping or pinhole has an element in an opening map, for the first packet of a flow, and an element with the same
key in a carrying set, for all packets of the flow. The flow has the label ``LET_IN``: once no element carries it,
its packets are dropped. So the kernel's own clock ends this flow and no other one.

Transport protocols are numbers (6, 17): libnftables looks a name up in /etc/protocols, which a minimal Debian and
most containers lack.
"""

import hashlib
import re
from ipaddress import IPv4Address

from upnp_gw.firewall.base import TABLE, FirewallMode, FirewallSettings, most_for_remotes
from upnp_gw.firewall.labels import ASKED, LET_IN, MASQUERADED
from upnp_gw.firewall.nftables import exchanges, shares
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.network import Network

INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")

_PEER = "inet_proto . inet_service"
_PEER6 = "inet_proto . ipv6_addr . inet_service"
_TO = "ipv4_addr . inet_service"
_INNER, _INNER6 = "inet_proto . ipv4_addr . inet_service", _PEER6

_PORT_KEYS = {
    "pm": _PEER,
    "pm_ip": f"ipv4_addr . {_PEER}",
    "pm_rh": f"{_PEER} . ipv4_addr",
    "pm_ip_rh": f"ipv4_addr . {_PEER} . ipv4_addr",
    "pm_net": f"{_PEER} . ipv4_addr . inet_service",
    "pm_ip_net": f"ipv4_addr . {_PEER} . ipv4_addr . inet_service",
}
"""External side : internal endpoint. ip: one of several external addresses, rh: a remote host, net: a prefix of
remote hosts and a range of their ports."""
_HOLE_KEYS = {
    "hole6": _PEER6,
    "hole6_rh": f"{_PEER6} . ipv6_addr",
    "hole6_net": f"{_PEER6} . ipv6_addr . inet_service",
}
"""Keys of pinholes, with the same suffixes."""
_KEYS = {**_PORT_KEYS, **_HOLE_KEYS}
OPENING = tuple(_KEYS)
"""Opening maps and sets. Every element in them expires by itself (SR-29)."""
CARRYING = {name: name.replace("pm", "live").replace("hole", "live") for name in OPENING}
"""Opening map or set -> the set that carries its flows, with the same keys."""
INTERVALS = tuple(name for name in (*OPENING, *CARRYING.values()) if name.endswith("_net"))
"""Sets and maps with ranges in their keys. The kernel refuses ranges that overlap, unless they are equal."""
REMOTE_MAPS = tuple(name for name in (*OPENING, *CARRYING.values()) if name.endswith(("_rh", "_net")))
"""Sets and maps with remote hosts in their keys. A mapping has an element per FILTER or prefix of its grant."""
FILLED = (*OPENING, "out", *CARRYING.values(), "external_ports")
"""Maps and sets that a refill replaces. ``cut`` and ``cut6`` only close flows and are left to expire."""
MAPS = (*_PORT_KEYS, "out")
"""The names of the nftables maps; the others are sets."""
KEY_TYPES = {
    **_KEYS,
    **{CARRYING[name]: key for name, key in _KEYS.items()},
    "out": _INNER,
    "cut": _INNER,
    "cut6": _INNER6,
    "external_ports": _PEER,
}
"""Map or set with elements of mappings -> the types of its key, separated by dots."""

_LOOKUPS = {
    "pm_ip_rh": "ip daddr . meta l4proto . th dport . ip saddr",
    "pm_rh": "meta l4proto . th dport . ip saddr",
    "pm_ip_net": "ip daddr . meta l4proto . th dport . ip saddr . th sport",
    "pm_net": "meta l4proto . th dport . ip saddr . th sport",
    "pm_ip": "ip daddr . meta l4proto . th dport",
    "pm": "meta l4proto . th dport",
}
"""The most special one first."""
_PINHOLES = {
    "hole6": "meta l4proto . ip6 daddr . th dport",
    "hole6_rh": "meta l4proto . ip6 daddr . th dport . ip6 saddr",
    "hole6_net": "meta l4proto . ip6 daddr . th dport . ip6 saddr . th sport",
}
_FLOWS = {
    "ip daddr": "ct original ip daddr",
    "ip6 daddr": "ct original ip6 daddr",
    "ip saddr": "ct original ip saddr",
    "ip6 saddr": "ct original ip6 saddr",
    "meta l4proto": "meta l4proto",
    "th dport": "ct original proto-dst",
    "th sport": "ct original proto-src",
}
"""Part of a key in the first packet -> its form for any packet of the flow, in either direction."""

_HOOKS = {
    # a static dnat of another table wins, at any priority
    "prerouting": "type nat hook prerouting priority dstnat + 1000; policy accept;",
    "output": "type nat hook output priority -100; policy accept;",
    "postrouting": "type nat hook postrouting priority srcnat - 1; policy accept;",  # before any masquerade
    "forward": "type filter hook forward priority filter; policy accept;",
}
_ALONGSIDE_HOOKS = {
    **_HOOKS,
    # before the filters of others: they know a pinhole's flow by our label
    "forward": "type filter hook forward priority filter - 1; policy accept;",
}
_ROUTER_HOOKS = {
    **_HOOKS,
    "input": "type filter hook input priority filter; policy accept;",
    "leaving": "type filter hook postrouting priority srcnat + 1; policy accept;",  # sees the translated source
}


def structure(settings: FirewallSettings) -> str:
    """The declarations, without rules: adding them to a table of the same structure changes nothing."""
    declarations = _structure_body(settings)
    return f"table {TABLE} {{\n{declarations}\n chain {version(settings)} {{ }}\n}}\n"


def version(settings: FirewallSettings) -> str:
    """The name of an empty chain that says which structure the table has."""
    return "structure_" + hashlib.sha256(_structure_body(settings).encode()).hexdigest()[:12]


def _structure_body(settings: FirewallSettings) -> str:
    # the state has at most ``settings.size``; a transaction that closes an expired element adds it again first
    size, many = 2 * settings.size, 2 * most_for_remotes(settings.size)
    sizes = {name: many if name in REMOTE_MAPS else size for name in OPENING}
    lines = [_declared(name, f"{key} : {_TO}", sizes[name]) for name, key in _PORT_KEYS.items()]
    lines += [_declared(name, key, sizes[name]) for name, key in _HOLE_KEYS.items()]
    # elements of closed forwards stay beside the open ones for a while, and endpoints in ``cut`` for longer
    lines += [_declared(CARRYING[name], key, 2 * sizes[name]) for name, key in _KEYS.items()]
    lines += [
        f"map out {{ type {_INNER} : {_TO}; flags timeout; size {size}; }}",
        f"set external_ports {{ type {_PEER}; flags timeout; size {size}; }}",
        f"set cut {{ type {_INNER}; flags timeout; size {4 * size}; }}",
        f"set cut6 {{ type {_INNER6}; flags timeout; size {4 * size}; }}",
        "set wan { typeof iifname; }",
        "set lan { typeof iifname; }",
        "set same_lan { type ifname . ifname; }",
        "set external { typeof ip daddr; }",
        "set lan_hosts { typeof ip saddr; flags interval; }",
        "set lan_hosts6 { typeof ip6 saddr; flags interval; }",
        *shares.share_sets(),
        "chain lookup { }",
        "chain carried { }",
        "chain carried6 { }",
        *exchanges.exchange_sets(size),
        *(f"chain {name} {{ }}" for name in (*exchanges.exchange_chains(), *shares.share_chains())),
    ]
    hooks = _ROUTER_HOOKS if settings.mode is FirewallMode.ROUTER else _ALONGSIDE_HOOKS
    lines += [f"chain {name} {{ {hook} }}" for name, hook in {**hooks, **shares.share_hooks()}.items()]
    return "\n".join(f" {line}" for line in lines)


def _declared(name: str, key: str, size: int) -> str:
    kind = "map" if name in MAPS else "set"
    ranges = "interval," if name in INTERVALS else ""
    return f"{kind} {name} {{ type {key}; flags {ranges}timeout; counter; size {size}; }}"


def contents(settings: FirewallSettings) -> str:
    """Renews every rule and the sets of our own interfaces and addresses; mappings stay."""
    router = settings.mode is FirewallMode.ROUTER
    chains = {
        "lookup": _lookup(),
        "carried": _carried(router, settings.hairpin == "same"),
        "carried6": _carried6(),
        "prerouting": [
            "iifname @wan ip daddr @external jump lookup",
            "iifname @lan ip daddr @external jump lookup",
        ],
        "output": ['oifname "lo" ip daddr @external jump lookup'],
        "postrouting": _postrouting(router),
        "forward": _forward(router),
        **exchanges.exchange_rules(),
        **shares.share_rules(settings.http_port),
    }
    if router:
        chains["input"] = _INPUT
        chains["leaving"] = [
            # the kernel chose a port of a mapping: the host retries and gets another port
            f"oifname @wan ct state new ct label {MASQUERADED} meta l4proto . th sport @external_ports drop"
        ]
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
        "lan_hosts": [str(net) for net in network.lan_hosts if net.version == 4],
        "lan_hosts6": [str(net) for net in network.lan_hosts if net.version == 6],
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


def _lookup() -> list[str]:
    # nftables 1.0.6 needs the match on l4proto in each rule
    maps = [f"meta l4proto {{ 6, 17 }} dnat ip to {key} map @{name}" for name, key in _LOOKUPS.items()]
    return [f"ct label set {ASKED}", *maps]


def _carried(router: bool, same_lan_only: bool) -> list[str]:
    """The rules for packets of flows that we let in: accepted while the mapping is active, else dropped."""
    forged = [] if router else [f"iifname @wan {match} drop" for match in FORGED]
    hairpin = ["ct direction original iifname @lan iifname . oifname != @same_lan drop"] if same_lan_only else []
    return [
        *forged,
        *hairpin,
        "meta nfproto ipv6 goto carried6",
        *_carrying(dict(reversed(_LOOKUPS.items()))),
        "meta l4proto 1 ct state related accept",  # an ICMP error belongs to the flow that it reports
        "drop",
    ]


def _carried6() -> list[str]:
    return [*_carrying(_PINHOLES), "meta l4proto 58 ct state related accept", "drop"]


def _carrying(keys: dict[str, str]) -> list[str]:
    rules = []
    for name, key in keys.items():
        flow = " . ".join(_FLOWS[part] for part in key.split(" . "))
        # nftables 1.0.6 knows the type of a port only after a match on a single transport
        rules += [
            f"meta l4proto {number} {flow} @{CARRYING[name]} goto {exchanges.LET_THROUGH}" for number in (6, 17)
        ]
    return rules


def _postrouting(router: bool) -> list[str]:
    rules = [
        "oifname @wan meta l4proto { 6, 17 } snat ip to meta l4proto . ip saddr . th sport map @out",
        # only our own hairpin flows: redirects of other tables between LAN hosts keep their sources
        f"iifname @lan oifname @lan ct status dnat ct label {LET_IN} masquerade",
    ]
    if router:
        ours = f"ct label set {MASQUERADED} masquerade"
        rules += [
            # a mapped port belongs to its holder, whose packets match the rule above
            "oifname @wan ip saddr != @external meta l4proto { 6, 17 } meta l4proto . th sport @external_ports"
            f" {ours} to :1024-65535 fully-random",
            f"oifname @wan ip saddr != @external {ours}",
        ]
    return rules


FORGED = ("ip saddr @lan_hosts", "ip6 saddr @lan_hosts6", "ct state new ip saddr 169.254.0.0/16")
"""Forged sources on the WAN: addresses of the LAN or of the gateway. A link-local address begins no flow through a
router (RFC 3927 section 7), but a modem on the WAN may answer from one."""


def _forward(router: bool) -> list[str]:
    let_in = f"ct label set {LET_IN} goto carried"
    ours = [
        f"ct label {LET_IN} goto carried",
        f"ct state new ct status dnat ct label {ASKED} {let_in}",
        *(f"iifname @wan ct state new {key} @{name} {let_in}" for name, key in _PINHOLES.items()),
    ]
    not_syn = "meta l4proto 6 ct state new tcp flags & (fin|syn|rst|ack) != syn"
    cut = [  # conntrack would take up a cut flow again as an outbound one when the LAN host sends first
        f"{not_syn} meta l4proto . ip saddr . th sport @cut reject with tcp reset",
        f"{not_syn} meta l4proto . ip6 saddr . th sport @cut6 reject with tcp reset",
    ]
    if not router:
        return [*ours, *cut]
    return [
        *(f"iifname @wan {match} drop" for match in FORGED),
        # an inside host with our own address would leave without masquerade, even from a mapped port
        "iifname != @wan ip saddr @external drop",
        # a WAN with a smaller MTU (PPPoE) stalls every TCP flow whose path drops ICMP
        "oifname @wan tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu",
        "iifname @wan tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu",
        *ours,
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
