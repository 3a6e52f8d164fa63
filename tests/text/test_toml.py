"""The line of a key in a TOML text, for the message about a mistake."""

import tracemalloc

import pytest

from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import line_of, parse_tables

TEXT = '''\
# a comment
version = 1
device.pc.mac = "x"
[limits]
max_ttl = "4h"

[[test]]
name = "a"
[test.from]
ip = "x"
[[test]]
from = { device = "pc" }
request.int = 5
want = """
[limits]
max_hold = 3
"""
x = [
 1,
 # [[test]]
 2]
y = 3
["a b"]
"c.d" = 1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("version", 2),
        ("device.pc.mac", 3),
        ("device.pc.mac[0]", 3),
        ("device.pc", 3),
        ("limits.max_ttl", 5),
        ("limits.max_hold", 4),
        ("test[0]", 7),
        ("test[0].from.ip", 10),
        ("test[0].from", 9),
        ("test[1].from", 12),
        ("test[1].from.device", 12),
        ("test[1].request.int", 13),
        ("test[1].want", 14),
        ("test[1].x[1]", 18),
        ("test[1].y", 22),
        ("test[1].missing", 11),
        ("a b.c.d", 24),
        ("tes", None),
        ("test[2].x", None),
    ],
)
def test_the_line_of_a_key(key: str, line: int | None) -> None:
    assert line_of(TEXT, key) == line
    assert line_of(TEXT.replace("\n", "\r\n"), key) == line


def test_a_search_that_would_take_long_ends_without_a_line() -> None:
    long = "1,\n" * 20_000
    assert line_of(f"x = [\n{long}]\ny = 1\n", "y") is None


@pytest.mark.parametrize("begin", ["{}a = 1", "[{}a]", "x = {{ {}a = 1 }}"])
@pytest.mark.parametrize("part", ["a.", '"a b" . ', "'a'."])
def test_a_key_of_thousands_of_names_takes_no_memory(begin: str, part: str) -> None:
    """The parser's memory grows with the square of their number: 400 KB took more than 20 GB."""
    text = f"version = 1\n{begin.format(part * 3000)}\n"
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=r"p\.toml:2: a key of 64 or more names"):
            parse_tables(text, "p.toml")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_values_and_comments_may_have_many_dots() -> None:
    name = ".".join("0" * 32) + ".ip6.arpa"
    assert parse_tables(f"x = '{name}'  # ...................................... {name}\n", "p.toml") == {"x": name}
