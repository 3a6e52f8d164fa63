"""The tables of the store: made, or upgraded from an older schema, when it opens."""

import sqlite3
from uuid import uuid4

from upnp_gw.store import device_rows as notes
from upnp_gw.store import evidence_rows, policy_rows

SCHEMA_VERSION = 5
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE mappings (
  id TEXT PRIMARY KEY, number INTEGER NOT NULL, transport TEXT NOT NULL, external_address TEXT,
  external_port INTEGER NOT NULL, remote TEXT, internal_address TEXT NOT NULL, internal_port INTEGER NOT NULL,
  device TEXT NOT NULL, description TEXT NOT NULL, enabled INTEGER NOT NULL, parked INTEGER NOT NULL,
  granted_at REAL NOT NULL, decision TEXT NOT NULL, rule TEXT NOT NULL, filters TEXT NOT NULL,
  delegated INTEGER NOT NULL, permanent INTEGER NOT NULL, remote_port INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE holds (
  mapping TEXT NOT NULL REFERENCES mappings (id) ON DELETE CASCADE, via TEXT NOT NULL, asked_s INTEGER, nonce BLOB,
  boot_id TEXT NOT NULL, until_boot REAL NOT NULL, until_wall REAL NOT NULL, left_s REAL NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0, filters TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (mapping, via)
) STRICT, WITHOUT ROWID;
CREATE TABLE cuts (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, mapping TEXT NOT NULL, decision TEXT NOT NULL,
  transport TEXT NOT NULL, external_address TEXT, external_port INTEGER NOT NULL, remote TEXT,
  internal_address TEXT NOT NULL, internal_port INTEGER NOT NULL, remote_port INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, via TEXT NOT NULL, device TEXT NOT NULL,
  verdict TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_at ON decisions (at);
CREATE INDEX decisions_device ON decisions (device, number);
"""
MIGRATIONS = {
    1: """
ALTER TABLE holds ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE holds ADD COLUMN filters TEXT NOT NULL DEFAULT '';
""",
    2: "ALTER TABLE mappings ADD COLUMN remote_port INTEGER NOT NULL DEFAULT 0;",
    3: "ALTER TABLE cuts ADD COLUMN remote_port INTEGER NOT NULL DEFAULT 0;",
    4: policy_rows.SCHEMA,
}
"""Version of the schema -> SQL that upgrades it to the next version."""

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
    db.execute("PRAGMA foreign_keys = ON")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(f"BEGIN;{SCHEMA}{policy_rows.SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")
    db.executescript(evidence_rows.SCHEMA + notes.SCHEMA)
    for before in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
        db.executescript(f"BEGIN;{MIGRATIONS[before]}PRAGMA user_version = {before + 1};COMMIT;")
    row = db.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()
    if row is not None:
        return str(row[0])
    name = uuid4().hex
    db.execute("INSERT INTO meta VALUES ('store', ?)", (name,))
    return name
