"""Boxes in words: ``nas, tcp, internal 8000-8099, 22:00-06:00``."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import summarize_address_range

from upnp_gw.gate.explain import ports_text
from upnp_gw.gate.hours import HOLIDAY, days_text
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Box
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.space import GLOBAL6, HOSTS4, LOCAL4, TRANSPORTS, VIAS, Space
from upnp_gw.gate.proof.spans import ADDRESSES, IP4, IP6, Spans, address_of, addresses_of, common, joined, without
from upnp_gw.gate.schema import Policy

MOST = 6
"""Most names or prefixes of one list."""
WHOLE = (ADDRESSES, (*HOSTS4, *GLOBAL6), IP4, HOSTS4, LOCAL4, IP6, GLOBAL6)
"""Sets of addresses that stand for all of one or both families."""
NAMES = ("old", "new")
"""Names of two policies that are compared."""
_NAMES = {IP4: "IPv4 address", IP6: "IPv6 address"}
SHAPES = {
    Shape.EXACT: "exact external port",
    Shape.EXACT_SAME: "exact external port",
    Shape.EXACT_OTHER: "exact external port",
    Shape.CHOSEN: "where the gateway chooses",
    Shape.CHOSEN_SAME: "where the gateway chooses",
    Shape.CHOSEN_OTHER: "where the gateway chooses",
    Shape.PINHOLE: "pinhole",
    Shape.TRANSLATED: "port mapping",
    Shape.TRANSLATED & Shape.SAME: "port mapping",
    Shape.OTHER: "port mapping",
}


def box_text(space: Space, policies: Sequence[Policy], box: Box, but: frozenset[int] = frozenset()) -> str:
    """The box in words. ``but``: dimensions to leave out."""
    kept = {dimension: its for dimension, its in box.items() if dimension not in but}
    return ", ".join(part for words in _PARTS for part in words(space, policies, kept)) or "every request"


def _who(space: Space, policies: Sequence[Policy], box: Box) -> Iterator[str]:
    if d.MAC in box:
        yield _mac_text(space, policies, _bits(box, d.MAC))
    elif not any(key in box for key in (d.SOURCE, d.TARGET)):
        yield "anyone"
    named = d.MAC in box and not _bits(box, d.MAC) & (space.other_mac | space.no_mac)
    if d.LAN in box and not (named and _bits(box, d.LAN) == space.main_lans):
        yield _lan_text(space, _bits(box, d.LAN))
    if d.LEASE in box and not named:
        yield "with a lease that agrees"
    if d.SOURCE in box:
        yield f"asking from {addresses_text(policies, _spans(box, d.SOURCE))}"


def _mac_text(space: Space, policies: Sequence[Policy], bits: int) -> str:
    names: dict[str, str] = {}
    for policy in policies:
        for name, device in sorted(policy.devices.items()):
            for mac in device.macs:
                names.setdefault(mac, name)
    inside = [names.get(mac, mac) for at, mac in enumerate(space.macs) if bits >> at & 1]
    outside = [names.get(mac, mac) for at, mac in enumerate(space.macs) if not bits >> at & 1]
    if bits & space.other_mac:
        return "anyone" + (f" but {_listed(outside)}" if outside else "")
    return _listed([*inside, *(["a host without a known MAC address"] if bits & space.no_mac else [])])


def _lan_text(space: Space, bits: int) -> str:
    if bits == space.main_lans:
        return "on the first LAN"
    named = [lan for at, lan in enumerate(space.lans) if bits >> 2 * at & 3]
    others = bits >> 2 * len(space.lans) & 3
    return (
        f"on {_listed([*named, *(['other LANs'] if others else [])])}" if named or others else "on an unknown LAN"
    )


def _target(space: Space, policies: Sequence[Policy], box: Box) -> Iterator[str]:
    relation = _bits(box, d.RELATION) if d.RELATION in box else Relation.ALL
    if relation == Relation.OTHER_DEVICE:
        yield "for another device"
    elif relation == Relation.SAME_DEVICE:
        yield "for another address of it"
    if d.TARGET_MAC in box:
        yield f"which is {_mac_text(space, policies, _bits(box, d.TARGET_MAC))}"
    if d.TARGET in box:
        yield from _family_or_addresses(policies, _spans(box, d.TARGET))
    for at, name in enumerate(space.zones):
        if box.get(d.ZONE + at) == 2:
            yield f"a LAN of zone {name}"


def _family_or_addresses(policies: Sequence[Policy], spans: Spans) -> Iterator[str]:
    four, six = common(spans, IP4), common(spans, IP6)
    if four in (IP4, HOSTS4, LOCAL4) and not six:
        yield "ip4"
    elif six and not four and six[0][1] - six[0][0] > 1 << 100 and len(six) <= 2:
        yield "ip6"
    elif not (four in (IP4, HOSTS4, LOCAL4) and six):
        yield f"at {addresses_text(policies, spans)}"


def _what(space: Space, policies: Sequence[Policy], box: Box) -> Iterator[str]:
    if d.VIA in box:
        yield "over " + _listed([via.value for at, via in enumerate(VIAS) if _bits(box, d.VIA) >> at & 1])
    if d.TRANSPORT in box:
        yield _listed([name for at, name in enumerate(TRANSPORTS) if _bits(box, d.TRANSPORT) >> at & 1])
    if d.INT in box:
        yield f"internal {ports_text(_spans(box, d.INT))}"
    shapes = _bits(box, d.SHAPE) if d.SHAPE in box else Shape.ALL
    if not shapes & ~Shape.SAME and shapes != Shape.PINHOLE:
        yield "external the same"
    elif d.EXT in box and shapes & Shape.OTHER:
        yield f"external {ports_text(without(_spans(box, d.EXT), ((0, 0),)))}"
    if shapes in SHAPES:
        yield SHAPES[shapes]


def _when(space: Space, policies: Sequence[Policy], box: Box) -> Iterator[str]:
    if d.REMOTE in box:
        spans = _spans(box, d.REMOTE)
        if spans not in (IP4, IP6, (*IP4, *IP6)):
            yield f"from {addresses_text((), spans)}"
    if d.REMOTE_PORT in box:
        yield f"from port {ports_text(without(_spans(box, d.REMOTE_PORT), ((0, 0),)))}"
    if d.DAY in box:
        yield _days_text(space, policies, _bits(box, d.DAY))
    if d.MINUTE in box:
        yield minutes_text(_spans(box, d.MINUTE))
    if d.TIME in box:
        bits = _bits(box, d.TIME)
        first, last = (bits & -bits).bit_length() - 1, bits.bit_length() - 1
        if first:
            yield f"from {_day(space.ends[first - 1])} on"
        if last < len(space.ends):
            yield f"until {_day(space.ends[last])}"


_PARTS = (_who, _target, _what, _when)


def _days_text(space: Space, policies: Sequence[Policy], bits: int) -> str:
    """``on mon-fri``, by today's kind alone; the night before matters only for hours over midnight. A day that is a
    holiday of one of two policies is named so."""
    calendars = dict.fromkeys(space.calendars.index(policy.calendar) for policy in policies)
    days = [tuple(day.kinds[at][0] for at in calendars) for n, day in enumerate(space.days) if bits >> n & 1]
    same = frozenset(kinds[0] for kinds in days if len({*kinds}) == 1)
    parts = [f"on {days_text(same)}"] if same else []
    for holiday, name in enumerate(NAMES[: len(calendars)]):
        weekdays = frozenset(
            kinds[1 - holiday] for kinds in days if len({*kinds}) > 1 and kinds[holiday] == HOLIDAY
        )
        if weekdays:
            on = "days" if len(weekdays) == HOLIDAY else days_text(weekdays)
            parts.append(f"on {on} that are holidays of the {name} policy alone")
    return " and ".join(parts)


def minutes_text(spans: Spans) -> str:
    """``22:00-06:00``: minutes of the day; a range that ends at midnight goes on in the morning."""
    parts = list(spans)
    if len(parts) > 1 and parts[0][0] == 0 and parts[-1][1] == 1439:
        parts = [*parts[1:-1], (parts[-1][0], parts[0][1])]
    return " and ".join(f"{_clock(low)}-{_clock(high + 1)}" for low, high in parts)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _day(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M} UTC"


def addresses_text(policies: Sequence[Policy], spans: Spans) -> str:
    """A zone, or the prefixes."""
    for policy in policies:
        for name, zone in sorted(policy.zones.items()):
            if spans == addresses_of(zone.prefixes):
                return f"zone {name}"
            if any(spans == without(base, addresses_of(zone.prefixes)) for base in WHOLE):
                return f"any address outside zone {name}"
    listed = _prefixes(spans)
    inside = [base for base in WHOLE if without(base, spans) and not without(spans, base)]
    left_out = [(_prefixes(without(base, spans)), _NAMES.get(base, "address")) for base in inside]
    fewest, name = min(left_out, key=lambda pair: len(pair[0]), default=(listed, ""))
    return f"any {name} but {_listed(fewest)}" if len(fewest) < len(listed) else _listed(listed)


def _prefixes(spans: Spans) -> list[str]:
    """The prefixes of the first spans: more than ``MOST`` of them if there are more."""
    prefixes = [
        str(net)
        for low, high in joined(spans)[: MOST + 1]
        for net in summarize_address_range(address_of(low), address_of(high))
    ]
    return [prefix.removesuffix("/32").removesuffix("/128") for prefix in prefixes]


def _listed(words: Sequence[str]) -> str:
    unique = list(dict.fromkeys(words))
    more = len(unique) - MOST
    return " and ".join(unique[:MOST]) + (f" and {more} more" if more > 0 else "")


def _bits(box: Box, dimension: int) -> int:
    its = box[dimension]
    assert isinstance(its, int)
    return its


def _spans(box: Box, dimension: int) -> Spans:
    its = box[dimension]
    assert not isinstance(its, int)
    return its
