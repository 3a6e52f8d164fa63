"""Looks at the files of the store before SQLite does, and finds out what of its history is missing.

SQLite opens whatever is there. It makes a new database where the file is empty or gone, and deletes the log beside
it. It goes by an older state where the log is gone. It takes in the log of another database. It says nothing of all
that. So the files are looked at first, without changing them, and compared with the high-water mark. What cannot be
used is kept under another name.
"""

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from upnp_gw.model.errors import StoreError
from upnp_gw.store.high_water import END, HighWaterMark, read_mark
from upnp_gw.system.files import FileProblem, check_own, copy_own

log = logging.getLogger(__name__)

ENDS = ("", "-wal", "-shm", "-journal", END)
"""Suffixes of the files of one store."""
LOST = "The mappings, the audit log, and the UUID by which clients know the gateway"


@dataclass(frozen=True, slots=True)
class StoreState:
    """State of the store's files at the start."""

    missing: str = ""
    """The missing part of its history, in words. None of its mappings may be opened then. Empty: none is."""
    at_least: int = 0
    """Lowest number of the next transaction."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Version, name and last transaction of a database file."""

    version: int
    store: str | None
    """Name of the store; None: it was made before stores had names."""
    transaction: int


class _Damaged(StoreError):
    """The file is not a database, or is damaged."""


def check_history(path: Path, newest: int, now: float) -> StoreState:
    """Checks the files of the store with this database file. Unusable files are put aside, and logged.

    ``newest``: the newest schema that is known; ``now``: wall-clock seconds, for the names of what is kept. Raises
    StoreError, and has changed nothing, where the database file is damaged or has a newer schema; FileProblem where
    something else is in the place of a file.
    """
    for end in ENDS:
        check_own(_with(path, end))
    try:
        mark = read_mark(path)
    except FileProblem as error:
        log.warning("%s; the store cannot be checked for missing changes; the mark is made again", error)
        mark = None
    if not _size(path):
        _begin_anew(path, mark, now)
        return StoreState()
    look, log_kept = _sound(path, mark, newest, now)
    if mark is None:
        return StoreState()
    if look.store != mark.store:
        missing = f"is not the last store used here, which had {mark.transaction} changes until {mark.when}"
    elif look.transaction < mark.transaction:
        missing = (
            f"is older than the store on the disk at {mark.when}: the last {mark.transaction - look.transaction} "
            f"changes are missing, {_why(path, log_kept)}"
        )
    else:
        return StoreState()
    kept = _copied(path, now)
    missing += (
        ". None of its mappings is opened again, since some may have been given back; clients have to ask again. "
        f"The file as it was is kept: {kept}. To use it all the same: stop upnp-gw, move it back with what "
        f"belongs to it, and remove {_with(path, END)}"
    )
    return StoreState(missing, max(look.transaction, mark.transaction) + 1)


def _begin_anew(path: Path, mark: HighWaterMark | None, now: float) -> None:
    """Clears the way for a new database: puts other files of the store aside, and logs any loss."""
    there = [end for end in ENDS if _with(path, end).exists()]
    if not {"", END} & set(there) and not _size(_with(path, "-wal")):
        return  # the first start
    kept = _aside(path, there, now)
    state = "empty" if "" in there else "missing"
    until = f": {mark.transaction} changes until {mark.when}" if mark else ", if it had any"
    log.error("%s: is %s. %s are lost%s. An empty store is made.", path, state, LOST, until)
    if kept:
        log.error("%s: the files found there are kept: %s", path, kept)


def _sound(path: Path, mark: HighWaterMark | None, newest: int, now: float) -> tuple[_Look, bool]:
    """The database with its log. A log of another store or time is put aside, and the second value is True."""
    with_log = bool(_size(_with(path, "-wal")))
    try:
        whole: _Look | _Damaged = _look(path)
    except _Damaged as damaged:
        whole = damaged
    alone = _alone(path, isinstance(whole, _Damaged)) if with_log else None
    if alone is None or alone.store is None or _belongs(whole, alone, mark):
        if isinstance(whole, _Damaged):
            raise whole
        _check_version(path, whole, newest)
        return whole, False
    _check_version(path, alone, newest)
    kept = _aside(path, ["-wal", "-shm"], now)
    log.error("%s: does not belong to %s. It is not used, and kept: %s", _with(path, "-wal"), path, kept)
    return alone, True


def _belongs(whole: _Look | _Damaged, alone: _Look, mark: HighWaterMark | None) -> bool:
    """True where the log continues the database file."""
    if isinstance(whole, _Damaged) or whole.store != alone.store or whole.transaction < alone.transaction:
        return False
    return mark is None or mark.store != alone.store or mark.moved <= alone.transaction


def _check_version(path: Path, look: _Look, newest: int) -> None:
    if look.version > newest:
        raise StoreError(
            f"{path}: written by a newer upnp-gw (schema {look.version}, this one knows {newest}); "
            "the file is kept as it is"
        )


def _alone(path: Path, check: bool) -> _Look | None:
    """The database without its log; None: it cannot be read so, as after a crash in a checkpoint."""
    try:
        return _look(path, "immutable=1", check)
    except StoreError:
        return None


def _look(path: Path, how: str = "mode=ro", check: bool = True) -> _Look:
    """Reads it without a change: closing a connection that may not write moves no log. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            has_meta = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
            meta = dict(db.execute("SELECT key, value FROM meta")) if has_meta else {}
            finding = db.execute("PRAGMA quick_check(1)").fetchone() if check else ("ok",)
    except sqlite3.Error as error:
        code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
        if code == sqlite3.SQLITE_READONLY and how == "mode=ro":  # a crash while it was made: it is rolled back
            return _look(path, "mode=rw")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _Damaged(_damaged(path, str(error))) from error
        raise StoreError(f"{path}: cannot be read: {error}") from error
    if finding != ("ok",):
        raise _Damaged(_damaged(path, finding[0]))
    number = meta.get("transaction", "0")
    return _Look(version, meta.get("store"), int(number) if number.isdecimal() else 0)


def _damaged(path: Path, finding: str) -> str:
    return (
        f"{path}: is damaged ({' '.join(finding.split())}); the file is kept as it is. Put a copy back, or move it "
        f"away with {path.name}-wal to start with an empty store. {LOST} are lost then"
    )


def _why(path: Path, log_kept: bool) -> str:
    log_file = _with(path, "-wal").name
    if log_kept:
        return f"since {log_file} belongs to another store or time"
    return f"and {log_file} " + ("ends before them" if _size(_with(path, "-wal")) else "is not there or empty")


def _aside(path: Path, ends: list[str], now: float) -> str:
    """Renames those of the files that exist; returns their new names for the log."""
    kept = _kept(path, now)
    moved = [(_with(path, end), _with(kept, end)) for end in ends if _with(path, end).exists()]
    for old, new in moved:
        old.rename(new)
    return ", ".join(str(new) for _, new in moved)


def _copied(path: Path, now: float) -> str:
    """Copies the database file and its log."""
    kept = _kept(path, now)
    made = [(_with(path, end), _with(kept, end)) for end in ("", "-wal") if _with(path, end).exists()]
    for old, new in made:
        copy_own(old, new)
    return ", ".join(str(new) for _, new in made)


def _kept(path: Path, now: float) -> Path:
    """A free file name with the time in it."""
    while True:
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = path.with_name(f"{path.name}.kept-{stamp}")
        if not any(_with(kept, end).exists() for end in ENDS):
            return kept
        now += 1


def _with(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _size(path: Path) -> int:
    """Bytes; 0: there is no such file, too."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
