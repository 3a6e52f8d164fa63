"""Hours, day by day and minute by minute."""

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.examples import examples
from upnp_gw.gate.hours import DAY_MIN, EVERY_DAY, HOLIDAY, Calendar, Hours, Window, days_text

CHRISTMAS = date(2026, 12, 25)  # a Friday
CALENDAR = Calendar(frozenset({CHRISTMAS, date(2026, 12, 26)}), frozenset({(1, 1)}))

windows = st.builds(
    Window,
    st.frozensets(st.integers(0, HOLIDAY), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
).filter(lambda window: window.start != window.end)
all_hours = st.builds(Hours, st.lists(windows, min_size=1, max_size=3).map(tuple))

moments = st.datetimes(datetime(2026, 12, 20), datetime(2027, 1, 5))  # noqa: DTZ001 - local time


def kinds(day: date) -> tuple[int, int]:
    return CALENDAR.kind(day.toordinal()), CALENDAR.kind(day.toordinal() - 1)


def by_hand(hours: Hours, at: datetime) -> bool:
    """True if a window that began today or yesterday is still open."""
    for window in hours.windows:
        for begin_day in (at.date(), at.date() - timedelta(days=1)):
            if CALENDAR.kind(begin_day.toordinal()) not in window.days:
                continue
            begin = datetime.combine(begin_day, datetime.min.time()) + timedelta(minutes=window.start)
            length = window.end - window.start + (DAY_MIN if window.end < window.start else 0)
            if begin <= at < begin + timedelta(minutes=length):
                return True
    return False


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        (date(2026, 12, 21), 0),
        (date(2026, 12, 24), 3),
        (CHRISTMAS, HOLIDAY),
        (date(2026, 12, 26), HOLIDAY),
        (date(2026, 12, 27), 6),
        (date(2027, 1, 1), HOLIDAY),
        (date(2027, 12, 25), 5),
    ],
)
def test_a_holiday_is_no_day_of_the_week(day: date, kind: int) -> None:
    assert CALENDAR.kind(day.toordinal()) == kind


@examples(200)
@given(all_hours, moments)
def test_a_window_belongs_to_the_day_on_which_it_begins(hours: Hours, at: datetime) -> None:
    minute = at.hour * 60 + at.minute
    assert hours.holds(minute, *kinds(at.date())) == by_hand(hours, at)
    assert any(first <= minute <= last for first, last in hours.minutes_of(*kinds(at.date()))) == by_hand(hours, at)


@examples(60)
@given(all_hours, moments)
def test_the_next_change_is_the_first_minute_that_is_different(hours: Hours, at: datetime) -> None:
    at = at.replace(second=0, microsecond=0)
    change = hours.changes_in_min(at.date().toordinal(), at.hour * 60 + at.minute, CALENDAR)
    now = by_hand(hours, at)
    if change is None:
        assert hours.constant
        return
    assert change > 0
    for later in {1, change // 2, change - 1} - {0, change}:
        if 0 < later < change:
            assert by_hand(hours, at + timedelta(minutes=later)) == now
    ahead = at + timedelta(minutes=change)
    assert by_hand(hours, ahead) != now or (ahead.hour, ahead.minute) == (0, 0)


def test_whole_days_never_change() -> None:
    whole = Hours((Window(EVERY_DAY, 0, 1440),))
    assert whole.constant
    assert whole.changes_in_min(CHRISTMAS.toordinal(), 5, CALENDAR) is None
    two = Hours((Window(EVERY_DAY, 0, 720), Window(EVERY_DAY, 720, 1440)))
    assert two.constant
    nights = Hours((Window(EVERY_DAY, 720, 600), Window(EVERY_DAY, 600, 720)))
    assert nights.constant


def test_windows_that_touch_over_midnight_are_one() -> None:
    hours = Hours((Window(frozenset({4}), 1200, 1440), Window(frozenset({5}), 0, 60)))
    friday = date(2026, 12, 18).toordinal()
    assert hours.changes_in_min(friday, 1300, Calendar()) == 1440 - 1300 + 60


@pytest.mark.parametrize(
    ("days", "text"),
    [
        ({0, 1, 2, 3, 4}, "mon-fri"),
        ({5, 6, HOLIDAY}, "sat-sun,holidays"),
        ({0, 2, 4}, "mon,wed,fri"),
        ({HOLIDAY}, "holidays"),
    ],
)
def test_days_are_shown_as_the_file_has_them(days: set[int], text: str) -> None:
    assert days_text(frozenset(days)) == text


def test_hours_are_shown_as_the_file_has_them() -> None:
    hours = Hours((Window(EVERY_DAY, 360, 1380), Window(frozenset({5}), 1320, 90)))
    assert str(hours) == "06:00-23:00, sat 22:00-01:30"
