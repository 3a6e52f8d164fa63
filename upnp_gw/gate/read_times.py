"""Reads hours, holidays and the moment of a test. Each function raises a ``ConfigError`` with the key path."""

import re
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from upnp_gw.gate.hours import DAY_MIN, DAYS, EVERY_DAY, HOLIDAY, Calendar, Hours, Window
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.errors import ConfigError

NOON = 12 * 60
PLAIN_DAY = date(2001, 1, 1).toordinal()
"""A Monday. A test without a date is on the first Monday from here on that is no holiday, nor is the day before."""

_HOURS = re.compile(r"(?:([a-z,-]+) )?([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_DAYS_ALONE = re.compile(r"[a-z,-]+")
_MOMENT = re.compile(r"(?:(?:([0-9]{4}-[0-9]{2}-[0-9]{2})|([a-z]+)) )?([0-9]{2}):([0-9]{2})")
_YEARLY = re.compile(r"([0-9]{2})-([0-9]{2})")


def read_hours(texts: str | list[str], place: KeyPath) -> Hours:
    """``mon-fri 06:00-23:00``, or a list of such texts. From later than until: across midnight; 24:00 only as an
    end."""
    if isinstance(texts, str):
        return Hours((_window(texts, place),))
    if not texts:
        raise place.empty("; leave it out for always, or name hours")
    return Hours(tuple(_window(text, place.at(index)) for index, text in enumerate(texts)))


def _window(text: str, place: KeyPath) -> Window:
    if _DAYS_ALONE.fullmatch(text):
        return Window(_days(text, place, text), 0, DAY_MIN)
    match = _HOURS.fullmatch(text)
    if not match:
        raise place.wrong(text)
    start, end = minute_of(match[2], match[3]), minute_of(match[4], match[5])
    if start is None or end is None or start in (DAY_MIN, end):
        raise place.wrong(text)
    return Window(EVERY_DAY if match[1] is None else _days(match[1], place, text), start, end)


def _days(words: str, place: KeyPath, text: str) -> frozenset[int]:
    """``mon-fri,holidays`` -> kinds of day. A range may go over the end of the week."""
    days: set[int] = set()
    for word in words.split(","):
        first, _, last = word.partition("-")
        if word not in DAYS and not (first in DAYS[:HOLIDAY] and last in DAYS[:HOLIDAY]):
            raise place.wrong(text)
        low, high = DAYS.index(first), DAYS.index(last or first)
        days |= {low} if low == high else {(low + step) % 7 for step in range((high - low) % 7 + 1)}
    return frozenset(days)


def minute_of(hour: str, minute: str) -> int | None:
    """Minutes since midnight, 0 to 1440 (24:00); None: no such time."""
    value = int(hour) * 60 + int(minute)
    return value if int(minute) < 60 and value <= DAY_MIN else None


def read_holidays(entries: Sequence[object], place: KeyPath) -> Calendar:
    """Dates, and ``MM-DD`` of every year."""
    dates: set[date] = set()
    yearly: set[tuple[int, int]] = set()
    for index, entry in enumerate(entries):
        match = _YEARLY.fullmatch(entry) if isinstance(entry, str) else None
        if match and _is_day(int(match[1]), int(match[2])):
            yearly.add((int(match[1]), int(match[2])))
        elif type(entry) is date:  # a time with a date is a date too
            dates.add(entry)
        else:
            raise place.at(index).wrong(entry)
    return Calendar(frozenset(dates), frozenset(yearly))


def _is_day(month: int, day: int) -> bool:
    try:
        return bool(date(2000, month, day))  # a leap year
    except ValueError:
        return False


class Moment(NamedTuple):
    """A minute of a day."""

    today: int
    """As of ``date.toordinal``."""
    minute: int
    dated: bool = False
    """It was given with its date."""


def read_moment(text: str | None, calendar: Calendar, place: KeyPath) -> Moment:
    """``12:30``, ``sat 12:30``, ``holidays 12:30`` or ``2026-12-25 12:30``; None: noon."""
    if text is None:
        return Moment(day_like(0, calendar), NOON)
    match = _MOMENT.fullmatch(text)
    minute = minute_of(match[3], match[4]) if match else None
    if match is None or minute is None or minute == DAY_MIN:
        raise place.wrong(text)
    if match[1] is not None:
        try:
            return Moment(date.fromisoformat(match[1]).toordinal(), minute, True)
        except ValueError:
            raise place.wrong(text) from None
    kind = DAYS.index(match[2]) if match[2] in DAYS else 0 if match[2] is None else None
    if kind is None:
        raise place.wrong(text)
    day = day_like(kind, calendar)
    if calendar.kind(day) != kind:
        raise ConfigError(place.where, place.key, f'"{text}": no such day; add holidays = ["12-25"]')
    return Moment(day, minute)


def day_like(kind: int, calendar: Calendar) -> int:
    """The first day of this kind after a day that is no holiday, from 2001 on; a Monday where there is none."""
    last = max((day.year for day in calendar.dates), default=2001) + 1
    for day in range(PLAIN_DAY, date(max(last, 2002), 12, 31).toordinal()):
        if calendar.kind(day) == kind and calendar.kind(day - 1) != HOLIDAY:
            return day
    return PLAIN_DAY
