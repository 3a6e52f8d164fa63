"""Background tasks: they live until they end, end together, and a failure is logged."""

import asyncio
import gc
import time

import pytest

from upnp_gw.system.tasks import CHECKED_EVERY, PORTION_S, BackgroundTasks, Deadline, in_portions


async def test_wait_returns_when_all_tasks_have_ended_with_later_ones() -> None:
    tasks, ended = BackgroundTasks(), []

    async def second() -> None:
        await asyncio.sleep(0)
        ended.append("second")

    async def first() -> None:
        await asyncio.sleep(0)
        tasks.spawn(second())
        ended.append("first")

    tasks.spawn(first())
    gc.collect()
    await tasks.wait()
    assert ended == ["first", "second"]
    assert len(tasks) == 0


async def test_cancel_ends_every_task_and_waits_for_its_end() -> None:
    tasks, ended = BackgroundTasks(), []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    tasks.spawn(endless())
    tasks.spawn(endless())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == [True, True]
    assert len(tasks) == 0


async def test_a_failure_is_logged_and_the_other_tasks_go_on(caplog: pytest.LogCaptureFixture) -> None:
    tasks, release, ended = BackgroundTasks(), asyncio.Event(), []

    async def failing() -> None:
        raise LookupError("a defect")

    async def waiting() -> None:
        await release.wait()
        ended.append(True)

    tasks.spawn(waiting())
    failed = tasks.spawn(failing())
    await asyncio.wait([failed])
    release.set()
    await tasks.wait()
    assert ended == [True]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


async def test_other_tasks_run_between_portions() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(tick())
    done: list[int] = []
    async for item in in_portions(range(320)):
        end = time.perf_counter() + PORTION_S / CHECKED_EVERY
        while time.perf_counter() < end:
            pass
        done.append(item)
    other.cancel()
    assert done == list(range(320))
    assert ticks >= 320 // CHECKED_EVERY - 1


async def test_short_work_does_not_wait() -> None:
    done: list[int] = []

    async def collect() -> None:
        done.extend([item async for item in in_portions(range(10))])

    task = asyncio.create_task(collect())
    await asyncio.sleep(0)
    assert task.done()
    assert done == list(range(10))


async def test_a_deadline_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError), Deadline(0.0):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    with Deadline(60.0):
        await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("seconds", [60.0, 0.0])
async def test_a_cancellation_by_somebody_else_is_no_timeout(seconds: float) -> None:
    """Also where the time is over in the same moment."""

    async def work() -> None:
        with Deadline(seconds):
            asyncio.get_running_loop().call_later(0.0, asyncio.current_task().cancel)  # type: ignore[union-attr]
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
