"""The ledger on disk: SQLite in WAL mode. One batch of the writer is one transaction.

Every call runs in the store's thread, but for the batches that the kernel's thread writes behind its transactions.
Old decisions are deleted in portions between two batches.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from upnp_gw.ledger.evidence import Changes
from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Instant
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store import decision_rows, erasing, evidence_rows, policy_rows, traffic_rows
from upnp_gw.store import device_rows as notes
from upnp_gw.store.batch import Batch as Batch
from upnp_gw.store.connection import connect
from upnp_gw.store.device_rows import NoteKind as NoteKind
from upnp_gw.store.highest_numbers import HighestNumbers, load_highest
from upnp_gw.store.mapping_rows import (
    StoredRow,
    cut_of_row,
    cut_values,
    id_number,
    lines_of_mappings,
    load_mappings,
    write_mappings,
)
from upnp_gw.store.missing_history import StoreState, check_history, close_all, log_closed
from upnp_gw.store.pruning import KEEP, Pruning, Retention
from upnp_gw.store.reader import Reader
from upnp_gw.store.schema import CHECKPOINT_PAGES, SCHEMA_VERSION, prepare
from upnp_gw.store.shared_parts import SharedParts
from upnp_gw.store.syncing import Syncing
from upnp_gw.system.fair_lock import FairLock
from upnp_gw.system.files import FileProblem, own_directory
from upnp_gw.system.worker import Worker

NEXT_TRANSACTION = "UPDATE meta SET value = value + 1 WHERE key = 'transaction' RETURNING value"
log = logging.getLogger(__name__)

T = TypeVar("T")


class Store:
    """``path``: the database file; ``boot_id``: the kernel's; ``full``: every commit waits for the disk.
    ``temporary``: of the emulator: never synced, and its history is not checked.

    Every failure is a StoreError.
    """

    def __init__(
        self, path: Path, boot_id: str, full: bool = False, keep: Retention = KEEP, *, temporary: bool = False
    ) -> None:
        self._path = path
        self.boot_id = boot_id
        self._full = full
        self._temporary = temporary
        self._pruning = Pruning(keep)
        self._prune_problem = ""
        self._parts = SharedParts()
        self._highest = HighestNumbers()
        self._thread = Worker("store")
        self._lock = FairLock()
        """Of the connection: held for each call that uses it. A batch waits for one portion of other work."""
        self._db: sqlite3.Connection | None = None
        self._syncing: Syncing | None = None
        self._missing = ""
        self._reader = Reader(path)
        """Reading the whole audit log takes a while."""

    async def open(self) -> None:
        """Opens or creates the file. Raises StoreError if it is damaged or newer, and keeps it as it is."""
        await self._run(self._open)

    async def write(self, batch: Batch, now: Instant) -> None:
        """One transaction. Raises StoreError: then nothing of the batch is in the store."""
        await self._run(lambda: self._write(batch, now))
        self._prune_when_due()

    def write_blocking(self, batch: Batch, now: Instant) -> None:
        """The same on the calling thread, which is not the event loop's."""
        self._converted(lambda: self._locked(lambda: self._write(batch, now)))
        self._prune_when_due()

    async def load(self, now: Instant) -> tuple[list[StoredRow], list[PendingCut]]:
        """All mappings in the order of their numbers, with holds on this boot's clock, and all pending cuts.

        Rows of another boot are written again: from now on they go by the clock of this one.
        """
        return await self._run(lambda: self._load(now))

    async def decisions(self, record_filter: RecordFilter) -> list[DecisionRecord]:
        """The newest decisions that pass the filter, newest first."""
        return await self.read(lambda db: decision_rows.load_decisions(db, record_filter))

    async def read(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """A query that may take a while: no request waits for it."""
        _ = self._open_db  # raises StoreError
        return await self._reader.run(lambda db: self._converted(lambda: call(db())))

    async def keep_policy(self, digest: str, body: bytes) -> None:
        """Keeps the policy of this hash, before it decides. Raises StoreError."""
        await self._transaction(lambda db: policy_rows.keep_policy(db, digest, body))

    async def policy_in_force(self, digest: str, newest: int) -> None:
        """The other policies are kept as long as decisions up to number ``newest`` are. Raises StoreError."""
        await self._transaction(lambda db: policy_rows.put_in_force(db, digest, newest))

    async def policy(self, digest: str) -> bytes | None:
        """A kept policy; None: it is not kept. Raises StoreError."""
        return await self.read(lambda db: policy_rows.load_policy(db, digest))

    async def erase(self, delete: Callable[[sqlite3.Connection], object]) -> None:
        """One transaction that deletes rows of any table. ``rewrite`` follows."""

        def erase() -> None:
            self._in_transaction(delete)
            self._parts.forget()

        await self._run(erase)

    async def rewrite(self) -> None:
        """Writes the file anew, so that no byte of a deleted row stays in it or in its log. Batches wait for that,
        but not for the disk."""
        await self._run(lambda: erasing.rewrite(self._open_db, CHECKPOINT_PAGES, self._full))
        if (syncing := self._syncing) is not None:
            await asyncio.to_thread(self._converted, syncing.checkpoint)
            await self._run(syncing.cut_log)

    async def get(self, key: str) -> str | None:
        """One value that outlives a restart (UDN, token, BOOTID); None: it is not set."""
        return await self._run(lambda: self._get(key))

    async def set(self, key: str, value: str) -> None:
        await self._transaction(lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)))

    async def highest(self) -> tuple[int, int, int]:
        """The highest numbers ever used: of mapping ids, decisions and cuts."""
        return await self._run(lambda: load_highest(self._open_db))

    async def notes(self) -> dict[NoteKind, list[dict[str, Any]]]:
        """The notes of devices, incidents and questions."""
        return await self._run(lambda: notes.load_notes(self._open_db))

    async def evidence(self) -> evidence_rows.Rows:
        """All evidence about openings, devices and grants."""
        return await self._run(lambda: evidence_rows.load_evidence(self._open_db))

    async def write_evidence(self, changes: Changes) -> None:
        """In portions, for one of which a batch of the writer may wait."""
        for portion in evidence_rows.portions(changes):
            await self._transaction(partial(evidence_rows.write_evidence, changes=portion))

    async def traffic(self) -> list[traffic_rows.Row]:
        return await self._run(lambda: traffic_rows.load_traffic(self._open_db))

    async def write_traffic(self, changes: traffic_rows.TrafficChanges) -> None:
        await self._transaction(partial(traffic_rows.write_traffic, changes=changes))

    async def synced(self) -> None:
        """Returns when all written batches are on the disk. Raises StoreError if the disk fails or is too slow."""
        if self._syncing is not None:
            await asyncio.to_thread(self._syncing.wait)

    @property
    def problems(self) -> list[str]:
        """Problems of the database for the operator."""
        syncing = self._syncing.problem if self._syncing is not None else ""
        return [f"{self._path}: {problem}" for problem in (self._missing, syncing) if problem]

    async def close(self) -> None:
        await self._reader.close()
        await self._run(self._close)
        self._thread.close()

    async def _transaction(self, write: Callable[[sqlite3.Connection], object]) -> None:
        await self._run(lambda: self._in_transaction(write))

    async def _run(self, call: Callable[[], T]) -> T:
        return await self._thread.run(lambda: self._converted(lambda: self._locked(call)))

    # -- in the store's thread, or in another one with the lock

    def _locked(self, call: Callable[[], T]) -> T:
        with self._lock:
            return call()

    def _converted(self, call: Callable[[], T]) -> T:
        """Raises StoreError for every failure."""
        try:
            return call()
        except StoreError:
            raise
        except FileProblem as error:  # it names the file
            raise StoreError(str(error)) from error
        except Exception as error:  # SQLite's, the system's, or a value that SQLite cannot hold
            raise StoreError(f"{self._path}: {str(error) or type(error).__name__}") from error

    def _open(self) -> None:
        history = StoreState() if self._temporary else self._check_files()
        db = connect(self._path)
        try:
            name = prepare(db, self._full)
            self._db = db
            if history.missing:
                self._missing = history.missing
                self._close_all_mappings(history)
            if not self._temporary:
                self._syncing = Syncing(self._path, name, int(self._get("transaction") or 0), self._full)
        except BaseException:
            self._db = None
            db.close()
            raise

    def _check_files(self) -> StoreState:
        own_directory(self._path.parent, 0o750)
        return check_history(self._path, SCHEMA_VERSION, time.time())

    def _close_all_mappings(self, history: StoreState) -> None:
        """Deletes all mappings of an older store or of another one: they may be out of date."""
        closed = lines_of_mappings(self._open_db)
        self._in_transaction(lambda db: close_all(db, history, self._highest))
        log.error("%s: %s", self._path, history.missing)
        log_closed(closed)

    @property
    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self._path}: the store is not open")
        return self._db

    def _write(self, batch: Batch, now: Instant) -> None:
        self._in_transaction(lambda db: self._write_rows(db, batch, now))

    def _in_transaction(self, write: Callable[[sqlite3.Connection], object]) -> None:
        db = self._open_db
        if db.in_transaction:  # the disk failed during the last ROLLBACK
            self._undone(db)
        db.execute("BEGIN IMMEDIATE")
        try:
            before = db.total_changes
            write(db)
            (number,) = db.execute(NEXT_TRANSACTION).fetchone()
            db.execute("COMMIT")
        except BaseException:
            self._undone(db)
            raise
        if self._syncing is not None:
            self._syncing.committed(int(number), db.total_changes - before)

    def _undone(self, db: sqlite3.Connection) -> None:
        """Rolls the open transaction back, and forgets the values that were cached in it."""
        self._parts.forget()
        self._highest.forget()
        if db.in_transaction:
            db.execute("ROLLBACK")
        if self._full:
            db.execute("PRAGMA synchronous = FULL")  # SQLite refuses it within a transaction

    def _write_rows(self, db: sqlite3.Connection, batch: Batch, now: Instant) -> None:
        if batch.removed:
            gone = [id_number(name) for name in batch.removed]
            db.executemany("DELETE FROM mappings WHERE id = ?", [(number,) for number in gone])
            self._highest.keep(db, "mapping", max(gone))
        if batch.put:
            write_mappings(db, batch.put, self.boot_id, now)
        if batch.cuts_done:
            db.executemany("DELETE FROM cuts WHERE id = ?", [(i,) for i in batch.cuts_done])
        if batch.cuts_put:
            rows = map(cut_values, batch.cuts_put)
            db.executemany("INSERT OR REPLACE INTO cuts VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows)
        if batch.notes:
            notes.write_notes(db, batch.notes)
        newest = decision_rows.write_decisions(db, batch.decisions, self._parts) if batch.decisions else 0
        self._pruning.wrote(newest, now)

    def _load(self, now: Instant) -> tuple[list[StoredRow], list[PendingCut]]:
        db = self._open_db
        rows, of_other_boots = load_mappings(db, self.boot_id, now)
        if of_other_boots:
            again = [(row.mapping, row.number) for row in of_other_boots]
            self._in_transaction(lambda db: write_mappings(db, again, self.boot_id, now))
        cuts = [cut_of_row(values, now) for values in db.execute("SELECT * FROM cuts ORDER BY id")]
        return [row for row in rows if row.mapping.holds], cuts

    # -- old decisions

    def _prune_when_due(self) -> None:
        """Queues the next portion behind the calls that wait; a batch of another thread gets the lock before it."""
        if self._pruning.queue():
            self._thread.post(lambda: self._locked(self._prune))

    def _prune(self) -> None:
        """One portion. It has no number of a transaction: that it is lost in a power loss costs nothing, so it
        never waits for the disk."""
        db = self._db
        if not self._pruning.begin() or db is None:
            return
        try:
            self._prune_portion(db)
        except Exception as error:
            with suppress(sqlite3.Error):  # then the next transaction tries it again
                self._undone(db)
            if str(error) != self._prune_problem:
                log.error("%s: old decisions cannot be deleted: %s", self._path, error)
            self._prune_problem = str(error)
            return  # tried again after the next commit
        self._prune_problem = ""
        self._prune_when_due()

    def _prune_portion(self, db: sqlite3.Connection) -> None:
        before = db.total_changes
        if self._full:
            db.execute("PRAGMA synchronous = NORMAL")
        db.execute("BEGIN IMMEDIATE")
        self._highest.keep(db, "decision", self._pruning.newest)
        self._pruning.portion(db, self._parts)
        db.execute("COMMIT")
        if self._full:
            db.execute("PRAGMA synchronous = FULL")
        if self._syncing is not None:
            self._syncing.changed(db.total_changes - before)

    def _get(self, key: str) -> str | None:
        row = self._open_db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _close(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.close()
        if self._db is not None:
            self._db.close()
            self._db = None
        if syncing is not None:
            syncing.closed()
