"""Our table as text, made from ``FirewallSettings`` and nothing else.

The structure (sets, maps, hooks) and the contents (rules, interfaces, addresses) are apart: with the structure of a
previous run in place only the rules are renewed, and the mappings in the maps live on.

A mapping or pinhole has an element in an opening map, for the first packet of a flow, and an element with the same
key in a carrying set, for all further packets of the flow. The flow has the label ``LET_IN``: once no element
carries it, its packets are dropped. So the kernel's own clock ends this flow and no other one.

Transport protocols are numbers (6, 17): libnftables looks a name up in /etc/protocols, which a minimal Debian and
most containers lack.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

from upnp_gw.firewall.base import TABLE, FirewallMode, FirewallSettings, most_for_remotes
from upnp_gw.firewall.nftables import anycast, exchanges, shares
from upnp_gw.firewall.nftables.chains import CHAINS, chain_rules
from upnp_gw.firewall.nftables.screens import OfEachMap, hosts_declared, own_maps, plain
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import IPNetwork, Screen
from upnp_gw.model.network import Network
from upnp_gw.model.prefixes import exclude

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
    "hole4": _INNER,
    "hole4_rh": f"{_INNER} . ipv4_addr",
    "hole4_net": f"{_INNER} . ipv4_addr . inet_service",
    "hole6": _PEER6,
    "hole6_rh": f"{_PEER6} . ipv6_addr",
    "hole6_net": f"{_PEER6} . ipv6_addr . inet_service",
}
"""Keys of pinholes, with the same suffixes. hole4: of IPv4 hosts without NAT."""
_KEYS = {**_PORT_KEYS, **_HOLE_KEYS}
OPENING = tuple(_KEYS)
"""Opening maps and sets. Every element in them expires by itself (SR-29)."""
CARRYING = OfEachMap({name: name.replace("pm", "live").replace("hole", "live") for name in OPENING})
"""Opening map or set -> the set that carries its flows, with the same keys."""
INTERVALS = tuple(name for name in (*OPENING, *CARRYING.values()) if name.endswith("_net"))
"""Sets and maps with ranges in their keys. The kernel refuses ranges that overlap, unless they are equal."""
REMOTE_MAPS = tuple(name for name in (*OPENING, *CARRYING.values()) if name.endswith(("_rh", "_net")))
"""Sets and maps with remote hosts in their keys. A mapping has an element per FILTER or prefix of its grant."""
SPECIAL = "special"
"""The set of transports whose first packets are looked up in ``SPECIAL_MAPS``; empty if those are."""
SPECIAL_MAPS = tuple(name for name in _PORT_KEYS if name != "pm")
"""Maps for one of several external addresses or for remote hosts."""
FILLED = (*OPENING, "out", *CARRYING.values(), "external_ports", SPECIAL)
"""Maps and sets that a refill replaces. ``cut`` and ``cut6`` only close flows and are left to expire."""
MAPS = (*_PORT_KEYS, "out")
"""The names of the nftables maps; the others are sets."""
KEY_TYPES = OfEachMap(
    {
        **_KEYS,
        **{CARRYING[name]: key for name, key in _KEYS.items()},
        "out": _INNER,
        "cut": _INNER,
        "cut6": _INNER6,
        "external_ports": _PEER,
        SPECIAL: "inet_proto",
    }
)
"""Map or set with elements of mappings -> the types of its key, separated by dots."""

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


_TRANSLATING = ("prerouting", "output", "postrouting", "leaving")
"""The hooks that only NAT needs. They cost each new flow of every host 1.2 us, translated or not."""


def _hooks(settings: FirewallSettings) -> dict[str, str]:
    """Base chain -> its hook. A gateway that translates nothing has no hook for that."""
    network, router = settings.network, settings.mode is FirewallMode.ROUTER
    hooks = _ROUTER_HOOKS if router else _ALONGSIDE_HOOKS
    if network.has_nat or not network.lans:
        return hooks
    kept = {"prerouting"} if settings.anycast else set()
    if router and len(network.lans) > 1:
        kept.add("postrouting")  # it drops what a host sends with an address of another LAN
    return {name: hook for name, hook in hooks.items() if name not in _TRANSLATING or name in kept}


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
    roomy = REMOTE_MAPS if settings.network.without_nat else [one for one in REMOTE_MAPS if "hole4" not in one]
    sizes = {name: many if name in roomy else size for name in OPENING}
    lines = [_declared(name, f"{key} : {_TO}", sizes[name]) for name, key in _PORT_KEYS.items()]
    lines += [_declared(name, key, sizes[name]) for name, key in _HOLE_KEYS.items()]
    # elements of closed forwards stay beside the open ones for a while, and endpoints in ``cut`` for longer
    lines += [_declared(CARRYING[name], key, 2 * sizes[name]) for name, key in _KEYS.items()]
    lines += [
        f"map out {{ type {_INNER} : {_TO}; flags timeout; size {size}; }}",
        f"set external_ports {{ type {_PEER}; flags timeout; size {size}; }}",
        f"set {SPECIAL} {{ typeof meta l4proto; flags timeout; size 8; }}",
        f"set cut {{ type {_INNER}; flags timeout; size {4 * size}; }}",
        f"set cut6 {{ type {_INNER6}; flags timeout; size {4 * size}; }}",
        "set wan { typeof iifname; }",
        "set lan { typeof iifname; }",
        "set same_lan { type ifname . ifname; }",
        "set external { typeof ip daddr; }",
        "set lan_hosts { typeof ip saddr; flags interval; }",
        "set lan_hosts6 { typeof ip6 saddr; flags interval; }",
        "set untranslated { type ifname . ipv4_addr; flags interval; }",
        "set inside { type ifname . ipv4_addr; flags interval; }",
        "set inside6 { type ifname . ipv6_addr; flags interval; }",
        *shares.share_sets(),
        *exchanges.exchange_sets(size),
        *(f"chain {name} {{ }}" for name in (*CHAINS, *exchanges.exchange_chains(), *shares.share_chains())),
    ]
    hooks = {**_hooks(settings), **shares.share_hooks()}
    lines += [f"chain {name} {{ {hook} }}" for name, hook in hooks.items()]
    return "\n".join(f" {line}" for line in lines)


def screens_declared(settings: FirewallSettings, screens: Iterable[Screen], hosts: Iterable[str]) -> str:
    """The declarations of the screens' own maps and of the interval sets of these hosts."""
    lines = hosts_declared(hosts)
    for name in own_maps(screens):
        key = _KEYS[plain(name)]
        lines.append(_declared(name, f"{key} : {_TO}" if is_map(name) else key, 2 * settings.size))
    return f"table {TABLE} {{\n" + "".join(f" {line}\n" for line in lines) + "}\n"


def deleted(names: Iterable[str]) -> str:
    """The commands that delete these maps and sets, which no rule uses."""
    return "".join(f"delete {'map' if is_map(name) else 'set'} {TABLE} {name}\n" for name in names)


def is_map(name: str) -> bool:
    """True for an nftables map, False for a set."""
    return plain(name) in MAPS


def _declared(name: str, key: str, size: int) -> str:
    kind = "map" if is_map(name) else "set"
    ranges = "interval," if name in INTERVALS else ""
    return f"{kind} {name} {{ type {key}; flags {ranges}timeout; counter; size {size}; }}"


def contents(settings: FirewallSettings) -> str:
    """Renews every rule and the sets of our own interfaces and addresses; mappings stay."""
    return rules(settings) + own_sets(settings.network)


def rules(settings: FirewallSettings, screens: Sequence[Screen] = ()) -> str:
    """Renews every rule. ``screens``: those that are declared."""
    router, network = settings.mode is FirewallMode.ROUTER, settings.network
    several_lans, without_nat = len(network.lans) > 1, bool(network.without_nat)
    chains = {
        **chain_rules(
            router,
            settings.hairpin == "same",
            several_lans,
            without_nat,
            CARRYING,
            screens,
            settings.announcements,
        ),
        **exchanges.exchange_rules(),
        **shares.share_rules(settings.http_port),
    }
    if settings.anycast:
        chains["prerouting"] = [*anycast.redirects(), *chains["prerouting"]]
    hooks = _hooks(settings)
    body = "\n".join(
        f" chain {name} {{\n" + "\n".join(f"  {rule}" for rule in rules) + "\n }"
        for name, rules in chains.items()
        if name in hooks or name not in _TRANSLATING
    )
    return f"flush table {TABLE}\ntable {TABLE} {{\n{body}\n}}\n"


def own_sets(network: Network) -> str:
    """The sets of our own interfaces and addresses, renewed. Raises FirewallError for an impossible name."""
    lans = [_quoted(link.name) for link in network.lans]
    places = [(lan, net, f"{_quoted(lan)} . {net}") for lan, net in prefixes_of_lans(network) if lan]
    sets = {
        "wan": [_quoted(network.wan.name)],
        "lan": lans,
        "same_lan": [f"{name} . {name}" for name in lans],
        "external": [str(IPv4Address(address)) for address in network.external],
        "lan_hosts": [str(net) for net in network.lan_hosts if net.version == 4],
        "lan_hosts6": [str(net) for net in network.lan_hosts if net.version == 6],
        "untranslated": [
            place for lan, net, place in places if net.version == 4 and translated_apart(network, lan, net)
        ],
        "inside": [place for _, net, place in places if net.version == 4],
        "inside6": [place for _, net, place in places if net.version == 6],
    }
    lines = []
    for name, elements in sets.items():
        lines.append(f"flush set {TABLE} {name}")
        if elements:
            lines.append(f"add element {TABLE} {name} {{ {', '.join(elements)} }}")
    return "\n".join(lines) + "\n"


def translated_apart(network: Network, lan: str, net: IPNetwork) -> bool:
    """True for a part of ``prefixes_of_lans`` without NAT. Of several LANs with a prefix the first one has it."""
    return lan in network.without_nat and lan == (network.lan_of(net[0]) or network.main_lan)


def prefixes_of_lans(network: Network) -> list[tuple[str, IPNetwork]]:
    """LAN interface and prefix of hosts that send from there: connected prefixes, and routed ones behind them. Of
    two prefixes with an address the longer one has it, as in the kernel; the same one may be on several LANs.

    A routed prefix is on every LAN, since the routes to its parts may differ. Without NAT it is on its own one over
    IPv4, so that no other LAN sends with its addresses.
    """
    nets = [(net, link.name) for link in network.lans for net in link.networks]
    routed_on = (*network.routed_on, *("" for _ in network.routed))
    for net, name in zip(network.routed, routed_on, strict=False):
        apart = name in network.without_nat and net.version == 4
        nets += [(net, lan) for lan in ([name] if apart else network.lan_names)]
    found: list[tuple[str, IPNetwork, IPNetwork]] = []
    for net, name in sorted(dict.fromkeys(nets), key=lambda place: place[0].prefixlen):
        found = [
            (lan, part, whole)
            for lan, one, whole in found
            for part in ((one,) if whole == net else exclude(one, net))
        ]
        found.append((name, net, net))
    return [(lan, part) for lan, part, _ in found]


def _quoted(interface: str) -> str:
    if not INTERFACE.fullmatch(interface):
        raise FirewallError("an interface name that nftables cannot take: letters, digits, _ . - @, at most 15")
    return f'"{interface}"'
