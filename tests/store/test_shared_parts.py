"""A part that decisions share is stored once in a segment, and not at all after a rollback."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.mapping_rows import NOW
from tests.store.test_store import record
from upnp_gw.model.errors import StoreError
from upnp_gw.model.records import RecordFilter
from upnp_gw.store.shared_parts import SEGMENT
from upnp_gw.store.store import Batch, Store


def shared(tmp_path: Path) -> list[int]:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        return [number for (number,) in db.execute("SELECT id FROM decision_shared ORDER BY id")]


async def test_once_for_many_over_restarts_and_again_in_the_next_segment(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.db", "boot-1")
    await store.open()
    await store.write(Batch(decisions=[record(1), record(2), record(3, device="other")]), NOW)
    assert shared(tmp_path) == [0, 1]
    await store.close()
    again = Store(tmp_path / "ledger.db", "boot-1")
    await again.open()
    await again.write(Batch(decisions=[record(4), record(5, device="third")]), NOW)
    assert shared(tmp_path) == [0, 1, 2]
    await again.write(Batch(decisions=[record(SEGMENT), record(SEGMENT + 1)]), NOW)
    assert shared(tmp_path) == [0, 1, 2, SEGMENT]
    await again.write(Batch(decisions=[record(3 * SEGMENT), record(6)]), NOW)
    assert shared(tmp_path) == [0, 1, 2, SEGMENT, 3 * SEGMENT], "an old segment is read again"
    found = await again.decisions(RecordFilter())
    assert found == [
        *(record(n) for n in (3 * SEGMENT, SEGMENT + 1, SEGMENT, 6)),
        record(5, device="third"),
        record(4),
        record(3, device="other"),
        record(2),
        record(1),
    ]
    await again.close()


async def test_no_decision_refers_to_a_shared_row_that_was_rolled_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.db", "boot-1")
    await store.open()
    with pytest.raises(StoreError):
        await store.write(Batch(decisions=[record(1), record(1)]), NOW)
    await store.write(Batch(decisions=[record(2)]), NOW)
    assert await store.decisions(RecordFilter()) == [record(2)]
    await store.close()
