"""The files of address lists, beside the policy file. A file that has not changed is not parsed again."""

from hashlib import sha256
from pathlib import Path

from upnp_gw.gate.address_lists import LARGEST_LIST, ListFile, ListFormat, ParsedList, parse_list
from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import FileProblem, read_trusted

Mark = tuple[int, int, int]
"""Inode, size and time of the last change of a file: another content has another one."""


class ListFiles:
    """Lists are named relative to ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, Mark | None] = {}
        """The files that were read, each with its mark before it was read; None: it could not be read."""
        self._seen: dict[Path, Mark | None] = {}
        """The marks at the last look."""
        self._parsed: dict[tuple[str, ListFormat], tuple[bytes, ParsedList]] = {}
        """Path and format -> the hash of a content, and what was in it."""

    def read(self, file: str) -> ListFile:
        """Raises ConfigError."""
        path = self._folder / file
        self._read[path] = mark = mark_of(path)
        try:
            data = read_trusted(path, LARGEST_LIST)
        except FileProblem as error:
            raise ConfigError(str(path), "", error.problem) from None
        return ListFile(str(path), data, mark[2] / 1e9 if mark is not None else 0.0)

    def parsed(self, file: ListFile, kind: ListFormat) -> ParsedList:
        """Raises ConfigError."""
        content = sha256(file.data).digest()
        before = self._parsed.get((file.path, kind))
        if before is not None and before[0] == content:
            return before[1]
        found = parse_list(file, kind)
        self._parsed[file.path, kind] = content, found
        return found

    def settled_change(self) -> bool:
        """True if a file that was read has changed since, and not between the last look and this one: nobody is
        writing it. Each change is told once."""
        now = {path: mark_of(path) for path in self._read}
        settled, self._seen = now == self._seen, now
        if now == self._read or not settled:
            return False
        self._read = now
        return True

    def forget(self) -> None:
        """Before the lists of another policy are read: those of the last one are not watched any more."""
        self._read.clear()


def mark_of(path: Path) -> Mark | None:
    """The mark of a file; None: there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
