"""The scheduler's tasks: they end when they are cancelled, at any moment."""

import asyncio
from pathlib import Path

import pytest

from tests.fixtures.gateway import gateway_fixture
from tests.fixtures.mapping_rows import mapping
from upnp_gw.engine.writer import BATCH
from upnp_gw.firewall.base import Close, Cut
from upnp_gw.ledger.transaction import Transaction


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


async def test_a_request_looks_at_the_deadlines_only_if_the_scheduler_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its timer stops during a suspend."""
    looks: list[float] = []
    async with gateway_fixture(tmp_path) as fixture:
        monkeypatch.setattr(fixture.gateway, "_sweep", lambda: looks.append(fixture.clock().boot))
        fixture.writer.next_look = fixture.clock().boot + 5
        await fixture.granted(8000)
        assert not looks
        fixture.clock.pass_s(5)
        await fixture.granted(8001)
        assert looks == [fixture.clock().boot]


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


async def test_many_leases_that_end_at_once_end_in_portions(tmp_path: Path) -> None:
    """As after a suspend: a request that comes then waits for no large transaction. Flows are cut so as well."""
    rows = [mapping(n, 10_000 + n, internal=10_000 + n, until=1060) for n in range(1, 401)]

    def put(transaction: Transaction) -> None:
        for row in rows:
            transaction.put(row)

    async with gateway_fixture(tmp_path) as fixture:
        await fixture.gateway.submit(put)
        fixture.firewall.applied.clear()
        fixture.clock.pass_s(60)
        await fixture.sweep()
        assert not fixture.ports
        closed = [sum(isinstance(change, Close) for change in batch) for batch in fixture.firewall.applied]
        assert sum(closed) == 400
        assert max(closed) <= BATCH
        fixture.firewall.applied.clear()
        fixture.clock.pass_s(60)
        await fixture.sweep()
        cut = [sum(isinstance(change, Cut) for change in batch) for batch in fixture.firewall.applied]
        assert sum(cut) == 400
        assert max(cut) <= BATCH
        assert not len(fixture.decider.ledger.cuts)
