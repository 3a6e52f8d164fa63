"""``hours`` of a rule: windows of the local day, with days of the week and holidays. Pure.

Each date is one of eight kinds of day: a day of the week, or a holiday, which then is no day of the week. A window
belongs to the day on which it begins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from upnp_gw.model.mapping import DAY_S

DAY_MIN = DAY_S // 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holidays")
"""Kinds of day, by their number."""
HOLIDAY = 7
EVERY_DAY = frozenset(range(len(DAYS)))
Minutes = tuple[tuple[int, int], ...]
"""Minutes of a day, 0 to 1439: ranges with both ends."""
LOOK_DAYS = 9
"""Days that ``changes_in_min`` looks at: longer than a week. What does not change in them is asked again then."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The holidays of a policy."""

    dates: frozenset[date] = frozenset()
    yearly: frozenset[tuple[int, int]] = frozenset()
    """Month and day."""

    def kind(self, ordinal: int) -> int:
        """The kind of a day, 0 (Monday) to 7 (a holiday). ``ordinal``: as of ``date.toordinal``."""
        if (self.dates or self.yearly) and ordinal > 0:
            day = date.fromordinal(ordinal)
            if day in self.dates or (day.month, day.day) in self.yearly:
                return HOLIDAY
        return (ordinal - 1) % 7


NO_HOLIDAYS = Calendar()


@dataclass(frozen=True, slots=True)
class Window:
    """From a minute of each of these days until another one: of the next day, if it is earlier."""

    days: frozenset[int]
    """Kinds of day on which it begins."""
    start: int
    """0 to 1439."""
    end: int
    """1 to 1440, or earlier than ``start``; not equal to it."""

    def minutes_of(self, today: int, yesterday: int) -> Iterator[tuple[int, int]]:
        """Its minutes of a day, as ranges with both ends. The arguments are kinds of day."""
        overnight = self.end < self.start
        if overnight and self.end and yesterday in self.days:
            yield 0, self.end - 1
        if today in self.days:
            yield self.start, DAY_MIN - 1 if overnight else self.end - 1


class DayTable:
    """The minutes of hours for each kind of day. It is made of the windows, and no part of a digest."""

    __slots__ = ("minutes",)

    def __init__(self, minutes: Mapping[tuple[int, int], Minutes]) -> None:
        """``minutes``: kinds of day, of today and of yesterday -> its minutes."""
        self.minutes = minutes

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Hours:
    """It holds while one of its windows does."""

    windows: tuple[Window, ...]
    constant: bool = field(init=False, compare=False, repr=False)
    """True where they hold at every minute of every kind of day."""
    days: DayTable = field(init=False, compare=False, repr=False)
    """For speed."""

    def __post_init__(self) -> None:
        days = ((day, before) for day in EVERY_DAY for before in EVERY_DAY)
        table = DayTable({both: self._minutes_of(*both) for both in days})
        whole = all(minutes == ((0, DAY_MIN - 1),) for minutes in table.minutes.values())
        object.__setattr__(self, "days", table)
        object.__setattr__(self, "constant", whole)

    def holds(self, minute: int, today: int, yesterday: int) -> bool:
        """True at this minute of the day, 0 to 1439. The other arguments are kinds of day."""
        return any(first <= minute <= last for first, last in self.days.minutes[today, yesterday])

    def minutes_of(self, today: int, yesterday: int) -> Minutes:
        """All its minutes of a day: sorted ranges with both ends, which do not touch."""
        return self.days.minutes[today, yesterday]

    def _minutes_of(self, today: int, yesterday: int) -> Minutes:
        found = sorted(span for window in self.windows for span in window.minutes_of(today, yesterday))
        joined: list[tuple[int, int]] = []
        for first, last in found:
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = joined[-1][0], max(joined[-1][1], last)
            else:
                joined.append((first, last))
        return tuple(joined)

    def changes_in_min(self, ordinal: int, minute: int, calendar: Calendar) -> int | None:
        """Minutes from the begin of this minute until the hours begin or end, whichever is next; None: never.

        A change that is more than ``LOOK_DAYS`` away is said to be at the end of these days.
        """
        if self.constant:
            return None
        now = self.holds(minute, calendar.kind(ordinal), calendar.kind(ordinal - 1))
        for later in range(LOOK_DAYS):
            day = ordinal + later
            spans = self.minutes_of(calendar.kind(day), calendar.kind(day - 1))
            begin = minute if not later else 0
            change = first_change(spans, begin, now)
            if change is not None:
                return later * DAY_MIN + change - minute
        return LOOK_DAYS * DAY_MIN - minute

    def __str__(self) -> str:
        return ", ".join(window_text(window) for window in self.windows)


def first_change(spans: Minutes, begin: int, now: bool) -> int | None:
    """The first minute of a day, from ``begin`` on, at which the hours are not as they are now; None: there is
    none."""
    minute = begin
    for first, last in spans:
        if last < minute:
            continue
        if not now:
            return max(first, minute)
        if first > minute:
            return minute
        minute = last + 1
    return minute if now and minute < DAY_MIN else None


def window_text(window: Window) -> str:
    """A window as the policy file has it: ``mon-fri,holidays 15:00-21:00``."""
    clock = f"{_clock(window.start)}-{_clock(window.end)}"
    return clock if window.days == EVERY_DAY else f"{days_text(window.days)} {clock}"


def days_text(days: frozenset[int]) -> str:
    """Kinds of day as the policy file has them: ``mon-fri,holidays``."""
    parts: list[str] = []
    weekdays = sorted(days - {HOLIDAY})
    while weekdays:
        run = [day for at, day in enumerate(weekdays) if day == weekdays[0] + at]
        parts.append(DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}")
        weekdays = weekdays[len(run) :]
    return ",".join([*parts, *([DAYS[HOLIDAY]] if HOLIDAY in days else [])])


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
