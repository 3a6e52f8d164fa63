"""The classes of packets that a ruleset lets in are exactly those that get through one by one.

``Oracle`` follows one packet at a time, in the plainest way. Rulesets are random, and every packet of a small
universe is asked about.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from upnp_gw.firewall.openings.path import Path, Place
from upnp_gw.firewall.rules.index import RulesetIndex
from upnp_gw.firewall.rules.packets import DADDR, DPORT, PROTOCOL, SADDR, SPORT, Packets, first_packet
from upnp_gw.model.network import Link, Network

HOSTS = (int(ip_address("192.168.77.10")), int(ip_address("192.168.77.11")))
PEER = int(ip_address("198.51.100.7"))
PORTS, PROTOCOLS, STATES = (1, 2, 3, 4), (6, 17), ("new", "invalid")
PLACE = Place.of(
    Network(
        Link("wan0", 1, True, (ip_interface("11.22.33.44/24"),)),
        (Link("lan0", 2, True, (ip_interface("192.168.77.1/24"),)),),
    )
)
CHAINS = ("forward", "one", "two")


@dataclass(frozen=True)
class Sent:
    """One packet to a LAN host."""

    protocol: int
    sport: int
    dport: int
    daddr: int
    state: str
    mark: int = 0
    labels: frozenset[int] = frozenset()


class Oracle:
    """Follows one packet."""

    def __init__(self, chains: dict[str, list[Any]], policy: str) -> None:
        self._chains = chains
        self._policy = policy

    def lets_in(self, packet: Sent) -> bool:
        verdict, _ = self._chain("forward", packet)
        return (verdict or self._policy) == "accept"

    def _chain(self, name: str, packet: Sent) -> tuple[str, Sent]:
        """The verdict, empty where the chain ends without one."""
        for rule in self._chains[name]:
            verdict, packet = self._rule(rule, packet)
            if verdict == "return":
                return "", packet
            if verdict:
                return verdict, packet
        return "", packet

    def _rule(self, rule: list[Any], packet: Sent) -> tuple[str, Sent]:
        for expression in rule:
            ((word, value),) = expression.items()
            if word == "match":
                if not matches(value, packet):
                    return "", packet
            elif word == "mangle":
                if "meta" in value["key"]:
                    packet = replace(packet, mark=value["value"])
                elif packet.state == "new":
                    packet = replace(packet, labels=packet.labels | {value["value"]})
            elif word == "vmap":
                known = [branch for key, branch in value["data"]["set"] if holds(value["key"], key, packet)]
                if known:
                    return self._verdict(known[0], packet)
            else:
                return self._verdict({word: value}, packet)
        return "", packet

    def _verdict(self, verdict: dict[str, Any], packet: Sent) -> tuple[str, Sent]:
        ((word, value),) = verdict.items()
        if word in ("jump", "goto"):
            found, packet = self._chain(value["target"], packet)
            return found or ("return" if word == "goto" else ""), packet
        return word, packet


def matches(match: dict[str, Any], packet: Sent) -> bool:
    left, op, right = match["left"], match["op"], match["right"]
    parts = left.get("concat", [left])
    if any(read(one, packet) is None for one in parts):
        return False
    if op in ("<", ">", "<=", ">="):
        number = read(left, packet)
        answers = {"<": number < right, ">": number > right, "<=": number <= right, ">=": number >= right}
        return bool(answers[op])
    values = right["set"] if isinstance(right, dict) and "set" in right else [right]
    return any(holds(left, value, packet) for value in values) is (op in ("==", "in"))


def read(key: dict[str, Any], packet: Sent) -> Any:
    """The value of a field; None: the packet does not have it."""
    if "payload" in key:
        protocol, name = key["payload"]["protocol"], key["payload"]["field"]
        if {"tcp": 6, "udp": 17}.get(protocol, packet.protocol) != packet.protocol:
            return None
        return getattr(packet, name)
    if "meta" in key:
        return packet.protocol if key["meta"]["key"] == "l4proto" else packet.mark
    if key["ct"]["key"] == "state":
        return packet.state
    return packet.labels if packet.state == "new" else None


def holds(key: dict[str, Any], value: Any, packet: Sent) -> bool:
    if "concat" in key:
        return all(holds(one, part, packet) for one, part in zip(key["concat"], value["concat"], strict=True))
    present = read(key, packet)
    if isinstance(present, frozenset):
        return value in present
    if isinstance(value, dict):
        return bool(value["range"][0] <= present <= value["range"][1])
    if isinstance(value, str) and "." in value:
        return bool(present == int(ip_address(value)))
    return bool(present == value)


def field(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def match(op: str, left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


PORT = st.one_of(
    st.integers(0, 5), st.tuples(st.integers(0, 2), st.integers(2, 5)).map(lambda r: {"range": list(r)})
)
ADDRESS = st.sampled_from(["192.168.77.10", "192.168.77.11"])
L4 = {"meta": {"key": "l4proto"}}
KEY = [L4, field("th", "dport"), field("ip", "daddr")]
ELEMENT = st.tuples(st.sampled_from(PROTOCOLS), PORT, ADDRESS).map(lambda parts: {"concat": list(parts)})


def disjoint(elements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Elements of a set do not overlap."""
    kept: list[dict[str, Any]] = []
    for one in elements:
        if not any(
            a["concat"][0] == one["concat"][0]
            and a["concat"][2] == one["concat"][2]
            and meet(a["concat"][1], one["concat"][1])
            for a in kept
        ):
            kept.append(one)
    return kept


def meet(one: Any, other: Any) -> bool:
    spans = [value["range"] if isinstance(value, dict) else [value, value] for value in (one, other)]
    return bool(spans[0][0] <= spans[1][1] and spans[1][0] <= spans[0][1])


SEVERAL = st.builds(
    match,
    st.sampled_from(["==", "!="]),
    st.just({"concat": KEY}),
    st.lists(ELEMENT, min_size=1, max_size=4).map(disjoint).map(lambda s: {"set": s}),
)
"""By a key of several fields."""
MATCHES = st.one_of(
    st.builds(
        match,
        st.sampled_from(["==", "!="]),
        st.builds(field, st.sampled_from(["th", "tcp", "udp"]), st.sampled_from(["sport", "dport"])),
        st.one_of(PORT, st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True).map(lambda s: {"set": s})),
    ),
    st.builds(match, st.sampled_from(["<", ">", "<=", ">="]), st.just(field("th", "dport")), st.integers(0, 5)),
    st.builds(match, st.sampled_from(["==", "!="]), st.just(L4), st.sampled_from(PROTOCOLS)),
    st.builds(match, st.sampled_from(["==", "!="]), st.just(field("ip", "daddr")), ADDRESS),
    st.builds(match, st.sampled_from(["in", "!"]), st.just({"ct": {"key": "state"}}), st.sampled_from(STATES)),
    st.builds(match, st.sampled_from(["in", "!"]), st.just({"ct": {"key": "label"}}), st.sampled_from([126, 127])),
    st.builds(match, st.sampled_from(["==", "!="]), st.just({"meta": {"key": "mark"}}), st.integers(0, 2)),
    SEVERAL,
    SEVERAL,
)
CHANGES = st.one_of(
    st.builds(lambda mark: {"mangle": {"key": {"meta": {"key": "mark"}}, "value": mark}}, st.integers(0, 2)),
    st.builds(
        lambda label: {"mangle": {"key": {"ct": {"key": "label"}}, "value": label}}, st.sampled_from([126, 127])
    ),
)


def verdicts(targets: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    ends = st.sampled_from([{"accept": None}, {"drop": None}, {"return": None}])
    if not targets:
        return ends
    jumps = st.builds(
        lambda word, name: {word: {"target": name}}, st.sampled_from(["jump", "goto"]), st.sampled_from(targets)
    )
    return st.one_of(ends, jumps)


def rules(targets: tuple[str, ...]) -> st.SearchStrategy[list[Any]]:
    verdict = verdicts(targets)
    branches = st.lists(
        st.tuples(st.integers(0, 4), verdict).map(list), min_size=1, max_size=3, unique_by=lambda b: b[0]
    )
    vmap = branches.map(lambda known: {"vmap": {"key": field("th", "dport"), "data": {"set": known}}})
    last = st.one_of(verdict, vmap, CHANGES)
    return st.builds(lambda some, end: [*some, end], st.lists(st.one_of(MATCHES, CHANGES), max_size=2), last)


RULESETS = st.fixed_dictionaries(
    {
        "forward": st.lists(rules(("one", "two")), max_size=6),
        "one": st.lists(rules(("two",)), max_size=3),
        "two": st.lists(rules(()), max_size=3),
    }
)


def listing(chains: dict[str, list[Any]], policy: str) -> dict[str, Any]:
    own = {"family": "inet", "table": "t"}
    hook = {"type": "filter", "hook": "forward", "prio": 0, "policy": policy}
    objects: list[Any] = [
        {"chain": {**own, "name": name, **(hook if name == "forward" else {})}} for name in chains
    ]
    objects += [{"rule": {**own, "chain": name, "expr": rule}} for name, rules in chains.items() for rule in rules]
    return {"nftables": objects}


def universe() -> Iterator[Sent]:
    for protocol, sport, dport, daddr, state in product(PROTOCOLS, (1, 2), PORTS, HOSTS, STATES):
        yield Sent(protocol, sport, dport, daddr, state)


def has(classes: list[Packets], packet: Sent) -> bool:
    """The packet is in one of the classes."""
    numbers = (packet.protocol, PEER, packet.sport, packet.daddr, packet.dport)
    for one in classes:
        if one.common.version != 4 or one.common.state != packet.state or one.common.doubts:
            continue
        for box in one.boxes:
            found = box.among((PROTOCOL, SADDR, SPORT, DADDR, DPORT), tuple(((n, n),) for n in numbers))
            if found is not None and first_packet(found) is not None:
                return True
    return False


@settings(max_examples=300)
@given(RULESETS, st.sampled_from(["accept", "drop"]))
def test_the_classes_have_the_packets_that_get_through_one_by_one(
    chains: dict[str, list[Any]], policy: str
) -> None:
    oracle = Oracle(chains, policy)
    classes = Path(RulesetIndex.of(listing(chains, policy)), PLACE, frozenset({4})).let_in()
    for packet in universe():
        assert has(classes, packet) is oracle.lets_in(packet), packet


@settings(max_examples=150)
@given(
    st.lists(ELEMENT, min_size=1, max_size=4).map(disjoint), st.lists(ELEMENT, min_size=1, max_size=4).map(disjoint)
)
def test_a_packet_is_left_over_where_no_element_has_it(some: list[Any], more: list[Any]) -> None:
    """Of what one look-up leaves over, another one leaves something over."""
    chains = {"forward": [[match("==", {"concat": KEY}, {"set": one}), {"drop": None}] for one in (some, more)]}
    oracle = Oracle(chains, "accept")
    classes = Path(RulesetIndex.of(listing(chains, "accept")), PLACE, frozenset({4})).let_in()
    for packet in universe():
        assert has(classes, packet) is oracle.lets_in(packet), packet
