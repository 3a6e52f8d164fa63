"""Puts the store's log on the disk soon after a commit, and moves it into the database file: no request waits.

With ``synchronous = NORMAL`` SQLite syncs its log at checkpoints alone: on a quiet gateway these are weeks apart.
So one thread syncs the log within ``SYNC_S`` of the first commit that is not on the disk yet, and another thread
makes the checkpoints.

The log is synced over a descriptor of our own. Closing any descriptor of a file drops all locks that the process
has on it (POSIX), but SQLite locks the database file and the -shm file, never the -wal file.
"""

import logging
import os
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path

from upnp_gw.model.errors import StoreError
from upnp_gw.store.high_water import HighWaterMark, MarkFile
from upnp_gw.system.files import open_own

log = logging.getLogger(__name__)

SYNC_S = 0.5
"""Seconds from a commit to the sync of the log, for later commits too. With the disk's time under a second."""
CHECKPOINT_ROWS = 500
"""Changed rows after which a checkpoint is made: about 1000 pages of 4 KiB in the log, as SQLite's own default."""
SETTLED_S = 30.0


class Syncing:
    """The sync thread and the checkpoint thread of one open store."""

    def __init__(self, path: Path, store: str, transaction: int, full: bool) -> None:
        """``store``: its name; ``transaction``: its last one; ``full``: each commit syncs the log by itself.

        Raises FileProblem, OSError and sqlite3.Error.
        """
        self._path = path
        self._store = store
        self._full = full
        self._wal = path.with_name(path.name + "-wal")
        self._inode = path.stat().st_ino
        self._log = open_own(self._wal, os.O_RDONLY)
        self._one, self._noting = threading.Lock(), threading.Lock()
        self._committed = self._synced = transaction
        self._moved = 0
        """The last transaction that is known to be in the database file."""
        # A connection of its own, and it has opened the log by now: a log that is removed later is still read.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._checkpoint()  # the database file has its name then, whatever becomes of the log
        if self._moved < transaction:  # somebody reads in it
            os.fdatasync(self._log)  # a run that was killed may have left it in memory
        self._mark = MarkFile(path, self._reached())
        self._rows = 0
        """Changed since the last checkpoint."""
        self._problems: dict[str, str] = {}
        """Thread -> its problem. Each problem is logged once."""
        self._distrusted = False
        """A sync failed. Linux reports a page that it could not write once, and treats it as written afterwards."""
        self._to_sync, self._to_checkpoint, self._closing = (threading.Event() for _ in range(3))
        self._settled = threading.Condition()
        self._threads = [
            threading.Thread(target=self._keep_syncing, name="sync", daemon=True),
            threading.Thread(target=self._keep_checkpoints, name="checkpoint", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def problem(self) -> str:
        """The reason why commits do not reach the disk; empty: they do."""
        return self._problems.get("sync", "")

    def committed(self, transaction: int, rows: int) -> None:
        """Notes a transaction in the log, with its number of changed rows."""
        self._committed = transaction
        self._rows += rows
        if not self._to_sync.is_set():
            self._to_sync.set()
        if self._rows >= CHECKPOINT_ROWS and not self._to_checkpoint.is_set():
            self._to_checkpoint.set()

    def wait(self) -> None:
        """Returns when all that is committed by now is on the disk. Raises StoreError where it is not in time."""
        wanted = self._committed
        with self._settled:
            if not self._settled.wait_for(lambda: self._synced >= wanted, SETTLED_S):
                raise StoreError(f"{self._path}: is not on the disk: {self.problem or 'the disk is slow'}")

    def close(self) -> None:
        """Ends the threads; the last commits are on the disk then, where it takes them."""
        self._closing.set()
        self._to_sync.set()
        self._to_checkpoint.set()
        for thread in self._threads:
            thread.join()
        with suppress(Exception):  # it was told while it ran
            self._sync()
        self._db.close()
        os.close(self._log)

    def closed(self) -> None:
        """Call it when SQLite has closed the database: it has removed the log where all of it is in the file."""
        if not self._wal.exists() and self._synced == self._committed:
            self._moved = self._committed
        with suppress(OSError):
            self._note()
        self._mark.close()

    # -- in the thread that syncs

    def _keep_syncing(self) -> None:
        while self._to_sync.wait() and not self._closing.wait(SYNC_S):
            self._to_sync.clear()
            try:
                self._sync()
            except Exception as error:
                self._failed(
                    "sync", f"is not synced to the disk, a power loss would lose the latest changes: {error}"
                )
                self._to_sync.set()
            else:
                self._succeeded("sync")

    def _sync(self) -> None:
        wanted = self._committed
        if wanted == self._synced:
            return
        if self._removed(self._path, self._inode):
            raise StoreError("the file was removed or replaced under the running gateway; stop it and put it back")
        if self._distrusted or self._removed(self._wal, os.fstat(self._log).st_ino):
            self._checkpoint(whole=True)  # all of it is written again, into the database file
            self._distrusted = False
        elif not self._full:
            try:
                os.fdatasync(self._log)
            except OSError:
                self._distrusted = True
                raise
        with self._settled:
            self._synced = wanted
            self._note()
            self._settled.notify_all()

    def _note(self) -> None:
        with self._noting:
            self._mark.write(self._reached())

    def _reached(self) -> HighWaterMark:
        return HighWaterMark(self._store, self._synced, min(self._moved, self._synced), int(time.time()))

    def _removed(self, path: Path, inode: int) -> bool:
        try:
            return path.lstat().st_ino != inode
        except FileNotFoundError:
            return True

    # -- in the thread that makes checkpoints

    def _keep_checkpoints(self) -> None:
        while self._to_checkpoint.wait() and not self._closing.is_set():
            self._to_checkpoint.clear()
            self._rows = 0
            try:
                self._checkpoint()
                self._note()
            except Exception as error:
                self._failed("checkpoint", f"its log cannot be moved into it: {error}")
            else:
                self._succeeded("checkpoint")

    def _checkpoint(self, whole: bool = False) -> None:
        """Moves the log, as far as it has come and no reader needs it, into the database file, and syncs that.

        Raises sqlite3.Error; with ``whole`` also StoreError where a part is left.
        """
        with self._one:
            wanted = self._committed
            busy, pages, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if not busy and moved == pages:
                self._moved = max(self._moved, wanted)
            elif whole:
                raise StoreError("a reader keeps its log from being moved into it")

    def _failed(self, thread: str, problem: str) -> None:
        if self._problems.get(thread) != problem:
            log.error("%s: %s", self._path, problem)
        self._problems[thread] = problem

    def _succeeded(self, thread: str) -> None:
        if thread in self._problems:
            log.warning("%s: is synced to the disk again", self._path)
            del self._problems[thread]
