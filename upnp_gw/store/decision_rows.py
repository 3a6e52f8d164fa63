"""The audit log in the store: one row for each decision, and one for each part that many of them share."""

import logging
import sqlite3
from collections.abc import Sequence
from typing import Any

from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store import shared_parts
from upnp_gw.store.decision_encoding import Shared, UnreadableDecision, number_of, record_of, split
from upnp_gw.store.shared_parts import SharedParts

log = logging.getLogger(__name__)

SCHEMA = f"""
CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, at REAL NOT NULL, shared INTEGER NOT NULL, mapping INTEGER, external_port INTEGER,
  internal_port INTEGER, count INTEGER NOT NULL, unchanged INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
{shared_parts.SCHEMA}"""
"""No index: each one is another page that every request writes. A search reads the rows from the newest on."""


def decision_number(record: DecisionRecord) -> int:
    """The number in a decision's id."""
    return int(record.id[1:])


def write_decisions(db: sqlite3.Connection, records: Sequence[DecisionRecord], parts: SharedParts) -> int:
    """Adds the records. One with a count replaces the count of its first record. Returns the highest number."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        number = decision_number(record)
        if record.count > 1:
            counted = db.execute("UPDATE decisions SET count = ? WHERE number = ?", (record.count, number))
            if counted.rowcount:
                continue
        shared, own = split(record)
        rows.append((number, record.at, parts.id_of(db, number, shared), *own))
    db.executemany("INSERT INTO decisions VALUES (?,?,?,?,?,?,?,?,?)", rows)
    return max(decision_number(record) for record in records)


def load_decisions(db: sqlite3.Connection, record_filter: RecordFilter) -> list[DecisionRecord]:
    """The newest decisions that pass the filter, newest first. One that cannot be read is logged and left out."""
    found = _where(record_filter)
    if found is None:
        return []
    where, values = found
    rows = db.execute(
        "SELECT d.number, d.at, d.mapping, d.external_port, d.internal_port, d.count, d.unchanged, d.body,"
        " s.via, s.device, s.verdict, s.rule, s.policy, s.pattern, s.body"
        f" FROM decisions d CROSS JOIN decision_shared s ON s.id = d.shared {where}"
        " ORDER BY d.number DESC LIMIT ?",
        (*values, record_filter.limit),
    )
    records = []
    for row in rows:
        try:
            records.append(record_of(row[0], row[1], row[2:8], Shared(*row[8:])))
        except UnreadableDecision as error:
            log.error("decision %s cannot be read and is left out: the store is damaged", error)
    return records


def _where(wanted: RecordFilter) -> tuple[str, list[Any]] | None:
    """A WHERE clause of fixed text, and its values; None: nothing passes."""
    number = number_of(wanted.id, "d")
    if wanted.id is not None and number is None:
        return None
    tests: list[tuple[str, Any]] = [
        ("d.number = ?", number),
        ("d.number < ?", wanted.before),
        ("d.at >= ?", wanted.since),
        ("d.at < ?", wanted.until),
        ("? IN (d.external_port, d.internal_port)", wanted.port),
    ]
    shared: list[tuple[str, Any]] = [
        ("verdict = ?", wanted.verdict),
        ("via = ?", wanted.via),
        ("rule = ?", wanted.rule),
    ]
    clauses = [test for test, value in tests if value is not None]
    inner = [test for test, value in shared if value is not None]
    values = [value for _, value in (*tests, *shared) if value is not None]
    if wanted.devices:
        inner.append(f"device IN ({','.join('?' * len(wanted.devices))})")
        values += wanted.devices
    if wanted.changes:
        clauses.append("NOT d.unchanged")
    if inner:
        clauses.append(f"d.shared IN (SELECT id FROM decision_shared WHERE {' AND '.join(inner)})")
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), values
