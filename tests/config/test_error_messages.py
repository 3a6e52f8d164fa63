"""Every mistake in the operator's files is reported with file, line, key, the value there and the accepted ones.

Each key of the policy and of the configuration gets each wrong value. No message has words of a schema in it, or a
regular expression. The example in a message is itself accepted.
"""

import itertools
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.fixtures.any_toml import MAC, Section, with_one, written
from tests.fixtures.examples import examples
from tests.fixtures.plain_words import raw_words
from tests.fixtures.policies import TODAY
from upnp_gw.config.file import KEYS, read_file, read_options
from upnp_gw.engine.policy_files import PolicyFiles
from upnp_gw.gate import policyfile as shape
from upnp_gw.gate import read_invariants
from upnp_gw.gate.accepted import ACCEPTED
from upnp_gw.gate.load import load_file
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import parse_tables

WRONG = (
    *("true", "-1", "0", "65536", "9223372036854775808", "1.5", "inf", '""', '"x y"', '"soon"', '"4 h"', '"24:00"'),
    *("1979-05-27T07:32:00", "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", '"ps6"', '"@nobody"', '"1.2.3"'),
    *('"2027-05-01T12:00:00+99:00"', '"fe80::1%lan0"', '"http://[::"', '"~nobody-of-this-name/x"'),
    *("[]", '[""]', "[-1]", "[true]", "[1.5]", '["x y"]', "[[]]", "[{}]", "[1979-05-27]", "{}", "{ a = 1 }"),
)
DEVICE: Section = ("[device.ps5]", {"mac": f'"{MAC}"', "ip": '"192.168.1.2"'})
SCENE: list[Section] = [
    DEVICE,
    ("[device.xbox]", {"mac": '"ac:89:95:00:00:02"'}),
    ("[group]", {"consoles": '["ps5", "xbox"]'}),
    ("[zone]", {"guest": '["192.168.20.0/24"]'}),
    ("[set.office]", {"file": '"office.txt"'}),
    ("[set.blocklist]", {"file": '"office.txt"'}),
]
INVARIANT: list[Section] = [
    ("[[never]]", {"name": '"n"'}),
    ("[never.from]", {"mac": f'"{MAC}"'}),
    ("[never.request]", {"int": "22"}),
    ("[never.unless]", {"lease": '"1h"'}),
]
INLINE = {
    "name": '"t"',
    "want": '"deny"',
    "from": '{ device = "ps5" }',
    "request": '{ proto = "tcp", int = 22 }',
}
TESTED: list[Section] = [
    ("[[test]]", {"name": '"t"', "want": '"deny"'}),
    ("[test.from]", {"mac": f'"{MAC}"'}),
    ("[test.request]", {"proto": '"tcp"', "int": "22"}),
]
FORBID: Section = ("[[forbid]]", {"name": '"f"', "who": '"ps5"'})
GRANT: Section = ("[[grant]]", {"name": '"g"', "who": '"ps5"'})
PLACES: dict[str, tuple[list[Section], int]] = {
    "": ([("", {"version": "1"})], 0),
    "limits": ([("", {"version": "1"}), ("[limits]", {})], 1),
    "device": ([("", {"version": "1"}), DEVICE], 1),
    "group": ([("", {"version": "1"}), *SCENE], 3),
    "zone": ([("", {"version": "1"}), *SCENE], 4),
    "set": ([("", {"version": "1"}), *SCENE], 5),
    "forbid": ([("", {"version": "1"}), *SCENE, FORBID], 7),
    "grant": ([("", {"version": "1"}), *SCENE, GRANT], 7),
    "remote": ([("", {"version": "1"}), *SCENE, GRANT, ("[grant.remote]", {})], 8),
    "zones": ([("", {"version": "1"}), *SCENE, FORBID, ("[forbid.zone]", {})], 8),
    "test": ([("", {"version": "1"}), *SCENE, ("[[test]]", INLINE)], 7),
    "from": ([("", {"version": "1"}), *SCENE, *TESTED], 8),
    "request": ([("", {"version": "1"}), *SCENE, *TESTED], 9),
    "never": ([("", {"version": "1"}), *SCENE, ("[[never]]", {"name": '"n"'})], 7),
    "always": (
        [
            ("", {"version": "1"}),
            *SCENE,
            ("[[grant]]", {"name": '"g"', "who": '"*"'}),
            ("[[always]]", {"name": '"a"', "request": "{ int = 2000, ext = 2000 }"}),
        ],
        8,
    ),
    "sender": ([("", {"version": "1"}), *SCENE, *INVARIANT], 8),
    "requested": ([("", {"version": "1"}), *SCENE, *INVARIANT], 9),
    "unless": ([("", {"version": "1"}), *SCENE, *INVARIANT], 10),
}
"""Table of the policy file -> a sound file, and which of its sections is the table."""
TABLES: dict[str, type[shape.TomlTable]] = {
    "": shape.TopTable,
    "limits": shape.LimitsTable,
    "device": shape.DeviceTable,
    "set": shape.SetTable,
    "remote": shape.RemoteTable,
    "zones": shape.ZonesTable,
    "forbid": shape.ForbidTable,
    "grant": shape.GrantTable,
    "test": shape.CaseTable,
    "from": shape.CaseFrom,
    "request": shape.CaseRequest,
    "never": read_invariants.NeverTable,
    "always": read_invariants.AlwaysTable,
    "sender": read_invariants.SenderTable,
    "requested": read_invariants.RequestedTable,
    "unless": read_invariants.BoundsTable,
}
POLICY_KEYS = [(table, key if key != "*" else "consoles") for table, keys in ACCEPTED.items() for key in keys]
CONFIG_KEYS = [(table, key) for table, keys in KEYS.items() for key in keys]
REMEDY = re.compile(
    r"(got .+|unknown key|empty.*|.+ needs .+); accepted: .+"
    r"|unknown key; (did you mean .+\?|it belongs in .+;) accepted: .+"
    r"|missing; write .+ = .+|empty.*; leave it out .+ such as .+"
    r"|(accepted only beside|nothing identifies it; accepted) .+"
    r"|.+; use another name|failed: wanted .+; got .+"
)
"""A message with the value that is there and the one to write instead."""
EXAMPLE = re.compile(r", such as ((?:--)?[\w-]+) = (.+)$")


def test_every_key_has_a_text_of_accepted_values() -> None:
    for name, table in TABLES.items():
        assert ACCEPTED[name].keys() == {field.encode_name for field in msgspec.structs.fields(table)}, name
    assert ACCEPTED.keys() == TABLES.keys() | {"group", "zone"}


def policy_with(table: str, key: str, value: str) -> str:
    sections, number = PLACES[table]
    return with_one(sections, number, key, value)


def config_with(table: str, key: str, value: str) -> str:
    return written([(f"[{table}]", {key: value})])


def load_policy(path: Path) -> object:
    return load_file(path, TODAY)


def error_of(path: Path, text: str, load: Callable[[Path], object]) -> ConfigError | None:
    path.write_text(text, "utf-8")
    path.with_name("office.txt").write_text("203.0.113.0/24\n")
    try:
        load(path)
    except ConfigError as error:
        return error
    return None


def judge(error: ConfigError, path: Path, table: str, key: str, text: str) -> None:
    """Asserts that a person can mend the file by the message alone."""
    message = str(error).replace(str(path), "FILE")
    assert raw_words(message) == [], message
    assert message.isprintable()
    assert error.line is not None, message
    assert message.startswith(f"FILE:{error.line}: "), message
    assert text.splitlines()[error.line - 1].strip(), message
    assert key in error.key or f"{key} =" in message or table in error.key, message
    assert REMEDY.match(error.problem), message


def machine_owned_with(table: str, key: str, value: str) -> str:
    """A file that the gateway writes: it has devices, forbids and grants alone."""
    sections, number = PLACES[table]
    kept = [section for section in sections if not section[0].startswith(("[group]", "[zone]", "[set."))]
    return with_one(kept, kept.index(sections[number]), key, value)


def load_machine_owned(path: Path) -> object:
    own = path.with_name("own.toml")
    own.write_text("version = 1\n")
    return PolicyFiles(own, path, lambda: 1_800_000_000.0).load()


MACHINE_KEYS = [
    (table, key)
    for table, key in POLICY_KEYS
    if table in ("device", "forbid", "grant") or (table == "" and key in ("version", "device", "forbid", "grant"))
]
WALKED = [
    ("policy", POLICY_KEYS, policy_with, load_policy),
    ("configuration", CONFIG_KEYS, config_with, read_file),
    ("machine-owned", MACHINE_KEYS, machine_owned_with, load_machine_owned),
]


@pytest.mark.spec("SR-30")
@pytest.mark.parametrize(
    ("what", "keys", "text_with", "load"), WALKED, ids=["policy", "configuration", "machine-owned"]
)
def test_every_wrong_value_of_every_key_is_reported_in_plain_words(
    tmp_path: Path, what: str, keys: Sequence[tuple[str, str]], text_with: Any, load: Callable[[Path], object]
) -> None:
    refused: dict[tuple[str, str], int] = dict.fromkeys(keys, 0)
    for (table, key), value in itertools.product(keys, WRONG):
        text = text_with(table, key, value)
        error = error_of(tmp_path / "file.toml", text, load)
        if error is not None:
            refused[table, key] += 1
            judge(error, tmp_path / "file.toml", table, key, text)
    assert min(refused.values()) >= 5, refused


@pytest.mark.parametrize(
    ("what", "keys", "text_with", "load"), WALKED, ids=["policy", "configuration", "machine-owned"]
)
def test_the_example_of_a_message_is_accepted_where_the_mistake_was(
    tmp_path: Path, what: str, keys: Sequence[tuple[str, str]], text_with: Any, load: Callable[[Path], object]
) -> None:
    """The message about a value of the wrong type ends with a line; with that line the file loads."""
    path, shown = tmp_path / "file.toml", 0
    for table, key in keys:
        for value in ("1.5", "07:32:00"):
            error = error_of(path, text_with(table, key, value), load)
            assert error is not None, (table, key, value)
            line = EXAMPLE.search(error.problem)
            assert line is not None, str(error)
            assert line[1] == key or table in ("group", "zone"), str(error)
            good = error_of(path, text_with(table, key, line[2]), load)
            about_the_value = good is not None and good.key.split("[")[0].endswith(key) and "got" in good.problem
            about_the_value &= not str(good and good.problem).startswith("failed: ")  # sound, and does not hold
            assert not about_the_value, f"{table}.{key} = {line[2]}: {good}"
            tomllib.loads(f"{line[1]} = {line[2]}")
            shown += 1
    assert shown == 2 * len(keys)


ANY = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", categories=["Nd"]), max_size=20),
)


def toml_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else f'"{value}"'


@examples(300, suppress_health_check=list(HealthCheck))
@given(
    key=st.sampled_from([*((True, *key) for key in POLICY_KEYS), *((False, *key) for key in CONFIG_KEYS)]),
    value=st.one_of(ANY.map(toml_of), st.lists(ANY.map(toml_of), max_size=3).map(lambda x: f"[{', '.join(x)}]")),
)
def test_any_value_is_taken_or_refused_in_plain_words(
    tmp_path_factory: pytest.TempPathFactory, key: tuple[bool, str, str], value: str
) -> None:
    policy, table, name = key
    text = (policy_with if policy else config_with)(table, name, value)
    path = tmp_path_factory.getbasetemp() / "file.toml"
    error = error_of(path, text, load_policy if policy else read_file)
    if error is not None:
        judge(error, path, table, name, text)


VALID = """version = 1
default = "deny"
[device.ps5]
mac = ["ac:89:95:00:00:01"]
[[grant]]
name = "g"
who = "ps5"
int_ports = [443, "8000-8010"]
until = 2027-05-01T12:00:00Z
limits.a = { b = 'c' }
"""
PIECES = (*"=[]{}\"'\\#,x1-", "\n", "\0", "\\u00", "version = 1\n", "[device]\n")


def test_a_toml_error_is_reported_with_its_line_in_plain_words() -> None:
    """Cut at every place, and with a piece put in at every place."""
    damaged = [VALID[:place] for place in range(len(VALID))]
    damaged += [VALID[:place] + piece + VALID[place:] for place in range(len(VALID)) for piece in PIECES]
    messages = set()
    for error in filter(None, map(unread, damaged)):
        assert raw_words(str(error)) == [], str(error)
        assert error.line is not None, str(error)
        assert "cannot be read here" not in str(error), str(error)
        messages.add(re.sub(r" \(at .*", "", error.problem))
    assert len(messages) >= 8, messages


def unread(text: str) -> ConfigError | None:
    try:
        parse_tables(text, "policy.toml")
    except ConfigError as error:
        assert error.line is None or 1 <= error.line <= text.count("\n") + 1  # noqa: PT017 - of every one
        return error
    return None


OPTIONS = sorted(key.option for keys in KEYS.values() for key in keys.values() if key.option)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_wrong_option_is_reported_with_a_correct_one(option: str) -> None:
    refused = []
    for value in ("a/b c", "a\0b", -1, 1.5, ("a/b c",), ("",), "br0"):
        try:
            read_options({option: value})
        except ConfigError as error:
            refused.append(error)
    assert len(refused) >= 2
    for told_of in refused:
        assert raw_words(str(told_of)) == [], str(told_of)
        assert str(told_of).startswith(f"{option}: got ")
        assert "; accepted: " in str(told_of)
        assert f", such as {option}" in str(told_of)
