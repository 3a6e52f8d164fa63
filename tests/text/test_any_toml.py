"""Any TOML in an operator's file gives a value or one named error, and never another exception.

Two ways: every key of a sound file with every odd value, and files drawn at random with a few of them and damage.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.fixtures.any_toml import MAC, ODD, Section, files, with_one
from tests.fixtures.examples import examples, sample
from tests.fixtures.policies import TODAY, facts_of, map_request
from upnp_gw.config.file import KEYS, read_file
from upnp_gw.engine.policy_files import PolicyFiles
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.gate import policyfile as shape
from upnp_gw.gate.explain import explain
from upnp_gw.gate.load import load_file
from upnp_gw.gate.managed_file import ManagedChange
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import ConfigError

WALL = 1_800_000_000.0
ENDS = (0.0, WALL, 253402300799.0)
DRAWN = examples(300, suppress_health_check=list(HealthCheck))


def keys_of(table: type[shape.TomlTable]) -> tuple[str, ...]:
    return tuple(field.encode_name for field in msgspec.structs.fields(table))


HEAD = ("", {"version": "1"})
RULES: list[tuple[Section, tuple[str, ...]]] = [
    (("[device.pc]", {"mac": f'"{MAC}"', "ip": '"192.168.1.2"'}), keys_of(shape.DeviceTable)),
    (("[[forbid]]", {"name": '"f"', "who": '"pc"', "int_ports": "[22]"}), keys_of(shape.ForbidTable)),
    (("[[grant]]", {"name": '"g"', "who": '"pc"', "int_ports": "[8080]"}), keys_of(shape.GrantTable)),
    (("[[grant]]", {"name": '"h"', "who": '"*"', "max_ttl": '"4h"'}), ("name", "until")),
]
REST: list[tuple[Section, tuple[str, ...]]] = [
    (("[limits]", {"max_ttl": '"4h"'}), keys_of(shape.LimitsTable)),
    (("[group]", {"all": '["pc"]'}), ("all", "none")),
    (("[zone]", {"lan": '["192.168.1.0/24"]'}), ("lan", "none")),
    (("[[test]]", {"name": '"t"', "want": '"deny"'}), keys_of(shape.CaseTable)),
    (("[test.from]", {"mac": f'"{MAC}"'}), keys_of(shape.CaseFrom)),
    (("[test.request]", {"proto": '"tcp"', "int": "22"}), keys_of(shape.CaseRequest)),
]
POLICY = [(HEAD, keys_of(shape.TopTable)), *RULES, *REST]
MACHINE = [(HEAD, keys_of(shape.ApprovedTable)), *RULES]
CONFIG: list[tuple[Section, tuple[str, ...]]] = [((f"[{name}]", {}), tuple(keys)) for name, keys in KEYS.items()]


def sections(kinds: Sequence[tuple[Section, tuple[str, ...]]]) -> list[Section]:
    return [section for section, _ in kinds]


def drawn(kinds: Sequence[tuple[Section, tuple[str, ...]]]) -> st.SearchStrategy[bytes]:
    return files(sections(kinds), [keys for _, keys in kinds])


def value_or_error(path: Path, data: bytes, load: Callable[[Path], Any]) -> Any:
    """Loads a file of these bytes. None: the load failed, with an error that names the file and can be printed."""
    path.write_bytes(data)
    try:
        return load(path)
    except ConfigError as error:
        result = error
    assert result.where == str(path)
    assert str(result).isprintable()
    assert len(str(result)) < 2000
    return None


def usable(policy: Policy) -> None:
    """A policy that came into force can be asked and explained at any time."""
    for wall in ENDS:
        explained = explain(policy, facts_of(wall=wall), map_request())
        assert explained.verdict.reasons
        assert len(explained.grants) == len(policy.grants)


def policy_in(path: Path) -> Policy:
    policy = load_file(path, TODAY).policy
    usable(policy)
    return policy


def machine_owned(path: Path) -> Policy:
    """Loads the file as a start, a reload and a command do."""
    own = path.with_name("own.toml")
    own.write_text("version = 1\n")
    files = PolicyFiles(own, path, lambda: WALL)
    loaded = files.load()
    usable(loaded.policy)
    PolicyInForce(loaded, WALL).next_end()
    devices = {"new": {"ip": ["192.168.1.99"]}, "box": {"mac": [MAC]}}
    change = ManagedChange(devices, renamed={"pc": "box"}, without=frozenset({"h"}))
    changed, _ = files.prepare(change, loaded)
    assert ip_address("192.168.1.99") in changed.policy.by_address
    return loaded.policy


LOADERS = [(POLICY, policy_in), (MACHINE, machine_owned), (CONFIG, read_file)]


@pytest.mark.spec("SR-30")
@pytest.mark.parametrize(("kinds", "load"), LOADERS, ids=["policy", "machine-owned", "configuration"])
def test_every_key_with_every_odd_value_is_a_value_or_a_named_error(
    tmp_path: Path, kinds: Any, load: Callable[[Path], Any]
) -> None:
    loads = 0
    for number, (_, keys) in enumerate(kinds):
        for offset, key in enumerate(keys):
            for value in sample(ODD, offset):
                text = with_one(sections(kinds), number, key, value)
                try:
                    loads += value_or_error(tmp_path / "file.toml", text.encode(), load) is not None
                except Exception as error:
                    error.add_note(f"{key} = {value[:80]}")
                    raise
    assert loads > 10, "the odd values are refused for what they are, not for the text beside them"


@DRAWN
@given(data=drawn(POLICY))
def test_any_policy_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    value_or_error(tmp_path_factory.getbasetemp() / "policy.toml", data, policy_in)


@DRAWN
@given(data=drawn(MACHINE))
def test_any_machine_owned_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    value_or_error(tmp_path_factory.getbasetemp() / "approved.toml", data, machine_owned)


@DRAWN
@given(data=drawn(CONFIG))
def test_any_configuration_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    value_or_error(tmp_path_factory.getbasetemp() / "gw.toml", data, read_file)
