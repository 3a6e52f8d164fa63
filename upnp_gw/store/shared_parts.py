"""Parts that many decisions share, each stored once: the table ``decision_shared``, and its newest rows in memory.

The log is in segments. A decision refers only to shared rows of its own segment, so that a row can be deleted when
its segment has no decision left that refers to it.
"""

import sqlite3
from hashlib import blake2b

import msgspec

from upnp_gw.store.decision_encoding import Shared

SEGMENT = 4096
"""Decisions, and so the most shared rows, of one segment: 0 to 4095, 4096 to 8191. Its shared rows have ids in the
same range."""
SCHEMA = """
CREATE TABLE decision_shared (
  id INTEGER PRIMARY KEY, via TEXT NOT NULL, device TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT,
  policy TEXT NOT NULL, pattern TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
"""


class SharedParts:
    """The ids of the shared rows of the newest segments."""

    def __init__(self) -> None:
        self._segments: dict[int, dict[bytes, int]] = {}
        self._next: dict[int, int] = {}

    def id_of(self, db: sqlite3.Connection, decision: int, shared: Shared) -> int:
        """The id of the row with this content, for a decision of this number. Adds it where there is none."""
        segment = decision // SEGMENT
        known = self._segments.get(segment)
        if known is None:
            known = self._load(db, segment)
        key = _key(shared)
        found = known.get(key)
        if found is None:
            found = known[key] = self._next[segment]
            db.execute("INSERT INTO decision_shared VALUES (?,?,?,?,?,?,?,?)", (found, *shared))
            self._next[segment] = found + 1
        return found

    def forget(self) -> None:
        """Call it after a rollback, and when rows were deleted: the rows are read again."""
        self._segments.clear()
        self._next.clear()

    def _load(self, db: sqlite3.Connection, segment: int) -> dict[bytes, int]:
        for old in [each for each in self._segments if each < segment - 1]:
            del self._segments[old], self._next[old]
        rows = db.execute("SELECT * FROM decision_shared WHERE id >= ? AND id < ?", segment_range(segment))
        known = self._segments[segment] = {_key(Shared(*values)): number for number, *values in rows}
        self._next[segment] = max(known.values(), default=segment * SEGMENT - 1) + 1
        return known


def segment_range(segment: int) -> tuple[int, int]:
    """The first number of a segment, and the first one after it."""
    return segment * SEGMENT, (segment + 1) * SEGMENT


def delete_unused(db: sqlite3.Connection, segment: int) -> bool:
    """Deletes the shared rows of a segment that no decision refers to. True: there were some."""
    bounds = segment_range(segment)
    found = db.execute(
        "DELETE FROM decision_shared WHERE id >= ? AND id < ?"
        " AND id NOT IN (SELECT shared FROM decisions WHERE number >= ? AND number < ?)",
        (*bounds, *bounds),
    )
    return found.rowcount > 0


def _key(shared: Shared) -> bytes:
    return blake2b(msgspec.json.encode(shared), digest_size=16).digest()
