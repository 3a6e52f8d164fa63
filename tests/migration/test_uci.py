"""Files of UCI, as libuci reads them; messages have the line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.migration.uci import MOST_SECTIONS, UciSection, is_uci, read_uci
from upnp_gw.model.errors import ConfigError


def read(text: str) -> list[UciSection]:
    return read_uci(text.encode(), "upnpd")


def values(text: str) -> dict[str, str]:
    """The options of one section."""
    [section] = read("config x\n" + text)
    return {name: option.value for name, option in section.options.items()}


def test_sections_options_and_lines() -> None:
    first, second, third = read(
        "package upnpd\n"
        "# a comment\n"
        "config upnpd config\n"
        "\toption enabled\t\t0\n"
        "#\toption external_iface\twan\n"
        "\n"
        "config perm_rule\n"
        "\toption comment \"Allow high ports\"\t# a comment\n"
        "config 'perm_rule' 'named'\n"
        "\tlist a 'x y'\n"
        "\tlist a z\n"
    )  # fmt: skip
    assert (first.type, first.name, first.line.number, first.line.text) == (
        "upnpd",
        "config",
        3,
        "config upnpd config",
    )
    assert {name: option.line.number for name, option in first.options.items()} == {"enabled": 4}
    assert (second.type, second.name, second.value("comment")) == ("perm_rule", "", "Allow high ports")
    assert (third.name, third.options["a"].values, third.value("a")) == ("named", ("x y", "z"), "x y z")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("'two words'", "two words"),
        ('"two words"', "two words"),
        ("'it'\\''s'", "it's"),
        ("'a'\"b\"c", "abc"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        (r"'a \n b'", r"a \n b"),
        (r"two\ words", "two words"),
        ("'# none'", "# none"),
        ("ab#cd", "ab"),
        ("1 # one", "1"),
        ("'line 1\nline 2'", "line 1\nline 2"),
        ('"line 1\\\nline 2"', "line 1line 2"),
        ("1; option other 2", "1"),
        ("'grün'", "grün"),
    ],
)
def test_words(text: str, value: str) -> None:
    assert values(f"option name {text}\noption last 1")["name"] == value
    assert values(f"option name {text}\noption last 1")["last"] == "1"


def test_the_last_one_counts_and_an_empty_one_is_none() -> None:
    assert values("option a 1\noption a 2\noption b 1\noption b ''\nlist c 1\noption c 2\no d 3\nl d 4") == {
        "a": "2",
        "c": "2",
        "d": "3 4",
    }


def test_a_section_of_the_same_name_goes_on() -> None:
    other, one = read("config x a\noption p 1\nconfig x b\nconfig x a\noption q 2\noption p 3")
    assert (other.name, one.name, one.line.number) == ("b", "a", 1)
    assert {name: option.value for name, option in one.options.items()} == {"p": "3", "q": "2"}


@pytest.mark.parametrize(
    ("word", "is_on"),
    [("1", True), ("yes", True), ("enabled", True), ("off", False), ("0", False), ("maybe", None)],
)
def test_switches(word: str, is_on: bool | None) -> None:
    [section] = read(f"config x\noption a {word}")
    found = {section.options["a"].is_on(default) for default in (True, False)}
    assert found == ({is_on} if is_on is not None else {True, False})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("option a 1", "upnpd:1: option before the first section"),
        ("config", 'upnpd:1: "config": accepted: config TYPE [NAME]'),
        ("config x\n\nset a=1", 'upnpd:3: "set a=1": accepted: config TYPE'),
        ("config x\nenabled 1", 'upnpd:2: "enabled 1": accepted: config TYPE'),
        ("config x\noption", 'upnpd:2: "option": accepted: config TYPE'),
        ("config x\noption a-b 1", 'upnpd:2: "a-b": accepted: letters'),
        ("config x a.b", 'upnpd:1: "a.b": accepted: letters'),
        ("config x\noption a two words", 'upnpd:2: "option a two words": accepted: at most 3 words, in quotes'),
        ("config x\noption a 'open\nnext", "upnpd:2: the quote ' has no end"),
        ('config x\noption a "open\\', 'upnpd:2: the quote " has no end'),
        ("config x a\nconfig y a", "upnpd:2: the section a in line 1 has another type"),
        ("config x\noption a \x1b[0m", "upnpd:2: a control character"),
        ("config x\n" * (MOST_SECTIONS + 1), f"upnpd:{MOST_SECTIONS + 1}: more than {MOST_SECTIONS} sections"),
    ],
)
def test_mistakes_name_the_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert str(error.value).startswith(problem)


@pytest.mark.parametrize(
    ("text", "it_is"),
    [
        ("config upnpd 'config'\n", True),
        ("# comment\n\n \tpackage upnpd\n", True),
        ("ext_ifname=eth0\n", False),
        ("# config upnpd\nallow 1-2 0/0 1-2\n", False),
        ("config=1", False),
        ("", False),
    ],
)
def test_it_is_known_by_its_first_command(text: str, it_is: bool) -> None:
    assert is_uci(text.encode()) is it_is


@given(st.text("config opt'\"\\#;\nlsx1 ", max_size=200) | st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        sections = read_uci(text.encode(), "upnpd")
    except ConfigError:
        return
    assert all(section.type for section in sections)
