"""What outlives a restart beside the mappings: who was seen, open incidents, questions to the operator.

Plain values under a kind and a key; who made them knows what they mean. ``store`` calls it in its own thread.
"""

import json
import sqlite3
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
  kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
"""


class NoteKind(StrEnum):
    DEVICE = "device"
    INCIDENT = "incident"
    QUESTION = "question"
    NUMBER = "number"
    """The highest number that was given to something of ours."""


class Note(NamedTuple):
    kind: NoteKind
    key: str
    body: dict[str, Any] | None
    """None: it is gone."""


def write_notes(db: sqlite3.Connection, notes: Iterable[Note]) -> None:
    """In the transaction that is open."""
    notes = list(notes)
    gone = [(note.kind.value, note.key) for note in notes if note.body is None]
    put = [
        (note.kind.value, note.key, json.dumps(note.body, ensure_ascii=True))
        for note in notes
        if note.body is not None
    ]
    db.executemany("DELETE FROM notes WHERE kind = ? AND key = ?", gone)
    db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", put)


def load_notes(db: sqlite3.Connection) -> dict[NoteKind, list[dict[str, Any]]]:
    """Every note that stands, by kind."""
    found: dict[NoteKind, list[dict[str, Any]]] = {kind: [] for kind in NoteKind}
    for kind, body in db.execute("SELECT kind, body FROM notes ORDER BY kind, key"):
        if kind in found:
            found[NoteKind(kind)].append(json.loads(body))
    return found
