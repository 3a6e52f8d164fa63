"""Follows samples of our traffic through other nftables tables. Pure."""

from collections.abc import Iterable, Sequence

from upnp_gw.engine.table_effects import Ruleset, TableEffects
from upnp_gw.firewall.other_tables.drops import Drop, forward_drops, input_drops, ipv6_firewall, pinhole_drops
from upnp_gw.firewall.other_tables.offload import flow_offloads
from upnp_gw.firewall.other_tables.samples import Samples
from upnp_gw.firewall.other_tables.static_forwards import static_ports
from upnp_gw.firewall.other_tables.without_nat import missing_for
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Link, Network


def judged(
    ruleset: Ruleset, network: Network, served: Sequence[tuple[Transport, int]], router: bool
) -> TableEffects:
    """The effects of a ruleset. Thousands of rules take a second. ``served``, ``router``: see ``OtherTables``."""
    wan, lans = network.wan.name, [link.name for link in network.lans]
    own = (address.ip for lan in network.lans for address in lan.addresses)
    followed = Samples.of(ruleset, (*network.external, *own))
    return TableEffects(
        static_ports(followed, network.external, wan),
        ipv6_firewall(followed, wan, lans),
        all_drops(followed, wan, network.lans, served, network.without_nat),
        missing_for(followed, wan, network.lans, network.without_nat, router),
        tuple(flow_offloads(ruleset)),
    )


def all_drops(
    ruleset: Ruleset | Samples,
    wan: str,
    lans: Iterable[Link],
    served: Sequence[tuple[Transport, int]],
    without_nat: frozenset[str] = frozenset(),
) -> tuple[Drop, ...]:
    """Every chain of other tables that drops our traffic, the gravest first. ``without_nat``: the LANs whose hosts
    have IPv4 pinholes instead of port mappings."""
    links = tuple(lans)
    followed = Samples.of(ruleset, (address.ip for link in links for address in link.addresses))
    names = [link.name for link in links]
    translated = [name for name in names if name not in without_nat]
    return (
        *input_drops(followed, wan, links, served),
        *(forward_drops(followed, wan, translated) if translated or not names else ()),
        *pinhole_drops(followed, wan, names, [name for name in names if name in without_nat]),
    )
