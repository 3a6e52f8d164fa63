"""Sets of whole numbers as ranges: ports, addresses, protocol numbers. Exact. Pure."""

from bisect import bisect_right
from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]
"""First and last number of each range, in order. No two overlap or touch."""
_BEYOND = 1 << 129
"""More than any address."""
LARGE = 256
"""Ranges of two sets together from which on a result is remembered: a block list is compared with each mapping."""
_remembered: dict[tuple[bool, int, int], tuple[Ranges, Ranges, Ranges]] = {}
"""Operation and identities of two large sets -> the sets, which keep their identities so long, and the result."""


def united(spans: Iterable[tuple[int, int]]) -> Ranges:
    """The numbers of all these spans."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            if last > found[-1][1]:
                found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return tuple(found)


def both(one: Ranges, other: Ranges) -> Ranges:
    """The numbers in both sets. Fast where one of the sets has few ranges."""
    return _large(True, one, other) if len(one) + len(other) > LARGE else _both(one, other)


def without(one: Ranges, other: Ranges) -> Ranges:
    """The numbers of ``one`` that are not in ``other``."""
    return _large(False, one, other) if len(one) + len(other) > LARGE else _without(one, other)


def _large(shared: bool, one: Ranges, other: Ranges) -> Ranges:
    at = shared, id(one), id(other)
    known = _remembered.get(at)
    if known is None:
        found = _both(one, other) if shared else _without(one, other)
        known = _remembered[at] = one, other, one if same(found, one) else found
    return known[2]


def forget() -> None:
    """Forgets results about large sets. Call it at the end of a piece of work."""
    _remembered.clear()


def same(one: Ranges, other: Ranges) -> bool:
    """True if they are equal; fast for large sets that differ."""
    return one is other or (len(one) == len(other) and one == other)


def _both(one: Ranges, other: Ranges) -> Ranges:
    if len(one) > len(other):
        one, other = other, one
    found: list[tuple[int, int]] = []
    for first, last in one:
        at = max(0, bisect_right(other, (first, _BEYOND)) - 1)
        while at < len(other) and other[at][0] <= last:
            low, high = max(first, other[at][0]), min(last, other[at][1])
            if low <= high:
                found.append((low, high))
            at += 1
    return tuple(found)


def _without(one: Ranges, other: Ranges) -> Ranges:
    found: list[tuple[int, int]] = []
    for first, last in one:
        at = max(0, bisect_right(other, (first, _BEYOND)) - 1)
        while at < len(other) and other[at][0] <= last:
            low, high = other[at]
            if first < low:
                found.append((first, low - 1))
            first = max(first, high + 1)
            at += 1
        if first <= last:
            found.append((first, last))
    return tuple(found)


def inside(one: Ranges, other: Ranges) -> bool:
    """True if every number of ``one`` is in ``other``."""
    return same(one, other) or not without(one, other)


def only(one: Ranges) -> int | None:
    """The number of a set that has one; None: it has none or several."""
    return one[0][0] if len(one) == 1 and one[0][0] == one[0][1] else None


def size(one: Ranges) -> int:
    """The count of its numbers."""
    if len(one) == 1:
        return one[0][1] - one[0][0] + 1
    return sum(last - first + 1 for first, last in one)
