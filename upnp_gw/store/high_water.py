"""The high-water mark beside the store: the last transaction that is known to have reached the disk.

SQLite does not notice a missing log or an older copy of the database file: it opens what is there. So the number of
the last transaction on disk is also in a file of its own. A store with a lower number, or with another name, is not
the last one used. The mark is written after the sync of the log and is not synced itself: after a power loss it may
be behind the store, but never ahead of it.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from upnp_gw.system.files import FileProblem, open_own, read_own, sync_directory, write_own

END = "-highwater"
SIZE = 256
"""Bytes. Less than a sector, so that it is written whole; constant, so that it needs no new room on a full disk."""
LARGEST = 1 << 62
"""Numbers of transactions are smaller: SQLite counts them in 64 bits."""


@dataclass(frozen=True, slots=True)
class HighWaterMark:
    store: str
    """The name of the store, made with it."""
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
        """Makes a new file and syncs it. Raises FileProblem and OSError."""
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
    """The content of the file, always ``SIZE`` bytes."""
    return json.dumps(asdict(mark)).encode("ascii").ljust(SIZE - 1) + b"\n"
