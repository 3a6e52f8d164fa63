"""The scheduler's tasks: they end when they are cancelled, at any moment."""

import asyncio
from pathlib import Path

import pytest

from tests.fixtures.gateway import gateway_fixture


async def test_the_scheduler_wakes_only_for_a_deadline_before_its_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request in a flood of them does not make it look at all deadlines."""
    looks: list[float] = []
    async with gateway_fixture(tmp_path) as fixture:
        sweep = fixture.scheduler.sweep

        def look() -> None:
            looks.append(fixture.clock().boot)
            sweep()

        monkeypatch.setattr(fixture.scheduler, "sweep", look)
        fixture.scheduler.start()
        await asyncio.sleep(0)
        assert len(looks) == 1
        for lifetime, expected in ((3600, 1), (5, 2), (8, 2), (3, 3)):
            await fixture.granted(8000 + lifetime, lifetime=lifetime)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(looks) == expected, lifetime
        await fixture.unmap(8000 + 3600)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(looks) == 3, "its flows are cut in 5 s, after the lease of 3 s"


@pytest.mark.parametrize("steps", range(5))
async def test_a_stop_while_a_deadline_changes_ends(tmp_path: Path, steps: int) -> None:
    """A deadline changes, and so many steps of the event loop later the gateway stops."""
    async with gateway_fixture(tmp_path) as fixture:
        fixture.scheduler.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        fixture.writer.deadlines_changed.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await fixture.scheduler.stop()
