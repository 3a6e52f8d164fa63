"""The rules of each chain, as text.

The first packet of a flow pays for everything here, so rules that most packets do not match come late or in chains
of their own, and a set of interface names is looked up once for each packet and hook where possible
(``tests/bench/first_packet.py`` measures it).
"""

from collections.abc import Mapping, Sequence

from upnp_gw.firewall.labels import ASKED, LET_IN, MASQUERADED
from upnp_gw.firewall.nftables import exchanges
from upnp_gw.firewall.nftables import screens as screening
from upnp_gw.model.mapping import Screen

CHAINS = (
    "special_lookup",
    "lookup",
    "lookup_from_wan",
    "lookup_from_lan",
    "forged",
    "first_packet",
    "first_pinhole_packet",
    "first_pinhole_packet4",
    "carried6",
    "carried4",
    "carried",
    "pinholes",
    "pinholes4",
    "hairpin",
    "to_wan",
)
"""The chains without a hook."""

_SPECIAL_LOOKUPS = {
    "pm_ip_rh": "ip daddr . meta l4proto . th dport . ip saddr",
    "pm_rh": "meta l4proto . th dport . ip saddr",
    "pm_ip_net": "ip daddr . meta l4proto . th dport . ip saddr . th sport",
    "pm_net": "meta l4proto . th dport . ip saddr . th sport",
    "pm_ip": "ip daddr . meta l4proto . th dport",
}
"""The most special one first."""
_LOOKUP = "meta l4proto . th dport"
_PINHOLES = {
    "hole6": "meta l4proto . ip6 daddr . th dport",
    "hole6_rh": "meta l4proto . ip6 daddr . th dport . ip6 saddr",
    "hole6_net": "meta l4proto . ip6 daddr . th dport . ip6 saddr . th sport",
}
_PINHOLES4 = {name.replace("6", "4"): key.replace("ip6", "ip") for name, key in _PINHOLES.items()}
"""Of IPv4 hosts without NAT."""
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

_FORGED = [
    "ip saddr @lan_hosts drop",
    "ip6 saddr @lan_hosts6 drop",
    "ip saddr 169.254.0.0/16 ct state new drop",
]
"""Forged sources on the WAN: addresses of the LAN or of the gateway. A link-local address begins no flow through a
router (RFC 3927 section 7), but a modem on the WAN may answer from one."""

_FROM_ANOTHER_LAN = [
    "iifname @lan iifname . ip saddr != @inside ip saddr @lan_hosts drop",
    "iifname @lan iifname . ip6 saddr != @inside6 ip6 saddr @lan_hosts6 drop",
]
"""Forged sources of a LAN host. The answers, translated or not, would come to the host whose address it is."""
_REPORTED = "meta l4proto 1 ct state related accept"
"""An ICMP error belongs to the flow that it reports."""
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
_ANNOUNCEMENTS = [
    "ip daddr 224.0.0.1 udp sport 5351 udp dport 5350 accept",  # RFC 6886 section 3.2.1, RFC 6887 section 14.1
    "ip6 daddr ff02::1 udp sport 5351 udp dport 5350 accept",
    "ip daddr 239.255.255.250 udp dport 1900 accept",  # NOTIFY of SSDP
]
"""Of a gateway above. Nothing routes these groups to us: their senders are on the WAN link. What listens never
answers."""


def chain_rules(
    router: bool,
    same_lan_only: bool,
    several_lans: bool,
    without_nat: bool,
    carrying: Mapping[str, str],
    screens: Sequence[Screen],
    announcements: bool = False,
) -> dict[str, list[str]]:
    """Chain -> its rules. ``several_lans``, ``without_nat``: there are several LANs, or one has no NAT; else their
    rules would delay every packet for nothing. ``carrying``: opening map or set -> the set that carries its
    flows. ``screens``: those that are declared."""
    hairpin = ["ct direction original iifname @lan iifname . oifname != @same_lan drop"] if same_lan_only else []
    chains = {
        **_lookups(router, screens),
        "forged": _FORGED,
        "first_packet": [*hairpin, f"ct label set {LET_IN}", "accept"],
        "carried": _carried(router, hairpin, without_nat, carrying),
        "carried6": [*_carrying(_PINHOLES, carrying), "meta l4proto 58 ct state related accept", "drop"],
        "first_pinhole_packet": ["ip6 saddr @lan_hosts6 drop", "goto first_packet"],
        "pinholes": _pinholes(_PINHOLES, "hole6", "first_pinhole_packet", screens),
        "forward": _forward(router, without_nat),
        # only our own hairpin flows: redirects of other tables between LAN hosts keep their sources
        "hairpin": ["iifname @lan oifname @lan masquerade"],
        "postrouting": [f"ct status dnat ct label {LET_IN} goto hairpin", "oifname @wan goto to_wan"],
        "to_wan": _to_wan(router, several_lans, without_nat),
    }
    if without_nat:
        chains |= {
            "carried4": [*_carrying(_PINHOLES4, carrying), _REPORTED, "drop"],
            "first_pinhole_packet4": [*(rule for rule in _FORGED if rule.startswith("ip ")), "goto first_packet"],
            "pinholes4": _pinholes(_PINHOLES4, "hole4", "first_pinhole_packet4", screens),
        }
    if router:
        chains["input"] = [*_INPUT[:-1], *(_ANNOUNCEMENTS if announcements else []), _INPUT[-1]]
        chains["leaving"] = [
            # the kernel chose a port of a mapping: the host retries and gets another port
            f"ct state new ct label {MASQUERADED} oifname @wan meta l4proto . th sport @external_ports drop"
        ]
    return chains


def _pinholes(keys: Mapping[str, str], name: str, target: str, screens: Sequence[Screen]) -> list[str]:
    plain = [f"{key} @{place} goto {target}" for place, key in keys.items()]
    return [*plain, *screening.pinholes(screens, name, keys[name], target)]


def _lookups(router: bool, screens: Sequence[Screen]) -> dict[str, list[str]]:
    """The translation of first packets. Those with a forged source are not translated."""
    return {
        "prerouting": [
            "iifname @wan ip daddr @external jump lookup_from_wan",
            "iifname @lan ip daddr @external jump lookup_from_lan",
        ],
        "output": ['oifname "lo" ip daddr @external jump lookup'],
        "lookup_from_wan": ["ip saddr @lan_hosts return", "ip saddr 169.254.0.0/16 return", "goto lookup"],
        "lookup_from_lan": [*(["ip saddr @external return"] if router else []), "goto lookup"],
        "lookup": [
            f"ct label set {ASKED}",
            "meta l4proto @special jump special_lookup",
            *screening.translations(screens, {"pm_ip": _SPECIAL_LOOKUPS["pm_ip"], "pm": _LOOKUP}),
            # nftables 1.0.6 needs the match on l4proto in each rule; a set of both costs more
            *(f"meta l4proto {number} dnat ip to {_LOOKUP} map @pm" for number in (17, 6)),
        ],
        "special_lookup": [
            f"meta l4proto {{ 6, 17 }} dnat ip to {key} map @{name}" for name, key in _SPECIAL_LOOKUPS.items()
        ],
    }


def _carried(router: bool, hairpin: list[str], without_nat: bool, carrying: Mapping[str, str]) -> list[str]:
    """The rules for further packets of flows that we let in: accepted while the mapping is active, else dropped."""
    return [
        *([] if router else ["iifname @wan jump forged"]),
        *hairpin,
        "meta nfproto ipv6 goto carried6",
        # a key of port mappings has no address: it would carry a pinhole's flow to the same port
        *(["ct status ! dnat goto carried4"] if without_nat else []),
        *_carrying({"pm": _LOOKUP, **dict(reversed(_SPECIAL_LOOKUPS.items()))}, carrying),
        _REPORTED,
        "drop",
    ]


def _carrying(keys: Mapping[str, str], carrying: Mapping[str, str]) -> list[str]:
    rules = []
    for name, key in keys.items():
        flow = " . ".join(_FLOWS[part] for part in key.split(" . "))
        # nftables 1.0.6 knows the type of a port only after a match on a single transport
        rules += [
            f"meta l4proto {number} {flow} @{carrying[name]} goto {exchanges.LET_THROUGH}" for number in (6, 17)
        ]
    return rules


def _to_wan(router: bool, several_lans: bool, without_nat: bool) -> list[str]:
    rules = ["meta l4proto { 6, 17 } snat ip to meta l4proto . ip saddr . th sport map @out"]
    if router:
        ours = f"ct label set {MASQUERADED} masquerade"
        rules = [
            *(["iifname . ip saddr @untranslated return"] if without_nat else []),
            *(_FROM_ANOTHER_LAN if several_lans else []),
            *rules,
            # a mapped port belongs to its holder, whose packets match the rule above
            "ip saddr != @external meta l4proto { 6, 17 } meta l4proto . th sport @external_ports"
            f" {ours} to :1024-65535 fully-random",
            f"ip saddr != @external {ours}",
        ]
    return rules


def _forward(router: bool, without_nat: bool) -> list[str]:
    # the map that translated it was asked a moment ago, with the same key as the carrying set
    first = f"ct state new ct status dnat ct label {ASKED} ct label ! {LET_IN} goto first_packet"
    ours = [f"ct label {LET_IN} goto carried", "meta nfproto ipv6 ct state new iifname @wan jump pinholes"]
    if without_nat:  # what another table translates is its operator's own
        ours.append("meta nfproto ipv4 ct state new iifname @wan ct status ! dnat jump pinholes4")
    not_syn = "meta l4proto 6 ct state new tcp flags & (fin|syn|rst|ack) != syn"
    cut = [  # conntrack would take up a cut flow again as an outbound one when the LAN host sends first
        f"{not_syn} meta l4proto . ip saddr . th sport @cut reject with tcp reset",
        f"{not_syn} meta l4proto . ip6 saddr . th sport @cut6 reject with tcp reset",
    ]
    if not router:
        return [first, *ours, *cut]
    return [
        # a WAN with a smaller MTU (PPPoE) stalls every TCP flow whose path drops ICMP; it is never made larger
        "tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu",
        first,
        "iifname @wan jump forged",
        # an inside host with our own address would leave without masquerade, even from a mapped port
        "ip saddr @external iifname != @wan drop",
        *ours,
        *cut,
        "ct state established,related accept",
        "ct state invalid drop",
        "iifname @wan icmpv6 type echo-request accept",  # RFC 4890 section 4.3.1
        "iifname @wan ct status dnat accept",  # a static forward of another table: the operator's own
        "iifname @wan drop",
    ]
