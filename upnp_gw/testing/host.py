"""The event loop that an emulator runs on: that of a thread of its own, or that of an asynchronous test."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

G = TypeVar("G")
T = TypeVar("T")


class Done:
    """A change of the emulator. It has happened, unless the emulator runs on the loop of this test: there, await
    it."""

    def __init__(self, task: "asyncio.Task[None] | None" = None) -> None:
        self._task = task

    def __await__(self) -> Generator[Any, None, None]:
        if self._task is not None:
            yield from self._task


class Host(Generic[G]):
    """Starts what ``serve`` gives, and runs functions on its loop. ``start`` and ``stop`` use a thread,
    ``start_here`` and ``stop_here`` the running loop."""

    def __init__(self, serve: Callable[[], AbstractAsyncContextManager[G]]) -> None:
        self._serve = serve
        self._served: G | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._here: AbstractAsyncContextManager[G] | None = None
        self._changes: set[asyncio.Task[None]] = set()
        """Those that have not happened yet, on the test's own loop."""

    @property
    def served(self) -> G:
        """Raises RuntimeError if it is not started, or if a change has not happened yet."""
        if self._served is None:
            raise RuntimeError("the emulator is not started; accepted: with Emulator() as igd, or async with")
        if self._changes:
            raise RuntimeError("a change has not happened yet; accepted: await igd.advance(...), and likewise")
        return self._served

    @property
    def ready(self) -> bool:
        """True if ``served`` is there."""
        return self._served is not None and not self._changes

    def serves(self, served: G) -> bool:
        """True while it serves this one."""
        return self._served is served

    # -- a thread

    def start(self) -> None:
        """Returns when it serves. Raises what kept it from starting."""
        self._check_stopped()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="emulated router", daemon=True)
        self._thread.start()
        started.result()

    def stop(self) -> None:
        """Closes everything. A second call does nothing."""
        loop, stopping, thread = self._loop, self._stopping, self._thread
        self._forget()
        if loop is not None and stopping is not None and thread is not None:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()

    def _run(self, started: "Future[None]") -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            try:
                runner.run(self._run_until_stopped(started))
            except BaseException as error:
                if started.done():
                    raise
                self._forget()
                started.set_exception(error)

    async def _run_until_stopped(self, started: "Future[None]") -> None:
        stopping = asyncio.Event()
        async with self._serve() as served:
            self._served, self._loop, self._stopping = served, asyncio.get_running_loop(), stopping
            started.set_result(None)
            await stopping.wait()

    # -- the running loop

    async def start_here(self) -> None:
        """The same on this loop. One that is not asyncio's, as trio's, or that cannot wait for sockets, as Windows'
        proactor, gets a thread instead."""
        self._check_stopped()
        loop = running_loop()
        if loop is None or not _waits_for_sockets(loop):
            await _in_a_thread(self.start)
            return
        self._here = self._serve()
        try:
            self._served = await self._here.__aenter__()
        except BaseException:
            self._here = None
            raise
        self._loop = loop

    async def stop_here(self) -> None:
        """Closes everything. A second call does nothing."""
        if self._thread is not None:
            await _in_a_thread(self.stop)
        here, changes = self._here, tuple(self._changes)
        self._forget()
        if here is not None:
            await asyncio.gather(*changes, return_exceptions=True)
            await here.__aexit__(None, None, None)

    # -- its loop

    @property
    def on_its_loop(self) -> bool:
        """True on the thread of its loop, while that runs."""
        return self._loop is not None and running_loop() is self._loop

    def call(self, function: Callable[[], T]) -> T:
        """Calls a function on its loop, and returns its value."""

        async def called() -> T:
            return function()

        return function() if self.on_its_loop else self.wait(called())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on its loop, from another thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def change(self, work: Coroutine[Any, Any, None], at_once: bool = False) -> Done:
        """Runs a coroutine on its loop. From another thread it is done at the return, and so is one that waits for
        nothing (``at_once``)."""
        if not self.on_its_loop:
            self.wait(work)
            return Done()
        if at_once:
            with suppress(StopIteration):
                work.send(None)
            return Done()
        task = asyncio.get_running_loop().create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return Done(task)

    def _check_stopped(self) -> None:
        if self._loop is not None:
            raise RuntimeError("the emulator is started already")

    def _forget(self) -> None:
        self._served = self._loop = self._stopping = self._thread = self._here = None
        self._changes = set()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of asyncio that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _in_a_thread(function: Callable[[], None]) -> None:
    if running_loop() is None:
        function()  # another kind of loop waits for some milliseconds
    else:
        await asyncio.to_thread(function)


def _waits_for_sockets(loop: asyncio.AbstractEventLoop) -> bool:
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader
