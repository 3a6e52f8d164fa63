"""Checks a ledger from elsewhere before anything of it is used. It may be damaged, or made to do harm.

SQLite reads it without the functions and virtual tables that a file can name. Only its tables of our own names
count, and every row has to be one that a gateway writes.
"""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from upnp_gw.backup.problem import BackupProblem
from upnp_gw.engine.device_persistence import DevicePersistence
from upnp_gw.engine.stored_devices import StoredDevices
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.schema import Limits
from upnp_gw.ledger.conflicts import conflicting_rows
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Instant
from upnp_gw.model.network import Link, Network
from upnp_gw.store.device_rows import NoteKind, load_notes
from upnp_gw.store.evidence_rows import load_evidence
from upnp_gw.store.mapping_rows import StoredRow, UnreadableMapping, load_mappings
from upnp_gw.store.schema import SCHEMA_VERSION, prepare
from upnp_gw.store.traffic_rows import load_traffic

TABLES = (
    *("meta", "mappings", "cuts", "decisions", "decision_shared", "policies", "notes", "traffic"),
    *("evidence", "evidence_devices", "evidence_rules"),
)
OF_OLDER_SCHEMAS = ("holds",)
HIGHEST_NUMBER = 1 << 53
"""Numbers of mappings and decisions are smaller. SQLite counts them in 64 bits."""
IDENTITY = {
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "token": re.compile(r"[0-9a-f]{16}"),
    "boot-id": re.compile(r"[0-9]{1,9}|1[0-9]{9}|20[0-9]{8}"),  # below 2**31
}


@dataclass(frozen=True, slots=True)
class CheckedLedger:
    """A ledger that a gateway could have written."""

    path: Path
    rows: list[StoredRow]
    """All mappings, with holds on this boot's clock. Some have ended."""
    identity: dict[str, str]
    """Key of ``meta`` -> value."""
    counts: dict[str, int]
    """Table -> number of its rows."""
    devices: int
    """Devices that the gate knows."""


@dataclass(frozen=True, slots=True)
class _Limited:
    limits: Limits


def check_ledger(path: Path, boot: str, now: Instant) -> CheckedLedger:
    """Checks the file at ``path``, a copy that nobody else uses, and upgrades it. Raises BackupProblem."""
    try:
        _check_objects(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            prepare(db, full=False)
            db.execute("PRAGMA journal_mode = DELETE")
            _check_columns(db)
            meta = dict(db.execute("SELECT key, value FROM meta"))
            _check_meta(meta)
            rows, _ = load_mappings(db, boot, now)
            _check_mappings(rows)
            devices = _check_devices(db, now)
            load_evidence(db)
            load_traffic(db)
            counts = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
            return CheckedLedger(path, rows, _identity(meta), counts, devices)
    except BackupProblem:
        raise
    except UnreadableMapping as error:
        raise BackupProblem(str(error).partition(". ")[0]) from error
    except Exception as error:  # SQLite's, or a value that no gateway writes: there are many ways
        raise BackupProblem(f"its ledger is damaged: {error or type(error).__name__}") from error


def _check_objects(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        db.execute("PRAGMA trusted_schema = OFF")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if not 1 <= version <= SCHEMA_VERSION:
            raise BackupProblem(f"its ledger has schema {version}; accepted: 1 to {SCHEMA_VERSION}")
        for kind, name, table, sql in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"):
            own = table in TABLES + OF_OLDER_SCHEMAS
            virtual = "VIRTUAL" in str(sql or "").upper().split("(")[0].split()
            if not own or virtual or kind not in ("table", "index") or (kind == "table" and name != table):
                raise BackupProblem(f"its ledger has a {kind} {name[:40]!r}, which no gateway makes")
        (finding,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if finding != "ok":
            raise BackupProblem(f"its ledger is damaged: {finding[:200]}")


def _check_columns(db: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        prepare(fresh, full=False)
        for table in TABLES:
            found, made = (
                [row[1:3] for row in each.execute(f"PRAGMA table_info({table})")] for each in (db, fresh)
            )
            if found != made:
                raise BackupProblem(f"its ledger has other columns in {table} than a gateway makes")


def _check_meta(meta: dict[str, str]) -> None:
    for key in ("highest-mapping", "highest-decision"):
        if key in meta and not 0 <= int(meta[key]) <= HIGHEST_NUMBER:
            raise BackupProblem(f"its ledger is damaged: {key} is {meta[key][:40]}")


def _identity(meta: dict[str, str]) -> dict[str, str]:
    """The values by which clients know the gateway, without malformed ones: a start makes new ones."""
    return {key: meta[key] for key, form in IDENTITY.items() if form.fullmatch(meta.get(key, ""))}


def _check_mappings(rows: list[StoredRow]) -> None:
    table = MappingTable()
    for row in rows:
        mapping = row.mapping
        if not 0 < int(mapping.id[1:]) < HIGHEST_NUMBER or not 0 <= int(mapping.decision[1:]) < HIGHEST_NUMBER:
            raise BackupProblem(f"its ledger is damaged: mapping {mapping.id[:20]} has no valid number")
        other = next(conflicting_rows(mapping, table), None)
        if other is not None:
            raise BackupProblem(f"its ledger is damaged: the mappings {other.id} and {mapping.id} overlap")
        if mapping.holds:
            table.put(mapping, row.number)


def _check_devices(db: sqlite3.Connection, now: Instant) -> int:
    """Loads devices, incidents and questions as a start does. Returns the number of devices."""
    notes = load_notes(db)
    network = StoredDevices(Network(wan=Link("wan", 1, True), lans=(Link("lan", 2, True),)))
    DevicePersistence(DeviceHistory(_Limited(Limits()))).recall(notes, now, network)
    for body in notes[NoteKind.NUMBER]:
        if not 0 <= body["number"] < HIGHEST_NUMBER:
            raise BackupProblem("its ledger is damaged: a question has no valid number")
    return len(notes[NoteKind.DEVICE])
