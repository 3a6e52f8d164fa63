"""Amounts, times and endpoints as people write and read them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.cli import formats

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("15m", 900), ("4h", 14400), ("1h30m", 5400), ("7d", 604800)]
)
def test_durations_are_read(text: str, value: int) -> None:
    assert formats.parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "h", "-1", "4 h", "1.5h", "4w", "٤h", "1h30", "9" * 40])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        formats.parse_duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3550, "59m10s"), (14399, "3h59m"), (86400, "1d"), (2591999, "29d23h")],
)
def test_durations_are_short(value: int, text: str) -> None:
    assert formats.duration(value) == text


@given(st.integers(0, 10**8))
def test_a_duration_reads_back_within_its_smaller_unit(value: int) -> None:
    back = formats.parse_duration(formats.duration(value))
    assert 0 <= value - back < max(1, value * 0.05)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (1234567, "1.2M"), (34_000_000, "34M"), (999_600, "1.0M")],
)
def test_amounts_are_short(value: int, text: str) -> None:
    assert formats.count(value) == text


@given(st.integers(0, 10**17))
def test_an_amount_has_at_most_five_characters(value: int) -> None:
    assert len(formats.count(value)) <= 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2026-04-30T12:00:00Z", NOW - timedelta(days=1)),
        ("2026-04-30T14:00:00+02:00", NOW - timedelta(days=1)),
    ],
)
def test_since(text: str, value: datetime) -> None:
    assert formats.parse_time(text, NOW) == value


def test_since_when() -> None:
    with pytest.raises(ValueError, match="is not a time"):
        formats.parse_time("noon", NOW)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("192.168.1.23", ("192.168.1.23", None)),
        ("192.168.1.23:80", ("192.168.1.23", 80)),
        ("2001:DB8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
    ],
)
def test_endpoints_are_read(text: str, value: tuple[str, int | None]) -> None:
    assert formats.parse_endpoint(text) == value


@pytest.mark.parametrize(
    "text", ["", "nas", "1.2.3.4:", "1.2.3.4:x", "[::1", "::1]:80", "1.2.3.4:800000", "[1::2]80"]
)
def test_invalid_endpoints(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        formats.parse_endpoint(text)
