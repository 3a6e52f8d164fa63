"""A lock for two threads, one of which asks for it again and again.

A ``threading.Lock`` goes to the thread that asks first after its release. That is often the one that had it, since
the other one has to wake up first.
"""

import threading
from types import TracebackType


class FairLock:
    """A thread that waits for it gets it next, before the thread that releases it."""

    __slots__ = ("_lock", "_turn")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Of the thread that gets the lock next."""

    def __enter__(self) -> None:
        with self._turn:
            self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    @property
    def awaited(self) -> bool:
        """True while a thread waits for it."""
        return self._turn.locked()
