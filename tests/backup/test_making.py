"""A backup has all of the state, at one moment, and nothing that was deleted."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.backups import RULES, backup_bytes, make_state, manifest_of, members
from tests.fixtures.mapping_rows import NOW, mapping
from tests.store.test_store import record
from upnp_gw import __version__
from upnp_gw.backup.making import backup_of
from upnp_gw.backup.manifest import APPROVED, CONFIG, LEDGER, POLICY
from upnp_gw.backup.problem import BackupProblem
from upnp_gw.store.schema import SCHEMA_VERSION
from upnp_gw.store.store import Batch, Store


def counts(ledger: bytes, tmp_path: Path) -> dict[str, int]:
    path = tmp_path / "out.db"
    path.write_bytes(ledger)
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def test_it_has_the_state_and_the_texts_of_the_operator(tmp_path: Path) -> None:
    state = make_state(tmp_path / "state")
    data = backup_bytes(state, config='[lan]\ninterfaces = ["lan0"]\n', policy="version = 1\n")
    found = members(data)
    assert (found[APPROVED].decode(), found[CONFIG][:5], found[POLICY]) == (RULES, b"[lan]", b"version = 1\n")
    manifest = manifest_of(data)
    assert (manifest.format, manifest.version, manifest.schema) == (1, __version__, SCHEMA_VERSION)
    assert manifest.made_at.timestamp() == NOW.wall
    rows = counts(found[LEDGER], tmp_path)
    assert (rows["mappings"], rows["decisions"], rows["notes"]) == (2, 2, 2)
    assert not list(state.glob("*.backup-*"))


def test_without_history_only_decisions_of_mappings_are_in_it(tmp_path: Path) -> None:
    state = make_state(tmp_path / "state")
    data = backup_bytes(state, history=False)
    assert not manifest_of(data).history
    ledger = members(data)[LEDGER]
    rows = counts(ledger, tmp_path)
    assert (rows["mappings"], rows["decisions"], rows["decision_shared"]) == (2, 1, 1)
    with closing(sqlite3.connect(tmp_path / "out.db")) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
    assert (meta["highest-mapping"], meta["highest-decision"]) == ("2", "2")


async def test_it_is_one_state_while_the_gateway_writes(tmp_path: Path) -> None:
    """Each commit adds a mapping and its decision: a copy never has one without the other."""
    store = Store(tmp_path / LEDGER, "boot-1")
    await store.open()
    done = threading.Event()
    copies = list[dict[str, int]]()

    def copy() -> None:
        while len(copies) < 5:
            with backup_of(tmp_path / LEDGER, {}, True, NOW.wall) as backup:
                copies.append(counts(members(b"".join(backup.portions()))[LEDGER], tmp_path))
        done.set()

    copying = asyncio.get_running_loop().run_in_executor(None, copy)
    number = 0
    while not done.is_set():
        number += 1
        batch = Batch(put=[(mapping(number, 1000 + number), number)], decisions=[record(number)])
        await store.write(batch, NOW)
    await copying
    assert all(copy["mappings"] == copy["decisions"] for copy in copies)
    assert copies[-1]["mappings"] > copies[0]["mappings"], "the gateway went on"
    await store.close()


async def test_a_deleted_row_is_not_in_it(tmp_path: Path) -> None:
    store = Store(tmp_path / LEDGER, "boot-1")
    await store.open()
    await store.write(Batch(put=[(mapping(1, description="SECRETWORD"), 1)]), NOW)
    await store.write(Batch(removed=["m1"]), NOW)
    with backup_of(tmp_path / LEDGER, {}, True, NOW.wall) as backup:
        assert b"SECRETWORD" not in b"".join(backup.portions())
    await store.close()


def test_without_a_ledger_there_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupProblem, match="there is no ledger"), backup_of(tmp_path / LEDGER, {}, True, 0):
        pass
    (tmp_path / LEDGER).write_bytes(b"no database" * 100)
    with pytest.raises(BackupProblem, match="cannot be copied"), backup_of(tmp_path / LEDGER, {}, True, 0):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LEDGER]
