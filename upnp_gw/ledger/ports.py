"""Choice of the external port: the requested one, or if the protocol lets the gateway choose, a permitted free port
near it (IGD section 6.4, RFC 6886 section 3.3, RFC 6887 section 11.3)."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from random import Random

from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.model.mapping import Transport

NEAR = 64
"""Ports tried in turn from the requested one; then as many at random. So a long row of occupied ports costs no more
than a short one (SR-22). Every port is tried only if nearly all are occupied."""


def permits(ranges: PortRanges, port: int) -> bool:
    """True if the port is in one of the ranges."""
    return any(low <= port <= high for low, high in ranges)


def ports_upward(ranges: PortRanges, start: int) -> Iterator[int]:
    """Every permitted port once, from ``start`` upwards, then from the lowest."""
    for low, high in ranges:
        yield from range(max(low, start), high + 1)
    for low, high in ranges:
        yield from range(low, min(high, start - 1) + 1)


def random_ports(ranges: PortRanges, random: Random) -> Iterator[int]:
    """Random permitted ports without end, each equally likely."""
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
    requested: int,
    ranges: PortRanges,
    external: External,
    free: Callable[[int], bool],
    random: Random,
) -> int | None:
    """A permitted free port; None: there is none. ``requested``: 0 for any.

    A chosen UDP port preferably has the parity of the requested one and a free companion port (even and odd), since
    RTP and RTCP come in pairs (RFC 4787 REQ-3 and REQ-4). This is no reason to refuse.
    """
    if requested and external is not External.ANY and permits(ranges, requested) and free(requested):
        return requested
    if requested and external is External.SAME:
        return None
    if not ranges:
        return None
    start = requested if requested and external is not External.ANY else random.randint(ranges[0][0], ranges[-1][1])

    def first(ports: Iterable[int]) -> int | None:
        return _first_free(ports, transport, requested, free)

    near = first(chain(islice(ports_upward(ranges, start), NEAR), islice(random_ports(ranges, random), NEAR)))
    return near if near is not None else first(ports_upward(ranges, start))


def _first_free(
    ports: Iterable[int], transport: Transport, requested: int, free: Callable[[int], bool]
) -> int | None:
    """The first free TCP port. For UDP the first free port with the parity of ``requested`` and a free companion,
    else the first free one."""
    second_best: int | None = None
    for port in ports:
        if not free(port):
            continue
        if transport is Transport.TCP:
            return port
        parity_kept = not requested or port % 2 == requested % 2
        if parity_kept and free(port ^ 1):
            return port
        if second_best is None:
            second_best = port
    return second_best
