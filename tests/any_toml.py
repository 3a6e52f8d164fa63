"""TOML texts for property tests: the keys of our files with values that no operator means, and damaged files."""

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

DEEP = ".a" * 40
"""Keys in keys, which a parser reads without recursion."""
MAC = "ac:89:95:00:00:01"
DATES = (
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01",
    "1969-12-31T23:59:59Z",
    "1979-05-27T07:32:00",
    "1979-05-27",
    "07:32:00",
    "2000-01-01T00:00:00+23:59",
    "2038-01-19T03:14:08Z",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31",
)
NUMBERS = (
    "0",
    "-1",
    "1",
    "65535",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    f"0x{'f' * 4000}",
    f"0o{'7' * 6000}",
    f"0b{'1' * 20000}",
    "1" * 4300,
    "inf",
    "-inf",
    "nan",
    "1e308",
    "-0.0",
    "true",
)
TEXTS = (
    '""',
    '" "',
    '"*"',
    '"@"',
    '"@all"',
    '"pc"',
    '"-"',
    f'"{MAC}"',
    '"192.168.1.2"',
    '"0.0.0.0/0"',
    '"::/0"',
    '"::ffff:192.168.1.2"',
    '"fe80::1%lan0"',
    '"1-65535"',
    '"00:00-24:00"',
    '"24:00-00:00"',
    '"1s"',
    '"366d"',
    '"99999999w"',
    '"tcp"',
    '"ip4"',
    '"any"',
    '"deny"',
    '"ask"',
    '"9999-12-31T23:59:59-14:00"',
    '"a\\u0000b"',
    '"\\u202e\\u001b[2J"',
    '"\\U0010ffff"',
    "'''\n\\ud800'''",
    f'"{"x" * 3_000}"',
    f'"~{"x" * 5000}"',
    f'"/{"x" * 5000}"',
    '"http://[::1"',
    '"http://a:99999999/"',
)
NESTED = (
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    '[""]',
    f"{'[' * 200}{']' * 200}",
    f"{'{a=' * 200}1{'}' * 200}",
)
VALUES = (*DATES, *NUMBERS, *TEXTS, *NESTED)
ODD = (*VALUES, *(f"[{value}]" for value in (DATES[0], NUMBERS[1], NUMBERS[9], *TEXTS)))
"""Every value, and lists of one."""

Section = tuple[str, dict[str, str]]
"""A header of a table, and its keys with their values."""


def written(sections: Iterable[Section]) -> str:
    """A file of these tables."""
    return "\n".join(
        "\n".join((header, *(f"{key} = {value}" for key, value in lines.items()))) for header, lines in sections
    )


def with_one(sound: Sequence[Section], number: int, key: str, value: str) -> str:
    """The sound file with one more or another value."""
    header, lines = sound[number]
    return written([*sound[:number], (header, {**lines, key: value}), *sound[number + 1 :]])


@st.composite
def files(draw: st.DrawFn, sound: Sequence[Section], keys: Sequence[Sequence[str]]) -> bytes:
    """A sound file with a few other values, now and then not as an editor leaves it. ``keys``: of each section."""
    sections = [(header, dict(lines)) for header, lines in sound]
    for _ in range(draw(st.integers(0, 3))):
        number = draw(st.integers(0, len(sound) - 1))
        key = draw(st.sampled_from(keys[number])) + draw(st.sampled_from(("", "", "", DEEP)))
        sections[number][1][key] = ODD[draw(st.integers(0, len(ODD) - 1))]
    data = written(sections).encode("utf-8")
    how, place = draw(st.integers(0, 9)), draw(st.integers(0, len(data)))
    if how == 0:
        return b"\xef\xbb\xbf" + data
    if how == 1:
        return data.replace(b"\n", b"\r\n")
    if how == 2:
        piece = draw(st.sampled_from((b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\r", b'"', b"[", b"\x7f")))
        return data[:place] + piece + data[place:]
    if how == 3:
        return data[:place]
    if how == 4:
        return data + b"\n" + data
    return data
