"""The kinds of days that calendars can tell apart: a rule reads the kinds of today and of yesterday."""

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from upnp_gw.gate.hours import Calendar

FIRST = date(2001, 1, 1).toordinal()
"""A Monday."""
CYCLE = range(2001, 2029)
"""Years in which each date is on each day of the week, 29 February too."""
LONGEST = 3 * 366
"""Days in which an ordinary week is looked for."""


class Day(NamedTuple):
    """One kind of day."""

    ordinal: int
    """A day of this kind, as of ``date.toordinal``."""
    kinds: tuple[tuple[int, int], ...]
    """For each calendar (kind of today, kind of yesterday)."""


@lru_cache(maxsize=8)
def days_of(calendars: tuple[Calendar, ...]) -> tuple[Day, ...]:
    """Every kind of day that there is by these calendars."""
    found: dict[tuple[tuple[int, int], ...], int] = {}
    for ordinal in _ordinals(calendars):
        kinds = tuple((calendar.kind(ordinal), calendar.kind(ordinal - 1)) for calendar in calendars)
        found.setdefault(kinds, ordinal)
    return tuple(Day(ordinal, kinds) for kinds, ordinal in sorted(found.items()))


def _ordinals(calendars: tuple[Calendar, ...]) -> Iterator[int]:
    """Ordinary days, the holidays, and the days after them."""
    holidays = any(calendar.dates or calendar.yearly for calendar in calendars)
    yield from range(FIRST, FIRST + (LONGEST if holidays else 7))
    for calendar in calendars:
        for day in calendar.dates:
            yield from (day.toordinal(), day.toordinal() + 1)
        for year in CYCLE if calendar.yearly else ():
            for month, number in calendar.yearly:
                if (month, number) != (2, 29) or year % 4 == 0:
                    ordinal = date(year, month, number).toordinal()
                    yield from (ordinal, ordinal + 1)
