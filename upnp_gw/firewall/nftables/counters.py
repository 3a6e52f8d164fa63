"""What the maps hold: seconds left and counters, read from the kernel without libnftables.

A listing by libnftables costs 40 us and 4 KB an element, blocks the one context and tells whole seconds. Values
are those of linux/netfilter/nf_tables.h.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from upnp_gw.firewall.base import Counters, Forward, Reading
from upnp_gw.firewall.netlink import (
    SUBSYS_NFTABLES,
    Attributes,
    Interrupted,
    NetlinkSocket,
    attribute,
    iter_attributes,
    nest,
    parse_attributes,
)
from upnp_gw.firewall.nftables.books import Books, Draft
from upnp_gw.firewall.nftables.elements import Inner, inner_of, slot_of
from upnp_gw.firewall.nftables.ruleset import INTERVALS, NAME, OPENING
from upnp_gw.model import Endpoint, Kind, Transport

NFPROTO_INET = 1
GET_ELEMENT = 13
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEM = 1
KEY, TIMEOUT, EXPIRATION, USERDATA, EXPRESSION, EXPRESSIONS = 1, 4, 5, 6, 7, 11
DATA_VALUE = 1
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
COMMENT = 0
"""The type of a comment in an element's user data (libnftnl)."""
TRIES = 3


@dataclass(frozen=True, slots=True)
class Count:
    """An nft counter."""

    packets: int = 0
    bytes: int = 0

    def plus(self, other: "Count") -> "Count":
        return Count(self.packets + other.packets, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Seen:
    """One element as the kernel tells it."""

    key: bytes
    left_s: float | None
    """None: it has no end."""
    comment: str
    count: Count


def key_of(inner: Inner) -> bytes:
    """The bytes of an IPv4 internal endpoint in ``live``: each part padded to four bytes."""
    return _padded(bytes([inner.transport.number]), inner.endpoint.address.packed, _port(inner.endpoint.port))


def slot_key_of(forward: Forward) -> bytes | None:
    """The bytes of a forward's key in its map; None in a map of ranges, which cannot be asked for by key."""
    name = slot_of(forward).map
    if name in INTERVALS:
        return None
    protocol, remote = bytes([forward.transport.number]), forward.remote
    if forward.kind is Kind.PINHOLE:
        parts = [protocol, forward.internal.address.packed, _port(forward.internal.port)]
    else:
        own = forward.external_address
        parts = [own.packed] if own is not None else []
        parts += [protocol, _port(forward.external_port)]
    if name.endswith("_rh") and remote is not None:
        parts.append(remote.network_address.packed)
    return _padded(*parts)


def inner_of_key(key: bytes) -> Inner | None:
    """The internal endpoint behind a key of ``live``."""
    transport = Transport.of_number(key[0]) if len(key) == 12 else None
    if transport is None:
        return None
    return Inner(transport, Endpoint(IPv4Address(key[4:8]), int.from_bytes(key[8:10], "big")))


def parse_elements(data: Attributes) -> Iterator[Seen]:
    """The elements of one message. An interval's closing half and what has no key are left out."""
    for kind, raw in iter_attributes(data.get(LIST_ELEMENTS, b"")):
        if kind != LIST_ELEM:
            continue
        element = parse_attributes(raw)
        key = parse_attributes(element.get(KEY, b"")).get(DATA_VALUE)
        if key is None:
            continue
        left = element.get(EXPIRATION)
        yield Seen(
            key,
            int.from_bytes(left, "big") / 1000 if left is not None else None,
            _comment(element.get(USERDATA, b"")),
            _count(element),
        )


def _count(element: Attributes) -> Count:
    expressions = [element[EXPRESSION]] if EXPRESSION in element else []
    expressions += [value for _, value in iter_attributes(element.get(EXPRESSIONS, b""))]
    for raw in expressions:
        expression = parse_attributes(raw)
        if expression.get(EXPRESSION_NAME, b"").rstrip(b"\0") == b"counter":
            counter = parse_attributes(expression.get(EXPRESSION_DATA, b""))
            packets, volume = counter.get(COUNTER_PACKETS, b""), counter.get(COUNTER_BYTES, b"")
            return Count(int.from_bytes(packets, "big"), int.from_bytes(volume, "big"))
    return Count()


def _comment(userdata: bytes) -> str:
    at = 0
    while at + 2 <= len(userdata):
        kind, length = userdata[at], userdata[at + 1]
        if kind == COMMENT:
            return userdata[at + 2 : at + 2 + length].rstrip(b"\0").decode("ascii", "replace")
        at += 2 + length
    return ""


def _padded(*parts: bytes) -> bytes:
    return b"".join(part + b"\0" * (-len(part) % 4) for part in parts)


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")


class Elements:
    """Reads the elements of our maps. Lives on the thread that made it."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket()

    def close(self) -> None:
        self._netlink.close()

    def dump(self, name: str) -> list[Seen]:
        """Every element of one set or map. Raises OSError where our table is gone."""
        request = _set(name)
        for tries_left in reversed(range(TRIES)):
            try:
                messages = self._netlink.dump(SUBSYS_NFTABLES, GET_ELEMENT, NFPROTO_INET, request)
                return [seen for message in messages for seen in parse_elements(message.attributes)]
            except Interrupted:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def count(self, name: str, key: bytes) -> Count:
        """The counter of one element; nothing where it has expired."""
        wanted = nest(LIST_ELEMENTS, nest(LIST_ELEM, nest(KEY, attribute(DATA_VALUE, key))))
        answer = self._netlink.ask(SUBSYS_NFTABLES, GET_ELEMENT, NFPROTO_INET, _set(name) + wanted)
        if answer is None:
            return Count()
        return next((seen.count for seen in parse_elements(answer.attributes)), Count())


def _set(name: str) -> bytes:
    return attribute(LIST_TABLE, NAME.encode() + b"\0") + attribute(LIST_SET, name.encode() + b"\0")


@dataclass(slots=True)
class Snapshot:
    """All counters at one moment."""

    left_s: dict[str, float] = field(default_factory=dict)
    slots: dict[str, Count] = field(default_factory=dict)
    """By forward id."""
    inners: dict[Inner, Count] = field(default_factory=dict)


def snapshot(elements: Elements) -> Snapshot:
    """Reads every map. O(mappings)."""
    found = Snapshot()
    for name in OPENING:
        for seen in elements.dump(name):
            found.left_s[seen.comment] = seen.left_s if seen.left_s is not None else float("inf")
            found.slots[seen.comment] = seen.count
    for seen in elements.dump("live"):
        if (inner := inner_of_key(seen.key)) is not None:
            found.inners[inner] = seen.count
    return found


@dataclass(slots=True)
class Carried:
    """What was counted by elements that a refresh has since replaced."""

    slots: dict[str, Count] = field(default_factory=dict)
    inners: dict[Inner, Count] = field(default_factory=dict)

    def before(self, draft: Draft, elements: Elements) -> "Carried":
        """The counts that this draft's transaction will throw away. Read right before it."""
        if draft.refilled:
            now = snapshot(elements)
            return Carried(now.slots, now.inners)
        lost = Carried()
        for forward in draft.renewed:
            if (key := slot_key_of(forward)) is not None:
                lost.slots[forward.id] = elements.count(slot_of(forward).map, key)
        for inner in draft.renewed_inners:
            lost.inners[inner] = elements.count("live", key_of(inner))
        return lost

    def keep(self, lost: "Carried", books: Books) -> None:
        """After the transaction: adds them up, for what still stands."""
        for forward_id, count in lost.slots.items():
            if forward_id in books.forwards:
                self.slots[forward_id] = self.slots.get(forward_id, Count()).plus(count)
        for inner, count in lost.inners.items():
            if inner in books.users:
                self.inners[inner] = self.inners.get(inner, Count()).plus(count)

    def forget(self, books: Books) -> None:
        """Drops what is closed."""
        self.slots = {i: count for i, count in self.slots.items() if i in books.forwards}
        self.inners = {inner: count for inner, count in self.inners.items() if inner in books.users}


def reading(now: Snapshot, carried: Carried, books: Books) -> Reading:
    """Puts the kernel's counters and the carried ones together."""
    counters: dict[str, Counters] = {}
    for forward_id in now.left_s:
        held = books.forwards.get(forward_id)
        slot = now.slots[forward_id].plus(carried.slots.get(forward_id, Count()))
        if held is None or held.forward.kind is Kind.PINHOLE:
            counters[forward_id] = Counters(0 if held else slot.packets, slot.bytes, slot.packets)
            continue
        inner = inner_of(held.forward)
        volume = now.inners.get(inner, Count()).plus(carried.inners.get(inner, Count()))
        shared = len(books.users.get(inner, ())) > 1
        counters[forward_id] = Counters(slot.packets, volume.bytes, volume.packets, shared)
    return Reading(now.left_s, counters)
