"""Opens files safely: only regular files of bounded size, without blocking.

Opening a pipe waits for its other end, and opening a device can have an effect. So a file is checked before it is
opened, opened without blocking, and checked again once it is open. The operator may name any file, so links are
followed for his files. The gateway's own files must not be links, and only root and the gateway's user may own or
change them: their contents open ports.
"""

import os
import shutil
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from upnp_gw.model.errors import GatewayError

ROOT_UID = 0
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
UNBLOCKED = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"))
"""Windows, where only the emulator runs, has none of these flags."""
READING = os.O_RDONLY | UNBLOCKED
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


class FileProblem(GatewayError):
    """A file or directory cannot be used. ``problem`` gives the reason and the accepted state."""

    def __init__(self, path: Path, problem: str, missing: bool = False) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem
        self.missing = missing
        """True if no file has this name."""


def read_any(path: Path, largest: int) -> bytes:
    """Reads a file of any owner; follows links. Raises FileProblem.

    ``largest``: the size limit in bytes.
    """
    return _read(path, largest, READING)


def read_trusted(path: Path, largest: int) -> bytes:
    """Like ``read_any``, but refuses a file that every user may write: it opens ports. Raises FileProblem."""
    return _read(path, largest, READING, private=True)


def read_own(path: Path, largest: int) -> bytes:
    """Reads a file of the gateway's own: not a link, owned by root or by us. Raises FileProblem."""
    return _read(path, largest, READING | NO_LINK, private=True, owned=True)


def opened(path: Path) -> BinaryIO:
    """A regular file of any owner that the operator names, open for reading; follows links. Raises FileProblem."""
    try:
        problem = irregular(path.stat())
        if not problem:
            file = open(os.open(path, READING), "rb")  # noqa: SIM115
            # the caller closes it
            if not (problem := irregular(os.fstat(file.fileno()))):
                return file
            file.close()
    except OSError as error:
        raise FileProblem(path, f"cannot be read: {error.strerror}") from None
    raise FileProblem(path, problem)


def write_named(path: Path, portions: Iterable[bytes], mode: int, *, replace: bool) -> None:
    """Writes a file that the operator names, whole or not at all. ``replace`` False: refuses if it exists.

    Raises FileProblem. An error of ``portions`` passes.
    """
    taken = FileProblem(path, "exists")
    if not replace and os.path.lexists(path):
        raise taken
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_portions(draft, portions, mode)
    try:
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)  # refuses a file that came meanwhile
            draft.unlink()
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise (
            taken
            if isinstance(error, FileExistsError)
            else FileProblem(path, f"cannot be written: {error.strerror}")
        ) from None


def check_own(path: Path) -> None:
    """Checks a file of the gateway's own without opening it, before a library opens it. It may be missing.

    Raises FileProblem.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileProblem(path, f"cannot be read: {error.strerror}") from None
    problem = _problem(status, private=True, owned=True)
    if problem:
        raise FileProblem(path, problem)


def open_own(path: Path, access: int) -> int:
    """Opens an existing file of the gateway's own; ``access``: os.O_RDONLY or os.O_WRONLY. Returns the descriptor.

    Raises FileProblem.
    """
    check_own(path)
    try:
        descriptor = os.open(path, access | NO_LINK | UNBLOCKED)
    except OSError as error:
        raise FileProblem(path, f"cannot be opened: {error.strerror}") from None
    problem = _problem(os.fstat(descriptor), private=True, owned=True)
    if problem:
        os.close(descriptor)
        raise FileProblem(path, problem)
    return descriptor


def read_portions(path: Path, size: int) -> Iterator[bytes]:
    """A file of the gateway's own, in portions of at most ``size`` bytes. Raises FileProblem."""
    descriptor = open_own(path, os.O_RDONLY)
    try:
        with open(descriptor, "rb") as file:
            while portion := file.read(size):
                yield portion
    except OSError as error:
        raise FileProblem(path, f"cannot be read: {error.strerror}") from None


def write_own(path: Path, data: bytes, mode: int = 0o640) -> None:
    """Writes a new file, whole or not at all, and syncs it. Replaces anything of that name. Raises FileProblem."""
    write_portions(path, (data,), mode)


def write_portions(path: Path, portions: Iterable[bytes], mode: int) -> None:
    """The same for a content in portions. An error of ``portions`` passes, and the file is removed."""
    try:
        path.unlink(missing_ok=True)  # a pipe of that name would wait for a reader, a link would lead elsewhere
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        raise FileProblem(path, f"cannot be written: {error.strerror}") from None
    try:
        with open(descriptor, "wb") as file:
            for portion in portions:
                file.write(portion)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise FileProblem(path, f"cannot be written: {error.strerror}") from None
        raise


def write_shared(path: Path, data: bytes) -> None:
    """Writes a file that every user may read, whole or not at all, and makes its directories. Raises FileProblem.

    It replaces a file or a link of that name."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_own(new, data, 0o644)
        new.chmod(0o644)  # whatever the umask is
        new.replace(path)
    except OSError as error:
        raise FileProblem(path, f"cannot be written: {error.strerror}") from None


def copy_own(path: Path, copy: Path) -> None:
    """Copies a file of the gateway's own to a new file and syncs it. Raises FileProblem."""
    source = open_own(path, os.O_RDONLY)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(source, "rb") as read, open(os.open(copy, flags, 0o640), "wb") as written:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        raise FileProblem(copy, f"cannot be written: {error.strerror}") from None


def open_directory(path: Path) -> int:
    """Opens a directory; returns the descriptor. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_directory(path: Path) -> None:
    """Writes the directory's entries to disk. Raises OSError."""
    _sync(open_directory(path))


def sync_own(path: Path) -> None:
    """Writes a file of the gateway's own to disk. Raises FileProblem and OSError."""
    _sync(open_own(path, os.O_RDONLY))


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def own_directory(path: Path, mode: int, more_owners: Container[int] = ()) -> None:
    """Creates the directory with this mode if it is missing, and checks it. Raises FileProblem."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblem(path, f"cannot be made: {error.strerror}") from None
    check_directory(path, more_owners)


def check_directory(path: Path, more_owners: Container[int] = ()) -> None:
    """Checks that only trusted users can change the files in this directory. Raises FileProblem.

    The directory, and a link that leads to it, must belong to root, to us or to one of ``more_owners`` (user ids).
    It must not be writable for every user, and no directory above may let every user rename it.
    """
    try:
        link, real = path.lstat(), path.resolve(strict=True)
        status = real.stat()
        above = [parent for parent in real.parents if _world_writable(parent.stat()) and not _sticky(parent.stat())]
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        reason = error.strerror if isinstance(error, OSError) else "links lead in a circle"
        raise FileProblem(path, f"cannot be used: {reason}") from None
    for subject, owner in (("it", status.st_uid), ("the link", link.st_uid)):
        if not _trusted(owner) and owner not in more_owners:
            raise FileProblem(path, f"{subject} belongs to {user_name(owner)}; expected root or {_own_name()}")
    if _world_writable(status):
        raise FileProblem(path, f"every user of this machine may write there; chmod o-w {real}")
    if above:
        raise FileProblem(path, f"every user of this machine may rename files in {above[0]}; chmod o-w {above[0]}")


def irregular(status: os.stat_result) -> str:
    """Describes a file that is not regular: a directory, a pipe; empty for a regular file."""
    if stat.S_ISREG(status.st_mode):
        return ""
    return f"not a regular file but {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}"


def user_name(uid: int) -> str:
    """The name of the user, or the number where there is no name."""
    try:
        from pwd import getpwuid  # Windows, where only the emulator runs, has none

        return getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)


def _read(path: Path, largest: int, flags: int, private: bool = False, owned: bool = False) -> bytes:
    try:
        before = path.stat(follow_symlinks=not flags & NO_LINK)
        problem = _problem(before, private, owned)
        if not problem:
            with open(os.open(path, flags), "rb") as file:
                problem = _problem(os.fstat(file.fileno()), private, owned)
                if not problem:
                    data = file.read(largest + 1)
                    if len(data) <= largest:
                        return data
                    problem = f"larger than {largest} bytes"
    except (FileNotFoundError, NotADirectoryError) as error:
        dangling = path.is_symlink()
        problem = "a link to nothing" if dangling else f"cannot be read: {error.strerror}"
        raise FileProblem(path, problem, missing=not dangling) from None
    except OSError as error:
        raise FileProblem(path, f"cannot be read: {error.strerror}") from None
    raise FileProblem(path, problem)


def _problem(status: os.stat_result, private: bool, owned: bool) -> str:
    """The reason not to use a file; empty: it may be used."""
    if problem := irregular(status):
        return problem
    if owned and not _trusted(status.st_uid):
        return f"belongs to {user_name(status.st_uid)}; expected root or {_own_name()}"
    if private and _world_writable(status):
        return "every user of this machine may write it; chmod o-w"
    return ""


def _world_writable(status: os.stat_result) -> bool:
    return os.name != "nt" and bool(status.st_mode & stat.S_IWOTH)  # Windows has no such bit


def _sticky(status: os.stat_result) -> bool:
    """True for a sticky directory: only the owner of a file may rename it there."""
    return bool(status.st_mode & stat.S_ISVTX)


def _trusted(uid: int) -> bool:
    return uid in (ROOT_UID, os.geteuid())


def _own_name() -> str:
    return user_name(os.geteuid())
