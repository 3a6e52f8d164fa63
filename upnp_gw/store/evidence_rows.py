"""Evidence on disk: the tables, and rows to and from their values."""

import sqlite3
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from upnp_gw.ledger.evidence import Changes, DeviceEvidence, Evidence, EvidenceKey, RuleEvidence, shared_vias
from upnp_gw.model.mapping import Transport, shared_text

SCHEMA = """
CREATE TABLE IF NOT EXISTS evidence (
  device TEXT NOT NULL, transport TEXT NOT NULL, family INTEGER NOT NULL, port INTEGER NOT NULL,
  first_asked REAL NOT NULL, last_asked REAL NOT NULL, requests INTEGER NOT NULL, refused INTEGER NOT NULL,
  ungranted INTEGER NOT NULL, renewals INTEGER NOT NULL, granted_s REAL NOT NULL, connections INTEGER NOT NULL,
  bytes INTEGER NOT NULL, last_used REAL, days TEXT NOT NULL, remotes TEXT NOT NULL, more_remotes INTEGER NOT NULL,
  externals TEXT NOT NULL, vias TEXT NOT NULL, peak INTEGER NOT NULL, delegated INTEGER NOT NULL,
  PRIMARY KEY (device, transport, family, port)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence_devices (
  device TEXT PRIMARY KEY, first_seen REAL NOT NULL, last_seen REAL NOT NULL, peak INTEGER NOT NULL,
  incidents INTEGER NOT NULL, last_incident REAL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence_rules (
  rule TEXT PRIMARY KEY, since REAL NOT NULL, last_in_force REAL NOT NULL, matched INTEGER NOT NULL,
  last_matched REAL, last_used REAL
) STRICT, WITHOUT ROWID;
"""
"""Made at every start if missing. The versions of the schema do not count them."""

Rows = tuple[list[Evidence], list[DeviceEvidence], list[RuleEvidence]]


PORTION = 128
"""Rows of one transaction: one or two milliseconds."""


def load_evidence(db: sqlite3.Connection) -> Rows:
    """All rows."""
    return (
        [_evidence(values) for values in db.execute("SELECT * FROM evidence")],
        [DeviceEvidence(*values) for values in db.execute("SELECT * FROM evidence_devices")],
        [RuleEvidence(*values) for values in db.execute("SELECT * FROM evidence_rules")],
    )


def portions(changes: Changes, rows: int = PORTION) -> Iterator[Changes]:
    """The same in portions of at most so many rows. No key may be both written and deleted.

    Deletions are last: a kill between two portions leaves a renamed row twice, and the next start keeps the newer.
    """
    for name in ("openings", "devices", "rules", "gone", "gone_devices", "gone_rules"):
        every = getattr(changes, name)
        for first in range(0, len(every), rows):
            yield Changes(**{name: every[first : first + rows]})


def write_evidence(db: sqlite3.Connection, changes: Changes) -> None:
    """Writes in the open transaction."""
    db.executemany(
        "DELETE FROM evidence WHERE device = ? AND transport = ? AND family = ? AND port = ?",
        [(key.device, key.transport.value, key.family, key.port) for key in changes.gone],
    )
    db.executemany("DELETE FROM evidence_devices WHERE device = ?", [(key,) for key in changes.gone_devices])
    db.executemany("DELETE FROM evidence_rules WHERE rule = ?", [(key,) for key in changes.gone_rules])
    for table, rows in (
        ("evidence", [_values(row) for row in changes.openings]),
        (
            "evidence_devices",
            [(r.device, r.first_seen, r.last_seen, r.peak, r.incidents, r.last_incident) for r in changes.devices],
        ),
        (
            "evidence_rules",
            [(r.rule, r.since, r.last_in_force, r.matched, r.last_matched, r.last_used) for r in changes.rules],
        ),
    ):
        if rows:
            places = ",".join("?" * len(rows[0]))
            db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)


def _values(row: Evidence) -> tuple[Any, ...]:
    key = row.opening
    return (
        key.device,
        key.transport.value,
        key.family,
        key.port,
        row.first_asked,
        row.last_asked,
        row.requests,
        row.refused,
        row.ungranted,
        row.renewals,
        row.granted_s,
        row.connections,
        row.bytes,
        row.last_used,
        _join(row.days),
        _join(sorted(map(str, row.remotes))),
        row.more_remotes,
        _join(row.externals),
        _join(row.vias),
        row.peak,
        row.delegated,
    )


def _evidence(values: tuple[Any, ...]) -> Evidence:
    device, transport, family, port, first_asked, last_asked, *counted = values
    requests, refused, ungranted, renewals, granted_s, connections, volume, last_used, *lists = counted
    days, remotes, more, externals, vias, peak, delegated = lists
    return Evidence(
        EvidenceKey(shared_text(device), Transport(transport), family, port),
        first_asked,
        first_asked if last_asked == first_asked else last_asked,
        requests,
        refused,
        ungranted,
        renewals,
        granted_s,
        connections,
        volume,
        last_used,
        tuple(int(day) for day in days.split()),
        frozenset(ip_address(text) for text in remotes.split()),
        bool(more),
        tuple(int(external) for external in externals.split()),
        shared_vias(tuple(vias.split())),
        peak,
        bool(delegated),
    )


def _join(values: Any) -> str:
    return " ".join(map(str, values))
