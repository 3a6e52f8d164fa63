"""The tables of the store: made, or upgraded from an older schema, when it opens."""

import sqlite3
from uuid import uuid4

from upnp_gw.store import decision_rows, evidence_rows, mapping_rows, policy_rows, traffic_rows
from upnp_gw.store import device_rows as notes
from upnp_gw.store.upgrade import MIGRATIONS, shrink

SCHEMA_VERSION = 7
SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE cuts (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, mapping TEXT NOT NULL, decision TEXT NOT NULL,
  transport TEXT NOT NULL, external_address TEXT, external_port INTEGER NOT NULL, remote TEXT,
  internal_address TEXT NOT NULL, internal_port INTEGER NOT NULL, remote_port INTEGER NOT NULL DEFAULT 0
) STRICT;
{mapping_rows.SCHEMA}{decision_rows.SCHEMA}{policy_rows.SCHEMA}"""

CHECKPOINT_PAGES = 3000
"""Pages of 4 KiB in the log after which a commit makes the checkpoint itself. SQLite restarts the log only when all
of it is in the database file, and the checkpoint thread does not get that far while commits never pause."""


def prepare(db: sqlite3.Connection, full: bool) -> str:
    """Sets up the connection; makes or upgrades the tables. Returns the store's name, which never changes.

    ``full``: every commit waits for the disk. Raises sqlite3.Error.
    """
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
    db.executescript(evidence_rows.SCHEMA + traffic_rows.SCHEMA + notes.SCHEMA)
    for before in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
        _upgrade(db, before)
    if version not in (0, SCHEMA_VERSION):
        shrink(db)
    db.execute("INSERT OR IGNORE INTO meta VALUES ('transaction', '0')")
    row = db.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()
    if row is not None:
        return str(row[0])
    name = uuid4().hex
    db.execute("INSERT INTO meta VALUES ('store', ?)", (name,))
    return name


def _upgrade(db: sqlite3.Connection, version: int) -> None:
    """Upgrades the tables by one version, whole or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[version]:
            if callable(step):
                step(db)
            else:
                db.execute(step)
        db.execute(f"PRAGMA user_version = {version + 1}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
