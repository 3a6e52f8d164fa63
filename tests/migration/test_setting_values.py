"""Words and numbers as miniupnpd reads them, and the keys that are not carried."""

import pytest

from upnp_gw.migration.setting_values import is_yes, leading_number, misread, similar_key


@pytest.mark.parametrize(
    ("text", "number"), [("600", 600), ("-1", -1), (" 12 x", 12), ("x", 0), ("", 0), ("9" * 40, 999_999_999)]
)
def test_a_number_is_what_begins_the_text(text: str, number: int) -> None:
    assert leading_number(text) == number


def test_only_yes_is_yes() -> None:
    assert is_yes("yes")
    assert not any(map(is_yes, ("Yes", "yes # x", "1", "on", "")))


def test_a_word_that_is_neither_is_told() -> None:
    assert misread("no", "no") == misread("1", "yes") == ""
    assert misread("on\n", "no") == '; miniupnpd reads "on\\x0a" as no'


def test_a_similar_key_is_found() -> None:
    assert similar_key("secure-mode", ("secure_mode", "serial")) == "secure_mode"
    assert similar_key("xyz", ("secure_mode", "serial")) == ""
