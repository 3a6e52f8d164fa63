"""Time that a test moves: a frozen clock stands still, and what falls due on the way happens in its order."""

import asyncio
import time

import pytest

from tests.fixtures.waiting import async_until
from upnp_gw.testing.clock import MovableClock


def test_a_frozen_clock_changes_by_a_move_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen, moving = MovableClock(frozen=True), MovableClock()
    before, began = frozen(), moving()
    real = time.monotonic, time.time
    monkeypatch.setattr(time, "monotonic", lambda: real[0]() + 100)
    monkeypatch.setattr(time, "time", lambda: real[1]() + 100)
    assert frozen() == before
    assert moving().boot >= began.boot + 100
    assert moving().wall >= began.wall + 100
    assert frozen.running().boot >= before.boot + 100
    frozen.move_to(before.boot + 3600)
    assert frozen() == (before.boot + 3600, before.wall + 3600)
    assert frozen.running().boot >= before.boot + 3700
    frozen.move_to(before.boot)
    assert frozen.monotonic() == before.boot + 3600, "it does not go back"


@pytest.mark.parametrize("frozen", [True, False])
async def test_a_sleep_ends_by_a_move(frozen: bool) -> None:
    clock = MovableClock(frozen)
    sleeping = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.move_to(clock.monotonic() + 1800)
    await asyncio.sleep(0.01)
    assert not sleeping.done()
    clock.move_to(clock.monotonic() + 1801)
    await async_until(sleeping.done)


async def test_a_sleep_ends_by_itself() -> None:
    began = time.monotonic()
    await MovableClock(frozen=True).sleep(0.02)
    assert time.monotonic() - began >= 0.02
