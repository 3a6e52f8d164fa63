"""The contents of the maps, seconds left and counters, read from the kernel without libnftables.

A listing by libnftables costs 40 us and 4 KB an element, blocks the one context and has only whole seconds. Values
are those of linux/netfilter/nf_tables.h.
"""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from upnp_gw.firewall.base import NAME, Exchange, Exchanges, OverShare, Reading
from upnp_gw.firewall.netlink import SUBSYS_NFTABLES, NfnetlinkSocket, attributes_of, nfgen_body
from upnp_gw.firewall.nftables.exchanges import FAMILIES, KEPT_S
from upnp_gw.firewall.nftables.ruleset import CARRYING, OPENING
from upnp_gw.firewall.nftables.shares import DROPPED
from upnp_gw.firewall.nftables.totals import Pair, Totals
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.system.netlink import (
    Attributes,
    InterruptedDump,
    NetlinkMessage,
    attribute,
    iter_attributes,
    nest,
    parse_attributes,
)

NFPROTO_INET, IFNAMSIZ = 1, 16
GET_ELEMENT = 13
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEM = 1
KEY, EXPIRATION, USERDATA, EXPRESSION, EXPRESSIONS = 1, 5, 6, 7, 11
DATA_VALUE = 1
EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
COMMENT = 0
"""The type of a comment in an element's user data (libnftnl)."""
TRIES = 3
"""Attempts at a dump. A change during a dump interrupts it."""


@dataclass(frozen=True, slots=True)
class Count:
    """An nft counter."""

    packets: int = 0
    bytes: int = 0

    @property
    def pair(self) -> Pair:
        return self.packets, self.bytes


@dataclass(frozen=True, slots=True)
class CounterReading:
    """One element as the kernel reports it."""

    key: bytes
    left_s: float | None
    """None: it has no timeout."""
    comment: str
    count: Count


def over_share_of_key(key: bytes, packets: int) -> OverShare | None:
    """Parses a key of the set of dropped senders: interface name, MAC address, port. None: not such a key."""
    if len(key) != IFNAMSIZ + 12:
        return None
    interface = key[:IFNAMSIZ].rstrip(b"\0").decode("ascii", "replace")
    mac, port = key[IFNAMSIZ : IFNAMSIZ + 6].hex(":"), int.from_bytes(key[IFNAMSIZ + 8 : IFNAMSIZ + 10], "big")
    return OverShare(interface, mac, port, packets)


def parse_elements(data: Attributes) -> Iterator[CounterReading]:
    """The elements of one message. Those without a key and the closing halves of intervals are left out."""
    for kind, raw in iter_attributes(data.get(LIST_ELEMENTS, b"")):
        if kind != LIST_ELEM:
            continue
        element = parse_attributes(raw)
        key = parse_attributes(element.get(KEY, b"")).get(DATA_VALUE)
        if key is None:
            continue
        left = element.get(EXPIRATION)
        yield CounterReading(
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


class ElementReader:
    """Reads the elements of our maps. Use it only on the thread that made it."""

    def __init__(self) -> None:
        self._netlink = NfnetlinkSocket()

    def close(self) -> None:
        self._netlink.close()

    def messages(self, name: str) -> Iterator[NetlinkMessage]:
        """The messages with every element of one set or map. Raises OSError, InterruptedDump among them."""
        return self._netlink.dump(SUBSYS_NFTABLES, GET_ELEMENT, NFPROTO_INET, _set(name))

    def dump(self, name: str) -> list[CounterReading]:
        """Every element of one set or map. Raises OSError if our table is gone."""
        for tries_left in reversed(range(TRIES)):
            try:
                return [seen for message in self.messages(name) for seen in parse_elements(attributes_of(message))]
            except InterruptedDump:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def collect(self, name: str) -> dict[bytes, CounterReading]:
        """Every element by its key. While others change the table, those of several attempts together. Raises
        OSError if our table is gone."""
        found: dict[bytes, CounterReading] = {}
        for _ in range(TRIES):
            try:
                for message in self.messages(name):
                    found.update((seen.key, seen) for seen in parse_elements(attributes_of(message)))
                break
            except InterruptedDump:
                continue
        return found

    def count(self, name: str, key: bytes) -> Count:
        """The counter of one element; zero if it has expired."""
        wanted = nest(LIST_ELEMENTS, nest(LIST_ELEM, nest(KEY, attribute(DATA_VALUE, key))))
        try:
            answer = self._netlink.ask(
                SUBSYS_NFTABLES << 8 | GET_ELEMENT, nfgen_body(NFPROTO_INET, _set(name) + wanted)
            )
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return Count()
        return next((seen.count for seen in parse_elements(attributes_of(answer))), Count())


def _set(name: str) -> bytes:
    return attribute(LIST_TABLE, NAME.encode() + b"\0") + attribute(LIST_SET, name.encode() + b"\0")


def read_snapshot(elements: ElementReader, totals: Totals, screened: Sequence[str] = ()) -> Reading:
    """Reads every map. O(mappings). ``screened``: the maps and sets of the screens."""
    left_s: dict[str, float] = {}
    opened: dict[str, Count] = {}
    volume: dict[str, Count] = {}
    for name in (*OPENING, *screened):
        for seen in elements.dump(name):
            left_s[seen.comment] = seen.left_s if seen.left_s is not None else float("inf")
            opened[seen.comment] = seen.count
    for name in CARRYING.values():
        for seen in elements.dump(name):
            volume[seen.comment] = seen.count
    counters = {one: totals.total(one, opened[one].pair, volume.get(one, Count()).pair) for one in left_s}
    return Reading(left_s, counters, over_share=read_over_share(elements))


def read_over_share(elements: ElementReader) -> tuple[OverShare, ...]:
    """The LAN hosts whose packets to our own ports were dropped in the last minute."""
    hosts = (over_share_of_key(key, seen.count.packets) for key, seen in elements.collect(DROPPED).items())
    return tuple(host for host in hosts if host is not None)


def read_exchanges(elements: ElementReader) -> Exchanges:
    """The exchanges in the sets now. O(endpoints and remote hosts). Raises OSError if our table is gone."""
    ago: dict[tuple[Transport, Endpoint], float] = {}
    remotes: dict[tuple[Transport, Endpoint], set[IPAddress]] = {}
    for suffix, _, _, length in FAMILIES:
        for name in ("answered", "remotes"):
            for seen in elements.collect(f"{name}{suffix}").values():
                if (found := _endpoint_of(seen.key, length)) is None:
                    continue
                endpoint, remote = found
                at = max(0.0, KEPT_S - (seen.left_s or 0.0))
                ago[endpoint] = min(at, ago.get(endpoint, at))
                if remote is not None:
                    remotes.setdefault(endpoint, set()).add(remote)
    return {endpoint: Exchange(at, frozenset(remotes.get(endpoint, ()))) for endpoint, at in ago.items()}


def _endpoint_of(key: bytes, length: int) -> tuple[tuple[Transport, Endpoint], IPAddress | None] | None:
    """Parses a key: the endpoint, and its remote host if it has one. Each part is padded to four bytes."""
    transport = Transport.of_number(key[0]) if len(key) >= 8 + length else None
    if transport is None:
        return None
    port = int.from_bytes(key[4 + length : 6 + length], "big")
    rest = key[8 + length :]
    endpoint = Endpoint(ip_address(key[4 : 4 + length]), port)
    return (transport, endpoint), ip_address(rest) if len(rest) == length else None
