"""kill -9 at each step of a restore leaves the old state or the new one, and never a half."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.backups import OLD_RULES, RULES, UUID, backup_bytes, make_state
from tests.fixtures.mapping_rows import mapping
from upnp_gw.backup import placing
from upnp_gw.backup.manifest import APPROVED, LEDGER
from upnp_gw.model.errors import StoreError
from upnp_gw.system.files import FileProblem

OLD_UUID = UUID.replace("0b", "0c")


@pytest.mark.parametrize(("old_rules", "new_rules"), [(OLD_RULES, RULES), (OLD_RULES, ""), ("", RULES)])
def test_a_kill_at_each_step_leaves_the_old_state_or_the_new_one(
    tmp_path: Path, old_rules: str, new_rules: str
) -> None:
    file, now = tmp_path / "backup.tar", 4_000_000_000.0
    file.write_bytes(backup_bytes(make_state(tmp_path / "a", [mapping(1, until=now)], new_rules), wall=0))
    old = make_state(tmp_path / "b", [mapping(5, 8081, until=now)], old_rules, OLD_UUID)
    (old / "ledger.db-wal").touch()
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-m", "tests.backup.kills", str(old), str(file), str(work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [line["status"] for line in lines] == [-9] * (len(lines) - 1) + [0]
    assert len(lines) > 15
    seen = []
    for line in lines:
        is_new = line["uuid"] == UUID
        assert (line["uuid"], line["mappings"], line["rules"]) == (
            (UUID, [1], new_rules) if is_new else (OLD_UUID, [5], old_rules)
        )
        assert (line["sound"], line["left"]) == ("ok", [])
        assert bool(line["kept"]) == is_new, "the old files are kept"
        seen.append((is_new, line["finished"]))
    assert seen == sorted(seen, key=lambda one: one[0]), "old before the plan, new from then on"
    assert (False, False) in seen
    assert (True, True) in seen, "the next start has completed one"
    kept = {name[: name.index(".kept-")] + name[name.index("Z") + 1 :] for name in lines[-1]["kept"]}
    assert kept >= {"ledger.db", "ledger.db-wal", "ledger.db-highwater"}
    assert ("approved.toml" in kept) == bool(old_rules)


def test_the_first_start_after_no_restore_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"x")
    (tmp_path / "ledger.db.kept-20260101T000000Z").write_bytes(b"y")
    assert placing.finish(tmp_path) is False
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text", [b"", b"{}", b'{"stamp": "../../x", "approved": true}', b"\xff"])
def test_a_plan_that_no_restore_writes_stops_the_start(tmp_path: Path, text: bytes) -> None:
    (tmp_path / placing.PLAN).write_bytes(text)
    with pytest.raises(FileProblem, match="not valid"):
        placing.finish(tmp_path)
    with pytest.raises(StoreError, match="not valid"):
        placing.finish_at_start(tmp_path)


def test_a_link_in_place_of_the_plan_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(b'{"stamp": "20260101T000000Z", "approved": true}')
    (tmp_path / placing.PLAN).symlink_to(tmp_path / "plan")
    with pytest.raises(FileProblem):
        placing.finish(tmp_path)


def test_a_kept_file_is_never_replaced(tmp_path: Path) -> None:
    for wall in (0.0, 0.0):
        (tmp_path / LEDGER).write_bytes(b"old")
        (tmp_path / APPROVED).write_bytes(b"old")
        placing.new_file(tmp_path, LEDGER).write_bytes(b"new")
        placing.place(tmp_path, approved=False, wall=wall)
    assert len(list(tmp_path.glob("ledger.db.kept-*"))) == 2
    assert len(list(tmp_path.glob("approved.toml.kept-*"))) == 2
    assert (tmp_path / LEDGER).read_bytes() == b"new"
