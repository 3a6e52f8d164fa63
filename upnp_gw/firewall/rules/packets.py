"""Classes of packets: what all of them have in common, and boxes: a set of numbers for each header field. Pure.

A box is the product of its sets. What a look-up in a map of several fields leaves over is no product: such a box
keeps a reference to the elements that are cut out of it (``Cut``), and only ``first_packet`` works that out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

from upnp_gw.firewall.rules.ranges import Ranges, both, only, same, size, without

PROTOCOL, SADDR, SPORT, DADDR, DPORT, ORIGINAL_DADDR, ORIGINAL_DPORT, FLAGS = range(8)
"""The fields of a box. The original ones are those before a dnat; FLAGS: those of TCP."""
EVERY_PORT: Ranges = ((0, 65535),)
EVERY_FLAG: Ranges = ((0, 255),)
EVERY_ADDRESS: dict[int, Ranges] = {4: ((0, (1 << 32) - 1),), 6: ((0, (1 << 128) - 1),)}
NOT_TRANSLATED: Ranges = ()
"""In the original fields: they equal the present ones."""
_PRESENT = {ORIGINAL_DADDR: DADDR, ORIGINAL_DPORT: DPORT}
STEPS_MOST = 200_000
"""The most steps of ``first_packet``."""

Numbers = tuple[Ranges, ...]
"""The set of each field, in the order of the fields."""


class TooMuchToCount(Exception):
    """The classes cannot be worked out within the bounds."""


class Doubt(NamedTuple):
    """A rule that cannot be decided, and the way on which the packets were followed."""

    rule: str
    matched: bool


class Source(NamedTuple):
    """An element of a map or set that packets depend on."""

    name: str
    """Of the map or set."""
    comment: str
    expires_s: float | None
    """Seconds until the kernel removes it; None: never."""


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """An element of a set or map whose key has several fields, or that leads somewhere."""

    parts: Numbers
    """The numbers of each field of the key."""
    source: Source
    daddr: Ranges = ()
    """The address that a map leads to; empty: the address stays."""
    dport: Ranges = ()


class ElementTable:
    """Elements, searched by their numbers."""

    def __init__(self, elements: Iterable[Element]) -> None:
        self.elements = list(elements)
        self._points: dict[tuple[int, ...], list[Element]] = {}
        self._wide: list[Element] = []
        for element in self.elements:
            key = _point(element.parts)
            if key is None:
                self._wide.append(element)
            else:
                self._points.setdefault(key, []).append(element)

    def near(self, parts: Numbers) -> Sequence[Element]:
        """The elements that may have packets with these numbers in common, and others."""
        key = _point(parts)
        return self.elements if key is None else [*self._points.get(key, ()), *self._wide]


def _point(parts: Numbers) -> tuple[int, ...] | None:
    found = tuple(number for part in parts if (number := only(part)) is not None)
    return found if len(found) == len(parts) else None


class Cut(NamedTuple):
    """Elements that are cut out of a box."""

    fields: tuple[int, ...]
    table: ElementTable


class Box(NamedTuple):
    """Packets: every combination of these numbers but for the ``cuts``."""

    numbers: Numbers
    sources: tuple[Source, ...] = ()
    cuts: tuple[Cut, ...] = ()

    def get(self, name: int) -> Ranges:
        """The numbers of a field; of the original ones also where nothing was translated."""
        return self.numbers[name] or self.numbers[_PRESENT.get(name, name)]

    def parts(self, fields: Sequence[int]) -> Numbers:
        return tuple(map(self.get, fields))

    def having(self, name: int, wanted: Ranges) -> "Box":
        """The same with these numbers in a field."""
        if name in _PRESENT and not self.numbers[name]:
            name = _PRESENT[name]
        return self._replace(numbers=(*self.numbers[:name], wanted, *self.numbers[name + 1 :]))

    def among(self, fields: Sequence[int], wanted: Numbers) -> "Box | None":
        """The part with these numbers in these fields; None: there is none."""
        box = self
        for name, numbers in zip(fields, wanted, strict=True):
            present = box.get(name)
            common = both(present, numbers)
            if not common:
                return None
            if not same(common, present):
                box = box.having(name, common)
        return box

    def translated(self, daddr: Ranges, dport: Ranges) -> "Box":
        """After a dnat. What is cut out of it by its destination is cut out by the original one."""
        was = {DADDR: ORIGINAL_DADDR, DPORT: ORIGINAL_DPORT}
        numbers = list(self.numbers)
        numbers[ORIGINAL_DADDR], numbers[ORIGINAL_DPORT] = numbers[DADDR], numbers[DPORT]
        numbers[DADDR], numbers[DPORT] = daddr or numbers[DADDR], dport or numbers[DPORT]
        cuts = tuple(Cut(tuple(was.get(name, name) for name in cut.fields), cut.table) for cut in self.cuts)
        return Box(tuple(numbers), self.sources, cuts)


@dataclass(frozen=True, slots=True)
class Common:
    """The properties that all packets of a class share."""

    version: int
    """IP version."""
    iif: str
    oif: str | None = ""
    """Empty before the routing. None: not known."""
    state: str = "new"
    """Of connection tracking: new, established, invalid, untracked."""
    status: frozenset[str] = frozenset()
    """The status bits of the flow that are known to be set: dnat, assured."""
    labels: frozenset[int] = frozenset()
    """The labels of the flow. All others are not set."""
    mark: int | None = 0
    """None: not known."""
    ct_mark: int | None = 0
    pkttype: str = "host"
    """Of the frame: the kernel forwards no others. ``multicast`` to a group."""
    passed: tuple[str, ...] = ()
    """The rules and policies that let it through, and the one that translated it."""
    doubts: frozenset[Doubt] = frozenset()
    """The rules that cannot be decided, if what becomes of the packets depends on them."""

    @property
    def tracked(self) -> bool:
        """False: there is no flow to ask about."""
        return self.state not in ("invalid", "untracked")

    def doubted(self, rule: str, matched: bool = True) -> "Common":
        return replace(self, doubts=self.doubts | {Doubt(rule, matched)})

    def passing(self, rule: str) -> "Common":
        return replace(self, passed=(*self.passed, rule))


@dataclass(frozen=True, slots=True)
class Packets:
    """A class of packets."""

    common: Common
    boxes: Sequence[Box]

    def doubted(self, rule: str, matched: bool = True) -> "Packets":
        return Packets(self.common.doubted(rule, matched), self.boxes)


BoxKey = tuple[object, ...]
Groups = dict[Common, dict[BoxKey, Box]]
"""The boxes of each class, by their values."""
FEW = 64
"""More ranges are compared by identity: to hash a block list for each mapping takes too long."""


def _key(box: Box) -> BoxKey:
    numbers = (one if len(one) <= FEW else id(one) for one in box.numbers)
    return (*numbers, box.sources, box.cuts)


def merged(classes: Iterable[Packets]) -> list[Packets]:
    """The same packets with one class for all that have the same in common. A rule that cannot be decided is no
    doubt for packets that are here whether it matches or not."""
    groups: Groups = {}
    for one in classes:
        if one.boxes:
            groups.setdefault(one.common, {}).update((_key(box), box) for box in one.boxes)
    if any(common.doubts for common in groups):
        _settle(groups)
    return [Packets(common, list(found.values())) for common, found in groups.items() if found]


def _settle(groups: Groups) -> None:
    for common in list(groups):
        for doubt in [one for one in common.doubts if one.matched]:
            others = common.doubts - {doubt}
            twin = replace(common, passed=(), doubts=others | {Doubt(doubt.rule, False)})
            for other in [one for one in groups if replace(one, passed=()) == twin]:
                shared = {key: box for key, box in groups[common].items() if key in groups[other]}
                for key in shared:
                    del groups[common][key], groups[other][key]
                groups.setdefault(replace(other, doubts=others), {}).update(shared)


def first_packet(box: Box, further: Iterable[Cut] = ()) -> tuple[int, ...] | None:
    """The numbers of one packet of the box that no cut takes away; None: every packet is taken away.

    In a field without translation the original number is the present one. Raises TooMuchToCount.
    """
    cuts = list(_overlapping(box, (*box.cuts, *further)))
    waiting: list[tuple[Numbers, int]] = [(box.numbers, 0)]
    for _ in range(STEPS_MOST):
        if not waiting:
            return None
        numbers, at = waiting.pop()
        piece = Box(numbers)
        while at < len(cuts) and piece.among(*cuts[at]) is None:
            at += 1
        if at == len(cuts):
            return tuple(piece.get(name)[0][0] for name in range(len(numbers)))
        pieces = [(left.numbers, at + 1) for left in _left_over(piece, *cuts[at])]
        waiting += sorted(pieces, key=lambda one: prod(size(numbers) for numbers in one[0] if numbers))
    raise TooMuchToCount


def _overlapping(box: Box, cuts: Iterable[Cut]) -> Iterator[tuple[tuple[int, ...], Numbers]]:
    for cut in cuts:
        for element in cut.table.near(box.parts(cut.fields)):
            if box.among(cut.fields, element.parts) is not None:
                yield cut.fields, element.parts


def _left_over(box: Box, fields: Sequence[int], parts: Numbers) -> Iterator[Box]:
    """The parts of a box beside an element. They do not overlap."""
    for name, numbers in zip(fields, parts, strict=True):
        beside = without(box.get(name), numbers)
        if beside:
            yield box.having(name, beside)
        box = box.having(name, both(box.get(name), numbers))
