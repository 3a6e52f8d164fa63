"""Notes in the store: devices, open incidents, questions to the operator.

A note is a plain value with a kind and a key. Only its writer knows its meaning.
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
    """The highest number in use, of questions for example."""


class Note(NamedTuple):
    kind: NoteKind
    key: str
    body: dict[str, Any] | None
    """None: the note is deleted."""


def write_notes(db: sqlite3.Connection, notes: Iterable[Note]) -> None:
    """Writes in the open transaction."""
    notes = list(notes)
    deleted = [(note.kind.value, note.key) for note in notes if note.body is None]
    put = [
        (note.kind.value, note.key, json.dumps(note.body, ensure_ascii=True))
        for note in notes
        if note.body is not None
    ]
    db.executemany("DELETE FROM notes WHERE kind = ? AND key = ?", deleted)
    db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", put)


def load_notes(db: sqlite3.Connection) -> dict[NoteKind, list[dict[str, Any]]]:
    """All notes, by kind."""
    notes: dict[NoteKind, list[dict[str, Any]]] = {kind: [] for kind in NoteKind}
    for kind, body in db.execute("SELECT kind, body FROM notes ORDER BY kind, key"):
        if kind in notes:
            notes[NoteKind(kind)].append(json.loads(body))
    return notes
