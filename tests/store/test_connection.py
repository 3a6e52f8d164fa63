"""Connections to the database file keep a bounded part of it in memory."""

import ctypes
from pathlib import Path

from tests.fixtures.mapping_rows import NOW, mapping
from tests.store.test_store import record
from upnp_gw.model.records import RecordFilter
from upnp_gw.store.connection import CACHE_KIB
from upnp_gw.store.store import Batch, Store

ROWS = 4000
LONG = "a long description, " * 25


def used_kib() -> float:
    """The memory that SQLite uses in this process."""
    used = ctypes.CDLL("libsqlite3.so.0").sqlite3_memory_used
    used.restype = ctypes.c_int64
    return float(used()) / 1024


async def test_a_large_store_is_not_kept_in_memory(tmp_path: Path) -> None:
    path, before = tmp_path / "ledger.db", used_kib()
    store = Store(path, "boot-1")
    await store.open()
    for first in range(1, ROWS + 1, 500):
        numbers = range(first, first + 500)
        put = [(mapping(number, number, description=f"{number} {LONG}"), number) for number in numbers]
        await store.write(Batch(put=put, decisions=[record(number, description=LONG) for number in numbers]), NOW)
    assert len(await store.load(NOW)) == 2
    assert len(await store.decisions(RecordFilter(limit=ROWS))) == ROWS
    await store.synced()
    kept_kib = used_kib() - before
    print(kept_kib, path.stat().st_size)
    await store.close()
    assert path.stat().st_size > 4 * CACHE_KIB * 1024, "there is more than they may keep"
    assert kept_kib < 3 * CACHE_KIB + 256, "the caches of three connections, and statements"
