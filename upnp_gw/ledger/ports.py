"""Which external port a mapping gets: the one asked for, or where the protocol lets the gateway choose, one near it
that is permitted and free (IGD section 6.4, RFC 6886 section 3.3, RFC 6887 section 11.3)."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from random import Random

from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.model.mapping import Transport

NEAR = 64
"""Ports looked at in turn from the one asked for; then as many anywhere. So a long row of taken ports costs no more
than a short one (SR-22), and only where nearly all are taken every one is looked at."""


def permits(ranges: PortRanges, port: int) -> bool:
    return any(low <= port <= high for low, high in ranges)


def ports_upward(ranges: PortRanges, start: int) -> Iterator[int]:
    """Every permitted port once, from ``start`` upwards and round to the lowest."""
    for low, high in ranges:
        yield from range(max(low, start), high + 1)
    for low, high in ranges:
        yield from range(low, min(high, start - 1) + 1)


def random_ports(ranges: PortRanges, random: Random) -> Iterator[int]:
    """Permitted ports without end, each as likely as any other."""
    size = sum(high - low + 1 for low, high in ranges)
    while True:
        place = random.randrange(size)
        for low, high in ranges:
            if place <= high - low:
                yield low + place
                break
            place -= high - low + 1


def choose_port(
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

    def first(ports: Iterable[int]) -> int | None:
        return _first_free(ports, transport, asked, free)

    near = first(chain(islice(ports_upward(ranges, start), NEAR), islice(random_ports(ranges, random), NEAR)))
    return near if near is not None else first(ports_upward(ranges, start))


def _first_free(ports: Iterable[int], transport: Transport, asked: int, free: Callable[[int], bool]) -> int | None:
    """The first free TCP port; the first free UDP port with the parity of ``asked`` and a free companion, else the
    first free one."""
    second_best: int | None = None
    for port in ports:
        if not free(port):
            continue
        if transport is Transport.TCP:
            return port
        parity_kept = not asked or port % 2 == asked % 2
        if parity_kept and free(port ^ 1):
            return port
        if second_best is None:
            second_best = port
    return second_best
