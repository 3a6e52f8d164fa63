"""A thread that runs calls in order."""

import asyncio
import threading

import pytest

from upnp_gw.system.worker import Worker


async def test_calls_run_in_order_on_one_thread() -> None:
    worker, seen = Worker("counted"), []
    for n in range(5):
        worker.post(lambda n=n: seen.append(n))  # type: ignore[misc]
    name, last = await asyncio.gather(
        worker.run(lambda: threading.current_thread().name), worker.run(lambda: list(seen))
    )
    assert (name, last) == ("counted", [0, 1, 2, 3, 4])
    worker.close()


async def test_a_call_that_fails_raises_for_its_caller_only() -> None:
    worker = Worker("failing")

    def fails() -> int:
        raise ValueError("seen by the caller")

    with pytest.raises(ValueError, match="seen by the caller"):
        await worker.run(fails)
    assert await worker.run(lambda: 7) == 7
    worker.close()


async def test_a_call_that_fails_and_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker("failing")

    def fails() -> None:
        raise ValueError("seen in the log")

    worker.post(fails)
    assert await asyncio.wait_for(worker.run(lambda: 7), 10) == 7
    assert "a call of the thread failing failed; the thread continues" in caplog.text
    assert "seen in the log" in caplog.text
    worker.close()


async def test_a_call_whose_caller_has_gone_is_made_all_the_same() -> None:
    worker, go, seen = Worker("slow"), threading.Event(), []

    def work() -> None:
        go.wait()
        seen.append(1)

    waiting = worker.run(work)
    waiting.cancel()
    go.set()
    assert await worker.run(lambda: list(seen)) == [1]
    worker.close()


async def test_close_waits_for_the_calls_and_takes_no_more() -> None:
    worker, seen = Worker("closed"), []
    worker.post(lambda: seen.append(1))
    worker.close()
    assert seen == [1]
    worker.post(lambda: seen.append(2))
    assert seen == [1]
    assert "closed" not in {thread.name for thread in threading.enumerate()}
    Worker("unused").close()


def test_a_loop_that_was_closed_meanwhile_stops_nobody() -> None:
    worker, go = Worker("late"), threading.Event()

    async def ask() -> None:
        worker.run(go.wait)

    asyncio.run(ask())
    go.set()
    worker.close()
