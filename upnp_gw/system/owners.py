"""Acts as the owner of a directory: a command of root must not follow a link that the gateway's user put there."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def acting_as_owner(directory: Path) -> Iterator[None]:
    """While it lasts, this process has the user and group of the directory. Only root's process changes.

    Files that it makes belong to that user. Call it while the process has one thread. Raises OSError.
    """
    owner = directory.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


@contextmanager
def entered_as_owner(directory: Path, inner: AbstractContextManager[T]) -> Iterator[T]:
    """The context ``inner``, which begins and ends as the owner of the directory."""
    with ExitStack() as stack:
        with acting_as_owner(directory):
            value = inner.__enter__()
        stack.push(partial(_leave, directory, inner))
        yield value


def _leave(
    directory: Path,
    inner: AbstractContextManager[T],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> bool | None:
    with acting_as_owner(directory):
        return inner.__exit__(kind, error, trace)


def read_as_owner(directory: Path, portions: Iterator[bytes]) -> Iterator[bytes]:
    """The same portions, each made as the owner of the directory, while others use them as before."""
    while True:
        with acting_as_owner(directory):
            portion = next(portions, None)
        if portion is None:
            return
        yield portion
