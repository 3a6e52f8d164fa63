"""Times and amounts as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from upnp_gw.page.formats import Formats, amount, endpoint, ports, text
from upnp_gw.page.rendering import Texts

NOW = datetime(2027, 5, 1, 12, 0, tzinfo=UTC)
FORMATS = Formats(Texts(), lambda: NOW)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (90061, "1 d 1 h"),
        (86460, "1 d"),
    ],
)
def test_durations(seconds: int, shown: str) -> None:
    assert FORMATS.duration(seconds) == shown
    assert FORMATS.duration(None) == ""


def test_ages_and_ends() -> None:
    assert FORMATS.ago(NOW - timedelta(seconds=2)) == "now"
    assert FORMATS.ago(NOW - timedelta(minutes=61)) == "1 h ago"
    assert FORMATS.ago(None) == "never"
    assert FORMATS.ahead(NOW + timedelta(days=3, hours=1)) == "in 3 d"
    assert FORMATS.ahead(NOW) == "now"
    assert FORMATS.ahead(None) == "no end"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9960, "10 kB"), (1_234_567, "1.2 MB"), (5 * 10**15, "5.0 PB")],
)
def test_amounts(number: int, shown: str) -> None:
    assert amount(number) == shown


def test_addresses_ports_and_foreign_text() -> None:
    assert endpoint("192.168.1.2", 80) == "192.168.1.2:80"
    assert endpoint("2001:db8::1", 80) == "[2001:db8::1]:80"
    assert ports([443, "8000-8010"]) == "443, 8000–8010"
    assert text("\u202ea\x1b") == "\\u202ea\\x1b"
    assert text(None) == ""
