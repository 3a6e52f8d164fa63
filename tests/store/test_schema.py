"""An upgrade in place keeps everything: a file of the first schema opens in this version, with all it held."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.mapping_rows import NOW, mapping
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Hold, Instant, Via
from upnp_gw.store import upgrade
from upnp_gw.store.schema import SCHEMA_VERSION
from upnp_gw.store.store import Batch, Store


def columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


@pytest.fixture
def oldest(tmp_path: Path) -> Path:
    """As the first version left it: one mapping with a lease, one cut, one decision."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript((ROOT / "tests" / "store" / "schema_1.sql").read_text() + "PRAGMA user_version = 1;")
        db.execute(
            "INSERT INTO mappings VALUES ('m7', 1, 'tcp', NULL, 8080, '203.0.113.7/32', '192.168.77.10', 80,"
            " 'ac:89:95:00:00:01', 'web', 1, 0, 1799990000.0, 'd4', 'home', '', 0, 0)"
        )
        db.execute(
            "INSERT INTO holds (mapping, via, asked_s, nonce, boot_id, until_boot, until_wall, left_s)"
            " VALUES ('m7', 'igd1', 3600, NULL, 'boot-1', ?, ?, 3600.0)",
            (NOW.boot + 3600, NOW.wall + 3600),
        )
        db.execute(
            "INSERT INTO cuts VALUES (3, 'ac:89:95:00:00:01', 'm6', 'd3', 'udp', NULL, 3074, NULL,"
            " '192.168.77.10', 3074)"
        )
        db.execute("INSERT INTO meta VALUES ('uuid', 'the-uuid'), ('highest-mapping', '7')")
    return path


async def test_the_first_schema_opens_with_all_it_held(oldest: Path) -> None:
    store = Store(oldest, "boot-1")
    await store.open()
    (row,), (cut,) = await store.load(Instant(NOW.boot + 60, NOW.wall + 60))
    assert (row.mapping.id, row.mapping.key.external_port, str(row.mapping.key.remote)) == (
        "m7",
        8080,
        "203.0.113.7/32",
    )
    assert row.mapping.holds == (Hold(Via.IGD1, NOW.boot + 3600, 3600),)
    assert (cut.number, cut.key.external_port, cut.key.remote_port) == (3, 3074, 0)
    assert await store.get("uuid") == "the-uuid"
    assert (await store.highest())[0] == 7
    await store.write(Batch(put=[(mapping(8, 8081), 2)], removed=["m7"], cuts_done=[3]), NOW)
    rows, cuts = await store.load(NOW)
    assert [row.mapping.id for row in rows] == ["m8"]
    assert cuts == []
    assert await store.policy("0123456789ab") is None
    await store.keep_policy("0123456789ab", b"a policy")
    assert await store.policy("0123456789ab") == b"a policy"
    await store.close()


async def test_an_upgraded_file_has_the_columns_of_a_new_one(oldest: Path, tmp_path: Path) -> None:
    for path in (oldest, tmp_path / "new.db"):
        store = Store(path, "boot-1")
        await store.open()
        await store.close()
    with closing(sqlite3.connect(oldest)) as old, closing(sqlite3.connect(tmp_path / "new.db")) as new:
        tables = [name for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {table: columns(old, table) for table in tables} == {table: columns(new, table) for table in tables}
        assert old.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        tables = [name for (name,) in old.execute("SELECT name FROM sqlite_master WHERE name LIKE 'old_%'")]
        assert tables == []


@pytest.mark.parametrize("step", [1, 5])
async def test_an_upgrade_that_fails_leaves_the_file_as_it_was(
    oldest: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(upgrade.MIGRATIONS, step, [*upgrade.MIGRATIONS[step], "ALTER TABLE nowhere ADD COLUMN x"])
    store = Store(oldest, "boot-1")
    with pytest.raises(StoreError, match="nowhere"):
        await store.open()
    await store.close()
    monkeypatch.undo()
    store = Store(oldest, "boot-1")
    await store.open()
    assert [row.mapping.id for row in (await store.load(NOW))[0]] == ["m7"]
    await store.close()


async def test_a_ledger_without_leases_above_opens(tmp_path: Path) -> None:
    """Schema 6: the mappings had one column less."""
    path = tmp_path / "ledger.db"
    store = Store(path, "boot-1")
    await store.open()
    await store.write(Batch(put=[(mapping(7), 1)]), NOW)
    await store.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE mappings DROP COLUMN above")
        db.execute("PRAGMA user_version = 6")
    store = Store(path, "boot-1")
    await store.open()
    ((row,), _) = await store.load(NOW)
    assert (row.mapping.id, row.mapping.above) == ("m7", None)
    await store.close()
