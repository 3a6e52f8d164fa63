"""Matches of rules: each splits a class of packets into those that match and those that do not. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from upnp_gw.firewall.rules.common_values import has_value
from upnp_gw.firewall.rules.fields import Field, Kind
from upnp_gw.firewall.rules.index import Json
from upnp_gw.firewall.rules.packets import (
    PROTOCOL,
    Box,
    Cut,
    Element,
    ElementTable,
    Packets,
)
from upnp_gw.firewall.rules.ranges import Ranges, both, same, without

Parts = tuple[list[Packets], list[Packets]]
"""Those that match, and those that do not."""


class Match(Protocol):
    """A condition of a rule."""

    def split(self, packets: Packets) -> Parts:
        """The two parts. If it cannot be decided, the packets are in both, with a doubt."""
        ...


def _some(packets: Packets, boxes: Sequence[Box]) -> list[Packets]:
    return [Packets(packets.common, boxes)] if boxes else []


def _either(present: Sequence[Packets], no: Sequence[Packets], rule: str) -> Parts:
    """The packets both ways; with a doubt if there is a rule that it is about."""
    if not rule:
        return [*present], [*no, *present]
    return [one.doubted(rule) for one in present], [*no, *(one.doubted(rule, False) for one in present)]


def having(packets: Packets, fields: Iterable[Field]) -> Parts:
    """The packets that have these fields at all, and the others."""
    common = packets.common
    protocols: Ranges = ()
    for field in fields:
        if field.version not in (0, common.version) or (field.flow and not common.tracked):
            return [], [packets]
        protocols = protocols or field.protocols
    if not protocols:
        return [packets], []
    inside, outside = [], []
    for box in packets.boxes:
        present = box.get(PROTOCOL)
        common_to_both = both(present, protocols)
        if same(common_to_both, present):
            inside.append(box)
            continue
        if common_to_both:
            inside.append(box.having(PROTOCOL, common_to_both))
        outside.append(box.having(PROTOCOL, without(present, protocols)))
    return _some(packets, inside), _some(packets, outside)


@dataclass(frozen=True, slots=True)
class NumbersMatch:
    """A field of the boxes has one of these numbers."""

    field: Field
    wanted: Ranges

    def split(self, packets: Packets) -> Parts:
        present, no = having(packets, [self.field])
        yes: list[Packets] = []
        number, wanted = self.field.number, self.wanted
        for one in present:
            inside, outside = [], []
            for box in one.boxes:
                numbers = box.get(number)
                common = both(numbers, wanted)
                if same(common, numbers):
                    inside.append(box)
                    continue
                if common:
                    inside.append(box.having(number, common))
                outside.append(box.having(number, without(numbers, wanted)) if common else box)
            yes += _some(one, inside)
            no += _some(one, outside)
        return yes, no


@dataclass(frozen=True, slots=True)
class VersionMatch:
    """A condition that is another one in each IP version."""

    matches: Mapping[int, Match]

    def split(self, packets: Packets) -> Parts:
        return self.matches[packets.common.version].split(packets)


@dataclass(frozen=True, slots=True)
class CommonMatch:
    """A property of all packets of the class has one of these values."""

    field: Field
    values: tuple[Json, ...]
    mask: Json
    rule: str
    negated: bool = False

    def split(self, packets: Packets) -> Parts:
        present, no = having(packets, [self.field])
        answers = [has_value(packets.common, self.field.name, value, self.mask) for value in self.values]
        found = True if True in answers else None if None in answers else False
        if found is None:
            return _either(present, no, self.rule)
        return (present, no) if found is not self.negated else ([], [*no, *present])


@dataclass(frozen=True, slots=True)
class EitherMatch:
    """A condition that some packets of every class meet, and some do not; with ``rule`` it is not known which."""

    fields: tuple[Field, ...] = ()
    rule: str = ""
    """The rule that causes a doubt; empty: none, the sender can have it either way."""

    def split(self, packets: Packets) -> Parts:
        present, no = having(packets, self.fields)
        return _either(present, no, self.rule)


@dataclass(frozen=True, slots=True)
class NeverMatch:
    """A condition for a part of the senders: no typical packet meets it, or its opposite."""

    def split(self, packets: Packets) -> Parts:
        return [], [packets]


class TableMatch:
    """The key of several fields is among the elements of a set or map."""

    def __init__(self, fields: Sequence[Field], elements: Sequence["KeyedElement"], rule: str) -> None:
        self._fields = tuple(fields)
        self._numbers = tuple(field.number for field in fields if field.kind is Kind.NUMBERS)
        self._common = tuple(at for at, field in enumerate(fields) if field.kind is Kind.COMMON)
        unknown = any(field.kind not in (Kind.NUMBERS, Kind.COMMON, Kind.CHOSEN) for field in fields)
        self._inexact = unknown or any(field.kind is Kind.CHOSEN for field in fields)
        self._doubt = rule if unknown else ""
        self._rule = rule
        self._elements = elements
        self._tables: dict[tuple[object, ...], tuple[ElementTable, bool]] = {}

    def split(self, packets: Packets) -> Parts:
        yes, no = self.split_by_element(packets)
        return [Packets(one.common, [box for box, _ in found]) for one, found in yes], no

    def split_by_element(
        self, packets: Packets
    ) -> tuple[list[tuple[Packets, list[tuple[Box, Element]]]], list[Packets]]:
        """The packets that match, each box with its element; and those that do not."""
        present, no = having(packets, self._fields)
        yes = []
        for one in present:
            table, sure = self._table(one)
            found: list[tuple[Box, Element]] = []
            left: list[Box] = []
            for box in one.boxes:
                left += self._narrow(box, table, found, sure)
            doubt = self._doubt if sure else self._rule
            matched, rest = Packets(one.common, [box for box, _ in found]), Packets(one.common, left)
            if doubt:
                matched, rest = matched.doubted(doubt), rest.doubted(doubt, False)
            yes += [(matched, found)] if found else []
            no += [rest] if left else []
        return yes, no

    def _narrow(self, box: Box, table: ElementTable, found: list[tuple[Box, Element]], sure: bool) -> Iterator[Box]:
        """Adds the parts of the box in the table to ``found``, and yields what is left over."""
        numbers = self._numbers
        overlaps = False
        for element in table.near(box.parts(numbers)):
            narrow = box.among(numbers, element.parts)
            if narrow is None:
                continue
            overlaps = True
            found.append((narrow._replace(sources=(*box.sources, element.source)), element))
            if narrow is box and sure and not self._inexact:
                return
        exact = overlaps and sure and not self._inexact
        yield box._replace(cuts=(*box.cuts, Cut(numbers, table))) if exact else box

    def _table(self, packets: Packets) -> tuple[ElementTable, bool]:
        """The elements for what the packets have in common; False: some of them are only possible."""
        common = packets.common
        key = tuple(getattr(common, self._fields[at].name, "") for at in self._common)
        if key not in self._tables:
            kept, sure = [], True
            for keyed in self._elements:
                answers = [has_value(common, self._fields[at].name, keyed.key[at], None) for at in self._common]
                if False in answers:
                    continue
                sure = sure and None not in answers
                kept.append(keyed.element)
            self._tables[key] = ElementTable(kept), sure
        return self._tables[key]


@dataclass(frozen=True, slots=True)
class KeyedElement:
    """An element with its key as it is listed."""

    key: tuple[Json, ...]
    element: Element


@dataclass(frozen=True, slots=True)
class NotMatch:
    """The opposite of another match, where packets have the fields at all."""

    inner: Match
    fields: tuple[Field, ...]

    def split(self, packets: Packets) -> Parts:
        present, no = having(packets, self.fields)
        yes: list[Packets] = []
        for one in present:
            matched, rest = self.inner.split(one)
            no += matched
            yes += rest
        return yes, no
