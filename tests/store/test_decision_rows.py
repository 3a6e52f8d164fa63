"""The audit log on disk: what it is searched by, and that it ends by size and by age."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.mapping_rows import NOW
from tests.fixtures.store import pruned
from tests.store.test_store import record
from upnp_gw.model.mapping import Instant
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store.pruning import Retention
from upnp_gw.store.store import Batch, Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "ledger.db", "boot-1", keep=Retention(decisions=5, seconds=100.0))
    await opened.open()
    yield opened
    await opened.close()


async def ids(store: Store, **filters: Any) -> list[str]:
    await pruned(store)
    return [found.id for found in await store.decisions(RecordFilter(**filters))]


async def write(store: Store, *records: DecisionRecord, after_s: float = 0.0) -> None:
    await store.write(Batch(decisions=list(records)), Instant(NOW.boot + after_s, NOW.wall + after_s))


FILTERS: list[tuple[dict[str, object], list[str]]] = [
    ({}, ["d4", "d3", "d2", "d1"]),
    ({"verdict": "deny"}, ["d2"]),
    ({"via": "pcp"}, ["d3"]),
    ({"devices": ("02:00:00:00:00:66",)}, ["d2"]),
    ({"devices": ("02:00:00:00:00:66", "nobody"), "verdict": "deny"}, ["d2"]),
    ({"rule": "games"}, ["d3"]),
    ({"port": 9999}, ["d4"]),
    ({"port": 8443}, ["d3"]),
    ({"since": NOW.wall + 2, "until": NOW.wall + 4}, ["d3", "d2"]),
    ({"before": 3}, ["d2", "d1"]),
    ({"before": 3, "limit": 1}, ["d2"]),
    ({"id": "d4"}, ["d4"]),
    ({"port": 8443, "rule": "grant"}, []),
]


@pytest.mark.parametrize(("fields", "found"), FILTERS)
async def test_filters(store: Store, fields: dict[str, object], found: list[str]) -> None:
    await write(
        store,
        record(1),
        record(2, verdict="deny", device="02:00:00:00:00:66", rule=None),
        record(3, via="pcp", rule="games", internal_port=8443),
        record(4, external_port=9999),
    )
    assert await ids(store, **fields) == found


async def test_the_log_ends_by_size(store: Store) -> None:
    await write(store, *(record(n) for n in range(1, 9)))
    assert await ids(store) == ["d8", "d7", "d6", "d5", "d4"]


async def test_the_log_ends_by_age_and_its_numbers_go_on(store: Store, tmp_path: Path) -> None:
    await write(store, record(1), record(2))
    await write(store, record(3, at=NOW.wall + 103), after_s=102)
    assert await ids(store) == ["d3", "d2"]
    await write(store, record(4, at=0.0), after_s=500)  # before the wall clock was set: it has no age yet
    assert await ids(store) == ["d4"]
    again = Store(tmp_path / "ledger.db", "boot-2")
    await again.open()
    assert (await again.highest())[1] == 4, "no number is given twice"
    await again.close()


async def test_a_count_replaces_the_record_it_counts_on(store: Store) -> None:
    await write(store, record(1, verdict="deny"))
    await write(store, record(1, verdict="deny", count=57), record(2))
    (two, one) = await store.decisions(RecordFilter())
    assert (two.count, one.count) == (1, 57)


DAMAGES = {
    "decisions": {
        "body": ["", "[", "{}", "[1]", '["1 2 3 4"]', '["x", [1, 2, 3]]', "[" * 100_000, '["1", null]'],
    },
    "decision_shared": {
        "pattern": ["", "[", "1", '["\t\t\t\t\t\t\t\t"]'],
        "body": ["", "[]", "7", "[" * 100_000, "[1,2,3,4,5,6,7,8]", '["a","map","tcp","b",null,null,[],[]]'],
        "via": ["smoke"],
    },
}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (table, column, value)
        for table, columns in DAMAGES.items()
        for column in columns
        for value in columns[column]
    ],
)
async def test_a_damaged_row_does_not_hide_the_others(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str, column: str, value: object
) -> None:
    await write(store, record(1), record(2, device="02:00:00:00:00:66"), record(3))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db, db:
        key = "number = 2" if table == "decisions" else "id = (SELECT shared FROM decisions WHERE number = 2)"
        assert db.execute(f"UPDATE {table} SET {column} = ? WHERE {key}", (value,)).rowcount == 1
    assert await ids(store) == ["d3", "d1"]
    assert caplog.messages == ["decision d2 cannot be read and is left out: the store is damaged"]
