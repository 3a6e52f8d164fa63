"""Other tables' rules, judged for one sample packet: it matches, it does not, or the ruleset alone cannot tell.

What cannot be told (an address list, an xt match of iptables) makes a ``Scope`` uncertain; which way caution lies
is ``inspect``'s to say. Pure: libnftables' JSON in, scopes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from typing import Any, NamedTuple

from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.nftables.ruleset import FAMILY, NAME
from upnp_gw.model import Transport

Json = Any
"""Part of libnftables' JSON, see libnftables-json(5)."""
FAMILIES = ("ip", "ip6", "inet")
DEPTH = 16
"""The kernel allows no deeper jumps."""
ALL_PORTS = ((1, 65535),)
OTHER_HEADER = {4: "ip6", 6: "ip"}
"""IP version of a packet -> the header that it has not."""


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
class Rules:
    """A ruleset, indexed."""

    chains: dict[tuple[str, str, str], Chain]
    sets: dict[tuple[str, str, str], Json]
    """Elements of named sets and maps."""

    @classmethod
    def of(cls, ruleset: Json) -> "Rules":
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


@dataclass(frozen=True, slots=True)
class Sample:
    """The packet that is judged: new, inbound, TCP or UDP; translated by us where ``dnat`` is set."""

    wan: str
    lans: tuple[str, ...] = ()
    """Where it goes; empty: not known."""
    external: frozenset[IPv4Address] = frozenset()
    dnat: bool = False
    version: int = 4
    """IPv4 or IPv6."""
    label: bool = False
    """Our pinhole has let it in, and put its label on the flow."""


Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the matches on the way to a rule leave: transports, external ports, and whether all were certain."""

    transports: frozenset[Transport] = frozenset(Transport)
    ports: Ranges = ALL_PORTS
    certain: bool = True

    @property
    def whole(self) -> bool:
        """Every packet of the sample's kind gets here, for certain."""
        return self.certain and self.every_port and self.transports == frozenset(Transport)

    @property
    def every_port(self) -> bool:
        return self.ports == ALL_PORTS

    def among(self, transports: frozenset[Transport], ports: Ranges) -> "Scope | None":
        """The part that is also within these; None where nothing is left."""
        both = tuple((max(a, c), min(b, d)) for a, b in self.ports for c, d in ports if max(a, c) <= min(b, d))
        left = self.transports & transports
        return replace(self, transports=left, ports=both) if left and both else None


def narrow(rules: Rules, chain: Chain, scope: Scope, match: Json, sample: Sample) -> Scope | None:
    """What a match leaves of a scope; None: the sample never passes it."""
    left, op, right = part(match, "left"), part(match, "op"), part(match, "right")
    values = rules.elements(chain, right)
    keys = part(left, "concat") or [left]
    if op not in ("==", "in"):
        return _narrow_negated(scope, keys, values, sample) if op == "!=" else replace(scope, certain=False)
    passed = [s for value in values if (s := _narrow_parts(scope, keys, value, sample)) is not None]
    return _union(passed)


def _narrow_negated(scope: Scope, keys: Sequence[Json], values: Sequence[Json], sample: Sample) -> Scope | None:
    if len(keys) == 1 and not _dport(keys[0]) and not _protocol(keys[0]):
        answers = [_single(keys[0], _value(value), sample) for value in values]
        if any(answer is True for answer in answers):
            return None
        return scope if all(answer is False for answer in answers) else replace(scope, certain=False)
    return replace(scope, certain=False)


def _narrow_parts(scope: Scope, keys: Sequence[Json], value: Json, sample: Sample) -> Scope | None:
    value = _value(value)
    parts = part(value, "concat") or [value]
    left: Scope | None = scope
    for key, wanted in zip(keys, parts, strict=False):
        if left is None:
            return None
        if _payload(key)[0] == OTHER_HEADER[sample.version]:
            return None
        if (transports := _dport(key)) is not None:
            left = left.among(transports, _ports(wanted))
        elif _protocol(key):
            left = left.among(_transports(wanted), ALL_PORTS)
        else:
            answer = _single(key, wanted, sample)
            if answer is False:
                return None
            left = left if answer else replace(left, certain=False)
    return left


def _union(scopes: Sequence[Scope]) -> Scope | None:
    if not scopes:
        return None
    return Scope(
        frozenset().union(*(scope.transports for scope in scopes)),
        tuple(sorted({span for scope in scopes for span in scope.ports})),
        all(scope.certain for scope in scopes),
    )


def _value(element: Json) -> Json:
    """The bare value of a set's element, or of a map's [key, data]."""
    if isinstance(element, list) and len(element) == 2:
        element = element[0]
    bare = part(element, "elem", "val")
    return element if bare is None else bare


def _payload(key: Json) -> tuple[Json, Json]:
    """Protocol and field of a key that is part of a header."""
    return part(key, "payload", "protocol"), part(key, "payload", "field")


def _dport(key: Json) -> frozenset[Transport] | None:
    """The transports whose destination port this key is; None for another key."""
    protocol, name = _payload(key)
    if name != "dport":
        return None
    both = {"tcp": {Transport.TCP}, "udp": {Transport.UDP}, "th": set(Transport)}
    return frozenset(both.get(str(protocol), ()))


def _protocol(key: Json) -> bool:
    return bool(part(key, "meta", "key") == "l4proto" or _payload(key) == ("ip", "protocol"))


def _transports(value: Json) -> frozenset[Transport]:
    named = {"tcp": Transport.TCP, "udp": Transport.UDP, 6: Transport.TCP, 17: Transport.UDP}
    found = named.get(value) if isinstance(value, str | int) else None
    return frozenset([found] if found else ())


def _ports(value: Json) -> Ranges:
    if isinstance(value, int):
        return ((value, value),)
    match part(value, "range"):
        case [int(first), int(last)]:
            return ((first, last),)
    return ALL_PORTS if value == "*" else ()


def _single(key: Json, value: Json, sample: Sample) -> bool | None:
    """Whether the sample has this value at this key; None: cannot be told."""
    meta, ct = part(key, "meta", "key"), part(key, "ct", "key")
    if meta in ("iifname", "iif"):
        return _interface(value, (sample.wan,))
    if meta in ("oifname", "oif"):
        return _interface(value, sample.lans) if sample.lans else None
    if meta == "nfproto":
        return bool(value == f"ipv{sample.version}")
    if ct == "label":
        return str(value) == str(LET_IN) and sample.label
    if ct == "state":
        return "new" in (value if isinstance(value, list) else [value])
    if ct == "status":
        return "dnat" in (value if isinstance(value, list) else [value]) and sample.dnat
    if ct == "direction":
        return bool(value == "original")
    if _payload(key) == ("ip", "daddr") and sample.external and not sample.dnat:
        return _address(value, sample.external)
    return None


def _interface(pattern: Json, names: Sequence[str]) -> bool | None:
    if not isinstance(pattern, str):
        return None
    hits = [n.startswith(pattern[:-1]) if pattern.endswith("*") else n == pattern for n in names]
    return True if all(hits) else None if any(hits) else False


def _address(value: Json, external: frozenset[IPv4Address]) -> bool | None:
    try:
        if (prefix := part(value, "prefix")) is not None:
            network = ip_network(f"{part(prefix, 'addr')}/{part(prefix, 'len')}")
            return any(address in network for address in external)
        if (span := part(value, "range")) is not None:
            first, last = map(IPv4Address, span)
            return any(first <= address <= last for address in external)
        return IPv4Address(value) in external
    except (ValueError, TypeError):
        return None


class Statement(NamedTuple):
    """A statement that the sample may reach, and what of the sample's kind gets there."""

    chain: Chain
    scope: Scope
    name: str
    value: Json


@dataclass(slots=True)
class Walk:
    """Follows a base chain with its jumps and tells each statement that the sample may reach."""

    rules: Rules
    sample: Sample
    depth: int = field(default=0)

    def statements(self, chain: Chain, scope: Scope | None = None) -> Iterator[Statement]:
        """In order; jumps are followed, not told. What certainly leaves a chain ends its telling."""
        if self.depth >= DEPTH:
            return
        for expressions in chain.rules:
            at = scope or Scope()
            for name, value in ((n, v) for expression in expressions for n, v in expression.items()):
                if name == "match":
                    left = narrow(self.rules, chain, at, value, self.sample)
                    if left is None:
                        break
                    at = left
                    continue
                if name == "xt":
                    at = replace(at, certain=False)
                if name in ("jump", "goto"):
                    yield from self._follow(chain, at, value)
                elif name == "vmap":
                    yield from self._verdicts(chain, at, value)
                else:
                    yield Statement(chain, at, name, value)
                if name in ("return", "goto") and at.whole:
                    return

    def _verdicts(self, chain: Chain, scope: Scope, vmap: Json) -> Iterator[Statement]:
        for element in self.rules.elements(chain, part(vmap, "data")):
            if not isinstance(element, list) or len(element) != 2:
                continue
            match = {"op": "==", "left": part(vmap, "key"), "right": {"set": [element[0]]}}
            left = narrow(self.rules, chain, scope, match, self.sample)
            if left is None or not isinstance(element[1], dict):
                continue
            for name, value in element[1].items():
                if name in ("jump", "goto"):
                    yield from self._follow(chain, left, value)
                else:
                    yield Statement(chain, left, name, value)

    def _follow(self, chain: Chain, scope: Scope, value: Json) -> Iterator[Statement]:
        target = self.rules.target(chain, str(part(value, "target")))
        if target is not None:
            self.depth += 1
            yield from self.statements(target, scope)
            self.depth -= 1
