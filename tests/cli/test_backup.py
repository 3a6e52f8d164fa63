"""``backup``: a file that only its user reads, of a running gateway or of its state directory."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.backups import RULES, make_state, members
from tests.fixtures.fake_operator import served
from upnp_gw.backup.manifest import APPROVED, CONFIG, LEDGER, MANIFEST, POLICY
from upnp_gw.control.download import Download
from upnp_gw.model.errors import StoreError
from upnp_gw.system.state_lock import StateLock


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return make_state(tmp_path / "state")


def test_of_a_stopped_gateway(upnp_gw: Run, state: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    config = tmp_path / "config.toml"
    config.write_text('[store]\nstate_dir = "state"\n[gate]\npolicy = "policy.toml"\n')
    file = tmp_path / "backup.tar"
    done = upnp_gw("backup", str(file), "--config", str(config))
    assert (done.exit_code, file.stat().st_mode & 0o777) == (0, 0o600)
    assert f"{file.stat().st_size} bytes written to {file}" in done.output.replace("\n    ", " ")
    found = members(file.read_bytes())
    assert list(found) == [MANIFEST, LEDGER, APPROVED, POLICY, CONFIG]
    assert (found[APPROVED].decode(), found[CONFIG].decode()) == (RULES, config.read_text())


def test_a_file_is_only_replaced_with_force(upnp_gw: Run, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_text("mine")
    refused = upnp_gw("backup", str(file), "--state-dir", str(state))
    assert (refused.exit_code, file.read_text()) == (1, "mine")
    assert "exists; choose another name, or use --force" in refused.output
    assert upnp_gw("backup", str(file), "--state-dir", str(state), "--force", "--json").exit_code == 0
    assert members(file.read_bytes())
    assert [path.name for path in tmp_path.iterdir() if "new" in path.name] == []


def test_to_the_standard_output(state: Path, tmp_path: Path) -> None:
    words = ["backup", "-", "--state-dir", str(state), "--runtime-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "upnp_gw", *words], capture_output=True, check=True)
    assert list(members(done.stdout)) == [MANIFEST, LEDGER, APPROVED]
    assert done.stderr == b""


@pytest.mark.parametrize("words", [["x/y/backup.tar"], ["backup.tar", "--config", "missing.toml"]])
def test_a_place_that_is_none_is_named(
    upnp_gw: Run, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = upnp_gw("backup", *words, *([] if "--config" in words else ["--state-dir", str(state)]))
    assert done.exit_code in (1, 2)
    assert words[-1].rpartition("/")[0] in done.output
    assert not Path("backup.tar").exists()


def test_a_state_directory_that_a_gateway_uses_is_refused(upnp_gw: Run, state: Path, tmp_path: Path) -> None:
    lock = StateLock(state)
    done = upnp_gw("backup", str(tmp_path / "b.tar"), "--state-dir", str(state))
    lock.release()
    assert done.exit_code == 2
    assert "another upnp-gw uses this directory" in done.output.replace("\n    ", " ")


class Sends:
    """A gateway that sends these bytes, and says that it sends so many."""

    def __init__(self, data: bytes, size: int, problem: str = "") -> None:
        self.data, self.size, self.problem = data, size, problem

    @asynccontextmanager
    async def backup(self, query: object) -> AsyncIterator[Download]:
        if self.problem:
            raise StoreError(self.problem)
        yield Download("application/x-tar", self.size, self._portions())

    async def _portions(self) -> AsyncIterator[bytes]:
        yield self.data[: len(self.data) // 2]
        yield self.data[len(self.data) // 2 :]


def test_of_a_running_gateway(upnp_gw: Run, tmp_path: Path) -> None:
    file, data = tmp_path / "backup.tar", os.urandom(1 << 20)
    with served(tmp_path / "run", more=[Sends(data, len(data))]):
        done = upnp_gw("backup", str(file), "--json")
    assert json.loads(done.output) == {"file": str(file), "bytes": len(data)}
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (data, 0o600)


@pytest.mark.parametrize(
    ("sends", "code", "words"),
    [(Sends(b"x" * 1000, 2000), 3, "ended the connection"), (Sends(b"", 0, "the disk is full"), 1, "disk is full")],
)
def test_a_file_that_does_not_come_whole_is_not_kept(
    upnp_gw: Run, tmp_path: Path, sends: Sends, code: int, words: str
) -> None:
    file = tmp_path / "backup.tar"
    with served(tmp_path / "run", more=[sends]):
        done = upnp_gw("backup", str(file))
    assert (done.exit_code, words in done.output.replace("\n", " ")) == (code, True), done.output
    assert not list(tmp_path.glob("*backup.tar*"))
