"""Contents of other tables: their listing, static forwards, filters on the forward hook.

Used by the doctor, by the check at the start of router mode and by ``other_tables``. All but
``foreign_ruleset`` are pure.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from upnp_gw.firewall.base import FAMILY, NAME
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.other_tables.drops import ENDS
from upnp_gw.firewall.other_tables.index import Chain, Json, RulesetIndex, part
from upnp_gw.firewall.other_tables.iptables import has_translations, translate
from upnp_gw.firewall.other_tables.matching import SamplePacket, Scope, narrow
from upnp_gw.firewall.other_tables.walk import ChainWalk, Statement
from upnp_gw.firewall.tables import tables
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Transport


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


def static_ports(
    ruleset: Json, external_addresses: Iterable[IPv4Address], wan: str
) -> frozenset[tuple[Transport, int]]:
    """The external ports that a dnat or redirect of another table sends elsewhere (SR-24).

    A rule for some senders only takes its port as well. A rule without ports counts only if it is for all senders.
    """
    rules = RulesetIndex.of(ruleset)
    walk = ChainWalk(rules, SamplePacket(wan, destinations=frozenset(external_addresses), kind="local"))
    found: set[tuple[Transport, int]] = set()
    for chain in rules.base_chains("prerouting", "nat"):
        for statement in walk.statements(chain):
            for scope in _translated(rules, walk.sample, statement):
                if scope.certain or not scope.every_port:
                    found.update(*(_held(t, a, b) for t in scope.transports for a, b in scope.ports))
    return frozenset(found)


@lru_cache(maxsize=64)
def _held(transport: Transport, first: int, last: int) -> frozenset[tuple[Transport, int]]:
    return frozenset((transport, port) for port in range(max(first, 1), min(last, 65535) + 1))


def _translated(rules: RulesetIndex, sample: SamplePacket, statement: Statement) -> Iterator[Scope]:
    if not _translates(statement):
        return
    lookups = list(_maps(statement.value))
    if not lookups:
        yield statement.scope
    for lookup in lookups:
        for element in rules.elements(statement.chain, part(lookup, "data")):
            match = {"op": "==", "left": part(lookup, "key"), "right": {"set": [element]}}
            scope = narrow(rules, statement.chain, statement.scope, match, sample)
            if scope is not None:
                yield scope


def _translates(statement: Statement) -> bool:
    if statement.name == "xt":  # iptables: old listings do not name the target
        value = statement.value
        return not isinstance(value, dict) or value.get("name") in ("DNAT", "REDIRECT")
    return statement.name in ("dnat", "redirect")


def _maps(value: Json) -> Iterator[Json]:
    """The ``{key, data}`` of every map in a dnat statement: ``dnat to tcp dport map {...}``."""
    if isinstance(value, dict):
        if isinstance(value.get("map"), dict):
            yield value["map"]
        else:
            for inner in value.values():
                yield from _maps(inner)


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
