"""The timer of the servers: it calls back at the earliest deadline, once."""

import asyncio
import time

from upnp_gw.model.mapping import Instant
from upnp_gw.servers.timer import DeadlineTimer


def clock() -> Instant:
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), 0.0)


async def test_it_calls_back_once_at_the_earliest_deadline() -> None:
    called = asyncio.Event()
    calls: list[float] = []

    def callback() -> None:
        calls.append(clock().boot)
        called.set()

    timer = DeadlineTimer(clock, callback)
    deadline = clock().boot + 0.05
    timer.set(None, deadline + 600, deadline)
    await asyncio.wait_for(called.wait(), 10)
    assert len(calls) == 1
    assert calls[0] >= deadline - 0.01


async def test_a_past_deadline_calls_back_on_the_next_turn() -> None:
    called = asyncio.Event()
    DeadlineTimer(clock, called.set).set(clock().boot - 5)
    await asyncio.wait_for(called.wait(), 10)


async def test_new_deadlines_replace_the_old_ones_and_cancel_ends_them() -> None:
    calls: list[str] = []
    later = asyncio.Event()
    replaced = DeadlineTimer(clock, lambda: calls.append("replaced"))
    replaced.set(clock().boot)
    replaced.set(None)
    cancelled = DeadlineTimer(clock, lambda: calls.append("cancelled"))
    cancelled.set(clock().boot)
    cancelled.cancel()
    DeadlineTimer(clock, later.set).set(clock().boot + 0.02)
    await asyncio.wait_for(later.wait(), 10)
    assert calls == []
