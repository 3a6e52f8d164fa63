"""Makes the conditions of rules from libnftables' JSON. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from upnp_gw.firewall.openings.fields import Field, Kind, field_of
from upnp_gw.firewall.openings.matches import (
    CommonMatch,
    EitherMatch,
    KeyedElement,
    Match,
    NotMatch,
    NumbersMatch,
    Parts,
    TableMatch,
)
from upnp_gw.firewall.openings.packets import (
    DADDR,
    DPORT,
    EVERY_ADDRESS,
    EVERY_FLAG,
    EVERY_PORT,
    FLAGS,
    PROTOCOL,
    Element,
    Packets,
    Source,
)
from upnp_gw.firewall.openings.ranges import Ranges, united, without
from upnp_gw.firewall.openings.values import ADDRESSES, bare, bits_of, flags_of, number_of, prefix_of, ranges_of
from upnp_gw.firewall.other_tables.index import Chain, Json, RulesetIndex, part

EVERY_PROTOCOL: Ranges = ((0, 255),)
_POSITIVE, _NEGATIVE = ("==", "in"), ("!=", "!")
_ORDERED = ("<", ">", "<=", ">=")


@dataclass(frozen=True, slots=True)
class LocalMatch:
    """``fib daddr type local``: an address is one of the gateway's own, or (``others``) is not."""

    number: int
    own: Mapping[int, Ranges]
    others: bool

    def split(self, packets: Packets) -> Parts:
        own = self.own.get(packets.common.version, ())
        yes, no = NumbersMatch(Field(Kind.NUMBERS, self.number), own).split(packets)
        return (no, yes) if self.others else (yes, no)


class Conditions:
    """Makes the conditions of the rules of one ruleset. ``own``: IP version -> the gateway's own addresses."""

    def __init__(self, index: RulesetIndex, own: Mapping[int, Ranges]) -> None:
        self._index = index
        self._own = own
        self._unions: dict[tuple[object, ...], Ranges | None] = {}
        self._elements: dict[tuple[object, ...], Sequence[KeyedElement] | None] = {}

    def of(self, chain: Chain, match: Json, rule: str) -> Match:
        """The condition of a match. ``rule``: named if it cannot be decided."""
        left, op, right = part(match, "left"), part(match, "op"), part(match, "right")
        keys = part(left, "concat")
        fields = tuple(map(field_of, keys)) if isinstance(keys, list) else (field_of(left),)
        found: Match
        if isinstance(keys, list):
            table = self.keyed(chain, fields, right, rule) if op in (*_POSITIVE, *_NEGATIVE) else None
            found = EitherMatch(fields, rule) if table is None else table
        else:
            found = self._single(chain, fields[0], str(op), right, rule)
        return NotMatch(found, fields) if op in _NEGATIVE and not isinstance(found, EitherMatch) else found

    def listed(self, chain: Chain, data: Json) -> Sequence[Json]:
        """The elements of a set or map, as they are listed."""
        return self._index.elements(chain, data)

    def keyed(self, chain: Chain, fields: Sequence[Field], data: Json, rule: str) -> TableMatch | None:
        """The look-up of these fields in a set or map; None: an element of it is not understood."""
        if isinstance(data, str) and data.startswith("@"):
            at = (chain.family, chain.table, data, fields)
            if at not in self._elements:
                self._elements[at] = _keyed(fields, self.listed(chain, data))
            elements = self._elements[at]
        else:
            elements = _keyed(fields, self.listed(chain, data))
        return None if elements is None else TableMatch(fields, elements, rule)

    def _single(self, chain: Chain, field: Field, op: str, right: Json, rule: str) -> Match:
        match field.kind:
            case Kind.CHOSEN:
                return EitherMatch((field,))
            case Kind.UNKNOWN:
                return EitherMatch((field,), rule)
            case Kind.COMMON if op not in _ORDERED:
                values = tuple(self._index.elements(chain, right))
                return CommonMatch(field, values, field.mask, rule)
            case Kind.LOCAL if op not in _ORDERED:
                return self._local(chain, field, right, rule)
            case Kind.NUMBERS:
                wanted = self._wanted(chain, field, op, right)
                return EitherMatch((field,), rule) if wanted is None else NumbersMatch(field, wanted)
        return EitherMatch((field,), rule)

    def _local(self, chain: Chain, field: Field, right: Json, rule: str) -> Match:
        values = [bare(value) for value in self._index.elements(chain, right)]
        if values in (["local"], ["unicast"]):
            return LocalMatch(field.number, self._own, others=values == ["unicast"])
        if field.number == DADDR and not {"local", "unicast"}.intersection(map(str, values)):
            return NumbersMatch(Field(Kind.NUMBERS, PROTOCOL), ())  # no host has a multicast or broadcast address
        return EitherMatch((), "" if field.number != DADDR else rule)

    def _wanted(self, chain: Chain, field: Field, op: str, right: Json) -> Ranges | None:
        """The numbers that match, before a negation; None: not understood."""
        named = isinstance(right, str) and right.startswith("@")
        at = (chain.family, chain.table, right, field, op) if named and field.mask is None else None
        if at is not None and at in self._unions:
            return self._unions[at]
        spans: list[tuple[int, int]] = []
        understood = True
        for value in self._index.elements(chain, right):
            found = _compared(field, op, bare(value))
            understood = understood and found is not None
            spans += found or ()
        union = united(spans) if understood else None
        if at is not None:
            self._unions[at] = union
        return union


def _compared(field: Field, op: str, value: Json) -> Ranges | None:
    number, version = field.number, field.version or 4
    if op in _ORDERED:
        return _ordered(number, version, op, value) if field.mask is None else None
    if number == FLAGS:
        return _flags(field, op, value)
    if field.mask is not None:
        return prefix_of(version, field.mask, value) if number in ADDRESSES and field.version else None
    if number in ADDRESSES and not field.version and not _is_address(value):
        return None
    return ranges_of(number, version, value)


def _is_address(value: Json) -> bool:
    return isinstance(value, str) and value != "*"


def _flags(field: Field, op: str, value: Json) -> Ranges | None:
    bits, mask = flags_of(value), 255 if field.mask is None else flags_of(field.mask)
    if bits is None or mask is None:
        return None
    if op == "in":
        return bits_of(lambda flags: bool(flags & mask & bits))
    return bits_of(lambda flags: flags & mask == bits)


def _ordered(name: int, version: int, op: str, value: Json) -> Ranges | None:
    number = number_of(name, value)
    if number is None:
        return None
    below = number - (op in ("<", ">="))
    low: Ranges = ((0, below),) if below >= 0 else ()
    return low if op in ("<", "<=") else without(every(name, version), low)


def every(name: int, version: int) -> Ranges:
    """All numbers that a field can have."""
    if name in ADDRESSES:
        return EVERY_ADDRESS[version]
    return {FLAGS: EVERY_FLAG, PROTOCOL: EVERY_PROTOCOL}.get(name, EVERY_PORT)


def _keyed(fields: Sequence[Field], listed: Sequence[Json]) -> Sequence[KeyedElement] | None:
    found = []
    for element in listed:
        mapped = isinstance(element, list) and len(element) == 2
        key, data = element if mapped else (element, None)
        values = part(bare(key), "concat") if len(fields) > 1 else [bare(key)]
        if not isinstance(values, list) or len(values) != len(fields):
            return None
        parts = tuple(_parts(fields, values))
        daddr, dport = _leads_to(data)
        if None in parts or daddr is None or dport is None:
            return None
        known = tuple(one for one in parts if one is not None)
        found.append(KeyedElement(tuple(values), Element(known, source_of(key), daddr, dport)))
    return found


def _parts(fields: Sequence[Field], values: Sequence[Json]) -> Iterator[Ranges | None]:
    for field, value in zip(fields, values, strict=True):
        if field.kind is Kind.NUMBERS:
            yield _compared(field, "==", value)


def source_of(key: Json) -> Source:
    """The element with this key, as a source. The listing has an expiry only for elements with a timeout."""
    expires = part(key, "elem", "expires")
    comment = part(key, "elem", "comment")
    return Source("", str(comment or ""), float(expires) if isinstance(expires, int | float) else None)


def _leads_to(data: Json) -> tuple[Ranges | None, Ranges | None]:
    """Address and port that a map leads to. A verdict, and a set, lead nowhere."""
    if data is None or (isinstance(data, dict) and not data.keys() & {"concat", "range", "prefix"}):
        return (), ()
    both = part(data, "concat")
    if isinstance(both, list) and len(both) == 2:
        return address_of(both[0]), ranges_of(DPORT, 4, both[1])
    if isinstance(data, int):
        return (), ranges_of(DPORT, 4, data)
    return address_of(data), ()


def address_of(value: Json) -> Ranges | None:
    """An address, prefix or range of addresses of either version."""
    return ranges_of(DADDR, 4, value)
