"""The files of address lists: what is accepted, what is refused, and that the message says where and what."""

import json
from ipaddress import ip_address

import pytest

from upnp_gw.gate.address_lists import MOST_ENTRIES, ListFile, ListFormat, LoadedLists, parse_list
from upnp_gw.gate.remote import AddressSet
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.errors import ConfigError

PLAIN = """\ufeff# The office
203.0.113.0/24   # and a comment
; another one
198.51.100.7
2001:db8:9::/48 ; IPv6

192.0.2.0/255.255.255.0
"""


def parsed(text: str, kind: ListFormat = ListFormat.PLAIN) -> AddressRanges:
    return parse_list(ListFile("office.txt", text.encode(), 0.0), kind).ranges


def test_a_plain_list_has_one_entry_a_line_and_comments() -> None:
    ranges = parsed(PLAIN)
    for inside in ("203.0.113.0", "203.0.113.255", "198.51.100.7", "2001:db8:9:ffff::1", "192.0.2.9"):
        assert ranges.has(ip_address(inside)), inside
    for outside in ("203.0.114.0", "198.51.100.8", "2001:db8:a::", "::"):
        assert not ranges.has(ip_address(outside)), outside
    assert parse_list(ListFile("", PLAIN.encode(), 0.0), ListFormat.PLAIN).entries == 4


def test_windows_line_ends_and_an_empty_list_are_fine() -> None:
    assert parsed("203.0.113.7\r\n203.0.113.8\r\n") == parsed("203.0.113.7\n203.0.113.8")
    assert not parsed("# nobody yet\n")
    assert not parsed("[]", ListFormat.JSON)


def test_a_json_list_is_the_same() -> None:
    entries = ["203.0.113.0/24", "2001:db8:9::/48"]
    assert parsed(json.dumps(entries), ListFormat.JSON) == parsed("\n".join(entries))


@pytest.mark.parametrize(
    "entry",
    ["example.org", "203.0.113.1/24", "203.0.113.0/33", "fe80::1%eth0", "203.0.113.256", "1.2.3", "::1/129",
     "203.0.113.0/٣", "203.0.113.0/", "203.0.113.0-203.0.113.9", "a b"],
)  # fmt: skip
def test_a_wrong_entry_is_named_with_its_line(entry: str) -> None:
    with pytest.raises(ConfigError) as error:
        parsed(f"203.0.113.0/24\n\n{entry}\n")
    assert error.value.line == 3
    assert str(error.value).startswith(
        f'office.txt:3: it has "{entry}"; accepted: an address, or a prefix without host'
    )
    with pytest.raises(ConfigError, match="entry 2: it has"):
        parsed(json.dumps(["::1", entry]), ListFormat.JSON)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "entry 1 is no text"),
        ("{}", "no list"),
        ("[", r"office.txt:1: not JSON"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_wrong_json_is_told_with_what_is_accepted(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        parsed(text, ListFormat.JSON)
    assert "accepted: a JSON list" in str(error.value)


def test_bytes_that_are_no_text_are_named_with_their_line() -> None:
    with pytest.raises(ConfigError, match=r"office\.txt:2: not UTF-8"):
        parse_list(ListFile("office.txt", b"::1\n\xff\n", 0.0), ListFormat.PLAIN)


def test_no_list_is_longer_than_a_hundred_thousand_entries() -> None:
    lines = [f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(MOST_ENTRIES + 1)]
    assert parsed("\n".join(lines[:-1])).has(ip_address("10.1.134.159"))
    with pytest.raises(ConfigError, match=f"more than {MOST_ENTRIES} entries"):
        parsed("\n".join(lines))


def test_loaded_lists_read_no_file() -> None:
    ranges = parsed("203.0.113.0/24")
    lists = LoadedLists([AddressSet("office", "office.txt", "/etc/office.txt", ranges, 1, None, 7.0)])
    file = lists.read("office.txt")
    assert (file.path, file.changed_at) == ("/etc/office.txt", 7.0)
    assert lists.parsed(file, ListFormat.PLAIN).ranges is ranges
    with pytest.raises(ConfigError):
        lists.read("other.txt")
