"""Sets of whole numbers as sorted, disjoint, inclusive ranges (``Spans``): ports, minutes, addresses.

IPv4 and IPv6 addresses are on one line: IPv4 first, then IPv6 from ``IP6_BASE`` on.
"""

from bisect import bisect_left
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from upnp_gw.model.mapping import IPAddress, IPNetwork

T = TypeVar("T")
Spans = tuple[tuple[int, int], ...]

IP6_BASE = 1 << 32
"""The number of ``::`` on the line of addresses."""
IP4: Spans = ((0, IP6_BASE - 1),)
IP6: Spans = ((IP6_BASE, IP6_BASE + (1 << 128) - 1),)
ADDRESSES: Spans = (*IP4, *IP6)


def joined(ranges: Iterable[tuple[int, int]]) -> Spans:
    """The ranges sorted; adjacent and overlapping ones are joined. IPv4 and IPv6 stay apart."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1 and low != IP6_BASE:
            if high > out[-1][1]:
                out[-1] = (out[-1][0], high)
        else:
            out.append((low, high))
    return tuple(out)


def common(first: Spans, second: Spans) -> Spans:
    """The numbers in both. O(first + second)."""
    if len(first) == 1 and len(second) == 1:  # the usual case
        low, high = max(first[0][0], second[0][0]), min(first[0][1], second[0][1])
        return ((low, high),) if low <= high else ()
    if _alike(first, second):
        return first
    if len(first) > len(second):
        first, second = second, first
    if first and 8 * len(first) < len(second):
        return _looked_up(first, second)
    out: list[tuple[int, int]] = []
    one, two = 0, 0
    while one < len(first) and two < len(second):
        low, high = max(first[one][0], second[two][0]), min(first[one][1], second[two][1])
        if low <= high:
            out.append((low, high))
        if first[one][1] < second[two][1]:
            one += 1
        else:
            two += 1
    return tuple(out)


def meet(first: Spans, second: Spans) -> bool:
    """True where a number is in both. It stops at the first one."""
    one, two = 0, 0
    while one < len(first) and two < len(second):
        if max(first[one][0], second[two][0]) <= min(first[one][1], second[two][1]):
            return True
        if first[one][1] < second[two][1]:
            one += 1
        else:
            two += 1
    return False


def _alike(first: Spans, second: Spans) -> bool:
    """True where long lists are the same one, as a blocklist often is."""
    return first is second or (len(first) == len(second) > 64 and first == second)


def _looked_up(few: Spans, many: Spans) -> Spans:
    """``common`` for a long second list: a blocklist has 100,000 ranges."""
    if few[0][0] <= many[0][0] and many[-1][1] <= few[0][1]:
        return many
    out: list[tuple[int, int]] = []
    for low, high in few:
        at = bisect_left(many, low, key=lambda span: span[1])
        while at < len(many) and many[at][0] <= high:
            out.append((max(low, many[at][0]), min(high, many[at][1])))
            at += 1
    return tuple(out)


def without(spans: Spans, others: Spans) -> Spans:
    """The numbers of ``spans`` that are not in ``others``. O(spans + others)."""
    if _alike(spans, others):
        return ()
    out: list[tuple[int, int]] = []
    at = 0
    for low, high in spans:
        while at < len(others) and others[at][1] < low:
            at += 1
        start, here = low, at
        while here < len(others) and others[here][0] <= high:
            if others[here][0] > start:
                out.append((start, others[here][0] - 1))
            start = others[here][1] + 1
            here += 1
        if start <= high:
            out.append((start, high))
    return tuple(out)


def has(spans: Spans, number: int) -> bool:
    """True where the number is in one of the ranges. O(log n)."""
    at = bisect_left(spans, number, key=lambda span: span[1])
    return at < len(spans) and spans[at][0] <= number


def number_of(address: IPAddress) -> int:
    """The place of an address on the line of both families."""
    return int(address) if address.version == 4 else IP6_BASE + int(address)


def address_of(number: int) -> IPAddress:
    """The address at this place."""
    return IPv4Address(number) if number < IP6_BASE else IPv6Address(number - IP6_BASE)


def addresses_of(nets: Iterable[IPNetwork]) -> Spans:
    """The addresses of these prefixes."""
    return joined((number_of(net.network_address), number_of(net.broadcast_address)) for net in nets)
