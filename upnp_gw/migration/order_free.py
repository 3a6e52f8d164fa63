"""Ordered permission lines -> rules whose order does not matter: a few grants and forbids that allow the same.

A grant comes from each line that allows, without what lines before it deny. Where no line matches, miniupnpd
allows: that is one more grant. Grants that are covered by the others are left out, and those that differ in one
thing only are one. A line that denies, and that no line before it makes an exception of, can be a forbid; it is one
if the file becomes shorter by that.

This is one way of reading the lines; ``comparison`` reads them in another one and proves that both are equal.
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import summarize_address_range

from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Algebra, Box, Effort, Region, Set, TooMuchWork, apart, overlap, union
from upnp_gw.gate.proof.spans import IP4, Spans, address_of, addresses_of
from upnp_gw.migration.original import Line, Permission
from upnp_gw.model.mapping import IPNetwork

DIMENSIONS = (d.TARGET, d.EXT, d.INT)
"""Internal client, external port, internal port. The external port is one dimension here, whoever chooses it."""
PORTS: Spans = ((1, 65535),)
FULL: dict[int, Set] = {d.TARGET: IP4, d.EXT: PORTS, d.INT: PORTS}
STEPS = 500_000
"""Steps of the algebra: a second or two."""
TRYING_STEPS = 100_000
"""Steps for trying forbids."""
MOST_HOSTS = 8
"""Most internal clients that a forbid names."""
MOST_INNER = 40
"""Most grants for the shared parts of others; where there would be more, the shared parts are cut out."""
DEEPEST = 2
"""Most grants inside each other: their names have to be in order."""
MOST_TRIED = 20
"""Most lines that are tried as a forbid."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A grant or a forbid for port mappings (IPv4)."""

    allow: bool
    lines: tuple[Line, ...]
    """The permission lines from which it comes; empty: no line matches."""
    clients: Spans
    ext: Spans
    int_: Spans
    less: tuple[Line, ...] = ()
    """The lines that take something from a grant."""
    depth: int = 0
    """Of a grant inside others: it has their external ports too, and has to be the first of them by name."""

    @property
    def box(self) -> Box:
        return {d.TARGET: self.clients, d.EXT: self.ext, d.INT: self.int_}

    def meets(self, other: "Rule") -> bool:
        """True where both have an internal client and an internal port in common."""
        return bool(overlap(self.clients, other.clients)) and bool(overlap(self.int_, other.int_))

    def same_place(self, other: "Rule") -> bool:
        """True where both have the same internal clients and ports."""
        return self.clients == other.clients and self.int_ == other.int_

    def has_ports_of(self, other: "Rule") -> bool:
        """True where it has all external ports of the other one."""
        return overlap(self.ext, other.ext) == other.ext

    @property
    def length(self) -> int:
        """A measure of its length in the file."""
        return 3 + 2 * len(self.prefixes) + len(self.ext) + len(self.int_)

    @property
    def prefixes(self) -> tuple[IPNetwork, ...]:
        """The internal clients as prefixes."""
        ends = ((address_of(low), address_of(high)) for low, high in self.clients)
        return tuple(net for first, last in ends for net in summarize_address_range(first, last))


def order_free(permissions: Sequence[Permission], others: bool = False) -> tuple[Rule, ...]:
    """Forbids and grants. Lines with a pattern are left out. ``others``: a host may ask for another one, and a
    forbid that names it would take those requests away. Raises TooMuchWork."""
    return _Reading(permissions, 0 if others else MOST_HOSTS).shortest()


def box_of(permission: Permission) -> Box | None:
    """The requests of a line; None: it has only port 0, which no request has."""
    ext, int_ = (((max(1, low), high),) if high else () for low, high in (permission.ext, permission.int_))
    if not ext or not int_:
        return None
    return {d.TARGET: addresses_of(permission.clients), d.EXT: ext, d.INT: int_}


class _Reading:
    """The lines, and the rules that can be made of them."""

    def __init__(self, permissions: Sequence[Permission], most_hosts: int) -> None:
        self.most_hosts = most_hosts
        boxes = ((line, box_of(line)) for line in permissions if line.pattern is None)
        self.lines = [(line, box) for line, box in boxes if box is not None]
        self.algebra = Algebra(FULL, Effort(STEPS))

    def shortest(self) -> tuple[Rule, ...]:
        """The rules, with a forbid for each line that makes them shorter by it, for all such lines, or for none."""
        forbids: list[Permission] = []
        best = self._rules(forbids)
        with suppress(TooMuchWork):
            self.algebra.effort.left = TRYING_STEPS
            possible = self._possible_forbids()[:MOST_TRIED]
            best = min(best, self._rules(possible), key=_length)
            for line in possible:
                rules = self._rules([*forbids, line])
                if _length(rules) < _length(best):
                    forbids, best = [*forbids, line], rules
        return tuple(best)

    def _rules(self, forbids: Collection[Permission]) -> list[Rule]:
        made = [_rule(False, (line.line,), box) for line, box in self.lines if line in forbids]
        return [*_joined(made), *self._grants(forbids)]

    def _possible_forbids(self) -> list[Permission]:
        """The lines that deny everybody, or a few hosts, and that no other line makes an exception of."""
        allowed = [rule.box for rule in self._grants(())]
        return [
            line
            for line, box in self.lines
            if not line.allow
            and (box[d.TARGET] == IP4 or sum(net.num_addresses for net in line.clients) <= self.most_hosts)
            and all(apart(box, other) for other in allowed)
        ]

    def _grants(self, forbids: Collection[Permission]) -> list[Rule]:
        """The grants, where these lines are forbids."""
        parts: list[Rule] = []
        denied: list[tuple[Line, Box]] = []
        for line, box in self.lines:
            if line.allow:
                parts += self._parts((line.line,), box, denied)
            elif line not in forbids:
                denied.append((line.line, box))
        parts += self._parts((), dict(FULL), denied)
        return _joined(self._one_each(_joined(self._uncovered(parts))))

    def _parts(self, lines: tuple[Line, ...], box: Box, denied: Sequence[tuple[Line, Box]]) -> list[Rule]:
        """The rest of a line: boxes that together are as few as possible, and may overlap."""
        left = self.algebra.cleared(box, [taken for _, taken in denied if not apart(box, taken)])
        less = tuple(line for line, taken in denied if not apart(box, taken))
        return [_rule(True, lines, self._grown(part, box, left), less) for part in left]

    def _grown(self, part: Box, line: Box, left: Region) -> Box:
        for dimension in DIMENSIONS:
            wider = {**part, dimension: line[dimension]}
            if wider != part and not self.algebra.cleared(wider, left):
                part = wider
        return part

    def _one_each(self, rules: list[Rule]) -> list[Rule]:
        """Grants of which the first that matches has all external ports of the others that do: where the gateway
        chooses the port, it takes one of that grant."""
        inner = self._inner_first(list(rules))
        return self._split(rules) if inner is None else inner

    def _inner_first(self, rules: list[Rule]) -> list[Rule] | None:
        """The grants with one more for each part that two of them share. None: there would be too many."""
        while (pair := self._unequal(rules)) is not None:
            first, second = pair
            both = _common(first, second)
            for rule in rules:
                both = _both(rule, both, d.EXT) if rule.same_place(both) else both
            rules = [rule for rule in rules if not rule.same_place(both)] + [both]
            if len(rules) > MOST_INNER:
                return None
        deep: list[Rule] = []
        for rule in sorted(rules, key=_places, reverse=True):
            outer = [other.depth for other in deep if other.ext != rule.ext and other.meets(rule)]
            deep.append(replace(rule, depth=1 + max(outer) if outer else 0))
        return None if max((rule.depth for rule in deep), default=0) > DEEPEST else sorted(deep, key=_place)

    def _unequal(self, rules: Sequence[Rule]) -> tuple[Rule, Rule] | None:
        """Two grants that share internal clients and ports, for which none has the external ports of both."""
        for at, first in enumerate(rules):
            self.algebra.effort.spend(len(rules))
            for second in rules[:at]:
                if first.ext != second.ext and first.meets(second):
                    both = _common(first, second)
                    if not any(rule.same_place(both) and rule.has_ports_of(both) for rule in rules):
                        return first, second
        return None

    def _split(self, rules: Sequence[Rule]) -> list[Rule]:
        """The same without any part that two grants with different external ports share."""
        done: list[Rule] = []
        todo = list(rules)
        while todo:
            rule = todo.pop(0)
            self.algebra.effort.spend(len(done))
            other = next((each for each in done if each.ext != rule.ext and each.meets(rule)), None)
            if other is None:
                done.append(rule)
                continue
            done.remove(other)
            todo = [*self._beside(other, rule), *self._beside(rule, other), _common(other, rule), *todo]
        return done

    def _beside(self, rule: Rule, other: Rule) -> list[Rule]:
        """The rule for the internal clients and ports that the other one does not have."""
        taken: Box = {d.TARGET: other.clients, d.INT: other.int_}
        return [_rule(True, rule.lines, part, rule.less) for part in self.algebra.minus(rule.box, taken)]

    def _uncovered(self, parts: Iterable[Rule]) -> list[Rule]:
        """The parts without those that the others cover; the narrow ones go first."""
        kept = sorted(parts, key=_size, reverse=True)
        for rule in kept[::-1]:
            others = [other.box for other in kept if other is not rule and not apart(rule.box, other.box)]
            if not self.algebra.cleared(rule.box, others):
                kept = [other for other in kept if other is not rule]
        return sorted(kept, key=_place)


def _length(rules: Iterable[Rule]) -> int:
    return sum(rule.length for rule in rules)


def _size(rule: Rule) -> int:
    return _count(rule.ext) * _places(rule)


def _places(rule: Rule) -> int:
    return _count(rule.clients) * _count(rule.int_)


def _count(spans: Spans) -> int:
    return sum(high - low + 1 for low, high in spans)


def _common(first: Rule, second: Rule) -> Rule:
    """A grant for what both share, with the external ports of both."""
    both = _both(first, second, d.EXT)
    shared: Box = {
        d.TARGET: overlap(first.clients, second.clients),
        d.EXT: both.ext,
        d.INT: overlap(first.int_, second.int_),
    }
    return _rule(True, both.lines, shared, both.less)


def _place(rule: Rule) -> int:
    return rule.lines[0].number if rule.lines else 1 << 30


def _joined(rules: list[Rule]) -> list[Rule]:
    """Rules that differ in one dimension only are one."""
    before = 0
    while len(rules) != before:
        before = len(rules)
        for dimension in DIMENSIONS:
            alike: dict[object, Rule] = {}
            for rule in rules:
                same = [its for key, its in rule.box.items() if key != dimension]
                key = (bool(rule.lines), rule.depth, *same)
                alike[key] = _both(alike[key], rule, dimension) if key in alike else rule
            rules = list(alike.values())
    return rules


def _both(first: Rule, second: Rule, dimension: int) -> Rule:
    box = {**first.box, dimension: union(first.box[dimension], second.box[dimension])}
    lines = tuple(dict.fromkeys((*first.lines, *second.lines)))
    less = tuple(dict.fromkeys((*first.less, *second.less)))
    return replace(_rule(first.allow, lines, box, less), depth=first.depth)


def _rule(allow: bool, lines: tuple[Line, ...], box: Box, less: tuple[Line, ...] = ()) -> Rule:
    clients, ext, int_ = (box[key] for key in DIMENSIONS)
    assert not isinstance(clients, int)
    assert not isinstance(ext, int)
    assert not isinstance(int_, int)
    return Rule(allow, lines, clients, ext, int_, less)
