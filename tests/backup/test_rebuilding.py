"""The new ledger: which mappings come back, on which clock, and what it does not take over."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.backups import TOKEN, UUID, backup_bytes, changed_ledger, make_state, restore_of
from tests.fixtures.mapping_rows import NOW, mapping
from upnp_gw.backup.manifest import LEDGER
from upnp_gw.backup.rebuilding import LONGEST_LEASE_S, Choice
from upnp_gw.model.mapping import Hold, Instant, Mapping, Via
from upnp_gw.model.records import RecordFilter
from upnp_gw.store.device_rows import NoteKind
from upnp_gw.store.store import Store


def opened(
    state: Path, boot: str = "boot-1", now: Instant = NOW
) -> tuple[Sequence[Mapping], dict[str, str | None]]:
    """The ledger as the next start finds it: its mappings, and values that outlive restarts."""

    async def read() -> tuple[Sequence[Mapping], dict[str, str | None]]:
        store = Store(state / LEDGER, boot)
        await store.open()
        rows, cuts = await store.load(now)
        assert cuts == []
        assert store.problems == [], "it is no outdated store"
        assert len((await store.notes())[NoteKind.DEVICE]) == 1
        values = {key: await store.get(key) for key in ("uuid", "token", "boot-id", "epoch", "store")}
        values["decisions"] = str(len(await store.decisions(RecordFilter())))
        values["highest"] = json.dumps(await store.highest())
        await store.close()
        return [row.mapping for row in rows], values

    return asyncio.run(read())


def test_into_an_empty_directory_all_of_it_comes_back(tmp_path: Path) -> None:
    rows = [
        mapping(1),
        mapping(2, 8081, parked=True),
        mapping(3, 8082).with_hold(Hold(Via.PCP, 2000.0, 600, b"n" * 12)),
    ]
    data = backup_bytes(make_state(tmp_path / "old", rows))
    restore_of(tmp_path / "new", data).perform()
    found, values = opened(tmp_path / "new")
    assert [replace(row, recheck_at=0, holds=()) for row in found] == [
        replace(r, recheck_at=0, holds=()) for r in rows
    ]
    assert [set(row.holds) for row in found] == [set(row.holds) for row in rows]
    assert (values["uuid"], values["token"], values["boot-id"], values["decisions"]) == (UUID, TOKEN, "77", "2")
    assert json.loads(str(values["epoch"])) == {"number": 4, "since": 1.0, "external": None, "boot": ""}
    assert sorted(path.name for path in (tmp_path / "new").glob("*restor*")) == []


@pytest.mark.parametrize(
    ("wall_passed", "left"), [(600, 3000), (3599, 1), (-200, 3600)], ids=["ten minutes", "an hour", "a slow clock"]
)
def test_on_another_machine_the_wall_clock_counts_and_no_lease_grows(
    tmp_path: Path, wall_passed: float, left: float
) -> None:
    data = backup_bytes(make_state(tmp_path / "old", [mapping(1), mapping(2, 8081, until=NOW.boot + 60)]))
    now = Instant(5.0, NOW.wall + wall_passed)
    restore = restore_of(tmp_path / "new", data, now=now, boot="boot-9")
    ended = [row.id for row in restore.selection.ended]
    assert ended == (["m2"] if wall_passed >= 60 else [])
    restore.perform()
    found, _ = opened(tmp_path / "new", "boot-9", now)
    assert found[0].until - now.boot == pytest.approx(left)
    assert len(found) == 2 - len(ended)


def test_a_lease_is_never_longer_than_one_that_a_gateway_gives(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "old", [mapping(1, until=1e300)]))
    restore_of(tmp_path / "new", data).perform()
    (found,), _ = opened(tmp_path / "new")
    assert found.until == NOW.boot + LONGEST_LEASE_S


def test_what_was_deleted_here_since_stays_closed_unless_it_is_asked_for(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "before", [mapping(1), mapping(2, 8081), mapping(3, 8082)]))
    later = [mapping(2, 8081), mapping(3, 9999), mapping(7, 8083)]
    for number, (choice, restored) in enumerate([(Choice(), ["m2"]), (Choice(deleted=True), ["m1", "m2", "m3"])]):
        state = make_state(tmp_path / f"state{number}", later)
        restore = restore_of(state, data, choice)
        assert [row.id for row in restore.selection.deleted] == ([] if choice.deleted else ["m1", "m3"])
        restore.perform()
        found, values = opened(state)
        assert [row.id for row in found] == restored
        assert json.loads(str(values["highest"]))[0] == 7, "no number is used twice"


def test_the_ledger_of_another_gateway_says_nothing_about_deleted_mappings(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "before"))
    state = make_state(tmp_path / "state", [], uuid=UUID.replace("0b", "0c"))
    restore_of(state, data).perform()
    assert len(opened(state)[0]) == 2


def test_without_mappings_their_numbers_stay_used(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "old"))
    restore_of(tmp_path / "new", data, Choice(mappings=False)).perform()
    found, values = opened(tmp_path / "new")
    assert found == []
    assert json.loads(str(values["highest"])) == [2, 2, 0]
    assert values["uuid"] == UUID


def test_with_a_new_identity_the_next_start_makes_one(tmp_path: Path) -> None:
    data = backup_bytes(make_state(tmp_path / "old"))
    restore_of(tmp_path / "new", data, Choice(identity=False)).perform()
    _, values = opened(tmp_path / "new")
    assert (values["uuid"], values["token"], values["boot-id"]) == (None, None, None)


def test_only_known_values_are_taken_over(tmp_path: Path) -> None:
    """The name of the ledger is its own: a log of the ledger before it does not belong to it."""
    state = make_state(tmp_path / "old")
    with closing(sqlite3.connect(state / LEDGER)) as db:
        (name,) = db.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()
    data = changed_ledger(
        backup_bytes(state), tmp_path, lambda db: db.execute("INSERT INTO meta VALUES ('other', 'x')")
    )
    restore_of(tmp_path / "new", data).perform()
    with closing(sqlite3.connect(tmp_path / "new" / LEDGER)) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
    assert "other" not in meta
    assert meta["store"] != name
