"""The scheduler's tasks: they end when they are cancelled, at any moment, and much work at once is in portions."""

import asyncio
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE_IP, PC_IP, GatewayFixture, gateway_fixture
from tests.fixtures.mapping_rows import mapping
from tests.fixtures.waiting import EVENT_S
from upnp_gw.engine.scheduler import PROBES
from upnp_gw.engine.writer import BATCH
from upnp_gw.firewall.base import Close, Cut
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import IPAddress

POLICY = load_text(
    "version = 1\n[limits]\nper_device = 1024\nelements_per_device = 2048\n"
    '[[grant]]\nname = "grant"\nwho = "*"\nint_ports = ["1024-65535"]\nmax_ports_per_day = 1024\n',
    "test",
    date.min,
).policy


async def test_the_scheduler_wakes_only_for_a_deadline_before_its_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a flood of requests the scheduler does not look at all deadlines for each of them."""
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
    """The scheduler's timer stops during a suspend."""
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
        async with asyncio.timeout(EVENT_S):
            await fixture.scheduler.stop()


async def test_many_leases_that_end_at_once_end_in_portions(tmp_path: Path) -> None:
    """As after a suspend: a request that comes then waits for no large transaction. Cuts are in portions too."""
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


async def add_rows(home: GatewayFixture, count: int, every_s: float = 0.0) -> None:
    """So many mappings of the console. The first has to be renewed in 60 s, the next ``every_s`` later each."""
    base = home.clock().boot
    rows = [
        mapping(n, 10_000 + n, until=base + 86_400, recheck_at=base + 60 + n * every_s) for n in range(1, count + 1)
    ]

    def put(transaction: Transaction) -> None:
        for row in rows:
            transaction.put(row)

    home.decider.ledger.numbers.mapping = count
    await home.gateway.submit(put)


def renewed(home: GatewayFixture) -> int:
    """The number of rows that need no check now."""
    return sum(row.recheck_at > home.clock().boot + 60 for row in home.decider.ledger.table)


class HeldProbe:
    """A presence check that finds the host, once it may answer."""

    def __init__(self) -> None:
        self.asked: list[IPAddress] = []
        self.answer = asyncio.Event()

    async def __call__(self, address: IPAddress, interface: str) -> bool:
        self.asked.append(address)
        await self.answer.wait()
        return True


async def test_one_presence_check_serves_all_mappings_of_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check takes at least half a second, and the kernel closes a mapping 30 s after its renewal was due."""
    probe = HeldProbe()
    async with gateway_fixture(tmp_path, POLICY) as home:
        monkeypatch.setattr(home.scheduler, "_probe", probe)
        await add_rows(home, 200)
        home.clock.pass_s(60)
        home.scheduler.sweep()
        await asyncio.sleep(0)
        probe.answer.set()
        await home.sweep()
        assert probe.asked == [ip_address(CONSOLE_IP)]
        assert renewed(home) == 200
        assert len(home.ports) == 200


async def test_a_mapping_that_is_due_while_all_checks_run_shares_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mappings that were made one by one are due one by one."""
    probe = HeldProbe()
    async with gateway_fixture(tmp_path, POLICY) as home:
        monkeypatch.setattr(home.scheduler, "_probe", probe)
        await add_rows(home, 50, every_s=0.25)
        home.clock.pass_s(60)
        for _ in range(50):
            home.clock.pass_s(0.25)
            home.scheduler.sweep()
            await asyncio.sleep(0)
        probe.answer.set()
        await home.sweep()
        assert len(probe.asked) <= PROBES + 1
        assert renewed(home) == 50


async def test_a_request_waits_for_few_renewals(tmp_path: Path) -> None:
    """As an hour after a start with many mappings: all of them are due at once."""
    async with gateway_fixture(tmp_path, POLICY) as home:
        await add_rows(home, 900)
        home.clock.pass_s(60)
        home.scheduler.sweep()
        async with asyncio.timeout(EVENT_S):
            while not renewed(home):  # noqa: ASYNC110 (a step of the writer has no event)
                await asyncio.sleep(0)
        before = renewed(home)
        await home.granted(8000, PC_IP)
        assert renewed(home) - before <= BATCH + 1
        await home.sweep()
        assert renewed(home) == 901
