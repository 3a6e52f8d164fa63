"""The times at which a client retransmits and renews. Pure: the random source is an argument.

NAT-PMP: 250 ms, doubling, nine times (RFC 6886 section 3.1). PCP: 3 s, doubling up to 1024 s, each within 10 %
(RFC 6887 section 8.1.1); renewals at half of the remaining lifetime (section 11.2.1).
"""

from collections.abc import Callable, Iterator

Uniform = Callable[[float, float], float]
"""A random number between two bounds: ``random.uniform``."""

NATPMP_FIRST_S, NATPMP_TRIES = 0.25, 9
PCP_FIRST_S, PCP_LONGEST_S, PCP_SPREAD = 3.0, 1024.0, 0.1
RENEW_LEAST_S = 4.0
"""Shortest time between two renewals, seconds (RFC 6887 section 11.2.1)."""
RECOVER_MOST_S = 5.0
"""Longest random wait before lost mappings are requested again, seconds (RFC 6886 section 3.6, RFC 6887 section
8.5)."""


def natpmp_waits() -> Iterator[float]:
    """Seconds to wait for an answer after each transmission. After the last one there is no gateway."""
    for attempt in range(NATPMP_TRIES):
        yield NATPMP_FIRST_S * 2**attempt


def pcp_waits(uniform: Uniform) -> Iterator[float]:
    """The same for PCP. Endless."""
    wait = (1 + uniform(-PCP_SPREAD, PCP_SPREAD)) * PCP_FIRST_S
    while True:
        yield wait
        wait = (1 + uniform(-PCP_SPREAD, PCP_SPREAD)) * min(2 * wait, PCP_LONGEST_S)


def renew_in(lifetime_s: float, failures: int, uniform: Uniform) -> float:
    """Seconds from the grant to the next renewal: between 1/2 and 5/8 of the lifetime. After each failed renewal
    half of the remaining time: 3/4, 7/8 and so on, with half the random spread."""
    part = 1 - 0.5 ** (failures + 1)
    return max(RENEW_LEAST_S * (failures + 1), lifetime_s * (part + uniform(0, 0.125 * 0.5**failures)))


def recover_in(uniform: Uniform) -> float:
    """Seconds until a client requests lost mappings again. Random, so that not all clients do it at once."""
    return uniform(0, RECOVER_MOST_S)
