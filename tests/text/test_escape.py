"""Client text on a terminal (SR-21)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.text.escape import SHOWN_MAX, cut, shown, width

CASES = [
    ("Transmission at 51413", "Transmission at 51413"),
    ("Grüße 日本", "Grüße 日本"),
    ("\x1b]0;owned\x07\x1b[2J", r"\x1b]0;owned\x07\x1b[2J"),
    ("a\r\nm99  tcp/22", r"a\x0d\x0am99  tcp/22"),
    ("\x9b31m", r"\x9b31m"),  # C1: a CSI in one character
    ("\u202egnp.exe", r"\u202egnp.exe"),
    ("\u2066x\u2069\u200b\ufeff", r"\u2066x\u2069\u200b\ufeff"),
    ("a\x00b\x7f", r"a\x00b\x7f"),
    ("C:\\x1b", r"C:\\x1b"),
    ("\ud800", r"\ud800"),
    ("\U000e0041", r"\U000e0041"),  # a tag character
    ("\u3164", r"\u3164"),
    ("e\u0301", "e\u0301"),
    ("e\u0301\u0301\u0301", "e\u0301" + r"\u0301\u0301"),
    ("\u0301", r"\u0301"),
    ("", ""),
]


@pytest.mark.spec("SR-21")
@pytest.mark.parametrize(("text", "expected"), CASES)
def test_nothing_in_it_acts(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.spec("SR-21")
@given(st.text(st.characters(), max_size=256))
def test_any_text_is_one_short_printable_line(text: str) -> None:
    line = shown(text)
    assert line.isprintable()
    assert width(line) <= SHOWN_MAX


@pytest.mark.spec("SR-21")
def test_it_is_cut_to_64_columns() -> None:
    assert shown("x" * 64) == "x" * 64
    assert shown("x" * 256) == "x" * 63 + "…"
    assert shown("日" * 64) == "日" * 31 + "…"


@pytest.mark.parametrize(
    ("text", "most", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本", 3, "日…"), ("ab", 1, "…")]
)
def test_cut(text: str, most: int, expected: str) -> None:
    assert cut(text, most) == expected
