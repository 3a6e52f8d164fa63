"""Old decisions are deleted in portions beside the commits; one that a mapping names stays as long as it."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from tests.fixtures.mapping_rows import NOW, mapping
from tests.fixtures.store import pruned
from tests.store.test_store import record
from upnp_gw.model.mapping import DecisionId, Instant
from upnp_gw.model.records import RecordFilter
from upnp_gw.store import policy_rows, pruning
from upnp_gw.store.pruning import Retention
from upnp_gw.store.shared_parts import SEGMENT
from upnp_gw.store.store import Batch, Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "ledger.db", "boot-1", keep=Retention(decisions=1000))
    await opened.open()
    yield opened
    await opened.close()


async def write(store: Store, first: int, last: int, now: Instant = NOW) -> None:
    await store.write(Batch(decisions=[record(n, device=f"device {n}") for n in range(first, last + 1)]), now)


async def numbers(store: Store) -> list[int]:
    await pruned(store)
    return [int(one.id[1:]) for one in reversed(await store.decisions(RecordFilter(limit=100_000)))]


def count(tmp_path: Path, table: str) -> int:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


async def test_the_oldest_leave_in_portions_and_the_log_is_never_far_beyond_its_bound(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PORTION", 50)
    portions: list[int] = []
    real = pruning.Pruning.portion

    def portion(self: pruning.Pruning, db: sqlite3.Connection, *more: object) -> None:
        before = db.total_changes
        real(self, db, *more)  # type: ignore[arg-type]
        portions.append(db.total_changes - before)

    monkeypatch.setattr(pruning.Pruning, "portion", portion)
    await write(store, 1, 1000)
    assert await numbers(store) == [*range(1, 1001)]
    portions.clear()
    await write(store, 1001, 1009)
    assert len(await numbers(store)) == 1009, "not for each new one"
    assert portions == []
    await write(store, 1010, 1200)
    assert await numbers(store) == [*range(201, 1201)]
    assert max(portions) <= 50


async def test_a_decision_stays_as_long_as_a_mapping_names_it(store: Store) -> None:
    await store.write(
        Batch(
            put=[(mapping(7, decision=DecisionId("d3")), 1), (mapping(8, 8088, decision=DecisionId("d5")), 2)],
            decisions=[record(n, mapping="m7" if n < 5 else "m8") for n in range(1, 6)],
        ),
        NOW,
    )
    await write(store, 6, 1500)
    assert await numbers(store) == [3, 5, *range(501, 1501)]
    far = Instant(NOW.boot + 3600, NOW.wall + 1000 * 86400)
    await store.write(Batch(removed=["m8"], decisions=[record(1501, at=far.wall)]), far)
    assert await numbers(store) == [3, 1501], "the others are too old"
    (one,) = await store.decisions(RecordFilter(id="d3"))
    assert one == record(3, mapping="m7"), "whole"


async def test_shared_rows_without_a_decision_are_deleted_with_their_segment(store: Store, tmp_path: Path) -> None:
    await store.write(Batch(put=[(mapping(7, decision=DecisionId("d3")), 1)]), NOW)
    await store.write(Batch(decisions=[record(3, mapping="m7")]), NOW)
    for first in range(4, 2 * SEGMENT, 1000):
        await write(store, first, first + 999)
    newest = (await store.highest())[1]
    assert newest == 9003
    await pruned(store)
    assert count(tmp_path, "decisions") == 1001
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        ids = [number for (number,) in db.execute("SELECT id FROM decision_shared ORDER BY id")]
    assert ids == [0, *range(SEGMENT, newest + 1)], "of the first segment only that of d3; the second is not done"
    await write(store, newest + 1, newest + 1)
    assert len(await store.decisions(RecordFilter(limit=10_000))) == 1002


async def test_numbers_go_on_when_all_decisions_are_too_old(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.db", "boot-1")
    await store.open()
    await write(store, 1, 5)
    far = Instant(NOW.boot + 3600, NOW.wall + 1000 * 86400)
    await store.write(Batch(put=[(mapping(1), 1)]), far)
    assert await numbers(store) == []
    await store.close()
    again = Store(tmp_path / "ledger.db", "boot-1")
    await again.open()
    assert (await again.highest())[1] == 5
    await again.close()


async def test_a_disk_that_fails_is_logged_once_and_deleting_goes_on_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await write(store, 1, 1000)
    await pruned(store)
    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
        broken.setattr(policy_rows, "prune_policies", fail)
        await write(store, 1001, 1100)
        await write(store, 1101, 1200)
        await store._run(lambda: None)
    assert len([line for line in caplog.messages if "old decisions cannot be deleted" in line]) == 1
    await write(store, 1201, 1201, Instant(NOW.boot + 3600, NOW.wall))
    assert await numbers(store) == [*range(202, 1202)]


@pytest.mark.parametrize("full", [False, True])
async def test_deleting_is_no_transaction_that_a_power_loss_could_lose(tmp_path: Path, full: bool) -> None:
    """It has no number, so the store is not older without it; and with full durability no request waits for it."""
    store = Store(tmp_path / "ledger.db", "boot-1", full, keep=Retention(decisions=10))
    await store.open()
    before = int(await store.get("transaction") or 0)
    levels: list[int] = []

    def level(db: sqlite3.Connection, *_: object) -> None:
        levels.append(db.execute("PRAGMA synchronous").fetchone()[0])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(policy_rows, "prune_policies", level)
        await write(store, 1, 100)
        assert await numbers(store) == [*range(91, 101)]
    assert int(await store.get("transaction") or 0) == before + 1
    assert set(levels) == {1}
    assert await store._run(lambda: store._open_db.execute("PRAGMA synchronous").fetchone()) == (2 if full else 1,)
    await store.close()


async def test_batches_of_another_thread_do_not_queue_a_portion_each(store: Store) -> None:
    """Else the devices, for which the next batch waits, would be written behind a portion for each batch."""
    await write(store, 1, 1000)
    await pruned(store)
    begun, go = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait()

    store._thread.post(hold)
    await asyncio.to_thread(begun.wait)

    def batches() -> None:
        for n in range(1001, 1051):
            store.write_blocking(Batch(decisions=[record(n)]), NOW)

    await asyncio.to_thread(batches)
    waiting = store._thread._calls.qsize()
    go.set()
    assert waiting == 1
    await write(store, 1051, 1051, Instant(NOW.boot + 3600, NOW.wall))
    assert await numbers(store) == [*range(52, 1052)]


class FailingRollback:
    """A connection whose next ROLLBACK fails as on a bad disk, and whose every call is noted."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.failures = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "ROLLBACK" and self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(statement, *values)


@pytest.mark.parametrize("full", [False, True])
async def test_the_store_goes_on_when_neither_deleting_nor_its_rollback_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    store = Store(tmp_path / "ledger.db", "boot-1", full, keep=Retention(decisions=100))
    await store.open()
    await write(store, 1, 100)
    await pruned(store)
    assert store._db is not None
    store._db = failing = cast(Any, FailingRollback(store._db))
    with monkeypatch.context() as broken:
        broken.setattr(policy_rows, "prune_policies", fail)
        await write(store, 101, 110)
        while failing.failures:
            await asyncio.wait_for(store._run(lambda: None), 10)
    await asyncio.wait_for(write(store, 111, 120, Instant(NOW.boot + 3600, NOW.wall)), 10)
    assert await asyncio.wait_for(numbers(store), 10) == [*range(21, 121)]
    assert failing.execute("PRAGMA synchronous").fetchone() == (2 if full else 1,)
    await store.close()


async def test_a_portion_that_fails_leaves_full_durability_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    store = Store(tmp_path / "ledger.db", "boot-1", True, keep=Retention(decisions=100))
    await store.open()
    await write(store, 1, 100)
    await pruned(store)
    monkeypatch.setattr(policy_rows, "prune_policies", fail)
    await write(store, 101, 110)
    await store._run(lambda: None)
    assert store._prune_problem == "database or disk is full"
    assert store._open_db.execute("PRAGMA synchronous").fetchone() == (2,)
    await store.close()


async def test_a_stop_does_not_wait_for_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PORTION", 10)
    store = Store(tmp_path / "ledger.db", "boot-1", keep=Retention(decisions=100))
    await store.open()
    await write(store, 1, 3000)
    await store.close()
    again = Store(tmp_path / "ledger.db", "boot-1", keep=Retention(decisions=100))
    await again.open()
    assert 100 < len(await again.decisions(RecordFilter(limit=10_000))) <= 3000
    await write(again, 3001, 3001)
    assert await numbers(again) == [*range(2902, 3002)]
    await again.close()
