"""Makes the conditions of rules from libnftables' JSON. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from upnp_gw.firewall.rules.fields import Field, Kind, field_of, raw_fields
from upnp_gw.firewall.rules.index import Chain, Json, RulesetIndex, part
from upnp_gw.firewall.rules.matches import (
    CommonMatch,
    EitherMatch,
    KeyedElement,
    Match,
    NeverMatch,
    NotMatch,
    NumbersMatch,
    Parts,
    TableMatch,
    VersionMatch,
)
from upnp_gw.firewall.rules.packets import (
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
from upnp_gw.firewall.rules.ranges import Ranges, united, without
from upnp_gw.firewall.rules.values import ADDRESSES, bare, bits_of, flags_of, number_of, prefix_of, ranges_of

EVERY_PROTOCOL: Ranges = ((0, 255),)
MULTICAST: dict[int, Ranges] = {4: ((0xE0000000, 0xEFFFFFFF),), 6: ((0xFF << 120, (1 << 128) - 1),)}
"""IP version -> the addresses of groups (RFC 5771, RFC 4291 section 2.7)."""
MANY = 1000
"""The most elements of a list of addresses that typical packets are compared with. A longer one is a block list or
a country."""
_POSITIVE, _NEGATIVE = ("==", "in"), ("!=", "!")
_ORDERED = ("<", ">", "<=", ">=")


@dataclass(frozen=True, slots=True)
class LocalMatch:
    """``fib daddr type``: an address is one of these, by IP version."""

    number: int
    addresses: Mapping[int, Ranges]

    def split(self, packets: Packets) -> Parts:
        wanted = self.addresses.get(packets.common.version, ())
        return NumbersMatch(Field(Kind.NUMBERS, self.number), wanted).split(packets)


class Conditions:
    """Makes the conditions of the rules of one ruleset. ``own``: IP version -> the gateway's own addresses.

    ``typical``: for packets as most are. They have no property that a sender can choose or that is not known here,
    and their addresses are in no list of more than ``MANY`` elements.
    """

    def __init__(self, index: RulesetIndex, own: Mapping[int, Ranges], typical: bool = False) -> None:
        self._index = index
        self._own = own
        self.typical = typical
        self._unions: dict[tuple[object, ...], Ranges | None] = {}
        self._elements: dict[tuple[object, ...], Sequence[KeyedElement] | None] = {}

    def of(self, chain: Chain, match: Json, rule: str) -> Match:
        """The condition of a match. ``rule``: named if it cannot be decided."""
        left, op, right = part(match, "left"), part(match, "op"), part(match, "right")
        if (raw := raw_fields(left)) is not None:
            return VersionMatch({version: self._raw(one, str(op), right, rule) for version, one in raw.items()})
        keys = part(left, "concat")
        fields = tuple(map(field_of, keys)) if isinstance(keys, list) else (field_of(left),)
        found: Match
        if isinstance(keys, list):
            known = not self.typical or all(one.kind in (Kind.NUMBERS, Kind.COMMON) for one in fields)
            table = self.keyed(chain, fields, right, rule) if known and op in (*_POSITIVE, *_NEGATIVE) else None
            found = self._either(fields, rule) if table is None else table
        else:
            found = self._single(chain, fields[0], str(op), right, rule)
        undecided = isinstance(found, EitherMatch | NeverMatch)
        return NotMatch(found, fields) if op in _NEGATIVE and not undecided else found

    def _raw(self, field: Field, op: str, right: Json, rule: str) -> Match:
        """The condition of a place in a header, which is compared with a number."""
        number = int(right, 16) if isinstance(right, str) and right.startswith("0x") else right
        if field.kind is not Kind.NUMBERS or not isinstance(number, int) or op not in (*_POSITIVE, *_NEGATIVE):
            return self._either((field,), rule)
        found = NumbersMatch(field, ((number, number),))
        return NotMatch(found, (field,)) if op in _NEGATIVE else found

    def _either(self, fields: tuple[Field, ...], rule: str = "") -> Match:
        return NeverMatch() if self.typical else EitherMatch(fields, rule)

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
                return self._either((field,))
            case Kind.UNKNOWN:
                return self._either((field,), rule)
            case Kind.COMMON if op not in _ORDERED:
                values = tuple(self._index.elements(chain, right))
                return CommonMatch(field, values, field.mask, rule)
            case Kind.LOCAL if op not in _ORDERED:
                return self._local(chain, field, right, rule)
            case Kind.NUMBERS:
                if self.typical and field.number in ADDRESSES and len(self._index.elements(chain, right)) > MANY:
                    return NumbersMatch(field, ())
                wanted = self._wanted(chain, field, op, right)
                return self._either((field,), rule) if wanted is None else NumbersMatch(field, wanted)
        return self._either((field,), rule)

    def _local(self, chain: Chain, field: Field, right: Json, rule: str) -> Match:
        values = [bare(value) for value in self._index.elements(chain, right)]
        if values == ["local"]:
            return LocalMatch(field.number, self._own)
        if values == ["unicast"]:
            beside = {v: united((*self._own.get(v, ()), *MULTICAST[v])) for v in (4, 6)}
            return NotMatch(LocalMatch(field.number, beside), (field,))
        if values == ["multicast"]:
            return LocalMatch(field.number, MULTICAST)
        if field.number == DADDR and not {"local", "unicast"}.intersection(map(str, values)):
            return NumbersMatch(Field(Kind.NUMBERS, PROTOCOL), ())  # no host has a broadcast address
        return self._either((), "" if field.number != DADDR else rule)

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
