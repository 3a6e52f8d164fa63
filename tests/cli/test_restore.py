"""``restore``: it shows, asks, and replaces the state of a stopped gateway."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.backups import UUID, backup_bytes, make_state
from tests.fixtures.fake_operator import ServedOperator
from tests.fixtures.mapping_rows import mapping
from upnp_gw.system.clock import boot_id
from upnp_gw.system.state_lock import StateLock

FOREVER = 4e9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    state = make_state(tmp_path / "old", [mapping(1, until=FOREVER), mapping(2, 8081, until=FOREVER)])
    path = tmp_path / "backup.tar"
    path.write_bytes(backup_bytes(state, wall=0, policy="version = 1\n", config="[lan]\n"))
    return path


def test_a_dry_run_shows_and_changes_nothing(upnp_gw: Run, file: Path, tmp_path: Path) -> None:
    done = upnp_gw("restore", str(file), "--dry-run", "--state-dir", str(tmp_path / "new"))
    assert done.exit_code == 0, done.output
    text = done.output.replace("\n    ", " ")
    for words in (
        *("made 1970-01-01 00:00 UTC", "2 mappings to restore; 0 ended since", "tcp 8080 -> 192.168.77.10:8080"),
        *("in no network of this machine", f"UUID {UUID}", "int_ports = [3074]", "policy.toml: not put in place"),
    ):
        assert words in text, words
    assert not (tmp_path / "new").exists()


def test_it_restores_after_a_yes_and_keeps_what_was_there(upnp_gw: Run, file: Path, tmp_path: Path) -> None:
    state = make_state(tmp_path / "state", [mapping(5, 8082)], "", UUID.replace("0b", "0c"))
    done = upnp_gw("restore", str(file), "--yes", "--state-dir", str(state), "--json")
    report = json.loads(done.output)
    assert (done.exit_code, report["performed"], len(report["restored"])) == (0, True, 2)
    assert all(Path(kept).exists() and ".kept-" in kept for kept in report["kept"])
    again = json.loads(upnp_gw("restore", str(file), "--yes", "--state-dir", str(state), "--json").output)
    assert {Path(kept).name for kept in again["kept"]} & {Path(kept).name for kept in report["kept"]} == set()


def test_without_a_terminal_it_needs_the_option(upnp_gw: Run, file: Path, tmp_path: Path) -> None:
    done = upnp_gw("restore", str(file), "--state-dir", str(tmp_path / "new"))
    assert done.exit_code == 2
    assert "use --dry-run to look, then --yes" in done.output
    assert not (tmp_path / "new").exists()


def test_a_running_gateway_is_not_restored_under_its_feet(
    upnp_gw: Run, daemon: ServedOperator, file: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    done = upnp_gw("restore", str(file), "--yes", "--state-dir", str(state))
    assert (done.exit_code, state.exists()) == (1, False)
    assert "stop it first" in done.output
    assert upnp_gw("restore", str(file), "--dry-run", "--state-dir", str(state)).exit_code == 0


def test_a_state_directory_in_use_is_refused(upnp_gw: Run, file: Path, tmp_path: Path) -> None:
    state = make_state(tmp_path / "state")
    lock = StateLock(state)
    done = upnp_gw("restore", str(file), "--yes", "--state-dir", str(state))
    lock.release()
    assert (done.exit_code, "another upnp-gw uses" in done.output.replace("\n    ", " ")) == (2, True)


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_another_file_is_refused(upnp_gw: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    done = upnp_gw("restore", str(file), "--yes", "--state-dir", str(tmp_path / "new"), "--json")
    assert done.exit_code == 1
    assert "nothing was changed: " in json.loads(done.output)["message"]
    assert list((tmp_path / "new").iterdir()) == []
    assert upnp_gw("restore", str(tmp_path), "--yes", "--state-dir", str(tmp_path / "new")).exit_code == 1
    assert upnp_gw("restore", str(tmp_path / "missing"), "--dry-run").exit_code == 1


def test_the_operators_files_are_written_on_demand_and_never_over_others(
    upnp_gw: Run, file: Path, tmp_path: Path
) -> None:
    done = upnp_gw("restore", str(file), "--files", str(tmp_path))
    assert (done.exit_code, (tmp_path / "policy.toml").read_text()) == (0, "version = 1\n")
    assert (tmp_path / "config.toml").read_text() == "[lan]\n"
    (tmp_path / "policy.toml").write_text("mine")
    assert upnp_gw("restore", str(file), "--files", str(tmp_path)).exit_code == 1
    assert (tmp_path / "policy.toml").read_text() == "mine"


def test_from_the_standard_input(file: Path, tmp_path: Path) -> None:
    assert boot_id()
    words = ["restore", "-", "--yes", "--state-dir", str(tmp_path / "new"), "--runtime-dir", str(tmp_path)]
    with file.open("rb") as source:
        done = subprocess.run(
            [sys.executable, "-m", "upnp_gw", *words], stdin=source, capture_output=True, text=True
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new" / "ledger.db").stat().st_mode & 0o777 == 0o640
