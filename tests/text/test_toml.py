"""The line of a key in a TOML text, for the message about a mistake."""

import pytest

from upnp_gw.text.toml import line_of

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
def test_the_line_where_a_key_stands(key: str, line: int | None) -> None:
    assert line_of(TEXT, key) == line
    assert line_of(TEXT.replace("\n", "\r\n"), key) == line


def test_a_search_that_would_take_long_ends_without_a_line() -> None:
    long = "1,\n" * 20_000
    assert line_of(f"x = [\n{long}]\ny = 1\n", "y") is None
