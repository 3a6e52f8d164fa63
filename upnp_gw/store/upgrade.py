"""Upgrades of the store from older schemas, in the transaction of the caller."""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from upnp_gw.model.records import DecisionRecord
from upnp_gw.store import decision_rows, mapping_rows, policy_rows
from upnp_gw.store.decision_encoding import number_of
from upnp_gw.store.mapping_rows import HoldRow, hold_text
from upnp_gw.store.shared_parts import SharedParts
from upnp_gw.system.sd_notify import NOT_YET, notify

log = logging.getLogger(__name__)

Step = str | Callable[[sqlite3.Connection], None]

PORTION = 1000
"""Decisions in memory at once. After each portion systemd is asked for more time: its limit for a start is 90 s."""
STORED_NAMES = {"address": "source", "remote_host": "remote", "lease_s": "lifetime_s", "granted_s": "lease_s"}
"""Field of a decision -> its name in the schemas 1 to 5, where the two differ."""
_RENAMED = frozenset(STORED_NAMES.values())


def record_of_body(body: dict[str, Any]) -> DecisionRecord:
    """The record of a body of the schemas 1 to 5. Raises msgspec.ValidationError."""
    return msgspec.convert(
        {name: body[name] for name in body.keys() - _RENAMED}
        | {name: body[stored] for name, stored in STORED_NAMES.items() if stored in body},
        DecisionRecord,
    )


def _rows_without_indexes(db: sqlite3.Connection) -> None:
    """Schema 5 had the decisions as JSON with three indexes, and the leases in a table of their own."""
    began = time.monotonic()
    for table in ("decisions", "mappings", "holds"):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in (mapping_rows.SCHEMA + decision_rows.SCHEMA).split(";"):
        db.execute(statement)
    db.executemany(
        f"INSERT INTO mappings VALUES ({','.join('?' * mapping_rows.COLUMNS)})", list(_upgraded_mappings(db))
    )
    (count,) = db.execute("SELECT count(*) FROM old_decisions").fetchone()
    if count > PORTION:
        log.warning("the store is upgraded: %d decisions are written in a shorter form", count)
    _upgrade_decisions(db)
    for table in ("holds", "mappings", "decisions"):
        db.execute(f"DROP TABLE old_{table}")
    if count > PORTION:
        log.warning("the store is upgraded after %.1f s", time.monotonic() - began)


def _upgraded_mappings(db: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    holds: dict[str, list[HoldRow]] = {}
    boots: dict[str, str] = {}
    columns = "mapping, via, asked_s, nonce, until_boot, until_wall, left_s, epoch, filters, boot_id"
    for mapping, via, asked_s, nonce, *ends, epoch, filters, boot in db.execute(f"SELECT {columns} FROM old_holds"):
        end_boot, end_wall, left_s = ends
        text = None if nonce is None else bytes(nonce).hex()
        holds.setdefault(mapping, []).append((via, asked_s, text, end_boot, end_wall, left_s, epoch, filters))
        boots[mapping] = boot  # all leases of a mapping were written together
    for name, *columns_between, decision, rule, filters, delegated, permanent, remote_port in db.execute(
        "SELECT id, number, transport, external_address, external_port, remote, internal_address, internal_port,"
        " device, description, enabled, parked, granted_at, decision, rule, filters, delegated, permanent,"
        " remote_port FROM old_mappings"
    ):
        yield (
            number_of(name, "m"),
            *columns_between,
            number_of(decision, "d") or 0,
            rule,
            filters,
            delegated,
            permanent,
            remote_port,
            boots.get(name, ""),
            hold_text(holds.get(name, [])),
            None,
        )


def _upgrade_decisions(db: sqlite3.Connection) -> None:
    parts, after = SharedParts(), -1
    while rows := db.execute(
        "SELECT number, body FROM old_decisions WHERE number > ? ORDER BY number LIMIT ?", (after, PORTION)
    ).fetchall():
        records = []
        for number, body in rows:
            try:
                records.append(record_of_body(json.loads(body)))
            except (ValueError, AttributeError, RecursionError, msgspec.ValidationError):
                log.error("decision d%d cannot be read and is not kept", number)
        notify(os.environ, NOT_YET, "upgrading the store")
        if records:
            decision_rows.write_decisions(db, records, parts)
        after = rows[-1][0]


def _leases_above(db: sqlite3.Connection) -> None:
    """Schema 6 had no leases of a gateway above. An upgrade from schema 5 has made the table anew already."""
    if "above" not in {row[1] for row in db.execute("PRAGMA table_info(mappings)")}:
        db.execute("ALTER TABLE mappings ADD COLUMN above TEXT")


def shrink(db: sqlite3.Connection) -> None:
    """Gives the room of the old tables back to the file system. A full disk keeps the larger file."""
    with suppress(sqlite3.Error):
        db.execute("VACUUM")


MIGRATIONS: dict[int, list[Step]] = {
    1: [
        "ALTER TABLE holds ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE holds ADD COLUMN filters TEXT NOT NULL DEFAULT ''",
    ],
    2: ["ALTER TABLE mappings ADD COLUMN remote_port INTEGER NOT NULL DEFAULT 0"],
    3: ["ALTER TABLE cuts ADD COLUMN remote_port INTEGER NOT NULL DEFAULT 0"],
    4: [*policy_rows.SCHEMA.split(";")],
    5: [_rows_without_indexes],
    6: [_leases_above],
}
"""Version of the schema -> the steps that upgrade it to the next version."""
