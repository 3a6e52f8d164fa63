"""A copy of the store in one file, in one consistent state, while the gateway goes on.

SQLite reads it in a transaction of its own: no writer waits for that. The copy is written anew, without the pages
of deleted rows and without the log.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

from upnp_gw.store import policy_rows
from upnp_gw.system.files import check_own

COPY = ".backup-"
"""In the name of a copy, after that of the database file: a start removes what a kill has left."""
OF_HISTORY = ("evidence", "evidence_devices", "evidence_rules", "traffic")


@contextmanager
def copied(path: Path, history: bool = True) -> Iterator[Path]:
    """A copy beside the database file, removed at the end. ``history`` False: only decisions that a mapping names,
    and no evidence. Raises FileProblem, OSError and sqlite3.Error.
    """
    check_own(path)
    descriptor, name = mkstemp(prefix=path.name + COPY, dir=path.parent)
    os.close(descriptor)
    copy = Path(name)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("VACUUM INTO ?", (name,))
        if not history:
            _leave_out_history(copy)
        yield copy
    finally:
        for end in ("", "-journal"):
            with suppress(FileNotFoundError):
                copy.with_name(copy.name + end).unlink()


def remove_copies(path: Path) -> None:
    """Removes copies that a killed process has left. Raises OSError."""
    for left in path.parent.glob(path.name + COPY + "*"):
        left.unlink()


def schema_of(path: Path) -> int:
    """The schema of a database file. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def _leave_out_history(copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        keep_highest(db)
        db.execute("BEGIN")
        for table in OF_HISTORY:
            db.execute(f"DELETE FROM {table}")
        db.execute("DELETE FROM decisions WHERE number NOT IN (SELECT decision FROM mappings)")
        db.execute("DELETE FROM decision_shared WHERE id NOT IN (SELECT shared FROM decisions)")
        policy_rows.prune_unused(db)
        db.execute("COMMIT")
        db.execute("VACUUM")


def keep_highest(db: sqlite3.Connection) -> None:
    """Notes the highest numbers before rows are left out."""
    from upnp_gw.store.highest_numbers import HighestNumbers, load_highest

    mapping, decision, _ = load_highest(db)
    highest = HighestNumbers()
    highest.keep(db, "mapping", mapping)
    highest.keep(db, "decision", decision)
