"""The highest numbers ever used, of mappings and decisions: a number used twice would write over another row.

The rows in the tables show their numbers. Before a row is deleted, its number is kept in ``meta``.
"""

import sqlite3

KEEP = (
    "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE "
    "SET value = max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER))"
)


class HighestNumbers:
    """The numbers that ``meta`` has, as far as known: most deletes change nothing there."""

    def __init__(self) -> None:
        self._kept: dict[str, int] = {}

    def keep(self, db: sqlite3.Connection, name: str, number: int) -> None:
        """Call it before a row with this number is deleted. ``name``: ``mapping`` or ``decision``."""
        if number > self._kept.get(name, 0):
            db.execute(KEEP, (f"highest-{name}", str(number)))
            self._kept[name] = number

    def forget(self) -> None:
        """Call it when a transaction was rolled back."""
        self._kept.clear()


def load_highest(db: sqlite3.Connection) -> tuple[int, int, int]:
    """The highest numbers ever used: of mapping ids, decisions and cuts."""
    kept = dict(db.execute("SELECT key, CAST(value AS INTEGER) FROM meta WHERE key LIKE 'highest-%'"))
    (mapping,) = db.execute("SELECT coalesce(max(id), 0) FROM mappings").fetchone()
    (decision,) = db.execute("SELECT coalesce(max(number), 0) FROM decisions").fetchone()
    (cut,) = db.execute("SELECT coalesce(max(id), 0) FROM cuts").fetchone()
    return max(mapping, kept.get("highest-mapping", 0)), max(decision, kept.get("highest-decision", 0)), cut
