"""A store that lost a part says so, opens none of its older mappings, and keeps its files.

``crashed`` is the state directory after a kill -9: the database file, its log, and the mark of what was on disk.
"""

import logging
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.mapping_rows import NOW, mapping
from tests.store.test_store import record
from upnp_gw.ledger.pending_cuts import cut_of
from upnp_gw.model.errors import StoreError
from upnp_gw.store.store import Batch, Store

pytestmark = pytest.mark.spec("SR-38")

ROWS = 24
CHECKPOINTED = 10
"""So many of the rows are in the database file, the others in its log alone."""


async def write_rows(store: Store, first: int, last: int) -> None:
    for number in range(first, last + 1):
        batch = Batch(put=[(mapping(number, 8000 + number), number)], decisions=[record(number)])
        await store.write(batch, NOW)


async def history(directory: Path, rows: int = ROWS, identity: str = "the-uuid") -> Path:
    """A state directory as a kill -9 leaves it."""
    made = directory / "made"
    store = Store(made / "ledger.db", "boot-1")
    await store.open()
    await store.set("uuid", identity)
    await write_rows(store, 1, CHECKPOINTED)
    await store._run(lambda: store._open_db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())
    await write_rows(store, CHECKPOINTED + 1, rows)
    await store.write(Batch(cuts_put=[cut_of(1, mapping(99), "deleted", NOW.boot)]), NOW)
    await store.synced()
    shutil.copytree(made, directory / "state")
    await store.close()
    shutil.rmtree(made)
    return directory / "state"


@pytest.fixture
async def crashed(tmp_path: Path) -> Path:
    return await history(tmp_path)


@pytest.fixture(autouse=True)
def every_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


async def found(state: Path) -> tuple[int, str | None]:
    """The number of mappings that a start finds, and the UUID that the gateway goes on with."""
    store = Store(state / "ledger.db", "boot-1")
    try:
        await store.open()
        rows, _ = await store.load(NOW)
        return len(rows), await store.get("uuid")
    finally:
        await store.close()


def kept(state: Path, name: str) -> list[Path]:
    """The files that were put aside, by what they were."""
    return sorted(p for p in state.iterdir() if ".kept-" in p.name and p.name.endswith("Z" + name))


def log_of(state: Path) -> Path:
    return state / "ledger.db-wal"


# -- nothing is missing, and nothing is said


async def test_a_first_start_is_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await found(tmp_path / "state") == (0, None)
    assert caplog.text == ""


async def test_a_kill_loses_nothing_and_is_silent(crashed: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await found(crashed) == (ROWS, "the-uuid")
    assert await found(crashed) == (ROWS, "the-uuid"), "and after a clean stop"
    assert caplog.text == ""
    assert not kept(crashed, "")


async def test_a_reader_of_the_file_removes_nothing(crashed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An operator's sqlite3 moves the log into the database file and removes it."""
    store = Store(crashed / "ledger.db", "boot-1")
    await store.open()
    await store.close()
    assert not log_of(crashed).exists()
    assert await found(crashed) == (ROWS, "the-uuid")
    assert caplog.text == ""


async def test_a_reader_of_the_file_does_not_keep_it_from_opening(
    crashed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(crashed / "ledger.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM mappings").fetchone()
        store = Store(crashed / "ledger.db", "boot-1")
        await store.open()
        await write_rows(store, 1050, 1052)
        await store.synced()
        await store.close()
    assert await found(crashed) == (ROWS + 3, "the-uuid")
    assert caplog.text == ""


@pytest.mark.parametrize("shm", [b"", b"\xa5" * 32768, None], ids=["empty", "garbage", "missing"])
async def test_the_index_of_the_log_is_made_again(
    crashed: Path, shm: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = crashed / "ledger.db-shm"
    path.unlink(missing_ok=True)
    if shm is not None:
        path.write_bytes(shm)
    assert await found(crashed) == (ROWS, "the-uuid")
    assert caplog.text == ""


async def test_a_store_of_an_older_upnp_gw_has_no_mark(crashed: Path, caplog: pytest.LogCaptureFixture) -> None:
    (crashed / "ledger.db-highwater").unlink()
    assert await found(crashed) == (ROWS, "the-uuid")
    assert caplog.text == ""


# -- the end of the history is missing


def removed(log: Path) -> None:
    log.unlink()


def emptied(log: Path) -> None:
    log.write_bytes(b"")


def cut(log: Path) -> None:
    log.write_bytes(log.read_bytes()[: log.stat().st_size * 3 // 4])


def holed(log: Path) -> None:
    data = bytearray(log.read_bytes())
    data[20_000:24_000] = bytes(4000)
    log.write_bytes(data)


def garbage(log: Path) -> None:
    log.write_bytes(b"no log at all" * 1000)


@pytest.mark.parametrize("damage", [removed, emptied, cut, holed, garbage])
async def test_a_damaged_log_opens_no_port_of_an_older_state(
    crashed: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(log_of(crashed))
    files = {path.name: path.read_bytes() for path in (crashed / "ledger.db", log_of(crashed)) if path.exists()}
    assert await found(crashed) == (0, "the-uuid"), "what clients know the gateway by is older than that"
    assert "older than" in caplog.text
    assert "changes are missing" in caplog.text
    assert "tcp 8001 -> 192.168.77.10" in caplog.text, "what was closed is listed"
    assert kept(crashed, "")[0].read_bytes() == files["ledger.db"]
    if "ledger.db-wal" in files:
        assert kept(crashed, "-wal")[0].read_bytes() == files["ledger.db-wal"]
    caplog.clear()
    assert await found(crashed) == (0, "the-uuid")
    assert caplog.text == "", "it is said once"


async def test_clients_see_a_new_epoch_after_lost_state(crashed: Path) -> None:
    """NAT-PMP and PCP: an epoch that begins anew makes them ask again."""
    store = Store(crashed / "ledger.db", "boot-1")
    await store.open()
    await store.set("epoch", "an epoch")
    await store.close()
    await write_more(crashed)
    removed(log_of(crashed))
    store = Store(crashed / "ledger.db", "boot-1")
    await store.open()
    assert await store.get("epoch") is None
    await store.close()


async def write_more(state: Path) -> None:
    """A later run that is killed."""
    store = Store(state / "ledger.db", "boot-1")
    await store.open()
    await write_rows(store, 1050, 1052)
    await store.synced()
    shutil.copytree(state, state.parent / "copy")
    await store.close()
    shutil.rmtree(state)
    (state.parent / "copy").rename(state)


async def test_an_older_copy_that_was_put_back_is_found_out(
    crashed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(crashed, tmp_path / "backup")
    await write_more(crashed)
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(tmp_path / "backup" / name, crashed / name)
    assert await found(crashed) == (0, "the-uuid")
    assert "older than" in caplog.text
    for path in kept(crashed, ""):  # "if it is meant": the message says how
        assert str(path) in caplog.text


async def test_where_the_older_state_is_meant_it_is_taken(crashed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the mark it is not known to be older."""
    removed(log_of(crashed))
    (crashed / "ledger.db-highwater").unlink()
    assert await found(crashed) == (CHECKPOINTED, "the-uuid")
    assert caplog.text == ""


# -- the beginning is missing


@pytest.mark.parametrize("with_log", [True, False])
@pytest.mark.parametrize("how", ["emptied", "removed"])
async def test_a_missing_database_file_is_reported(
    crashed: Path, how: str, with_log: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite deletes the log of an empty database file without a word."""
    log = log_of(crashed).read_bytes()
    if not with_log:
        log_of(crashed).unlink()
    if how == "emptied":
        (crashed / "ledger.db").write_bytes(b"")
    else:
        (crashed / "ledger.db").unlink()
    assert await found(crashed) == (0, None)
    assert f"ledger.db: is {'empty' if how == 'emptied' else 'missing'}" in caplog.text
    assert "mappings" in caplog.text
    assert [path.read_bytes() for path in kept(crashed, "-wal")] == [log] * with_log
    caplog.clear()
    assert await found(crashed) == (0, None)
    assert caplog.text == "", "it is said once"


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal"])
async def test_an_empty_file_or_a_log_alone_is_reported_without_a_mark(
    crashed: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for end in {"", "-wal", "-shm", "-highwater"} - {name.removeprefix("ledger.db")}:
        (crashed / f"ledger.db{end}").unlink()
    (crashed / name).write_bytes(b"" if name == "ledger.db" else b"a log")
    assert await found(crashed) == (0, None)
    assert "ledger.db: is " in caplog.text
    assert len(kept(crashed, name.removeprefix("ledger.db"))) == 1


# -- what is there is of another store


async def test_a_log_of_another_store_is_not_taken_in(
    crashed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    other = await history(tmp_path / "other", 40, "other-uuid")
    log = log_of(other).read_bytes()
    shutil.copy(log_of(other), log_of(crashed))
    assert await found(crashed) == (0, "the-uuid"), "what is left is older than the mark"
    assert "ledger.db-wal: does not belong to" in caplog.text
    assert kept(crashed, "-wal")[0].read_bytes() == log


async def test_a_log_of_another_store_beside_a_whole_one(
    crashed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A clean stop leaves no log: whatever lies there is not of this store."""
    assert await found(crashed) == (ROWS, "the-uuid")
    (tmp_path / "other").mkdir()
    shutil.copy(log_of(await history(tmp_path / "other", 40, "other-uuid")), log_of(crashed))
    assert await found(crashed) == (ROWS, "the-uuid")
    assert "ledger.db-wal: does not belong to" in caplog.text


async def test_a_log_of_an_earlier_run_is_not_taken_in(crashed: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = log_of(crashed).read_bytes()
    await write_more(crashed)
    assert await found(crashed) == (ROWS + 3, "the-uuid")
    log_of(crashed).write_bytes(old)
    assert await found(crashed) == (ROWS + 3, "the-uuid")
    assert "ledger.db-wal: does not belong to" in caplog.text
    assert kept(crashed, "-wal")[0].read_bytes() == old


@pytest.mark.parametrize("between", [2, 10, 100, 400])
async def test_an_older_database_file_with_a_newer_log_is_found_out(
    crashed: Path, between: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Put back without its log, a file can look sound with the log that is there, and hold a mixture."""
    assert await found(crashed) == (ROWS, "the-uuid")
    old = (crashed / "ledger.db").read_bytes()
    store = Store(crashed / "ledger.db", "boot-1")
    await store.open()
    await write_rows(store, ROWS + 1, ROWS + between)
    await store.close()
    await write_more(crashed)
    (crashed / "ledger.db").write_bytes(old)
    log = log_of(crashed).read_bytes()
    assert await found(crashed) == (0, "the-uuid")
    assert "older than" in caplog.text
    assert kept(crashed, "-wal")[0].read_bytes() == log
    assert old in [path.read_bytes() for path in kept(crashed, "")]


async def test_another_store_in_the_place_of_ours_opens_nothing(
    crashed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    other = await history(tmp_path / "other", 40, "other-uuid")
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(other / name, crashed / name)
    assert await found(crashed) == (0, "other-uuid")
    assert "is not the last store used here" in caplog.text


# -- damage that SQLite finds


@pytest.mark.parametrize("left", [50, 100, 512, 4096, 4096 * 3, 4096 * 7 + 100])
async def test_a_database_file_that_was_cut_is_refused_and_kept(crashed: Path, left: int) -> None:
    assert await found(crashed) == (ROWS, "the-uuid")
    path = crashed / "ledger.db"
    assert path.stat().st_size > left
    path.write_bytes(path.read_bytes()[:left])
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"ledger\.db: .*kept as it is"):
        await found(crashed)
    assert path.read_bytes() == before


async def test_a_damaged_file_with_a_log_is_left_as_it_is(crashed: Path) -> None:
    """SQLite moves the log into the file when the last one closes it."""
    path = crashed / "ledger.db"
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 8] = b"\xa5" * 4096 * 6
    path.write_bytes(data)
    before = {p.name: p.read_bytes() for p in (path, log_of(crashed))}
    with pytest.raises(StoreError, match=r"ledger\.db: .*kept as it is"):
        await found(crashed)
    assert {p.name: p.read_bytes() for p in (path, log_of(crashed))} == before


@pytest.mark.parametrize("mark", [b"", b"garbage", b'{"store": 7}', b"\x00" * 128])
async def test_an_unreadable_mark_is_reported_and_made_again(
    crashed: Path, mark: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (crashed / "ledger.db-highwater").write_bytes(mark)
    assert await found(crashed) == (ROWS, "the-uuid")
    assert "ledger.db-highwater" in caplog.text
    caplog.clear()
    removed(log_of(crashed)) if log_of(crashed).exists() else None
    assert await found(crashed) == (ROWS, "the-uuid")
    assert caplog.text == ""


async def test_a_crash_while_the_store_was_made_is_rolled_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before it has a log SQLite keeps a journal; a store with one is no damaged one."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE other (x)")
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.executemany("INSERT INTO other VALUES (?)", [("x" * 1000,)] * 1000)
        for name in ("ledger.db", "ledger.db-journal"):
            shutil.copy(tmp_path / name, state / name)
    assert (state / "ledger.db-journal").stat().st_size > 512
    assert await found(state) == (0, None)
    assert await found(state) == (0, None)
    assert caplog.text == ""
