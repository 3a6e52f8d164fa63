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
def days_of(calendars: tuple[Calendar, ...], ahead: int = 0) -> tuple[Day, ...]:
    """Every kind of day that there is by these calendars. ``ahead``: days after it whose kinds count as well."""
    found: dict[tuple[tuple[int, ...], ...], int] = {}
    for ordinal in _ordinals(calendars, ahead):
        kinds = tuple(
            (calendar.kind(ordinal), *(calendar.kind(ordinal + more) for more in (-1, *range(1, ahead + 1))))
            for calendar in calendars
        )
        found.setdefault(kinds, ordinal)
    return tuple(Day(ordinal, tuple((one[0], one[1]) for one in kinds)) for kinds, ordinal in sorted(found.items()))


def _ordinals(calendars: tuple[Calendar, ...], ahead: int) -> Iterator[int]:
    """Ordinary days, the holidays, and the days around them."""
    holidays = any(calendar.dates or calendar.yearly for calendar in calendars)
    yield from range(FIRST, FIRST + (LONGEST if holidays else 7))
    for calendar in calendars:
        for day in calendar.dates:
            yield from range(day.toordinal() - ahead, day.toordinal() + 2)
        for year in CYCLE if calendar.yearly else ():
            for month, number in calendar.yearly:
                if (month, number) != (2, 29) or year % 4 == 0:
                    ordinal = date(year, month, number).toordinal()
                    yield from range(ordinal - ahead, ordinal + 2)
