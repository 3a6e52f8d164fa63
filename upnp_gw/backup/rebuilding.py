"""Makes a new ledger from the checked rows of another one.

The tables of the other file are not taken over, only their rows. The new ledger has a name of its own, and begins a
new epoch: NAT-PMP and PCP clients renew everything.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from upnp_gw.backup.checking import TABLES, CheckedLedger
from upnp_gw.ledger.leases import without_expired_holds
from upnp_gw.model.mapping import DAY_S, Instant, Mapping
from upnp_gw.store.highest_numbers import KEEP
from upnp_gw.store.mapping_rows import StoredRow, load_mappings, write_mappings
from upnp_gw.store.schema import prepare
from upnp_gw.system.files import sync_own

LONGEST_LEASE_S = 366 * DAY_S
"""The longest lease that a gateway gives. A lease of a file from elsewhere is cut to it."""
COPIED = tuple(table for table in TABLES if table not in ("meta", "mappings", "cuts"))


@dataclass(frozen=True, slots=True)
class Choice:
    """The wishes of the operator."""

    mappings: bool = True
    deleted: bool = False
    """Also mappings that the present ledger does not have any more."""
    identity: bool = True
    """False: clients see another gateway."""


@dataclass(frozen=True, slots=True)
class PresentLedger:
    """The part of the ledger in place that matters for a restore."""

    uuid: str = ""
    mappings: frozenset[tuple[object, ...]] = frozenset()
    highest: tuple[int, int] = (0, 0)
    """Of mappings and decisions."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The mappings of a backup, sorted by what becomes of them."""

    restored: tuple[StoredRow, ...]
    ended: tuple[Mapping, ...]
    """Their leases ended since the backup."""
    deleted: tuple[Mapping, ...]
    """The present ledger had them and does not have them any more."""


def sort_mappings(ledger: CheckedLedger, present: PresentLedger, choice: Choice, now: Instant) -> Selection:
    restored, ended, deleted = list[StoredRow](), list[Mapping](), list[Mapping]()
    same = present.uuid != "" and ledger.identity.get("uuid") == present.uuid
    for row in ledger.rows:
        live = without_expired_holds(_cut(row.mapping, now), now)
        if live is None:
            ended.append(row.mapping)
        elif same and not choice.deleted and _same(live) not in present.mappings:
            deleted.append(live)
        else:
            restored.append(replace(row, mapping=live))
    return Selection(tuple(restored) if choice.mappings else (), tuple(ended), tuple(deleted))


def read_present(path: Path, boot: str, now: Instant) -> PresentLedger:
    """The ledger in place; an empty one if there is none, or it cannot be read."""
    with suppress(Exception), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
        rows, _ = load_mappings(db, boot, now)
        numbers = [
            max(db.execute(f"SELECT coalesce(max({key}), 0) FROM {table}").fetchone()[0], int(meta.get(name, 0)))
            for key, table, name in (
                ("id", "mappings", "highest-mapping"),
                ("number", "decisions", "highest-decision"),
            )
        ]
        known = frozenset(_same(row.mapping) for row in rows)
        return PresentLedger(meta.get("uuid", ""), known, (numbers[0], numbers[1]))
    return PresentLedger()


def rebuild(
    ledger: CheckedLedger,
    new: Path,
    rows: Sequence[StoredRow],
    present: PresentLedger,
    choice: Choice,
    boot: str,
    now: Instant,
) -> None:
    """Writes the new ledger to ``new`` and syncs it. Raises sqlite3.Error, OSError and FileProblem."""
    with closing(sqlite3.connect(new, isolation_level=None, uri=True)) as db:
        db.execute("PRAGMA trusted_schema = OFF")
        prepare(db, full=False)
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("ATTACH ? AS old", (f"{ledger.path.absolute().as_uri()}?mode=ro&immutable=1",))
        db.execute("BEGIN")
        for table in COPIED:
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM old.{table}")
        write_mappings(db, [(row.mapping, row.number) for row in rows], boot, now)
        _write_meta(db, ledger, present, choice)
        db.execute("COMMIT")
        db.execute("DETACH old")
    sync_own(new)


def _write_meta(db: sqlite3.Connection, ledger: CheckedLedger, present: PresentLedger, choice: Choice) -> None:
    old = dict(db.execute("SELECT key, value FROM old.meta"))
    kept = dict(ledger.identity) if choice.identity else {}
    if "epoch" in old:
        with suppress(ValueError, TypeError):  # of another boot: the next start begins a new one after it
            kept["epoch"] = json.dumps({**json.loads(old["epoch"]), "boot": ""})
    db.executemany("INSERT OR REPLACE INTO main.meta VALUES (?, ?)", kept.items())
    (mapping,) = db.execute("SELECT coalesce(max(id), 0) FROM old.mappings").fetchone()
    (decision,) = db.execute("SELECT coalesce(max(number), 0) FROM old.decisions").fetchone()
    for name, highest, before in (
        ("mapping", mapping, present.highest[0]),
        ("decision", decision, present.highest[1]),
    ):
        key = f"highest-{name}"
        db.execute(KEEP, (key, str(max(highest, before, int(old.get(key, 0))))))


def _same(mapping: Mapping) -> tuple[object, ...]:
    return mapping.id, mapping.key, mapping.internal


def _cut(mapping: Mapping, now: Instant) -> Mapping:
    last = now.boot + LONGEST_LEASE_S
    if all(hold.until <= last for hold in mapping.holds):
        return mapping
    return replace(mapping, holds=tuple(replace(hold, until=min(hold.until, last)) for hold in mapping.holds))
