"""Background tasks: they live until they end, end together, and a failure is logged."""

import asyncio
import gc

import pytest

from upnp_gw.system.tasks import BackgroundTasks


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
