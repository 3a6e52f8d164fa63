"""The machine-owned file as text: what a command adds and takes out, and names that are free."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.managed_edit import changed
from upnp_gw.gate.managed_file import (
    ManagedChange,
    ended,
    first_end,
    rules_of,
    toml_time,
    without_rules,
)

WALL = 1_800_000_000.0
GRANT = {"name": "allow-ps5", "who": "ps5", "int_ports": [3074, "4000-4010"], "until": toml_time(WALL)}
FORBID = {"name": "block-pc", "who": ["pc", "ps5"]}
PS5 = {"ps5": {"mac": ["ac:89:95:00:00:01"]}}


def test_the_shown_toml_is_the_added_toml() -> None:
    written = changed("", ManagedChange(PS5, (FORBID,), (GRANT,)))
    assert tomllib.loads(written.toml) == {"device": PS5, "forbid": [FORBID], "grant": [GRANT]}
    assert tomllib.loads(written.text) == {"version": 1, "device": PS5, "forbid": [FORBID], "grant": [GRANT]}
    assert written.text.startswith("# Written by upnp-gw")


def test_comments_of_the_operator_stay() -> None:
    text = changed("", ManagedChange(PS5, grants=(GRANT,))).text.replace(
        'who = "ps5"', 'who = "ps5" # the loud one'
    )
    text = changed("# mine\n" + text, ManagedChange({}, (FORBID,))).text
    assert "# mine\n" in text
    assert "# the loud one" in text
    removed = changed(text, ManagedChange({}, without=frozenset({"allow-ps5"}))).text
    assert tomllib.loads(removed) == {"version": 1, "device": PS5, "forbid": [FORBID]}
    assert "# mine\n" in removed


def test_a_name_changes_in_the_rules_too() -> None:
    text = changed("", ManagedChange(PS5, (FORBID,), (GRANT,))).text
    renamed = changed(text, ManagedChange({"box": PS5["ps5"]}, renamed={"ps5": "box"})).text
    raw = tomllib.loads(renamed)
    assert raw["device"] == {"box": PS5["ps5"]}
    assert (raw["grant"][0]["who"], raw["forbid"][0]["who"]) == ("box", ["pc", "box"])


def test_the_ends_of_rules() -> None:
    raw = tomllib.loads(changed("", ManagedChange(PS5, (FORBID,), (GRANT,))).text)
    assert first_end(raw) == WALL
    assert ended(raw, WALL - 1) == frozenset()
    assert ended(raw, WALL) == {"allow-ps5"}
    assert without_rules(raw, {"allow-ps5"})["grant"] == []
    assert rules_of(raw, {"block-pc"}).forbids == (FORBID,)


@pytest.mark.parametrize(
    "text",
    [
        'version = 1\ngrant = [{name = "a", who = "*"}, {name = "b"}]\ndevice = {pc = {ip = "192.168.1.2"}}\n',
        "version = 1\ngrant = []\ndevice = {}\n",
        'version = 1\ndevice.pc.ip = "192.168.1.2"\n[[grant]]\nname = "a"\nwho = "pc"\n',
        'version = 1\n[[grant]]\nname = "a"\n[device.tv]\nip = "192.168.1.3"\n[[grant]]\nname = "b"\n',
        'version = 1\r\n["device"."pc"]\r\nip = "192.168.1.2"\r\n[["grant"]]\r\n"name" = "a"\r\nwho = "*"',
    ],
    ids=["one line", "empty", "dotted", "out of order", "quoted"],
)
def test_a_file_in_any_toml_style_can_be_changed(text: str) -> None:
    """A file with its rules in one line ended every command with a traceback."""
    before = tomllib.loads(text)
    change = ManagedChange(PS5, (FORBID,), (GRANT,), frozenset({"a"}), {"pc": "box"})
    raw = tomllib.loads(changed(text, change).text)
    assert {name: raw["device"][name] for name in PS5} == PS5
    assert "pc" not in raw["device"]
    assert raw["forbid"] == [FORBID]
    kept = [rule for rule in before.get("grant", []) if rule["name"] != "a"]
    assert raw["grant"] == [*kept, GRANT]


@given(st.text(max_size=80))
def test_any_text_is_quoted_as_toml(reason: str) -> None:
    written = changed("", ManagedChange({}, grants=({**GRANT, "reason": reason},)))
    assert tomllib.loads(written.text)["grant"][0]["reason"] == reason
