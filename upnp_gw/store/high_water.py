"""The high-water mark beside the store: the last transaction that is known to have reached the disk.

SQLite does not know that its log is missing, or that the database file is an older copy: it opens what is there. So
the number of the last transaction on disk is kept in a file of its own as well. A store that has a lower number, or
another name, is not the one that was there. The mark is written after the log was synced and is not synced itself:
after a power loss it may be behind the store, never ahead of it.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from upnp_gw.system.files import FileProblem, open_own, read_own, sync_directory, write_own

END = "-highwater"
SIZE = 256
"""Bytes: less than a sector of a disk, so that it is written whole; always the same, so that it needs no room."""
LARGEST = 1 << 62
"""Numbers of transactions are smaller: SQLite counts them in 64 bits."""


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    store: str
    """The name that the store was given when it was made."""
    transaction: int
    """The last transaction known to be in the log or in the database file."""
    moved: int
    """The last transaction known to be in the database file."""
    at: int
    """Wall-clock seconds."""

    @property
    def when(self) -> str:
        """The time of the mark, ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def mark_path(path: Path) -> Path:
    """The mark of the store with this database file."""
    return path.with_name(path.name + END)


def read_mark(path: Path) -> HighWaterMark | None:
    """The mark of this database file; None: there is none. Raises FileProblem, also for invalid content."""
    file = mark_path(path)
    try:
        stored = json.loads(read_own(file, SIZE))
        mark = HighWaterMark(
            str(stored["store"]), int(stored["transaction"]), int(stored["moved"]), int(stored["at"])
        )
        datetime.fromtimestamp(mark.at, UTC)
        if not 0 <= mark.moved <= mark.transaction < LARGEST:
            raise ValueError(mark)
    except FileProblem as error:
        if error.missing:
            return None
        raise
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        raise FileProblem(file, "is not valid") from None
    return mark


class MarkFile:
    """The mark, open for writing."""

    def __init__(self, path: Path, mark: HighWaterMark) -> None:
        """Makes the file anew and syncs it. Raises FileProblem and OSError."""
        file = mark_path(path)
        delta = file.with_name(file.name + ".new")
        write_own(delta, as_bytes(mark))
        os.replace(delta, file)
        sync_directory(file.parent)
        self._descriptor = open_own(file, os.O_WRONLY)

    def write(self, mark: HighWaterMark) -> None:
        """Overwrites the mark in place. Raises OSError."""
        os.pwrite(self._descriptor, as_bytes(mark), 0)

    def close(self) -> None:
        os.close(self._descriptor)


def as_bytes(mark: HighWaterMark) -> bytes:
    """Returns the bytes of the file, always ``SIZE`` bytes."""
    return json.dumps(asdict(mark)).encode("ascii").ljust(SIZE - 1) + b"\n"
