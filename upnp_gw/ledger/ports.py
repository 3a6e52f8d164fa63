"""Which external port a mapping gets: the one asked for, or where the protocol lets the gateway choose, the nearest
permitted one that is free (IGD section 6.4, RFC 6886 section 3.3, RFC 6887 section 11.3)."""

from collections.abc import Callable, Iterator
from random import Random

from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.model import Transport


def permits(ranges: PortRanges, port: int) -> bool:
    return any(low <= port <= high for low, high in ranges)


def upward(ranges: PortRanges, start: int) -> Iterator[int]:
    """Every permitted port once, from ``start`` upwards and round to the lowest."""
    for low, high in ranges:
        yield from range(max(low, start), high + 1)
    for low, high in ranges:
        yield from range(low, min(high, start - 1) + 1)


def choose(
    transport: Transport,
    asked: int,
    ranges: PortRanges,
    external: External,
    free: Callable[[int], bool],
    random: Random,
) -> int | None:
    """A permitted free port; None where there is none. ``asked`` 0: any.

    A UDP port keeps its parity, and one whose even or odd companion is taken is left for later: RTP and RTCP come
    in pairs (RFC 4787 REQ-3 and REQ-4). That is a wish for ports of our choosing, never a reason to refuse.
    """
    if asked and external is not External.ANY and permits(ranges, asked) and free(asked):
        return asked
    if asked and external is External.SAME:
        return None
    if not ranges:
        return None
    start = asked if asked and external is not External.ANY else random.randint(ranges[0][0], ranges[-1][1])
    second_best: int | None = None
    for port in upward(ranges, start):
        if not free(port):
            continue
        parity_kept = transport is Transport.TCP or not asked or port % 2 == asked % 2
        if parity_kept and (transport is Transport.TCP or free(port ^ 1)):
            return port
        if second_best is None:
            second_best = port
    return second_best
