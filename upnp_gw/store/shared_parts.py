"""What many decisions have in common, stored once: the table ``decision_shared``, and its newest rows in memory.

The rows are in chapters. Decisions with numbers of one chapter refer only to shared rows of that chapter, so that a
row can be deleted when its chapter has no decision left that refers to it.
"""

import sqlite3
from hashlib import blake2b

import msgspec

from upnp_gw.store.decision_encoding import Shared

CHAPTER = 4096
"""Decisions, and so the most shared rows, of one chapter. A shared row has an id in the same range."""
SCHEMA = """
CREATE TABLE decision_shared (
  id INTEGER PRIMARY KEY, via TEXT NOT NULL, device TEXT NOT NULL, verdict TEXT NOT NULL, rule TEXT,
  policy TEXT NOT NULL, pattern TEXT NOT NULL, body TEXT NOT NULL
) STRICT;
"""


class SharedParts:
    """The ids of the shared rows of the newest chapters."""

    def __init__(self) -> None:
        self._chapters: dict[int, dict[bytes, int]] = {}
        self._next: dict[int, int] = {}

    def id_of(self, db: sqlite3.Connection, decision: int, shared: Shared) -> int:
        """The id of the row with this content, for a decision of this number. Adds it where there is none."""
        chapter = decision // CHAPTER
        known = self._chapters.get(chapter)
        if known is None:
            known = self._load(db, chapter)
        key = _key(shared)
        found = known.get(key)
        if found is None:
            found = known[key] = self._next[chapter]
            db.execute("INSERT INTO decision_shared VALUES (?,?,?,?,?,?,?,?)", (found, *shared))
            self._next[chapter] = found + 1
        return found

    def forget(self) -> None:
        """Call it when rows were taken back or deleted: they are read again."""
        self._chapters.clear()
        self._next.clear()

    def _load(self, db: sqlite3.Connection, chapter: int) -> dict[bytes, int]:
        for old in [each for each in self._chapters if each < chapter - 1]:
            del self._chapters[old], self._next[old]
        rows = db.execute("SELECT * FROM decision_shared WHERE id >= ? AND id < ?", chapter_range(chapter))
        known = self._chapters[chapter] = {_key(Shared(*values)): number for number, *values in rows}
        self._next[chapter] = max(known.values(), default=chapter * CHAPTER - 1) + 1
        return known


def chapter_range(chapter: int) -> tuple[int, int]:
    """The first number of a chapter, and the first one after it."""
    return chapter * CHAPTER, (chapter + 1) * CHAPTER


def delete_unused(db: sqlite3.Connection, chapter: int) -> bool:
    """Deletes the shared rows of a chapter that no decision refers to. True: there were some."""
    bounds = chapter_range(chapter)
    found = db.execute(
        "DELETE FROM decision_shared WHERE id >= ? AND id < ?"
        " AND id NOT IN (SELECT shared FROM decisions WHERE number >= ? AND number < ?)",
        (*bounds, *bounds),
    )
    return found.rowcount > 0


def _key(shared: Shared) -> bytes:
    return blake2b(msgspec.json.encode(shared), digest_size=16).digest()
