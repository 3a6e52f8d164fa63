"""What other tables do to our traffic: static forwards, and filters on the forward hook.

Used by the doctor, by the checks at start and by the timer that keeps ``GatewayPorts`` true. All but
``foreign_ruleset`` are pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address

from upnp_gw.errors import FirewallError
from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.nftables.foreign import (
    FAMILIES,
    Chain,
    Json,
    Rules,
    Sample,
    Scope,
    Statement,
    Walk,
    narrow,
    part,
)
from upnp_gw.firewall.nftables.library import Session
from upnp_gw.firewall.nftables.ruleset import FAMILY, NAME
from upnp_gw.model import Transport
from upnp_gw.request import Ipv6Firewall

ENDS = ("drop", "reject", "queue")
IP6TABLES_LINE = f"ip6tables -I FORWARD -m connlabel --label {LET_IN} -j ACCEPT"
IPTABLES_LINE = "iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"


def foreign_ruleset(session: Session) -> Json:
    """Every table but ours. Raises FirewallError. On the nftables thread."""
    objects: list[Json] = []
    for item in session.query("list tables")["nftables"]:
        table = item.get("table")
        if table is None or (table["family"], table["name"]) == (FAMILY, NAME) or table["family"] not in FAMILIES:
            continue
        try:
            objects += session.query(f"list table {table['family']} {_name(table['name'])}")["nftables"]
        except FirewallError:  # gone meanwhile, or a name that no script of ours can hold
            continue
    return {"nftables": objects}


def _name(name: str) -> str:
    if not all(c.isascii() and (c.isalnum() or c in "_-.") for c in name):
        raise FirewallError("a table with an unusual name")
    return name


@dataclass(frozen=True, slots=True)
class ForwardDrop:
    """A chain of another table that swallows mapped traffic: an accept of ours cannot override it."""

    chain: str
    """Family, table and chain: ``inet fw4 forward``."""
    why: str
    """``policy drop``, or ``a rule: drop``."""
    line: str
    """The command that lets mapped traffic through, hairpin too."""
    certain: bool
    """False: a rule that the listing does not explain (xt of iptables) may accept it already."""


def static_ports(
    ruleset: Json, external_addresses: Iterable[IPv4Address], wan: str
) -> frozenset[tuple[Transport, int]]:
    """The external ports that a dnat or redirect of another table leads elsewhere (SR-24).

    A rule for some senders only holds its port as well; one without any port counts if it is for all senders.
    """
    rules = Rules.of(ruleset)
    walk = Walk(rules, Sample(wan, external=frozenset(external_addresses)))
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


def _translated(rules: Rules, sample: Sample, statement: Statement) -> Iterator[Scope]:
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
    if statement.name == "xt":  # iptables: old listings do not say which target
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


def forward_drops(ruleset: Json, wan: str, lans: Sequence[str] = ()) -> list[ForwardDrop]:
    """The base chains of other tables that would drop a new connection to a mapped port, in the listing's order."""
    rules = Rules.of(ruleset)
    walk = Walk(rules, Sample(wan, tuple(lans), dnat=True))
    judged = ((chain, _judge(walk, chain)) for chain in rules.base_chains("forward", "filter"))
    return [
        ForwardDrop(str(chain), why, _line(chain), certain)
        for chain, (why, certain) in judged
        if why and chain.family != "ip6"
    ]


def pinhole_drops(ruleset: Json, wan: str, lans: Sequence[str] = ()) -> list[ForwardDrop]:
    """The same for a new connection to a pinhole: our label is on its flow before other tables see it."""
    return [
        ForwardDrop(str(chain), why, _pinhole_line(chain), certain)
        for chain, why, certain in _dropping6(ruleset, Sample(wan, tuple(lans), version=6, label=True))
    ]


def ipv6_firewall(ruleset: Json, wan: str, lans: Sequence[str] = ()) -> Ipv6Firewall:
    """What stands before the LAN's IPv6 addresses where our own table filters nothing (alongside)."""
    filtered = any(_dropping6(ruleset, Sample(wan, tuple(lans), version=6)))
    return Ipv6Firewall(filtered, not any(drop.certain for drop in pinhole_drops(ruleset, wan, lans)))


def _dropping6(ruleset: Json, sample: Sample) -> list[tuple[Chain, str, bool]]:
    rules = Rules.of(ruleset)
    judged = [
        (chain, *_judge(Walk(rules, sample), chain))
        for chain in rules.base_chains("forward", "filter")
        if chain.family != "ip"
    ]
    return [(chain, why, certain) for chain, why, certain in judged if why]


def _pinhole_line(chain: Chain) -> str:
    if (chain.family, chain.table, chain.name) == ("ip6", "filter", "FORWARD"):
        return IP6TABLES_LINE
    return f"nft insert rule {chain} ct label {LET_IN} accept"


def _judge(walk: Walk, chain: Chain) -> tuple[str, bool]:
    certain = True
    for statement in walk.statements(chain):
        if statement.name in ENDS and statement.scope.whole:
            return f"a rule: {statement.name}", certain
        if statement.name == "accept" and statement.scope.whole:
            return "", True
        if statement.name == "xt":
            certain = False
    return ("policy drop" if chain.policy == "drop" else ""), certain


def _line(chain: Chain) -> str:
    if (chain.family, chain.table, chain.name) == ("ip", "filter", "FORWARD"):
        return IPTABLES_LINE
    return f"nft insert rule {chain} ct status dnat accept"


def forward_filters(ruleset: Json) -> list[str]:
    """The base chains of other tables that drop anything on the forward hook: router mode would clash with them."""
    rules = Rules.of(ruleset)
    return [
        f"chain {chain}"
        for chain in rules.base_chains("forward", "filter")
        if chain.policy == "drop" or _can_end(rules, chain, set())
    ]


def _can_end(rules: Rules, chain: Chain, visited: set[str]) -> bool:
    visited.add(chain.name)
    words = set(_words(rules, chain, list(chain.rules)))
    targets = (rules.target(chain, name) for name in words - visited)
    return bool(words & set(ENDS)) or any(t is not None and _can_end(rules, t, visited) for t in targets)


def _words(rules: Rules, chain: Chain, value: Json) -> Iterator[str]:
    """Statement names and jump targets anywhere in a rule; named verdict maps are looked into."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(inner) if name == "target" else str(name)
            if name == "vmap":
                yield from _words(rules, chain, rules.elements(chain, part(inner, "data")))
            yield from _words(rules, chain, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(rules, chain, inner)
