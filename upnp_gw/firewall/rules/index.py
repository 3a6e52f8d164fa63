"""Index of tables: takes libnftables' JSON, gives chains and sets. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from upnp_gw.firewall.base import FAMILY, NAME

Json = Any
"""Part of libnftables' JSON, see libnftables-json(5)."""
FAMILIES = ("ip", "ip6", "inet")
Name = tuple[str, str, str]
"""Family, table, and the chain or set."""


def part(value: Json, *path: str) -> Json:
    """The value at this path of nested objects; None if there is none: forms differ by version."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain."""

    family: str
    table: str
    name: str
    hook: str = ""
    kind: str = ""
    policy: str = "accept"
    rules: tuple[Json, ...] = ()
    """The rules in order, each a list of statements."""
    priority: int = 0
    """The kernel calls the chains of a hook by it, the lowest first."""
    handles: tuple[int, ...] = ()
    """The kernel's numbers of the rules, as ``nft -a`` prints them; 0: not listed."""

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class RulesetIndex:
    """A ruleset, indexed."""

    chains: dict[Name, Chain]
    sets: dict[Name, Json]
    """Elements of named sets and maps."""

    @classmethod
    def of(cls, ruleset: Json, own: bool = False) -> "RulesetIndex":
        """Indexes libnftables' listing. ``own``: with our own table, which is left out otherwise."""
        rules: dict[Name, list[Json]] = {}
        handles: dict[Name, list[int]] = {}
        for chain, rule in _objects(ruleset, "rule", "chain", own):
            rules.setdefault(chain, []).append(rule.get("expr", []))
            handles.setdefault(chain, []).append(rule.get("handle", 0))
        chains = {
            name: Chain(
                *name,
                it.get("hook", ""),
                it.get("type", ""),
                it.get("policy", "accept"),
                tuple(rules.get(name, ())),
                it.get("prio", 0),
                tuple(handles.get(name, ())),
            )
            for name, it in _objects(ruleset, "chain", own=own)
        }
        sets = {
            name: it.get("elem", []) for kind in ("set", "map") for name, it in _objects(ruleset, kind, own=own)
        }
        return cls(chains, sets)

    def base_chains(self, hook: str, kind: str) -> list[Chain]:
        return [chain for chain in self.chains.values() if (chain.hook, chain.kind) == (hook, kind)]

    def target(self, chain: Chain, name: str) -> Chain | None:
        return self.chains.get((chain.family, chain.table, name))

    def elements(self, chain: Chain, data: Json) -> list[Json]:
        """The elements of an anonymous set or of the named one (``@name``)."""
        if isinstance(data, str) and data.startswith("@"):
            return list(self.sets.get((chain.family, chain.table, data[1:]), ()))
        if (found := part(data, "set")) is not None:
            return list(found) if isinstance(found, list) else [found]
        return [data]


def _objects(ruleset: Json, kind: str, named: str = "name", own: bool = False) -> Iterator[tuple[Name, Json]]:
    """The objects of one kind in other tables, with ``own`` in ours too. ``named``: the key that has the object's
    name, or its chain's."""
    for item in ruleset.get("nftables", ()):
        it = item.get(kind)
        if it is None:
            continue
        family, table = it.get("family"), it.get("table")
        if family in FAMILIES and (own or (family, table) != (FAMILY, NAME)):
            yield (family, table, it[named]), it
