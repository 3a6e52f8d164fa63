"""Index of the other tables: takes libnftables' JSON, gives chains and sets. Pure."""

from dataclasses import dataclass, replace
from typing import Any

from upnp_gw.firewall.base import FAMILY, NAME

Json = Any
"""Part of libnftables' JSON, see libnftables-json(5)."""
FAMILIES = ("ip", "ip6", "inet")


def part(value: Json, *path: str) -> Json:
    """What lies at this path of nested objects; None where there is none: forms differ by version."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of another table."""

    family: str
    table: str
    name: str
    hook: str = ""
    kind: str = ""
    policy: str = "accept"
    rules: tuple[Json, ...] = ()
    """Each a list of statements, first to last."""

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class RulesetIndex:
    """A ruleset, indexed."""

    chains: dict[tuple[str, str, str], Chain]
    sets: dict[tuple[str, str, str], Json]
    """Elements of named sets and maps."""

    @classmethod
    def of(cls, ruleset: Json) -> "RulesetIndex":
        """Indexes libnftables' listing; our own table is left out."""
        chains: dict[tuple[str, str, str], Chain] = {}
        sets: dict[tuple[str, str, str], Json] = {}
        rules: dict[tuple[str, str, str], list[Json]] = {}
        for item in ruleset.get("nftables", ()):
            for sort, it in item.items():
                family, table = it.get("family"), it.get("table")
                if family not in FAMILIES or (family, table) == (FAMILY, NAME):
                    continue
                if sort == "chain":
                    chain = Chain(family, table, it["name"], it.get("hook", ""), it.get("type", ""))
                    chains[family, table, it["name"]] = replace(chain, policy=it.get("policy", "accept"))
                elif sort == "rule":
                    rules.setdefault((family, table, it["chain"]), []).append(it.get("expr", []))
                elif sort in ("set", "map"):
                    sets[family, table, it["name"]] = it.get("elem", [])
        return cls({key: replace(c, rules=tuple(rules.get(key, ()))) for key, c in chains.items()}, sets)

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
