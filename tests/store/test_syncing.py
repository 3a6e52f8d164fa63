"""The log gets to the disk soon after a commit, and into the database file, and no commit waits for either."""

import asyncio
import errno
import json
import logging
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fixtures.mapping_rows import NOW, mapping
from tests.fixtures.waiting import until
from tests.store.test_store import record
from upnp_gw.model.errors import StoreError
from upnp_gw.store import syncing
from upnp_gw.store.store import Batch, Store

DEADLINE_S = 20.0


class Disk:
    """Stands in for ``os.fdatasync``: records what is synced, and holds it up or fails as the test sets it."""

    def __init__(self) -> None:
        self.synced: list[tuple[int, int]] = []
        """Inode and size of the file."""
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.failures: list[OSError] = []
        self._real = os.fdatasync

    def fdatasync(self, descriptor: int) -> None:
        assert self.goes_on.wait(DEADLINE_S)
        if self.failures:
            raise self.failures.pop()
        self._real(descriptor)
        found = os.fstat(descriptor)
        self.synced.append((found.st_ino, found.st_size))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(os, "fdatasync", made.fdatasync)
    return made


@pytest.fixture
async def store(tmp_path: Path, disk: Disk) -> AsyncIterator[Store]:
    opened = Store(tmp_path / "ledger.db", "boot-1")
    await opened.open()
    await opened.synced()
    disk.synced.clear()
    yield opened
    disk.goes_on.set()
    await opened.close()


async def write(store: Store, *numbers: int) -> None:
    for number in numbers:
        batch = Batch(put=[(mapping(number, 8000 + number), number)], decisions=[record(number)])
        await store.write(batch, NOW)


def in_database_file(path: Path) -> int:
    """Mappings that are in it without its log."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM mappings").fetchone()[0])
        except sqlite3.DatabaseError:  # a checkpoint is under way
            return 0


def mark(path: Path) -> int:
    return int(json.loads(path.with_name("ledger.db-highwater").read_text())["transaction"])


async def test_a_commit_is_synced_soon_and_does_not_wait_for_it(store: Store, tmp_path: Path, disk: Disk) -> None:
    before = mark(tmp_path / "ledger.db")
    disk.goes_on.clear()
    await write(store, *range(1, 25))
    assert disk.synced == []
    assert mark(tmp_path / "ledger.db") == before, "the mark is never ahead of the disk"
    disk.goes_on.set()
    await store.synced()
    log = (tmp_path / "ledger.db-wal").stat()
    assert disk.synced[-1] == (log.st_ino, log.st_size)
    assert mark(tmp_path / "ledger.db") == before + 24
    assert syncing.SYNC_S <= 0.5, "a second at most, with half of it for the disk"


class ClosedBeforeTheClear(threading.Event):
    """``close`` comes between the check of ``closing`` and the clear of this event."""

    def __init__(self, closing: threading.Event) -> None:
        super().__init__()
        self.closing = closing

    def clear(self) -> None:
        self.closing.set()
        self.set()
        super().clear()


@pytest.mark.parametrize("name", ["_to_sync", "_to_checkpoint"])
async def test_a_close_at_any_moment_ends_the_threads(tmp_path: Path, disk: Disk, name: str) -> None:
    opened = Store(tmp_path / "ledger.db", "boot-1")
    await opened.open()
    threads = opened._syncing
    assert threads is not None
    waited_for = getattr(threads, name)
    setattr(threads, name, ClosedBeforeTheClear(threads._closing))
    waited_for.set()  # the thread goes on, and waits for the other event then
    getattr(threads, name).set()
    thread = threads._threads[name == "_to_checkpoint"]
    await asyncio.to_thread(thread.join, DEADLINE_S)
    assert not thread.is_alive()
    await opened.close()


async def test_many_commits_are_few_syncs(store: Store, disk: Disk) -> None:
    began = time.monotonic()
    await write(store, *range(1, 101))
    await store.synced()
    assert 1 <= len(disk.synced) <= 2 + (time.monotonic() - began) / syncing.SYNC_S


async def test_with_full_durability_each_commit_has_synced_by_itself(tmp_path: Path, disk: Disk) -> None:
    full = Store(tmp_path / "ledger.db", "boot-1", full=True)
    await full.open()
    disk.synced.clear()
    before = mark(tmp_path / "ledger.db")
    await write(full, 1, 2, 3)
    await full.synced()
    assert disk.synced == []
    assert mark(tmp_path / "ledger.db") == before + 3
    await full.close()


async def test_a_stop_leaves_nothing_unsynced(tmp_path: Path, disk: Disk) -> None:
    store = Store(tmp_path / "ledger.db", "boot-1")
    await store.open()
    disk.synced.clear()
    await write(store, 1)
    inode = (tmp_path / "ledger.db-wal").stat().st_ino
    await store.close()
    assert inode in [synced for synced, _ in disk.synced]
    assert in_database_file(tmp_path / "ledger.db") == 1


async def test_a_failed_sync_is_logged_once_and_repeated(
    store: Store, tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """Linux reports a page that it could not write once: a second sync that succeeds says nothing about it."""
    disk.failures = [OSError(errno.EIO, os.strerror(errno.EIO))]
    with caplog.at_level(logging.WARNING):
        await write(store, 1)
        assert until(lambda: bool(store.problems))
        await store.synced()
        assert until(lambda: not store.problems)
    messages = [record.getMessage() for record in caplog.records]
    assert len([line for line in messages if "not synced" in line and "Input/output error" in line]) == 1
    assert len([line for line in messages if "synced to the disk again" in line]) == 1
    assert in_database_file(tmp_path / "ledger.db") == 1, "written again, into another file"


async def test_a_log_that_is_removed_under_the_gateway_costs_nothing(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await write(store, 1, 2)
    (tmp_path / "ledger.db-wal").unlink()
    await write(store, 3)
    await store.synced()
    assert in_database_file(tmp_path / "ledger.db") == 3
    await write(store, 4)
    await store.synced()
    assert in_database_file(tmp_path / "ledger.db") == 4
    assert len(await store.load(NOW)) == 2


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_database_file_removed_while_running_is_reported(
    store: Store, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    await write(store, 1)
    await store.synced()
    before = mark(path)
    if how == "replaced":
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").rename(path)
    else:
        path.unlink()
    await write(store, 2)
    assert until(lambda: bool(store.problems))
    assert "removed or replaced under the running gateway" in store.problems[0]
    assert mark(path) == before, "the mark is never ahead of the disk"


async def test_checkpoints_are_made_beside_the_commits(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on = threading.Event(), threading.Event()
    real, by = syncing.Syncing._checkpoint, set[str]()

    def held(one: syncing.Syncing, whole: bool = False) -> None:
        by.add(threading.current_thread().name)
        began.set()
        assert goes_on.wait(DEADLINE_S)
        real(one, whole)

    monkeypatch.setattr(syncing.Syncing, "_checkpoint", held)
    monkeypatch.setattr(syncing, "CHECKPOINT_ROWS", 60)
    await write(store, *range(1, 21))
    assert until(began.is_set)
    await write(store, *range(21, 31))
    await store.synced()
    assert in_database_file(tmp_path / "ledger.db") == 0
    goes_on.set()
    assert until(lambda: in_database_file(tmp_path / "ledger.db") >= 20)
    assert by == {"checkpoint"}


def locked_inodes() -> set[int]:
    """Inodes on which somebody holds a lock."""
    return set(map(int, re.findall(r" \w+:\w+:(\d+) ", Path("/proc/locks").read_text())))


async def test_the_log_has_no_lock_that_closing_it_would_drop(store: Store, tmp_path: Path) -> None:
    """Closing any descriptor of a file drops the process's locks on it: we open and close the log beside SQLite."""
    await write(store, 1)
    inodes = {name: (tmp_path / name).stat().st_ino for name in ("ledger.db", "ledger.db-shm", "ledger.db-wal")}
    held = locked_inodes()
    assert {name for name, inode in inodes.items() if inode in held} == {"ledger.db", "ledger.db-shm"}


async def test_a_disk_that_does_not_take_it_is_waited_for_only_so_long(
    store: Store, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SETTLED_S", 0.1)
    disk.goes_on.clear()
    await write(store, 1)
    with pytest.raises(StoreError, match="not on the disk"):
        await store.synced()


async def test_the_mark_is_not_for_everybody(store: Store, tmp_path: Path) -> None:
    mode = (tmp_path / "ledger.db-highwater").stat().st_mode
    assert stat.S_IMODE(mode) & 0o007 == 0
