"""Rules of miniupnpd are found by the names of its chains, and its command ends them and nothing else."""

import json
from typing import Any

import pytest

from upnp_gw.firewall.other_tables.leftovers import Leftover, leftovers
from upnp_gw.lab import Lab

TABLE = """
table inet filter {
  chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; tcp dport 22 drop; }
  chain miniupnpd { ip daddr 192.168.77.20 tcp dport 8080 accept; ip daddr 192.168.77.20 udp dport 9 accept; }
  chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd { iif "lo" tcp dport 8080 dnat ip to 192.168.77.20:8080; }
  chain postrouting_miniupnpd { }
}
"""


def listing(family: str, table: str, chain: str, rules: int, **base: Any) -> Any:
    of = {"family": family, "table": table}
    return {
        "nftables": [
            {"chain": {**of, "name": chain, **base}},
            *({"rule": {**of, "chain": chain, "expr": [{"accept": None}]}} for _ in range(rules)),
        ]
    }


@pytest.mark.parametrize(
    ("family", "table", "chain"),
    [
        ("inet", "filter", "miniupnpd"),
        ("inet", "fw4", "upnp_prerouting"),
        ("ip", "nat", "MINIUPNPD"),
        ("ip6", "filter", "MINIUPNPD"),
    ],
)
def test_a_chain_of_its_with_rules(family: str, table: str, chain: str) -> None:
    assert list(leftovers(listing(family, table, chain, 2))) == [Leftover(f"{family} {table} {chain}", 2)]


def test_an_empty_chain_and_chains_of_others_are_nothing_to_end() -> None:
    assert list(leftovers(listing("inet", "fw4", "upnp_forward", 0))) == []
    assert list(leftovers(listing("inet", "filter", "forward", 3))) == []
    assert list(leftovers(listing("inet", "x", "miniupnpd", 1, hook="forward", type="filter"))) == []
    assert list(leftovers({"nftables": []})) == []


@pytest.mark.lab
def test_the_commands_end_its_rules_and_leave_the_others(lab: Lab) -> None:
    def ruleset() -> Any:
        return json.loads(lab.gateway.run(["nft", "-j", "list", "ruleset"]).stdout)

    lab.gateway.nft(TABLE)
    found = list(leftovers(ruleset()))
    assert found == [Leftover("inet filter miniupnpd", 2), Leftover("inet filter prerouting_miniupnpd", 1)]
    for one in found:
        lab.gateway.run(one.command.split())
    assert list(leftovers(ruleset())) == []
    kept = lab.gateway.run(["nft", "list", "ruleset"]).stdout
    assert "tcp dport 22 drop" in kept
    assert "8080" not in kept
