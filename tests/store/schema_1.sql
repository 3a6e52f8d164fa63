-- The first schema of the store: a file of the oldest upnp-gw must open in every later one.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE mappings (
  id TEXT PRIMARY KEY, number INTEGER NOT NULL, transport TEXT NOT NULL, external_address TEXT,
  external_port INTEGER NOT NULL, remote TEXT, internal_address TEXT NOT NULL, internal_port INTEGER NOT NULL,
  device TEXT NOT NULL, description TEXT NOT NULL, enabled INTEGER NOT NULL, parked INTEGER NOT NULL,
  granted_at REAL NOT NULL, decision TEXT NOT NULL, rule TEXT NOT NULL, filters TEXT NOT NULL,
  delegated INTEGER NOT NULL, permanent INTEGER NOT NULL
) STRICT;
CREATE TABLE holds (
  mapping TEXT NOT NULL REFERENCES mappings (id) ON DELETE CASCADE, via TEXT NOT NULL, asked_s INTEGER, nonce BLOB,
  boot_id TEXT NOT NULL, until_boot REAL NOT NULL, until_wall REAL NOT NULL, left_s REAL NOT NULL,
  PRIMARY KEY (mapping, via)
) STRICT, WITHOUT ROWID;
CREATE TABLE cuts (
  id INTEGER PRIMARY KEY, device TEXT NOT NULL, mapping TEXT NOT NULL, decision TEXT NOT NULL,
  transport TEXT NOT NULL, external_address TEXT, external_port INTEGER NOT NULL, remote TEXT,
  internal_address TEXT NOT NULL, internal_port INTEGER NOT NULL
) STRICT;
CREATE TABLE decisions (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, via TEXT NOT NULL, device TEXT NOT NULL,
  verdict TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_at ON decisions (at);
CREATE INDEX decisions_device ON decisions (device, number);
