"""The ledger on disk: what is written comes back, over restarts and reboots, and a bad file is never touched."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.mapping_rows import CONSOLE, NOW, mapping
from upnp_gw.ledger.pending_cuts import cut_of
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import (
    Above,
    DecisionId,
    Endpoint,
    Hold,
    Instant,
    Screen,
    Transport,
    Via,
    shared_address,
    shared_text,
)
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store.mapping_rows import COLUMNS, mapping_values, stored_row
from upnp_gw.store.schema import SCHEMA_VERSION
from upnp_gw.store.store import Batch, Store

OUTERMOST = Endpoint(ip_address("198.51.100.7"), 40_000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "ledger.db", boot_id="boot-1")
    await opened.open()
    yield opened
    await opened.close()


def record(number: int, **changes: object) -> DecisionRecord:
    values: dict[str, object] = {
        "id": DecisionId(f"d{number}"),
        "at": NOW.wall + number,
        "via": Via.IGD1,
        "device": CONSOLE,
        "address": "192.168.77.10",
        "action": "map",
        "transport": Transport.TCP,
        "external_port": 8080,
        "internal_client": "192.168.77.10",
        "internal_port": 80,
        "remote_host": None,
        "lease_s": 3600,
        "description": "a game",
        "verdict": "allow",
        "refusal": None,
        "rule": "grant",
        "reasons": ("floor: ok", "grant: room"),
        "policy": "0" * 12,
    }
    return DecisionRecord(**{**values, **changes})  # type: ignore[arg-type]


async def reopened(tmp_path: Path, boot_id: str) -> Store:
    again = Store(tmp_path / "ledger.db", boot_id=boot_id)
    await again.open()
    return again


async def test_rows_come_back_as_they_were(store: Store, tmp_path: Path) -> None:
    rows = [
        mapping(1, 8080, remote="203.0.113.7/32", description="quotes \" ' \\ \r\n\x00 ‮ end"),
        mapping(2, 8081, filters=(ip_network("203.0.113.0/24"),), parked=True, permanent=True, delegated=True),
        mapping(3, 9000, client="2001:db8::10", enabled=False).with_hold(Hold(Via.PCP, 1500.0, 600, b"n" * 12)),
        mapping(4, 9000, nat=False),
        mapping(5, 8089, screen=Screen(("h00000000001",), ("h00000000002", "h00000000003"))),
    ]
    await store.write(Batch(put=[(row, n) for n, row in enumerate(rows, 1)]), NOW)
    again = await reopened(tmp_path, "boot-1")
    loaded, _ = await again.load(NOW)
    await again.close()
    assert [row.number for row in loaded] == [1, 2, 3, 4, 5]
    for expected, loaded_row in zip(rows, loaded, strict=True):
        holds = {hold.via: hold for hold in loaded_row.mapping.holds}
        assert holds == {hold.via: hold for hold in expected.holds}
        assert replace(loaded_row.mapping, holds=expected.holds, recheck_at=expected.recheck_at) == expected


async def test_loaded_mappings_share_what_mappings_share(store: Store) -> None:
    """A thousand mappings of a host have its address, device and description once, as those made by requests."""
    rows = [replace(mapping(n, 8000 + n), description="game") for n in (1, 2)]
    await store.write(Batch(put=[(row, n) for n, row in enumerate(rows)]), NOW)
    loaded, _ = await store.load(NOW)
    for found in (row.mapping for row in loaded):
        assert found.internal.address is shared_address(found.internal.address)
        assert found.internal.port is found.key.external_port
        for text in (found.device, found.description, found.rule):
            assert text is shared_text(text)


@pytest.mark.parametrize(
    ("wall_passed", "left"),
    [(600, 3000), (0, 3600), (-86400, 3600), (4000, -400)],
    ids=["ten minutes of reboot", "none", "the clock was set back", "it ended meanwhile"],
)
async def test_another_boot_goes_by_the_wall_clock_but_never_gains(
    store: Store, tmp_path: Path, wall_passed: float, left: float
) -> None:
    await store.write(Batch(put=[(mapping(1), 1)]), NOW)
    again = await reopened(tmp_path, "boot-2")
    now = Instant(boot=5.0, wall=NOW.wall + wall_passed)
    loaded, _ = await again.load(now)
    await again.close()
    assert loaded[0].mapping.until - now.boot == pytest.approx(left)


async def test_the_same_boot_goes_by_boottime_whatever_the_wall_clock_did(store: Store, tmp_path: Path) -> None:
    await store.write(Batch(put=[(mapping(1), 1)]), NOW)
    again = await reopened(tmp_path, "boot-1")
    loaded, _ = await again.load(Instant(NOW.boot + 60, NOW.wall - 10**8))
    await again.close()
    assert loaded[0].mapping.until == NOW.boot + 3600


@pytest.mark.parametrize("nat", [True, False])
async def test_cuts_not_done_come_back_due(store: Store, nat: bool) -> None:
    cut = cut_of(7, mapping(1, nat=nat), "expired", NOW.boot)
    await store.write(Batch(cuts_put=[cut]), NOW)
    _, cuts = await store.load(NOW)
    assert [(c.number, c.key, c.internal, c.due) for c in cuts] == [(7, cut.key, cut.internal, NOW.boot)]
    await store.write(Batch(cuts_done=[7]), NOW)
    assert (await store.load(NOW))[1] == []


async def test_decisions_are_found_by_device_verdict_and_id(store: Store) -> None:
    records = [record(1), record(2, verdict="deny", refusal="not-authorized"), record(3, device="other")]
    await store.write(Batch(decisions=records), NOW)
    assert await store.decisions(RecordFilter()) == records[::-1]
    assert await store.decisions(RecordFilter(devices=(CONSOLE,), limit=1)) == [records[1]]
    assert await store.decisions(RecordFilter(verdict="deny")) == [records[1]]
    assert await store.decisions(RecordFilter(id="d3", since=NOW.wall)) == [records[2]]
    assert (await store.highest())[1] == 3


async def test_mapping_numbers_are_not_used_twice(store: Store) -> None:
    await store.write(Batch(put=[(mapping(41), 1)]), NOW)
    await store.write(Batch(removed=["m41"]), NOW)
    assert (await store.highest())[0] == 41


async def test_a_refresh_of_an_old_mapping_gives_no_number_free(store: Store) -> None:
    """A number used twice would write over the row that has it."""
    await store.write(Batch(put=[(mapping(41, 8041), 1)], decisions=[record(90)]), NOW)
    await store.write(Batch(removed=["m41"]), NOW)
    await store.write(Batch(put=[(mapping(7, 8007), 2)], decisions=[record(91)]), NOW)
    assert (await store.highest())[:2] == (41, 91)


async def test_a_batch_is_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.write(Batch(put=[(mapping(1), 1)], decisions=[record(1), record(1)]), NOW)
    assert await store.load(NOW) == ([], [])


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left"), MemoryError(), sqlite3.Warning("w"), KeyError("x")]
)
async def test_every_failure_is_an_error_of_the_store(
    store: Store, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr("upnp_gw.store.decision_rows.write_decisions", fail)
    with pytest.raises(StoreError, match=r"ledger\.db: ."):
        await store.write(Batch(put=[(mapping(1), 1)], decisions=[record(1)]), NOW)
    monkeypatch.undo()
    assert await store.load(NOW) == ([], [])
    await store.write(Batch(put=[(mapping(1), 1)]), NOW)


async def test_a_value_that_sqlite_does_not_hold_is_an_error_of_the_store(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.write(Batch(put=[(mapping(1), 2**70)]), NOW)
    await store.write(Batch(put=[(mapping(1), 1)]), NOW)


class Unwilling:
    """A connection whose first ROLLBACK fails, as on a disk that fails for good while a change is undone."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.fails = 1

    def execute(self, sql: str, *more: object) -> object:
        if sql == "ROLLBACK" and self.fails:
            self.fails -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return self._db.execute(sql, *more)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)


async def test_a_transaction_that_could_not_be_taken_back_does_not_stop_the_next(store: Store) -> None:
    assert store._db is not None
    store._db = Unwilling(store._db)  # type: ignore[assignment]
    with pytest.raises(StoreError):
        await store.write(Batch(put=[(mapping(1), 1)], decisions=[record(1), record(1)]), NOW)
    await store.write(Batch(put=[(mapping(2, 8002), 2)]), NOW)
    rows, _ = await store.load(NOW)
    assert [row.mapping.id for row in rows] == ["m2"]


async def test_a_newer_schema_is_refused_and_kept(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    newer = Store(tmp_path / "ledger.db", "boot-1")
    with pytest.raises(StoreError, match="newer upnp-gw"):
        await newer.open()
    await newer.close()


@pytest.mark.parametrize(
    ("column", "value"), [("holds", "["), ("holds", "7"), ("internal_address", "x"), ("transport", "smoke")]
)
async def test_a_mapping_that_cannot_be_read_is_named(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "ledger.db"
    store = Store(path, "boot-1")
    await store.open()
    await store.write(Batch(put=[(mapping(17), 1), (mapping(18, 8081), 2)]), NOW)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE mappings SET {column} = ? WHERE id = 18", (value,))
    with pytest.raises(StoreError) as caught:
        await store.load(NOW)
    message = str(caught.value)
    assert message.startswith(f"{path}: mapping m18 cannot be read: ")
    assert message.endswith(
        "The store is damaged: put back a copy of it, or move it away to start without its mappings"
    )
    await store.close()


async def test_a_damaged_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database, whatever its name says" * 200)
    before = path.read_bytes()
    damaged = Store(path, "boot-1")
    with pytest.raises(StoreError, match=r"ledger\.db"):
        await damaged.open()
    await damaged.close()
    assert path.read_bytes() == before


@pytest.mark.spec("SR-20", "IGD-090")
@given(st.text(max_size=256))
def test_any_description_survives(text: str) -> None:
    row = mapping(1, description=text)
    db = sqlite3.connect(":memory:")
    stored = db.execute(f"SELECT {','.join('?' * COLUMNS)}", mapping_values(row, 1, "boot-1", NOW)).fetchone()
    db.close()
    restored = stored_row(stored, "boot-1", NOW).mapping
    assert replace(restored, recheck_at=row.recheck_at) == row


@pytest.mark.parametrize(
    "above",
    [
        Above(b"n" * 12, NOW.boot + 14),
        Above(b"n" * 12, NOW.boot + 900, Via.PCP, ip_address("192.168.1.1"), OUTERMOST),
        Above(b"\x00" * 12, NOW.boot - 5, Via.IGD2, ip_address("192.168.1.1"), OUTERMOST, "it does not answer"),
        Above(b"\xff" * 12, NOW.boot, Via.PCP, ip_address("fe80::1"), Endpoint(ip_address("2001:db8::7"), 443)),
    ],
    ids=["waits", "granted", "lost", "ipv6"],
)
async def test_a_lease_above_survives_a_restart_and_a_boot(tmp_path: Path, above: Above) -> None:
    store = Store(tmp_path / "ledger.db", "boot-1")
    await store.open()
    await store.write(Batch(put=[(mapping(1, above=above), 1)]), NOW)
    ((row,), _) = await store.load(NOW)
    assert row.mapping.above == above
    await store.close()
    later = Store(tmp_path / "ledger.db", "boot-2")
    await later.open()
    ((row,), _) = await later.load(Instant(50.0, NOW.wall + 100))
    assert row.mapping.above == replace(above, until=50.0 + above.until - NOW.boot - 100)
    await later.close()
