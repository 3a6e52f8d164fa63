"""Sets of whole numbers as ranges: ports, addresses, protocol numbers. Exact. Pure."""

from bisect import bisect_right
from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]
"""First and last number of each range, in order. No two overlap or touch."""
_BEYOND = 1 << 129
"""More than any address."""


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


def without(one: Ranges, other: Ranges) -> Ranges:
    """The numbers of ``one`` that are not in ``other``."""
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
    return one == other or not without(one, other)


def only(one: Ranges) -> int | None:
    """The number of a set that has one; None: it has none or several."""
    return one[0][0] if len(one) == 1 and one[0][0] == one[0][1] else None


def size(one: Ranges) -> int:
    """The count of its numbers."""
    return sum(last - first + 1 for first, last in one)
