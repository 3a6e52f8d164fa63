"""Rules that miniupnpd left behind when it ended. Pure.

Its mappings are plain rules without a timeout. Killed, or stopped without its script, it leaves them in its chains.
A port that such a rule forwards is a static forward, which no client gets from us (SR-24).
"""

from collections.abc import Iterator
from typing import NamedTuple

from upnp_gw.firewall.rules.index import Json, RulesetIndex

CHAINS = frozenset(
    {
        # its own names with nftables, Debian's among them
        *("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"),
        # OpenWrt from 22.03 on, in table fw4
        *("upnp_forward", "upnp_prerouting", "upnp_postrouting"),
        # with iptables
        *("MINIUPNPD", "MINIUPNPD-POSTROUTING", "MINIUPNPD-PCP-PEER"),
    }
)
"""The usual names of chains in which miniupnpd puts its rules, and nobody else any."""


class Leftover(NamedTuple):
    """A chain of miniupnpd with rules in it."""

    chain: str
    """Family, table and name."""
    rules: int

    @property
    def command(self) -> str:
        """Ends them, and nothing else."""
        return f"nft flush chain {self.chain}"


def leftovers(ruleset: Json) -> Iterator[Leftover]:
    """Each chain that has rules, in the order of the listing."""
    for chain in RulesetIndex.of(ruleset).chains.values():
        if chain.name in CHAINS and not chain.hook and chain.rules:
            yield Leftover(str(chain), len(chain.rules))
