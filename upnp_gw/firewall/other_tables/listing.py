"""Contents of other tables: their listing, and filters on the forward hook.

Used by the doctor, by the check at the start of router mode and by ``other_tables``. All but
``foreign_ruleset`` are pure. No rule is followed here: the daemon loads that only where there are other tables.
"""

from collections.abc import Iterator

from upnp_gw.firewall.base import FAMILY, NAME
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.rules.index import Chain, Json, RulesetIndex, part
from upnp_gw.firewall.rules.iptables import has_translations, translate
from upnp_gw.firewall.tables import tables
from upnp_gw.model.errors import FirewallError

ENDS = ("drop", "reject", "queue")
"""Statements that end a packet's evaluation without an accept."""


def foreign_ruleset(session: Session) -> Json:
    """The listing of every table but ours. Call it on the nftables thread. Raises FirewallError."""
    objects: list[Json] = []
    for family, name in tables():
        if (family, name) == (FAMILY, NAME):
            continue
        try:
            command = f"list table {family} {_name(name)}"
            listed = session.query(command)["nftables"]
            if has_translations(listed):
                translate(listed, session.text(command))
            objects += listed
        except FirewallError:  # the table is gone, or its name cannot be written in a command
            continue
    return {"nftables": objects}


def _name(name: str) -> str:
    if not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name):
        raise FirewallError("a table with an unusual name")
    return name


def forward_filters(ruleset: Json) -> list[str]:
    """The base chains of other tables that drop anything on the forward hook: router mode would clash with them."""
    rules = RulesetIndex.of(ruleset)
    return [
        f"chain {chain}"
        for chain in rules.base_chains("forward", "filter")
        if chain.policy == "drop" or _can_end(rules, chain, set())
    ]


def _can_end(rules: RulesetIndex, chain: Chain, visited: set[str]) -> bool:
    visited.add(chain.name)
    words = set(_words(rules, chain, list(chain.rules)))
    targets = (rules.target(chain, name) for name in words - visited)
    return bool(words & set(ENDS)) or any(t is not None and _can_end(rules, t, visited) for t in targets)


def _words(rules: RulesetIndex, chain: Chain, value: Json) -> Iterator[str]:
    """Statement names and jump targets anywhere in a rule, including those in named verdict maps."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(inner) if name == "target" else str(name)
            if name == "vmap":
                yield from _words(rules, chain, rules.elements(chain, part(inner, "data")))
            yield from _words(rules, chain, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(rules, chain, inner)
