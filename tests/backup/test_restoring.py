"""A restore checks the whole file against this machine, and changes nothing before its last step."""

import io
from pathlib import Path

import pytest

from tests.fixtures.backups import (
    RULES,
    backup_bytes,
    changed_ledger,
    make_state,
    members,
    packed,
    restore_of,
)
from tests.fixtures.mapping_rows import NOW
from upnp_gw.backup.manifest import APPROVED, CONFIG, POLICY
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.backup.rebuilding import Choice
from upnp_gw.backup.restoring import read_files
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.model.mapping import Instant


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return backup_bytes(make_state(tmp_path_factory.mktemp("d") / "state"), policy="version = 1\n")


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if not path.name.endswith("-shm")}


def test_a_file_that_is_refused_changes_nothing(data: bytes, tmp_path: Path) -> None:
    state = make_state(tmp_path / "state", rules="")
    (state / "ledger.db-wal").touch()
    before = content(state)
    bad = [
        data[:5000],
        packed({**members(data), APPROVED: b"version = 1\n[[grant]]\nname = 3\n"}),
        packed({**members(data), APPROVED: b"\xff"}),
        changed_ledger(data, tmp_path, lambda db: db.execute("DROP TABLE mappings")),
    ]
    for one in bad:
        with pytest.raises(GatewayError):
            restore_of(state, one)
        restore_of(tmp_path / "other", data).clear()
    restore_of(state, data).clear()
    assert content(state) == before


def test_a_clock_before_the_backup_is_refused_unless_no_mapping_is_asked_for(data: bytes, tmp_path: Path) -> None:
    early = Instant(5.0, NOW.wall - 3600)
    with pytest.raises(BackupProblem, match=r"clock of this machine is before the time of the backup, 2027"):
        restore_of(tmp_path / "new", data, now=early, boot="boot-9")
    restore_of(tmp_path / "new", data, Choice(mappings=False), now=early, boot="boot-9").perform()


def test_rules_that_this_machines_policy_does_not_take_are_refused(data: bytes, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\n[[grant]]\nname = "console"\nwho = "*"\nint_ports = [80]\n')
    with pytest.raises(BackupProblem, match=r"approved.toml is not accepted by this machine: .*console"):
        restore_of(tmp_path / "new", data, policy=policy)
    policy.write_text("version = ")
    with pytest.raises(ConfigError, match=r"policy\.toml"):
        restore_of(tmp_path / "new", data, policy=policy)


def test_a_backup_without_rules_sets_those_of_this_machine_aside(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "old", rules=""))
    state = make_state(tmp_path / "state")
    kept = restore_of(state, data).perform()
    assert not (state / APPROVED).exists()
    (rules,) = [path for path in kept if path.name.startswith(APPROVED)]
    assert rules.read_text() == RULES


def test_a_damaged_ledger_in_place_is_kept_and_replaced(data: bytes, tmp_path: Path) -> None:
    state = make_state(tmp_path / "state")
    (state / "ledger.db").write_bytes(b"damaged" * 100)
    kept = restore_of(state, data).perform()
    assert b"damaged" in next(path for path in kept if "ledger.db.kept" in path.name).read_bytes()
    restore_of(tmp_path / "again", backup_bytes(state))


def test_a_disk_without_room_is_told_before_anything_is_written(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Full)
    with pytest.raises(BackupProblem, match="bytes are needed"):
        restore_of(tmp_path / "new", data)
    assert list((tmp_path / "new").iterdir()) == []


def test_the_operators_files_come_with_what_is_to_know_about_them(data: bytes, tmp_path: Path) -> None:
    wide = 'version = 1\n[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1-65535"]\n'
    parts = {**members(data), POLICY: wide.encode(), CONFIG: b"[lan]\nx = 1\n"}
    found = read_files(io.BytesIO(packed(parts)), tmp_path)
    assert found[POLICY][0] == wide
    assert any("all" in finding for finding in found[POLICY][1])
    assert "not accepted: config.toml:2: lan.x" in found[CONFIG][1][0]
