"""A foreign file is read within bounds, whatever it is."""

import pytest

from upnp_gw.migration.bounded_text import LARGEST, LONGEST_LINE, MOST_LINES, lines_of
from upnp_gw.model.errors import ConfigError


def test_lines_keep_their_numbers() -> None:
    got = lines_of(b"\xef\xbb\xbfone \r\n\n\ttwo", "f")
    assert [(line.number, line.text) for line in got] == [(1, "one"), (2, ""), (3, "two")]


def test_an_old_encoding_is_read() -> None:
    assert lines_of("friendly_name=Büro\n".encode("latin-1"), "f")[0].text == "friendly_name=Büro"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\x02\x01\x01\x00", "f:1: a control character"),
        (b"a\nb\x00", "f:2: a control character"),
        (b"# x\n" * (LARGEST // 4 + 1), "bytes; accepted: at most"),
        (b"\n" * (MOST_LINES + 1), "lines; accepted: at most"),
        (b"a\n#" + b"x" * LONGEST_LINE, "f:2: a line of"),
    ],
)
def test_what_is_out_of_bounds_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lines_of(data, "f")


def test_what_is_just_within_bounds_is_read() -> None:
    assert len(lines_of(b"\n" * (MOST_LINES - 1), "f")) == MOST_LINES
    assert len(lines_of(b"x" * LONGEST_LINE, "f")) == 1
