"""The tasks of other firewalls for hosts without NAT: filter unsolicited packets, keep the addresses. Pure.

Alongside, our table only lets in. In router mode it filters too, and other tables may still translate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.other_tables import remedies
from upnp_gw.firewall.other_tables.samples import SamplePacket, Samples
from upnp_gw.firewall.rules.index import Chain, Json
from upnp_gw.model.network import Link

TRANSLATIONS = ("masquerade", "snat")
TABLE = "inet hosts"
"""The table of the commands that filter a LAN."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A task that no other firewall does, or a translation that one should not do."""

    finding: str
    """One sentence without its full stop."""
    lines: tuple[str, ...]
    """The commands that do it."""


def missing_for(
    ruleset: Json, wan: str, lans: Sequence[Link], without_nat: frozenset[str], router: bool
) -> tuple[Missing, ...]:
    """The gravest first. ``router``: our own table filters."""
    apart = [link for link in lans if link.name in without_nat and _prefixes(link)]
    if not apart:
        return ()
    followed = Samples.of(ruleset)
    nat = [net for link in lans if link.name not in without_nat for net in _prefixes(link)]
    return (*(() if router else _unfiltered(followed, wan, apart)), *_translated(followed, wan, apart, nat))


def translated_lans(ruleset: Json, wan: str, lans: Sequence[Link]) -> frozenset[str]:
    """The LANs with hosts that another firewall translates on their way to the WAN, or may: not all matches of
    iptables are understood."""
    followed = Samples.of(ruleset)
    chains = [chain for chain in followed.rules.base_chains("postrouting", "nat") if chain.family in ("ip", "inet")]
    return frozenset(
        link.name
        for link in lans
        if any(_translates(followed, chain, wan, link, net, False) for chain in chains for net in _prefixes(link))
    )


def _unfiltered(followed: Samples, wan: str, lans: Sequence[Link]) -> Iterator[Missing]:
    for link in lans:
        host = frozenset([_prefixes(link)[0][-2]])
        if not followed.dropping("forward", SamplePacket(wan, link.name, destinations=host)):
            way = f'iifname "{wan}" oifname "{link.name}" meta nfproto ipv4'
            yield Missing(
                f"no firewall of this machine filters IPv4 connections from {wan} to hosts on {link.name}, which"
                " have no NAT: all their ports are open",
                (
                    f"nft add table {TABLE}",
                    f"nft 'add chain {TABLE} forward {{ type filter hook forward priority filter; }}'",
                    f"nft 'add rule {TABLE} forward {way} ct state new,invalid ct label ! {LET_IN} drop'",
                ),
            )


def _translated(followed: Samples, wan: str, lans: Sequence[Link], nat: Sequence[IPv4Network]) -> Iterator[Missing]:
    for chain in followed.rules.base_chains("postrouting", "nat"):
        if chain.family not in ("ip", "inet"):
            continue
        found = {
            link.name: net
            for link in lans
            for net in _prefixes(link)
            if _translates(followed, chain, wan, link, net)
        }
        if found:
            yield Missing(
                f"chain {chain} of another firewall translates the addresses of hosts on {', '.join(found)}, which"
                " have no NAT: peers see another address than control points are told",
                remedies.for_untranslated(followed.rules, chain, wan, tuple(found.values()), nat),
            )


def _translates(
    followed: Samples, chain: Chain, wan: str, link: Link, net: IPv4Network, certain: bool = True
) -> bool:
    ends = followed.ends(chain, SamplePacket(link.name, wan, source=net))
    return any(end.word in TRANSLATIONS and not (certain and end.packets.common.doubts) for end in ends)


def _prefixes(link: Link) -> list[IPv4Network]:
    return [
        one.network for one in link.addresses if isinstance(one, IPv4Interface) and one.network.num_addresses > 1
    ]
