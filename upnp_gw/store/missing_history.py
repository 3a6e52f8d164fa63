"""Checks the files of the store before SQLite opens them: is a part of its history missing?

SQLite opens whatever is there, and reports nothing. If the file is empty or missing, it makes a new database and
deletes the log beside it. Without the log it uses an older state. It applies the log of another database. So the
files are read first, without a change, and compared with the high-water mark. Unusable files are kept under another
name.
"""

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from upnp_gw.model.errors import StoreError
from upnp_gw.store.high_water import END, HighWaterMark, read_mark
from upnp_gw.store.highest_numbers import HighestNumbers
from upnp_gw.system.files import FileProblem, check_own, copy_own

log = logging.getLogger(__name__)

ENDS = ("", "-wal", "-shm", "-journal", END)
"""Suffixes of the files of one store."""
LISTED = 50
"""The most mappings that a start lists in the log when it closes them."""
LOST = "The mappings, the audit log, and the UUID by which clients know the gateway"


@dataclass(frozen=True, slots=True)
class StoreState:
    """State of the store's files at the start."""

    missing: str = ""
    """The missing part of the history, for the operator. No stored mapping may be opened then. Empty: nothing."""
    next_transaction: int = 0
    """The lowest number of the next transaction."""


@dataclass(frozen=True, slots=True)
class _DatabaseState:
    """Version, name and last transaction of a database file."""

    version: int
    store: str | None
    """Name of the store; None: it was made before stores had names."""
    transaction: int


class _Damaged(StoreError):
    """The file is not a database, or is damaged."""


def check_history(path: Path, newest: int, now: float) -> StoreState:
    """Checks the files of the store with this database file. Unusable files are renamed, and logged.

    ``newest``: the newest known schema; ``now``: wall-clock seconds, for the names of kept files. Raises StoreError
    if the database file is damaged or has a newer schema, and changes nothing then; FileProblem if a path is not a
    regular file of ours.
    """
    for end in ENDS:
        check_own(_file(path, end))
    try:
        mark = read_mark(path)
    except FileProblem as error:
        log.warning("%s: the store cannot be checked for missing changes; a new mark is made", error)
        mark = None
    if not _size(path):
        _begin_anew(path, mark, now)
        return StoreState()
    state, log_kept = _usable_state(path, mark, newest, now)
    if mark is None:
        return StoreState()
    if state.store != mark.store:
        missing = f"is not the last store used here, which had {mark.transaction} changes until {mark.when}"
    elif state.transaction < mark.transaction:
        missing = (
            f"is older than the store on the disk at {mark.when}: the last {mark.transaction - state.transaction} "
            f"changes are missing, {_reason(path, log_kept)}"
        )
    else:
        return StoreState()
    kept = _copied(path, now)
    missing += (
        ". All its mappings are closed, since some may have been deleted meanwhile; clients have to request them "
        f"again. The file as it was is kept: {kept}. To use it all the same: stop upnp-gw, move the kept "
        f"files back, and remove {_file(path, END)}"
    )
    return StoreState(missing, max(state.transaction, mark.transaction) + 1)


def _begin_anew(path: Path, mark: HighWaterMark | None, now: float) -> None:
    """Renames the other files of the store before a new database is made, and logs the loss."""
    present = [end for end in ENDS if _file(path, end).exists()]
    if not {"", END} & set(present) and not _size(_file(path, "-wal")):
        return  # the first start
    kept = _set_aside(path, present, now)
    state = "empty" if "" in present else "missing"
    until = f": {mark.transaction} changes until {mark.when}" if mark else ", if it had any"
    log.error("%s: is %s. %s are lost%s. A new store is made.", path, state, LOST, until)
    if kept:
        log.error("%s: its other files are kept: %s", path, kept)


def _usable_state(path: Path, mark: HighWaterMark | None, newest: int, now: float) -> tuple[_DatabaseState, bool]:
    """The database with its log. Second value: True if the log was of another store or time, and is renamed."""
    with_log = bool(_size(_file(path, "-wal")))
    try:
        combined: _DatabaseState | _Damaged = _read_state(path)
    except _Damaged as damaged:
        combined = damaged
    alone = _state_without_log(path, isinstance(combined, _Damaged)) if with_log else None
    if alone is None or alone.store is None or _belongs(combined, alone, mark):
        if isinstance(combined, _Damaged):
            raise combined
        _check_version(path, combined, newest)
        return combined, False
    _check_version(path, alone, newest)
    kept = _set_aside(path, ["-wal", "-shm"], now)
    log.error("%s: does not belong to %s. It is not used, and kept: %s", _file(path, "-wal"), path, kept)
    return alone, True


def _belongs(combined: _DatabaseState | _Damaged, alone: _DatabaseState, mark: HighWaterMark | None) -> bool:
    """True if the log continues the database file."""
    if isinstance(combined, _Damaged) or combined.store != alone.store or combined.transaction < alone.transaction:
        return False
    return mark is None or mark.store != alone.store or mark.moved <= alone.transaction


def _check_version(path: Path, state: _DatabaseState, newest: int) -> None:
    if state.version > newest:
        raise StoreError(
            f"{path}: written by a newer upnp-gw (schema {state.version}, this one knows {newest}); the file is"
            " kept as it is. Install that version again, or put a copy from before the upgrade in its place"
        )


def _state_without_log(path: Path, check: bool) -> _DatabaseState | None:
    """The database without its log; None: it is not readable without it, as after a crash in a checkpoint."""
    try:
        return _read_state(path, "immutable=1", check)
    except StoreError:
        return None


def _read_state(path: Path, how: str = "mode=ro", check: bool = True) -> _DatabaseState:
    """Reads the database without a change: a read-only connection does not move the log. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            has_meta = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
            meta = dict(db.execute("SELECT key, value FROM meta")) if has_meta else {}
            finding = db.execute("PRAGMA quick_check(1)").fetchone() if check else ("ok",)
    except sqlite3.Error as error:
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        if code == sqlite3.SQLITE_READONLY and how == "mode=ro":  # a crash while it was made: SQLite rolls it back
            return _read_state(path, "mode=rw")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _Damaged(_damaged(path, str(error))) from error
        raise StoreError(f"{path}: cannot be read: {error}") from error
    if finding != ("ok",):
        raise _Damaged(_damaged(path, finding[0]))
    number = meta.get("transaction", "0")
    return _DatabaseState(version, meta.get("store"), int(number) if number.isdecimal() else 0)


def _damaged(path: Path, finding: str) -> str:
    return (
        f"{path}: is damaged ({' '.join(finding.split())}); the file is kept as it is. Restore a backup. Or "
        f"move it away with {path.name}-wal to start with an empty store: {LOST[0].lower()}{LOST[1:]} are lost then"
    )


def _reason(path: Path, log_kept: bool) -> str:
    log_file = _file(path, "-wal").name
    if log_kept:
        return f"since {log_file} belongs to another store or time"
    return f"and {log_file} " + ("ends before them" if _size(_file(path, "-wal")) else "is not there or empty")


def _set_aside(path: Path, ends: list[str], now: float) -> str:
    """Renames the existing files; returns their new names for the log."""
    kept = _free_name(path, now)
    renames = [(_file(path, end), _file(kept, end)) for end in ends if _file(path, end).exists()]
    for old, new in renames:
        old.rename(new)
    return ", ".join(str(new) for _, new in renames)


def _copied(path: Path, now: float) -> str:
    """Copies the database file and its log; returns the names of the copies."""
    kept = _free_name(path, now)
    copies = [(_file(path, end), _file(kept, end)) for end in ("", "-wal") if _file(path, end).exists()]
    for old, new in copies:
        copy_own(old, new)
    return ", ".join(str(new) for _, new in copies)


def _free_name(path: Path, now: float) -> Path:
    """A free file name with the time."""
    while True:
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = path.with_name(f"{path.name}.kept-{stamp}")
        if not any(_file(kept, end).exists() for end in ENDS):
            return kept
        now += 1


def _file(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _size(path: Path) -> int:
    """Bytes; 0 also for a missing file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def close_all(db: sqlite3.Connection, history: StoreState, highest: HighestNumbers) -> None:
    """Deletes all mappings, in the open transaction."""
    (number,) = db.execute("SELECT coalesce(max(id), 0) FROM mappings").fetchone()
    highest.keep(db, "mapping", number)
    db.execute("DELETE FROM mappings")
    db.execute("DELETE FROM meta WHERE key = 'epoch'")  # NAT-PMP and PCP clients renew in a new epoch
    db.execute("INSERT OR REPLACE INTO meta VALUES ('transaction', ?)", (str(history.next_transaction),))


def log_closed(mappings: Sequence[str]) -> None:
    """Lists the mappings of a store that is not the newest one: they are not opened."""
    for mapping in mappings[:LISTED]:
        log.error("mapping closed: %s", mapping)
    if len(mappings) > LISTED:
        log.error("%d more mappings closed", len(mappings) - LISTED)
