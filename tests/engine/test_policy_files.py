"""One policy from the operator's file and the machine-owned one: names, tests, ends, and a disk that fails."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.gateway import NETWORK
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.environment import Environment
from upnp_gw.engine.policy_files import PolicyFiles, write_file
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.engine.policy_reload import PolicyUpdates
from upnp_gw.gate.builtin import home_policy
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.gate.managed_file import ManagedChange, toml_time
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.errors import ConfigError, FirewallError, StoreError
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Refusal, Refused
from upnp_gw.store.store import Store

WALL = 1_800_000_000.0
REFUSED = Refused(Refusal.BACKEND, "no", None)
OWN = 'version = 1\n[device.ps5]\nmac = ["ac:89:95:00:00:01"]\n[[grant]]\nname = "games"\nwho = "ps5"\n'
NAS = {"nas": {"mac": ["00:11:32:00:00:02"]}}


def policies(directory: Path, own: str | None = OWN, machine: str | None = None) -> PolicyFiles:
    if own is not None:
        (directory / "policy.toml").write_text(own)
    if machine is not None:
        (directory / "approved.toml").write_text(machine)
    operator = directory / "policy.toml" if own is not None else None
    return PolicyFiles(operator, directory / "approved.toml", lambda: WALL)


def policy_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if "ledger.db" not in path.name)


def change(both: PolicyFiles, change: ManagedChange) -> LoadedPolicy:
    """A change that comes into force."""
    loaded, _ = both.prepare(change, both.load())
    both.keep()
    return loaded


def updates(both: PolicyFiles, store: Store, refuse: bool = False) -> PolicyUpdates:
    """Over an empty ledger. ``refuse``: the kernel takes no change."""
    in_force = PolicyInForce(both.load(), WALL)
    now = Instant(1000.0, WALL)
    environment = Environment(NETWORK, lambda: now)
    decider = Decider(in_force, Ledger(), environment, DeviceHistory(in_force), Random(1))

    async def submit(operation: Callable[[Transaction], None]) -> object:
        transaction = Transaction(decider.ledger, now)
        operation(transaction)
        if refuse:
            transaction.undo()
        return REFUSED if refuse else None

    return PolicyUpdates(both, decider, submit, Events(), store, 1024)


def test_without_any_file_it_is_the_home_policy(tmp_path: Path) -> None:
    assert policies(tmp_path, None).load().policy == home_policy()


def test_both_files_are_one_policy(tmp_path: Path) -> None:
    both = policies(tmp_path)
    before = both.load().policy.digest
    loaded = change(both, ManagedChange(NAS, grants=({"name": "web", "who": ["nas", "ps5"]},)))
    assert set(loaded.policy.devices) == {"ps5", "nas"}
    assert [grant.name for grant in loaded.policy.grants] == ["games", "web"]
    assert loaded.policy.digest not in ("", before)
    assert both.load().policy == loaded.policy
    assert (tmp_path / "policy.toml").read_text() == OWN


@pytest.mark.parametrize(
    ("machine", "key", "problem"),
    [
        ("version = 1\n[device.ps5]\nip = ['192.168.1.9']", "device.ps5", "another device of this name"),
        ("version = 1\n[[grant]]\nname = 'games'\nwho = 'ps5'", "grant[0].name", "already"),
        ("version = 1\n[[forbid]]\nname = 'games'\nwho = 'ps5'", 'grant "games": name', "already"),
        ("version = 1\n[[forbid]]\nname = 'x'\nwho = 'gone'", "forbid[0].who", "a device of this file"),
        ("version = 1\ndefault = 'ask'", "default", "unknown key"),
        ("version = 2", "version", "1"),
        ("[[grant]", "", "not TOML"),
        (
            "version = 1\n[[grant]]\nname = 'x'\nwho = 'ps5'\nuntil = 0001-01-01T00:00:00+14:00",
            "grant[0].until",
            "of the years 1 to 9999",
        ),
        ("version = 1\n[[grant]]\nname = 'x'\nwho = 'ps5'\nremote = []", "grant[0].remote", "empty"),
        ("version = 1\n[device.x]\nmac = []\nip = '192.168.1.7'", "device.x.mac", "empty"),
        (
            "version = 1\n[[grant]]\nname = 'x'\nwho = 'ps5'\nuntil = 2027-01-01T00:00:00",
            "grant[0].until",
            "offset",
        ),
    ],
)
@pytest.mark.spec("SR-30")
def test_a_machine_file_that_does_not_fit_is_named_and_the_old_one_stays(
    tmp_path: Path, machine: str, key: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as error:
        policies(tmp_path, machine=machine).load()
    named = {error.value.where, str(error.value)}
    assert any("approved.toml" in text for text in named)
    assert error.value.key == key or key in error.value.problem
    assert problem in error.value.problem


TEST = """[[test]]
name = "only one port"
from = { device = "ps5" }
request = { proto = "tcp", int = 8080, ext = 8080 }
want = "deny"
"""
CONFLICTS = [
    (
        OWN.replace('who = "ps5"', 'who = "ps5"\nint_ports = [3074]') + TEST,
        "version = 1\n[[grant]]\nname = 'web'\nwho = 'ps5'",
        'approved.toml: conflicts with the policy file: {}:8: test "only one port": failed: wanted deny; got allow',
    ),
    (
        OWN,
        "version = 1\n[[forbid]]\nname = 'games'\nwho = 'ps5'",
        'approved.toml: conflicts with the policy file: {}:5: grant "games": name: '
        "a forbid of {}/approved.toml has the name 'games' already; use another name",
    ),
    (
        OWN,
        "version = 1\n[[grant]]\nname = 'games'\nwho = 'ps5'",
        "approved.toml:3: grant \"games\": name: a grant of {} has the name 'games' already; use another name",
    ),
    (
        OWN,
        "version = 1\n[device.ps5]\nip = ['192.168.1.9']",
        "approved.toml:2: device.ps5: {} has another device of this name; use another name",
    ),
]


@pytest.mark.parametrize(("own", "machine", "message"), CONFLICTS)
def test_a_conflict_of_the_two_files_names_the_rule_and_its_line(
    tmp_path: Path, own: str, machine: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        policies(tmp_path, own, machine).load()
    expected = message.replace("{}/approved", f"{tmp_path}/approved").replace("{}", f"{tmp_path}/policy.toml")
    assert f"{tmp_path}/{expected}" in str(error.value)


def test_a_mistake_in_the_operators_file_is_reported_as_its_own(tmp_path: Path) -> None:
    both = policies(tmp_path, OWN + "typo = 1\n", "version = 1\n")
    with pytest.raises(ConfigError) as error:
        both.load()
    assert error.value.where.endswith("policy.toml")


@pytest.mark.spec("SR-29")
def test_a_rule_whose_end_has_passed_is_not_in_force_and_leaves_the_file(tmp_path: Path) -> None:
    both = policies(tmp_path)
    ended = {"name": "ended", "who": "ps5", "until": toml_time(WALL)}
    later = {"name": "later", "who": "ps5", "until": toml_time(WALL + 60)}
    loaded = change(both, ManagedChange({}, grants=(ended, later)))
    assert [grant.name for grant in loaded.policy.grants] == ["games", "later"]
    assert PolicyInForce(loaded, WALL).next_end() == WALL + 60
    change(both, ManagedChange(NAS))
    assert "ended" not in (tmp_path / "approved.toml").read_text()


def test_the_line_of_a_mistake_counts_the_rules_that_have_ended(tmp_path: Path) -> None:
    ended = "[[grant]]\nname = 'old'\nwho = 'ps5'\nuntil = 2001-01-01T00:00:00Z\n"
    text = f"version = 1\n{ended}[[grant]]\nname = 'x'\nwho = 'ps5'\nremote = []\n"
    with pytest.raises(ConfigError, match=r"approved\.toml:9: grant \"x\": remote: empty"):
        policies(tmp_path, machine=text).load()


def test_a_change_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    both = policies(tmp_path)
    with pytest.raises(ConfigError):
        change(both, ManagedChange({}, grants=({"name": "games", "who": "ps5"},)))
    assert os.listdir(tmp_path) == ["policy.toml"]


def test_a_disk_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = policies(tmp_path)
    change(both, ManagedChange(NAS))
    before = (tmp_path / "approved.toml").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        change(both, ManagedChange({"tv": {"ip": ["192.168.1.40"]}}))
    assert (tmp_path / "approved.toml").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["approved.toml", "policy.toml"]


async def test_a_rule_that_does_not_come_into_force_is_removed_from_the_file(tmp_path: Path, store: Store) -> None:
    both = policies(tmp_path)
    change(both, ManagedChange(NAS))
    before = (tmp_path / "approved.toml").read_text()
    with pytest.raises(FirewallError):
        await updates(both, store, refuse=True).change(lambda: ManagedChange({"tv": {"ip": ["192.168.1.40"]}}))
    assert (tmp_path / "approved.toml").read_text() == before
    assert policy_files(tmp_path) == ["approved.toml", "policy.toml"]


async def test_nothing_needs_room_on_the_disk_to_take_a_change_back(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses, and the disk is full by then: the file is the old one all the same."""

    def full(path: object, flags: int, *mode: int, **more: object) -> int:
        raise OSError(28, "No space left on device")

    both = policies(tmp_path)
    change(both, ManagedChange(NAS))
    before = (tmp_path / "approved.toml").read_text()
    refused = updates(both, store, refuse=True)

    async def fill(*policies: LoadedPolicy) -> None:  # the draft is written by now
        monkeypatch.setattr(os, "open", full)

    monkeypatch.setattr(refused.kept, "keep", fill)
    with pytest.raises(FirewallError):
        await refused.change(lambda: ManagedChange({"tv": {"ip": ["192.168.1.40"]}}))
    monkeypatch.undo()
    assert (tmp_path / "approved.toml").read_text() == before
    assert set(refused.in_force.approved["device"]) == {"nas"}
    assert policy_files(tmp_path) == ["approved.toml", "policy.toml"]


async def test_a_policy_that_cannot_be_kept_does_not_stay_in_force(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_force: list[set[str]] = []

    def fails(source: object, target: object) -> None:
        raise OSError(30, "Read-only file system")

    policy_updates = updates(policies(tmp_path), store)
    policy_updates._events.subscribe(lambda _: in_force.append(set(policy_updates.in_force.policy.devices)))
    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(StoreError, match="Read-only"):
        await policy_updates.change(lambda: ManagedChange(NAS))
    assert in_force == [{"ps5", "nas"}, {"ps5"}]
    assert policy_files(tmp_path) == ["policy.toml"]


async def test_a_change_brings_no_edit_of_the_operators_file_into_force(tmp_path: Path, store: Store) -> None:
    policy_updates = updates(policies(tmp_path), store)
    in_force = policy_updates.in_force
    for edit in (OWN.replace("games", "edited"), OWN + "[[grant]", "version = 1\n"):
        (tmp_path / "policy.toml").write_text(edit)
        await policy_updates.change(lambda: ManagedChange(NAS))
        assert [grant.name for grant in in_force.policy.grants] == ["games"]
        assert in_force.loaded.text == OWN
    (tmp_path / "policy.toml").write_text(OWN.replace("games", "edited"))
    assert [grant.name for grant in (await policy_updates.reload()).loaded.policy.grants] == ["edited"]
    await policy_updates.change(lambda: ManagedChange({"tv": {"ip": ["192.168.1.40"]}}))
    assert [grant.name for grant in in_force.policy.grants] == ["edited"]


async def test_a_reload_that_does_not_come_into_force_is_not_brought_in_by_a_change(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_updates = updates(policies(tmp_path), store)
    refused = updates(policies(tmp_path), store, refuse=True)
    (tmp_path / "policy.toml").write_text(OWN.replace("games", "edited"))
    monkeypatch.setattr(policy_updates, "_submit", refused._submit)
    with pytest.raises(FirewallError):
        await policy_updates.reload()
    monkeypatch.undo()
    assert [grant.name for grant in policy_updates.in_force.policy.grants] == ["games"]
    await policy_updates.change(lambda: ManagedChange(NAS))
    assert [grant.name for grant in policy_updates.in_force.policy.grants] == ["games"]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    """A daemon that stays root writes into a directory that may have been another user's."""
    precious, place = tmp_path / "precious", tmp_path / "draft"
    precious.write_text("precious")
    place.symlink_to(precious)
    write_file(place, "new")
    assert not place.is_symlink()
    assert precious.read_text() == "precious"
    assert place.read_text() == "new"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "ledger.db", "boot-1")
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.spec("SR-38")
@pytest.mark.parametrize("how", ["start", "reload"])
async def test_a_missing_machine_owned_file_is_reported(
    tmp_path: Path, store: Store, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With it a block is gone too: a device that was shut out gets its ports."""
    policy_updates = updates(policies(tmp_path), store)
    await policy_updates.begin()
    block = {"name": "block-nas", "who": "nas"}
    await policy_updates.change(lambda: ManagedChange(NAS, forbids=(block,)))
    await policy_updates.reload()
    assert caplog.text == ""
    (tmp_path / "approved.toml").unlink()
    if how == "start":
        policy_updates = updates(policies(tmp_path), store)
        await policy_updates.begin()
    else:
        await policy_updates.reload()
    assert "approved.toml is gone, and with it 1 device, 1 forbid that commands wrote" in caplog.text
    caplog.clear()
    await policy_updates.reload()
    assert caplog.text == "", "it is logged once"
