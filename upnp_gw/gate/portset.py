"""Operations on sets of transport ports: sorted, disjoint, inclusive ranges (``PortRanges``)."""

from collections.abc import Iterable

from upnp_gw.gate.decision import PortRanges

ALL_PORTS: PortRanges = ((1, 65535),)
UNPRIVILEGED: PortRanges = ((1024, 65535),)


def normalized(ranges: Iterable[tuple[int, int]]) -> PortRanges:
    """The ranges sorted; adjacent and overlapping ones are joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def contains(ranges: PortRanges, port: int) -> bool:
    """True if the port is in one of the ranges. O(ranges)."""
    for low, high in ranges:
        if port < low:
            return False
        if port <= high:
            return True
    return False


def subtract(ranges: PortRanges, others: PortRanges) -> PortRanges:
    """The ports of ``ranges`` that are not in ``others``."""
    rest: list[tuple[int, int]] = []
    for low, high in ranges:
        start = low
        for first, last in others:
            if last < start:
                continue
            if first > high:
                break
            if first > start:
                rest.append((start, first - 1))
            start = last + 1
        if start <= high:
            rest.append((start, high))
    return tuple(rest)


def intersection(ranges: PortRanges, others: PortRanges) -> PortRanges:
    """The ports in both."""
    return subtract(ranges, subtract(ALL_PORTS, others))


def includes(ranges: PortRanges, others: PortRanges) -> bool:
    """True where every port of ``others`` is in ``ranges``."""
    return not subtract(others, ranges)
