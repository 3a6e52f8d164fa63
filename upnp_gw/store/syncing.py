"""Syncs the store's log to the disk soon after a commit, and moves it into the database file. No request waits.

With ``synchronous = NORMAL`` SQLite syncs its log only at checkpoints: weeks apart on a quiet gateway. So one
thread syncs the log within ``SYNC_S`` of a commit, and another thread makes the checkpoints.

The log is synced through a descriptor of our own. Closing a descriptor of a file drops all locks of the process on
that file (POSIX). SQLite locks the database file and the -shm file, never the -wal file.
"""

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from upnp_gw.model.errors import StoreError
from upnp_gw.store.connection import connect
from upnp_gw.store.high_water import HighWaterMark, MarkFile
from upnp_gw.system.files import open_own

log = logging.getLogger(__name__)

SYNC_S = 0.5
"""Seconds from a commit to the sync of the log, which includes later commits. The disk takes some time more."""
CHECKPOINT_ROWS = 1000
"""Changed rows after which a checkpoint is made: about 1000 pages of 4 KiB in the log, like SQLite's default."""
SETTLED_S = 30.0
CUTS, CUT_S = 20, 0.05
"""Tries to cut the log off, and seconds between them: somebody may read the audit log just now."""


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
        self._checkpoint_lock, self._mark_lock = threading.Lock(), threading.Lock()
        self._committed = self._synced = transaction
        self._moved = 0
        """The last transaction that is known to be in the database file."""
        # A connection of its own, which opens the log now: it can still read a log that is removed later.
        self._db = connect(path)
        self._checkpoint()  # then the database file has the store's name, even if the log is lost
        if self._moved < transaction:  # a reader kept part of the log
            os.fdatasync(self._log)  # a run that was killed may have left it in memory
        self._mark = MarkFile(path, self._present_mark())
        self._rows = 0
        """Changed since the last checkpoint."""
        self._problems: dict[str, str] = {}
        """Thread -> its problem. Each problem is logged once."""
        self._sync_failed = False
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
        """Call it after each commit. ``rows``: the number of changed rows."""
        self._committed = transaction
        if not self._to_sync.is_set():
            self._to_sync.set()
        self.changed(rows)

    def changed(self, rows: int) -> None:
        """Counts changed rows. A commit that may be lost is only counted."""
        self._rows += rows
        if self._rows >= CHECKPOINT_ROWS and not self._to_checkpoint.is_set():
            self._to_checkpoint.set()

    def checkpoint(self) -> None:
        """Moves the log into the database file, as far as no reader needs it. Raises sqlite3.Error."""
        self._checkpoint()

    def cut_log(self) -> None:
        """Moves the rest of the log into the file, and cuts the log off. Nobody may write meanwhile.

        Raises sqlite3.Error, and StoreError if another reader needs the log.
        """
        with self._checkpoint_lock:
            committed = self._committed
            for _ in range(CUTS):
                busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    self._moved = max(self._moved, committed)
                    return
                time.sleep(CUT_S)
        raise StoreError("another reader of the store needs its log, which still has deleted rows: erase again")

    def wait(self) -> None:
        """Returns when all present commits are on the disk. Raises StoreError after ``SETTLED_S``."""
        committed = self._committed
        with self._settled:
            if not self._settled.wait_for(lambda: self._synced >= committed, SETTLED_S):
                raise StoreError(f"{self._path}: is not on the disk: {self.problem or 'the disk is slow'}")

    def close(self) -> None:
        """Ends the threads, after a last sync."""
        self._closing.set()
        self._to_sync.set()
        self._to_checkpoint.set()
        for thread in self._threads:
            thread.join()
        with suppress(Exception):  # a lasting problem has been logged
            self._sync()
        self._db.close()
        os.close(self._log)

    def closed(self) -> None:
        """Call it when SQLite has closed the database. It has removed the log if all of it is in the file."""
        if not self._wal.exists() and self._synced == self._committed:
            self._moved = self._committed
        with suppress(OSError):
            self._write_mark()
        self._mark.close()

    # -- in the thread that syncs

    def _keep_syncing(self) -> None:
        # asked again before each wait: ``close`` may have set both just before the clear
        while not self._closing.is_set() and self._to_sync.wait() and not self._closing.wait(SYNC_S):
            self._to_sync.clear()
            try:
                self._sync()
            except Exception as error:
                self._failed("sync", f"not synced to the disk, a power loss would lose the latest changes: {error}")
                self._to_sync.set()
            else:
                self._succeeded("sync")

    def _sync(self) -> None:
        committed = self._committed
        if committed == self._synced:
            return
        if self._removed(self._path, self._inode):
            raise StoreError(
                "the file was removed or replaced under the running gateway; stop upnp-gw and restore it"
            )
        if self._sync_failed or self._removed(self._wal, os.fstat(self._log).st_ino):
            self._checkpoint(whole=True)  # writes all of it again, into the database file
            self._sync_failed = False
        elif not self._full:
            try:
                os.fdatasync(self._log)
            except OSError:
                self._sync_failed = True
                raise
        with self._settled:
            self._synced = committed
            self._write_mark()
            self._settled.notify_all()

    def _write_mark(self) -> None:
        with self._mark_lock:
            self._mark.write(self._present_mark())

    def _present_mark(self) -> HighWaterMark:
        return HighWaterMark(self._store, self._synced, min(self._moved, self._synced), int(time.time()))

    def _removed(self, path: Path, inode: int) -> bool:
        try:
            return path.lstat().st_ino != inode
        except FileNotFoundError:
            return True

    # -- in the thread that makes checkpoints

    def _keep_checkpoints(self) -> None:
        while not self._closing.is_set() and self._to_checkpoint.wait() and not self._closing.is_set():
            self._to_checkpoint.clear()
            self._rows = 0
            try:
                self._checkpoint()
                self._write_mark()
            except Exception as error:
                self._failed("checkpoint", f"the log cannot be moved into the database file: {error}")
            else:
                self._succeeded("checkpoint")

    def _checkpoint(self, whole: bool = False) -> None:
        """Moves the log into the database file, except what a reader still needs, and syncs the file.

        Raises sqlite3.Error; with ``whole`` also StoreError if a part of the log is left.
        """
        with self._checkpoint_lock:
            committed = self._committed
            busy, pages, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if not busy and moved == pages:
                self._moved = max(self._moved, committed)
            elif whole:
                raise StoreError("another reader of the store blocks the checkpoint")

    def _failed(self, thread: str, problem: str) -> None:
        if self._problems.get(thread) != problem:
            log.error("%s: %s", self._path, problem)
        self._problems[thread] = problem

    def _succeeded(self, thread: str) -> None:
        if thread in self._problems:
            log.warning("%s: synced to the disk again", self._path)
            del self._problems[thread]
