"""One thread that runs calls in their order and hands the results to the event loop.

``loop.run_in_executor`` makes two futures with locks for each call, and the results wake the loop by a chain of
callbacks. That is 20 us of a request more, twice.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Call(NamedTuple):
    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"

    def run(self) -> None:
        try:
            result = self.function()
        except BaseException as error:
            self._answer(self._set_exception, error)
        else:
            self._answer(self._set_result, result)

    def _answer(self, setter: Callable[[Any], None], value: object) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            self.loop.call_soon_threadsafe(setter, value)

    def _set_result(self, result: object) -> None:
        if not self.future.done():  # the caller may be cancelled
            self.future.set_result(result)

    def _set_exception(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Worker:
    """The thread starts with the first call, in the network namespace of that caller."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[_Call | Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Calls it on the thread, after all calls before it. On the event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put(_Call(function, loop, future))
        return future

    def post(self, function: Callable[[], object]) -> None:
        """The same for a call that nobody waits for, from any thread. Errors are logged. ``close`` ends this."""
        if not self._closed:
            self._put(function)

    def close(self) -> None:
        """Returns when all calls have been made. No other one may follow."""
        self._closed = True
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None

    def _put(self, call: _Call | Callable[[], object]) -> None:
        self._calls.put(call)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if isinstance(call, _Call):
                call.run()
            else:
                try:
                    call()
                except Exception:  # without the thread no later call would ever be answered
                    log.exception("a call of the thread %s failed; the thread continues", self._name)
            del call  # or its results would live until the next call
