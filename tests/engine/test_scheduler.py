"""The scheduler's tasks: they end when they are cancelled, at any moment."""

import asyncio
from pathlib import Path

import pytest

from tests.fixtures.gateway import gateway_fixture


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
