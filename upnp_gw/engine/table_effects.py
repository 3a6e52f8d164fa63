"""The effects of other nftables tables on our traffic."""

from typing import TYPE_CHECKING, Any, NamedTuple

from upnp_gw.model.mapping import Transport
from upnp_gw.model.request import Ipv6Firewall

if TYPE_CHECKING:
    from upnp_gw.firewall.other_tables.drops import Drop
    from upnp_gw.firewall.other_tables.offload import FlowOffload
    from upnp_gw.firewall.other_tables.without_nat import Missing

Ruleset = dict[str, Any]
"""libnftables' listing."""


class TableEffects(NamedTuple):
    """The effects of a ruleset, see ``OtherTables``."""

    static_ports: frozenset[tuple[Transport, int]]
    ipv6_firewall: Ipv6Firewall
    drops: "tuple[Drop, ...]"
    missing: "tuple[Missing, ...]"
    offloads: "tuple[FlowOffload, ...]"


NOTHING = TableEffects(frozenset(), Ipv6Firewall(enabled=False), (), (), ())
"""The effects of no tables."""
