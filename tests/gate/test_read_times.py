"""Hours, holidays and moments of the policy file."""

from datetime import date

import pytest

from tests.fixtures.policies import TODAY, policy_of
from upnp_gw.gate.hours import EVERY_DAY, HOLIDAY, Calendar, Hours, Window
from upnp_gw.gate.load import load_text
from upnp_gw.gate.read_times import PLAIN_DAY, day_like, read_hours, read_moment
from upnp_gw.gate.values import KeyPath
from upnp_gw.model.errors import ConfigError

PLACE = KeyPath("policy.toml", "grant[0].hours")
WEEK = frozenset(range(5))
GRANT = '[[grant]]\nname = "g"\nwho = "*"\n'


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("06:00-23:00", EVERY_DAY, 360, 1380),
        ("00:00-24:00", EVERY_DAY, 0, 1440),
        ("mon-fri 22:00-06:00", WEEK, 1320, 360),
        ("sat", frozenset({5}), 0, 1440),
        ("sat-sun,holidays 09:00-10:00", frozenset({5, 6, HOLIDAY}), 540, 600),
        ("fri-mon", frozenset({4, 5, 6, 0}), 0, 1440),
        ("mon,wed 08:00-09:00", frozenset({0, 2}), 480, 540),
        ("mon-mon 08:00-09:00", frozenset({0}), 480, 540),
    ],
)
def test_hours_are_read(text: str, days: frozenset[int], start: int, end: int) -> None:
    assert read_hours(text, PLACE) == Hours((Window(days, start, end),))


@pytest.mark.parametrize(
    "text",
    ["", "6-23", "06:00-06:00", "24:00-06:00", "moon 06:00-07:00", "mon-holidays", "mon,", "-fri",
     "mon  06:00-07:00", "holidays-sun", "Mon 06:00-07:00", "mon-", "06:00", "mon 06:00"],
)  # fmt: skip
def test_what_is_no_hours_gets_the_accepted_ones(text: str) -> None:
    with pytest.raises(ConfigError, match="HH:MM-HH:MM"):
        read_hours(text, PLACE)


def test_a_list_of_hours_is_their_union_and_an_empty_one_a_mistake() -> None:
    grant = policy_of(GRANT + 'hours = ["mon 06:00-07:00", "tue 08:00-09:00"]').grants[0]
    assert grant.hours is not None
    assert len(grant.hours.windows) == 2
    with pytest.raises(ConfigError, match="empty; leave it out for always"):
        policy_of(GRANT + "hours = []")


def test_holidays_are_dates_and_days_of_every_year() -> None:
    calendar = policy_of('holidays = [2026-12-25, "01-01", "02-29"]').calendar
    assert calendar == Calendar(frozenset({date(2026, 12, 25)}), frozenset({(1, 1), (2, 29)}))


@pytest.mark.parametrize("entry", ['"13-01"', '"02-30"', "3", "2026-12-25T10:00:00", '"2026-12-25"', "true"])
def test_what_is_no_holiday_gets_the_accepted_ones(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"holidays\[0\].*accepted: a list of dates"):
        load_text(f"version = 1\nholidays = [{entry}]", "policy.toml", TODAY)


@pytest.mark.parametrize(
    ("text", "kind", "minute"),
    [(None, 0, 720), ("06:30", 0, 390), ("sat 23:59", 5, 1439), ("holidays 08:00", HOLIDAY, 480)],
)
def test_a_moment_is_on_a_day_of_that_kind(text: str | None, kind: int, minute: int) -> None:
    calendar = Calendar(yearly=frozenset({(1, 1), (12, 25)}))
    moment = read_moment(text, calendar, PLACE)
    assert (calendar.kind(moment.today), moment.minute, moment.dated) == (kind, minute, False)
    assert calendar.kind(moment.today - 1) != HOLIDAY


def test_a_moment_can_be_a_date() -> None:
    moment = read_moment("2026-12-25 12:30", Calendar(), PLACE)
    assert moment == (date(2026, 12, 25).toordinal(), 750, True)


@pytest.mark.parametrize("text", ["24:00", "12", "moon 12:00", "2026-02-30 12:00", "2026-12-25", "holidays 12:00"])
def test_what_is_no_moment_is_a_mistake(text: str) -> None:
    with pytest.raises(ConfigError):
        read_moment(text, Calendar(), PLACE)


def test_without_holidays_the_day_of_a_test_is_a_monday() -> None:
    assert day_like(0, Calendar()) == PLAIN_DAY
    assert date.fromordinal(PLAIN_DAY).weekday() == 0
