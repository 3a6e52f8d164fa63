"""Tasks that nobody awaits: kept alive until they end, cancelled together. Long work in portions."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from types import TracebackType
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

PORTION_S = 0.001
"""Seconds of work in one portion. A request waits for at most one portion at each of its steps."""
CHECKED_EVERY = 16
"""Items between two looks at the clock."""


async def in_portions(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, one by one. The event loop does other work after each ``PORTION_S``: ``items`` must not be a view
    of something that may change then."""
    began = time.perf_counter()
    for number, item in enumerate(items):
        yield item
        if number % CHECKED_EVERY == CHECKED_EVERY - 1 and time.perf_counter() - began > PORTION_S:
            await asyncio.sleep(0)
            began = time.perf_counter()


class Deadline:
    """``with Deadline(25.0): await ...`` raises TimeoutError after so many seconds. In a task, once.

    ``asyncio.timeout`` does the same at three times the cost.
    """

    __slots__ = ("_expired", "_handle", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._handle = task.get_loop().call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        # after a cancellation by somebody else as well, that one counts
        if self._expired and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()


class BackgroundTasks:
    """Unlike ``asyncio.TaskGroup``, one task that fails is logged and does not cancel the others."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """The number of running tasks."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task. The event loop itself keeps only a weak reference to it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def wait(self) -> None:
        """Returns when no task runs."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def cancel(self) -> None:
        """Cancels every task and waits for their ends."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a background task failed", exc_info=error)
