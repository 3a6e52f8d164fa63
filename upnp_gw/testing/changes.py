"""Waiting for what the emulator sees: no polling, from the test's thread or its event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from upnp_gw.testing.host import running_loop
from upnp_gw.testing.records import Records

R = TypeVar("R")

TIMEOUT_S = 5.0
"""The longest wait, where a test says no other."""


class Changes:
    """Wakes those who wait, at each request, answer, event and changed mapping. From any thread."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def changed(self) -> None:
        """Something is new."""
        for wake in tuple(self._waiting):
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Calls ``wake`` at each change, from the thread that sees it."""
        self._waiting.append(wake)
        try:
            yield
        finally:
            self._waiting.remove(wake)


@dataclass(frozen=True, slots=True)
class Live(Generic[R]):
    """A list that can be read again."""

    changes: Changes
    read: Callable[[], Records[R]]

    def wait(self, narrow: Callable[[Records[R]], Records[R]], count: int, timeout_s: float) -> R:
        """Waits in this thread until there are ``count`` of them, and returns the last of these. Raises
        AssertionError after ``timeout_s`` seconds, RuntimeError on the thread of an event loop."""
        if running_loop() is not None:
            raise RuntimeError("wait_for would stop this event loop and its clients: await async_wait_for(...)")
        woken, until = threading.Event(), monotonic() + timeout_s
        with self.changes.waking(woken.set):
            while len(found := narrow(self.read())) < count and woken.wait(max(0.0, until - monotonic())):
                woken.clear()
        return _last(found, count, timeout_s)

    async def async_wait(self, narrow: Callable[[Records[R]], Records[R]], count: int, timeout_s: float) -> R:
        """The same on this event loop."""
        woken, loop = asyncio.Event(), asyncio.get_running_loop()
        with self.changes.waking(lambda: loop.call_soon_threadsafe(woken.set)), suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(narrow(self.read())) < count:
                    await woken.wait()
                    woken.clear()
        return _last(narrow(self.read()), count, timeout_s)


class LiveRecords(Records[R]):
    """A list that can wait."""

    def __init__(self, of: type[R], noun: str, records: Iterable[R], live: Live[R]) -> None:
        super().__init__(of, noun, records)
        self._live = live

    def wait_for(self, *, count: int = 1, timeout_s: float = TIMEOUT_S, **wanted: Any) -> R:
        """Waits until there are ``count`` with these values, and returns the last of these. One that is there
        already counts.

        Raises AssertionError after ``timeout_s`` seconds; it says what there is. Raises RuntimeError on the thread
        of an event loop, whose clients it would stop: there is ``async_wait_for``.
        """
        return self._live.wait(lambda records: records.find(**wanted), count, timeout_s)

    async def async_wait_for(self, *, count: int = 1, timeout_s: float = TIMEOUT_S, **wanted: Any) -> R:
        """``wait_for``, in an asynchronous test."""
        return await self._live.async_wait(lambda records: records.find(**wanted), count, timeout_s)


def _last(found: Records[R], count: int, timeout_s: float) -> R:
    if len(found) < count:
        raise AssertionError(f"within {timeout_s:g} s {f'not {count}, but ' if found else ''}{found!r}")
    return found[count - 1]
