"""The reference of the configuration has a text for every key, and its defaults are those of the program."""

import tomllib

from tests import ROOT
from upnp_gw.config.file import KEYS, NOTIFY, parse_text
from upnp_gw.config.reference import comments, configuration_reference
from upnp_gw.config.settings import Config

TABLES = {table.name: {key.name: key for key in table.keys} for table in configuration_reference()}


def test_every_key_has_a_meaning_and_accepted_values() -> None:
    assert {name: set(keys) for name, keys in TABLES.items()} == {
        name: set(keys) for name, keys in {**KEYS, "notify": NOTIFY}.items()
    }
    for name, keys in TABLES.items():
        for key in keys.values():
            assert key.meaning.endswith("."), f"examples/config/every-key.toml has no comment at {name}.{key.name}"
            assert key.accepted
            assert "also: --" not in key.meaning


def test_a_default_is_the_value_without_the_key() -> None:
    without = Config("eth0", ("br-lan",))
    shown = [
        (name, key) for name, keys in TABLES.items() for key in keys.values() if key.default and name != "notify"
    ]
    assert len(shown) > 25
    for name, key in shown:
        settings = parse_text(f"[{name}]\n{key.name} = {key.default}\n", "text")
        assert settings == {field: getattr(without, field) for field in settings}, key


def test_several_comments_are_told_apart() -> None:
    text = (
        "# Head.\n[a]  # of a\nx = 1    # one;\n         # goes on\n# not this\n"
        "y = '#'  # two; also: --y IF, often. End\n"
        "[[b]]\nx = '# no'\n[[b]]\nx = 2 # of b\n"
    )
    assert comments(text) == (
        {"a": "of a"},
        {("a", "x"): "one; goes on", ("a", "y"): "two. End", ("b", "x"): "of b"},
    )
    tomllib.loads((ROOT / "examples" / "config" / "every-key.toml").read_text())


def test_a_choice_is_in_words() -> None:
    assert TABLES["portcontrol"]["natpmp"].accepted == '"on", "refuse" or "off"'
    assert TABLES["upnp"]["max_age"].accepted == "whole seconds, 1800 to 86400"
    assert TABLES["wan"]["interface"].option == "--wan"
