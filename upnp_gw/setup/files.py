"""Shows the changes of files, and writes all of them or none, with a copy of each that was there."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from pathlib import Path

from upnp_gw.system.files import FileProblem, read_trusted, sync_directory, write_own

LARGEST = 4 * 1024 * 1024
"""Bytes of a file that is changed."""
MODE = 0o644
"""Of a new file: the user of the daemon reads it."""
DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Change:
    """A file before and after."""

    path: Path
    before: str | None
    """None: there is no file."""
    after: str

    @property
    def changes(self) -> bool:
        return self.before != self.after

    def lines(self) -> list[str]:
        """The whole text of a new file; of another one the difference."""
        if self.before is None:
            return self.after.splitlines()
        diff = unified_diff(
            self.before.splitlines(), self.after.splitlines(), str(self.path), f"{self.path} (new)", lineterm=""
        )
        return list(diff)


def read_text(path: Path) -> str | None:
    """The text of a file; None: there is none. Raises FileProblem."""
    try:
        return read_trusted(path, LARGEST).decode("utf-8")
    except FileProblem as error:
        if error.missing:
            return None
        raise
    except UnicodeDecodeError as error:
        raise FileProblem(path, f"not UTF-8 at byte {error.start}; save it as UTF-8") from None


def write(changes: Sequence[Change], now: datetime) -> list[Path]:
    """Writes the changes, in their order. Returns the copies that were made.

    Each text is on disk under another name before the first file is replaced, so an error, a signal or a full disk
    before that changes nothing. Raises FileProblem.
    """
    wanted = [(change, change.path.resolve()) for change in changes if change.changes]
    copies: list[Path] = []
    prepared: list[tuple[Path, Path]] = []
    try:
        for change, target in wanted:
            if read_text(target) != change.before:
                raise FileProblem(change.path, "changed since it was read; run setup again")
            _make_directory(target.parent)
            prepared.append((target.with_name(f".{target.name}.setup"), target))
            _write_like(target, prepared[-1][0], change.after)
            if change.before is not None:
                copies.append(_free_name(target, now))
                _write_like(target, copies[-1], change.before)
        with _uninterrupted():
            for new, target in prepared:
                os.replace(new, target)
            prepared.clear()
            for directory in {target.parent for _, target in wanted}:
                sync_directory(directory)
    except OSError as error:
        _remove([*(new for new, _ in prepared), *copies])
        where = Path(error.filename or (wanted[0][1] if wanted else "."))
        raise FileProblem(where, f"cannot be written: {error.strerror}") from None
    except BaseException:
        _remove([*(new for new, _ in prepared), *copies])
        raise
    return copies


def _make_directory(path: Path) -> None:
    """Makes the directories that are missing, so that the user of the daemon can read in them."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(DIRECTORY_MODE)


def _write_like(target: Path, path: Path, text: str) -> None:
    """Writes a file with owner and mode of ``target``, if that is there."""
    write_own(path, text.encode(), 0o600)
    try:
        status = target.stat()
    except FileNotFoundError:
        path.chmod(MODE)
        return
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(path, status.st_uid, status.st_gid)
    path.chmod(status.st_mode & 0o7777)


def _free_name(target: Path, now: datetime) -> Path:
    """``config.toml.2026-05-01-101500``, with a number if that is there."""
    name = f"{target.name}.{now:%Y-%m-%d-%H%M%S}"
    number, path = 1, target.with_name(name)
    while path.exists() or path.is_symlink():
        number += 1
        path = target.with_name(f"{name}-{number}")
    return path


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
