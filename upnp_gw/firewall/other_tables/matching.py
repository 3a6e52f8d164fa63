"""Compares a sample packet with a match of another table: it passes, it does not pass, or the result is uncertain.

Address lists and xt matches of iptables make a ``Scope`` uncertain. ``drops`` and ``listing`` decide how to treat
that. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from upnp_gw.firewall.labels import LET_IN
from upnp_gw.firewall.other_tables.index import Chain, Json, RulesetIndex, part
from upnp_gw.model.mapping import IPAddress, Transport

IPNetwork = IPv4Network | IPv6Network
Ranges = tuple[tuple[int, int], ...]
ALL_PORTS: Ranges = ((1, 65535),)
MANY = 1000
"""The most elements of a set that is searched. A larger set of addresses is a block list or a country: its
result is uncertain."""
HEADER = {4: "ip", 6: "ip6"}
OTHER_HEADER = {4: "ip6", 6: "ip"}
"""IP version of a packet -> the header of the other version."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Transports and destination ports of the sample that pass the matches before a statement."""

    transports: frozenset[Transport] = frozenset(Transport)
    ports: Ranges = ALL_PORTS
    certain: bool = True
    """False: an earlier match may let less pass."""
    explained: bool = True
    """False: an earlier match of iptables is not explained in the listing."""

    @property
    def every_port(self) -> bool:
        return self.ports == ALL_PORTS

    def holds(self, other: "Scope") -> bool:
        """True if transports and ports equal those of ``other``."""
        return (self.transports, self.ports) == (other.transports, other.ports)

    def among(self, transports: frozenset[Transport], ports: Ranges) -> "Scope | None":
        """The intersection with these transports and ports; None if it is empty."""
        both = tuple((max(a, c), min(b, d)) for a, b in self.ports for c, d in ports if max(a, c) <= min(b, d))
        remaining = self.transports & transports
        return replace(self, transports=remaining, ports=both) if remaining and both else None


@dataclass(frozen=True, slots=True)
class SamplePacket:
    """The packets to judge: first of a flow, TCP or UDP; translated by us if ``dnat`` is set."""

    inward: str
    """Their incoming interface."""
    outward: tuple[str, ...] = ()
    """Their outgoing interfaces; empty: not known, or addressed to this machine."""
    version: int = 4
    """IP version, 4 or 6."""
    source: IPNetwork | None = None
    """Their source prefix; None: any."""
    destinations: frozenset[IPAddress] = frozenset()
    """Their destination addresses; empty: not known."""
    kind: str = "unicast"
    """The type of the destination for this machine: ``local``, ``multicast``, ``unicast`` (forwarded)."""
    scope: Scope = field(default_factory=Scope)
    """Their transports and destination ports."""
    dnat: bool = False
    label: bool = False
    """Our pinhole let them in and set its label on the flow."""


def narrow(rules: RulesetIndex, chain: Chain, scope: Scope, match: Json, sample: SamplePacket) -> Scope | None:
    """The part of the scope that passes a match; None: the sample never passes it."""
    left, op, right = part(match, "left"), part(match, "op"), part(match, "right")
    if op not in ("==", "in", "!=", "!"):
        return replace(scope, certain=False)
    keys = part(left, "concat") or [left]
    values = rules.elements(chain, right)
    if len(values) > MANY and not any(_dport(key) or _protocol(key) for key in keys):
        return replace(scope, certain=False)
    clear = replace(scope, certain=True)
    bare = values if isinstance(right, list) else map(_value, values)  # a list has flags: ct state invalid,new
    found = [_narrow_parts(clear, keys, value, sample) for value in bare]
    passed = _union(clear, [s for s in found if s is not None])
    if op in ("!=", "!"):  # a scope cannot express all ports but some
        passed = clear if passed is None else None if passed == clear else replace(clear, certain=False)
    return passed and replace(passed, certain=passed.certain and scope.certain)


def _narrow_parts(scope: Scope, keys: Sequence[Json], value: Json, sample: SamplePacket) -> Scope | None:
    parts = part(value, "concat") or [value]
    narrowed: Scope | None = scope
    for key, accepted in zip(keys, parts, strict=False):
        if narrowed is None:
            return None
        if _payload(key)[0] == OTHER_HEADER[sample.version]:
            return None
        if (transports := _dport(key)) is not None:
            narrowed = narrowed.among(transports, _ports(accepted))
        elif _protocol(key):
            narrowed = narrowed.among(_transports(accepted), ALL_PORTS)
        else:
            answer = _single(key, accepted, sample)
            if answer is False:
                return None
            narrowed = narrowed if answer else replace(narrowed, certain=False)
    return narrowed


def _union(scope: Scope, passed: Sequence[Scope]) -> Scope | None:
    """The union of the scopes that pass one of several values; None: none passes."""
    if scope in passed:
        return scope
    if not passed:
        return None
    return replace(
        scope,
        transports=frozenset().union(*(found.transports for found in passed)),
        ports=tuple(sorted({span for found in passed for span in found.ports})),
        certain=all(found.certain for found in passed),
    )


def _value(element: Json) -> Json:
    """The bare value of a set's element, or of a map's [key, data]."""
    if isinstance(element, list) and len(element) == 2:
        element = element[0]
    bare = part(element, "elem", "val")
    return element if bare is None else bare


def _payload(key: Json) -> tuple[Json, Json]:
    """Protocol and field of a header key; None, None for another key."""
    return part(key, "payload", "protocol"), part(key, "payload", "field")


def _dport(key: Json) -> frozenset[Transport] | None:
    """The transports of a destination port key; None for another key."""
    protocol, name = _payload(key)
    if name != "dport":
        return None
    both = {"tcp": {Transport.TCP}, "udp": {Transport.UDP}, "th": set(Transport)}
    return frozenset(both.get(str(protocol), ()))


def _protocol(key: Json) -> bool:
    return bool(part(key, "meta", "key") == "l4proto" or _payload(key) in (("ip", "protocol"), ("ip6", "nexthdr")))


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


def _single(key: Json, value: Json, sample: SamplePacket) -> bool | None:
    """True if the sample has this value at this key; None: uncertain."""
    for answer in (_meta, _conntrack, _fib):
        if (known := answer(key, value, sample)) is not None:
            return known
    header, name = _payload(key)
    if header == HEADER[sample.version] and name == "saddr" and sample.source is not None:
        return _from(value, sample.source)
    if header == HEADER[sample.version] and name == "daddr" and sample.destinations and not sample.dnat:
        return _to(value, sample.destinations)
    return None


def _meta(key: Json, value: Json, sample: SamplePacket) -> bool | None:
    match part(key, "meta", "key"):
        case "iifname" | "iif":
            return _interface(value, (sample.inward,))
        case "oifname" | "oif":
            return _interface(value, sample.outward) if sample.outward else None
        case "nfproto":
            return bool(value == f"ipv{sample.version}")
        case "protocol":
            return bool(value == HEADER[sample.version])
        case "pkttype":
            return value == "multicast" if sample.kind == "multicast" else value in ("host", "unicast")
    return None


def _conntrack(key: Json, value: Json, sample: SamplePacket) -> bool | None:
    values = value if isinstance(value, list) else [value]
    match part(key, "ct", "key"):
        case "label":
            return str(value) == str(LET_IN) and sample.label
        case "state":
            return "new" in values
        case "status":
            return "dnat" in values and sample.dnat
        case "direction":
            return bool(value == "original")
    return None


def _fib(key: Json, value: Json, sample: SamplePacket) -> bool | None:
    """Compares ``fib daddr type``, which iptables calls addrtype; None for another key."""
    if part(key, "fib", "result") != "type" or part(key, "fib", "flags") not in ("daddr", ["daddr"]):
        return None
    return bool(value == sample.kind)


def _interface(pattern: Json, names: Sequence[str]) -> bool | None:
    if not isinstance(pattern, str):
        return None
    hits = [n.startswith(pattern[:-1]) if pattern.endswith("*") else n == pattern for n in names]
    return True if all(hits) else None if any(hits) else False


def _to(value: Json, destinations: frozenset[IPAddress]) -> bool | None:
    network, span = _network(value), _span(value)
    if network is not None:
        return any(address in network for address in destinations)
    if span is not None:
        return any(span[0] <= int(address) <= span[1] for address in destinations)
    return None


def _from(value: Json, source: IPNetwork) -> bool | None:
    first, last = int(source[0]), int(source[-1])
    network = _network(value)
    span = (int(network[0]), int(network[-1])) if network is not None else _span(value)
    if span is None or (span[0] <= last and first <= span[1] and not span[0] <= first <= last <= span[1]):
        return None
    return span[0] <= first and last <= span[1]


def _network(value: Json) -> IPNetwork | None:
    try:
        if (prefix := part(value, "prefix")) is not None:
            return ip_network(f"{part(prefix, 'addr')}/{part(prefix, 'len')}")
        return ip_network(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _span(value: Json) -> tuple[int, int] | None:
    match part(value, "range"):
        case [str(first), str(last)]:
            try:
                return int(ip_address(first)), int(ip_address(last))
            except ValueError:
                return None
    return None
