"""The traffic of ports on disk."""

import sqlite3

from upnp_gw.ledger.evidence import EvidenceKey
from upnp_gw.ledger.traffic import TrafficChanges as TrafficChanges
from upnp_gw.model.mapping import Transport, shared_text

Row = tuple[EvidenceKey, int, int]
"""Port, slot and bytes."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS traffic (
  device TEXT NOT NULL, transport TEXT NOT NULL, family INTEGER NOT NULL, port INTEGER NOT NULL,
  slot INTEGER NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (device, transport, family, port, slot)
) STRICT, WITHOUT ROWID;
"""
"""Made at every start if missing, like the evidence."""


def load_traffic(db: sqlite3.Connection) -> list[Row]:
    """All rows, by slot."""
    rows = db.execute("SELECT device, transport, family, port, slot, bytes FROM traffic ORDER BY slot, device")
    return [
        (EvidenceKey(shared_text(device), Transport(transport), family, port), slot, count)
        for device, transport, family, port, slot, count in rows
    ]


def write_traffic(db: sqlite3.Connection, changes: TrafficChanges) -> None:
    """Writes in the open transaction."""
    db.execute("DELETE FROM traffic WHERE slot < ?", (changes.oldest,))
    db.executemany(
        "DELETE FROM traffic WHERE device = ? AND transport = ? AND family = ? AND port = ?",
        [(key.device, key.transport.value, key.family, key.port) for key in changes.gone],
    )
    db.executemany(
        "INSERT OR REPLACE INTO traffic VALUES (?, ?, ?, ?, ?, ?)",
        [(key.device, key.transport.value, key.family, key.port, slot, n) for key, slot, n in changes.slots],
    )
