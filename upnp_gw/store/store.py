"""The ledger on disk: SQLite in WAL mode. One batch of the writer is one transaction.

The end of a hold is stored in three forms: on CLOCK_BOOTTIME with the boot's id, on the wall clock, and as seconds
left at the write. In the same boot the first one counts. After another boot the wall clock counts, but no more than
the seconds left: a clock that was set back does not extend a lease.

Every call runs in the store's thread.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from upnp_gw.ledger.evidence import Changes
from upnp_gw.ledger.pending_cuts import PendingCut
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Hold, Instant, Mapping, Via
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store import decision_rows, evidence_rows, policy_rows
from upnp_gw.store import device_rows as notes
from upnp_gw.store.decision_rows import KEEP, Retention
from upnp_gw.store.device_rows import Note
from upnp_gw.store.device_rows import NoteKind as NoteKind
from upnp_gw.store.mapping_rows import (
    StoredRow,
    cut_of_row,
    cut_values,
    id_number,
    mapping_values,
    parse_peers,
    stored_row,
)
from upnp_gw.store.missing_history import StoreState, check_history
from upnp_gw.store.schema import SCHEMA_VERSION, prepare
from upnp_gw.store.syncing import Syncing
from upnp_gw.system.files import FileProblem, own_directory

NEXT_TRANSACTION = """
INSERT INTO meta VALUES ('transaction', '1') ON CONFLICT (key) DO UPDATE
SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) RETURNING value
"""
TO_THIS_BOOT = """
UPDATE holds SET boot_id = :boot_id,
  until_boot = :boot + min(until_wall - :wall, left_s),
  until_wall = :wall + min(until_wall - :wall, left_s),
  left_s = min(until_wall - :wall, left_s)
WHERE boot_id != :boot_id
"""
"""Gives holds of another boot their ends on this boot's clock. From here on that clock counts."""
LISTED = 50
"""The most mappings that a start lists in the log when it closes them."""

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Batch:
    """The content of one transaction."""

    put: list[tuple[Mapping, int]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    cuts_put: list[PendingCut] = field(default_factory=list)
    cuts_done: list[int] = field(default_factory=list)
    decisions: list[DecisionRecord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.put or self.removed or self.cuts_put or self.cuts_done or self.decisions or self.notes)


class Store:
    """``path``: the database file; ``boot_id``: the kernel's; ``full``: every commit waits for the disk.

    Every failure is a StoreError.
    """

    def __init__(self, path: Path, boot_id: str, full: bool = False, keep: Retention = KEEP) -> None:
        self._path = path
        self.boot_id = boot_id
        self._full = full
        self._keep = keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._db: sqlite3.Connection | None = None
        self._syncing: Syncing | None = None
        self._missing = ""
        # Reading the whole audit log takes a while: it has a thread of its own, so that no request waits for it.
        self._audit_thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._audit: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Opens or creates the file. Raises StoreError if it is damaged or newer, and keeps it as it is."""
        await self._run(self._open)

    async def write(self, batch: Batch, now: Instant) -> None:
        """One transaction. Raises StoreError: then nothing of the batch is in the store."""
        await self._run(self._write, batch, now)

    async def load(self, now: Instant) -> tuple[list[StoredRow], list[PendingCut]]:
        """All mappings in the order of their numbers, with holds on this boot's clock, and all pending cuts."""
        return await self._run(self._load, now)

    async def decisions(self, record_filter: RecordFilter) -> list[DecisionRecord]:
        """The newest decisions that pass the filter, newest first."""
        return await self._run_in(self._audit_thread, self._decisions, record_filter)

    async def keep_policy(self, digest: str, body: bytes) -> None:
        """Keeps the policy of this hash, before it decides. Raises StoreError."""
        await self._run(self._in_transaction, lambda db: policy_rows.keep_policy(db, digest, body))

    async def policy_in_force(self, digest: str, newest: int) -> None:
        """The other policies are kept as long as decisions up to number ``newest`` are. Raises StoreError."""
        await self._run(self._in_transaction, lambda db: policy_rows.put_in_force(db, digest, newest))

    async def policy(self, digest: str) -> bytes | None:
        """A kept policy; None: it is not kept. Raises StoreError."""
        return await self._run_in(self._audit_thread, lambda: policy_rows.load_policy(self._audit_db(), digest))

    async def get(self, key: str) -> str | None:
        """One value that outlives a restart (UDN, token, BOOTID); None: it is not set."""
        return await self._run(self._get, key)

    async def set(self, key: str, value: str) -> None:
        await self._run(self._set, key, value)

    async def highest(self) -> tuple[int, int, int]:
        """The highest numbers ever used: of mapping ids, decisions and cuts."""
        return await self._run(self._highest)

    async def notes(self) -> dict[NoteKind, list[dict[str, Any]]]:
        """The notes of devices, incidents and questions."""
        return await self._run(lambda: notes.load_notes(self._open_db))

    async def evidence(self) -> evidence_rows.Rows:
        """All evidence about openings, devices and grants."""
        return await self._run(lambda: evidence_rows.load_evidence(self._open_db))

    async def write_evidence(self, changes: Changes) -> None:
        """One transaction. A row that changes during the write is written again next time."""
        await self._run(self._in_transaction, lambda db: evidence_rows.write_evidence(db, changes))

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
        await self._run_in(self._audit_thread, self._close_audit)
        await self._run(self._close)
        self._audit_thread.shutdown()
        self._thread.shutdown()

    # -- in the store's thread

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run_in(self._thread, call, *args, **kwargs)

    async def _run_in(
        self, thread: ThreadPoolExecutor, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, partial(call, *args, **kwargs))
        except StoreError:
            raise
        except FileProblem as error:  # it names the file
            raise StoreError(str(error)) from error
        except Exception as error:  # SQLite's, the system's, or a value that SQLite cannot hold
            raise StoreError(f"{self._path}: {str(error) or type(error).__name__}") from error

    def _open(self) -> None:
        own_directory(self._path.parent, 0o750)
        history = check_history(self._path, SCHEMA_VERSION, time.time())
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            name = prepare(db, self._full)
            self._db = db
            if history.missing:
                self._missing = history.missing
                self._close_all_mappings(history)
            transaction = int(self._get("transaction") or 0)
            self._syncing = Syncing(self._path, name, transaction, self._full)
        except BaseException:
            self._db = None
            db.close()
            raise

    def _close_all_mappings(self, history: StoreState) -> None:
        """Deletes all mappings of an older store or of another one: they may be out of date."""
        closed: list[str] = []

        def write(db: sqlite3.Connection) -> None:
            columns = "transport, external_port, internal_address, internal_port, device"
            rows = db.execute(f"SELECT {columns} FROM mappings ORDER BY number")
            closed.extend("{} {} -> {} port {}, {}".format(*values) for values in rows)
            db.execute("DELETE FROM mappings")
            db.execute("DELETE FROM meta WHERE key = 'epoch'")  # NAT-PMP and PCP clients renew in a new epoch
            db.execute("INSERT OR REPLACE INTO meta VALUES ('transaction', ?)", (str(history.next_transaction),))

        self._in_transaction(write)
        log.error("%s: %s", self._path, history.missing)
        for mapping in closed[:LISTED]:
            log.error("mapping closed: %s", mapping)
        if len(closed) > LISTED:
            log.error("%d more mappings closed", len(closed) - LISTED)

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
            db.execute("ROLLBACK")
        db.execute("BEGIN IMMEDIATE")
        try:
            before = db.total_changes
            write(db)
            (number,) = db.execute(NEXT_TRANSACTION).fetchone()
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if self._syncing is not None:
            self._syncing.committed(int(number), db.total_changes - before)

    def _write_rows(self, db: sqlite3.Connection, batch: Batch, now: Instant) -> None:
        db.executemany("DELETE FROM mappings WHERE id = ?", [(i,) for i in batch.removed])
        if batch.put:
            db.executemany(
                "INSERT OR REPLACE INTO mappings VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [mapping_values(mapping, number) for mapping, number in batch.put],
            )
            db.executemany(
                "INSERT OR REPLACE INTO holds VALUES (?,?,?,?,?,?,?,?,?,?)",
                [values for mapping, _ in batch.put for values in self._hold_values(mapping, now)],
            )
            self._set_highest(db, "mapping", max(id_number(mapping.id) for mapping, _ in batch.put))
        db.executemany("DELETE FROM cuts WHERE id = ?", [(i,) for i in batch.cuts_done])
        db.executemany(
            "INSERT OR REPLACE INTO cuts VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            [cut_values(cut) for cut in batch.cuts_put],
        )
        notes.write_notes(db, batch.notes)
        if batch.decisions:
            self._set_highest(db, "decision", decision_rows.write_decisions(db, batch.decisions, self._keep, now))

    def _hold_values(self, mapping: Mapping, now: Instant) -> Iterable[tuple[Any, ...]]:
        for hold in mapping.holds:
            left = hold.until - now.boot
            yield (
                mapping.id,
                hold.via.value,
                hold.requested_s,
                hold.nonce,
                self.boot_id,
                hold.until,
                now.wall + left,
                left,
                hold.epoch,
                " ".join(f"{net}:{port}" for net, port in hold.filters),
            )

    def _load(self, now: Instant) -> tuple[list[StoredRow], list[PendingCut]]:
        db = self._open_db
        if db.execute("SELECT 1 FROM holds WHERE boot_id != ? LIMIT 1", (self.boot_id,)).fetchone():
            times = {"boot_id": self.boot_id, "boot": now.boot, "wall": now.wall}
            self._in_transaction(lambda db: db.execute(TO_THIS_BOOT, times))
        holds: dict[str, list[Hold]] = {}
        for mapping, via, asked_s, nonce, until, epoch, filters in db.execute(
            "SELECT mapping, via, asked_s, nonce, until_boot, epoch, filters FROM holds"
        ):
            peers = tuple(parse_peers(text) for text in filters.split())
            holds.setdefault(mapping, []).append(Hold(Via(via), until, asked_s, nonce, epoch, peers))
        rows = [
            stored_row(values, tuple(holds.get(values[0], ())))
            for values in db.execute("SELECT * FROM mappings ORDER BY number")
        ]
        cuts = [cut_of_row(values, now) for values in db.execute("SELECT * FROM cuts ORDER BY id")]
        return [row for row in rows if row.mapping.holds], cuts

    def _decisions(self, record_filter: RecordFilter) -> list[DecisionRecord]:
        return decision_rows.load_decisions(self._audit_db(), record_filter)

    def _audit_db(self) -> sqlite3.Connection:
        if self._audit is None:
            if self._db is None:
                raise StoreError(f"{self._path}: the store is not open")
            self._audit = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._audit.execute("PRAGMA query_only = ON")
        return self._audit

    def _close_audit(self) -> None:
        if self._audit is not None:
            self._audit.close()
            self._audit = None

    def _get(self, key: str) -> str | None:
        row = self._open_db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _set(self, key: str, value: str) -> None:
        self._in_transaction(lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)))

    def _set_highest(self, db: sqlite3.Connection, name: str, number: int) -> None:
        db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE "
            "SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))",
            (f"highest-{name}", str(number)),
        )

    def _highest(self) -> tuple[int, int, int]:
        db = self._open_db
        (highest,) = db.execute("SELECT coalesce(max(CAST(substr(id, 2) AS INTEGER)), 0) FROM mappings").fetchone()
        mapping = max(highest, int(self._get("highest-mapping") or 0))  # the newest may have ended
        (newest,) = db.execute("SELECT coalesce(max(number), 0) FROM decisions").fetchone()
        decision = max(newest, int(self._get("highest-decision") or 0))  # all of them may have been deleted by age
        (cut,) = db.execute("SELECT coalesce(max(id), 0) FROM cuts").fetchone()
        return mapping, decision, cut

    def _close(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.close()
        if self._db is not None:
            self._db.close()
            self._db = None
        if syncing is not None:
            syncing.closed()
