"""Requests while a backup is made, and while a device is erased: ``python -m tests.bench.bench_backup``.

The real engine and a real store with 36,000 mappings and 100,000 decisions, over a firewall in memory. One host
refreshes a mapping every 2 ms; the figures are the times of its requests. ``--quick``: a tenth of it.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.bench_counters import fill, mapping
from tests.bench.bench_store import adds, percentile
from tests.fixtures.gateway import NETWORK, Clock, GatewayFixture, asks
from tests.fixtures.policies import TODAY
from upnp_gw.backup.making import backup_of
from upnp_gw.engine.erasure import Erasure
from upnp_gw.firewall.base import FirewallMode, FirewallSettings
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.store.store import Batch

MAPPINGS, DECISIONS = 36_000, 100_000
EVERY_S = 0.002
POLICY = """version = 1
[limits]
total_mappings = 40000
requests_per_minute = 6000
incident_after = 1000
[[grant]]
name = "home-own-ports"
who = "*"
int_ports = ["1024-65535"]
max_mappings = 400
"""
PORT = 8080


class Client:
    """One host that refreshes its mapping until it is stopped."""

    def __init__(self, home: GatewayFixture) -> None:
        self._home = home
        self._stopped = False
        self.took_ms: list[float] = []

    async def run(self) -> None:
        while not self._stopped:
            self._home.clock.pass_s(0.02)  # below the limit of a device
            began = time.perf_counter()
            await self._home.gateway.handle(asks(PORT, lifetime=3600 + len(self.took_ms) % 7))
            self.took_ms.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(EVERY_S)

    def stop(self) -> None:
        self._stopped = True


async def measured(home: GatewayFixture, what: str, work: Callable[[], Awaitable[object]]) -> None:
    client = Client(home)
    task = asyncio.create_task(client.run())
    await asyncio.sleep(0.1)
    client.took_ms.clear()
    began = time.perf_counter()
    await work()
    took_s = time.perf_counter() - began
    await asyncio.sleep(0.1)
    client.stop()
    await task
    times = sorted(client.took_ms)
    print(
        f"{what:34} {took_s:6.2f} s; {len(times):5} requests: median {percentile(times, 0.5):6.2f} ms,"
        f" p99 {percentile(times, 0.99):6.2f} ms, longest {times[-1]:7.2f} ms",
        flush=True,
    )


async def fill_decisions(home: GatewayFixture, number: int) -> None:
    whole = Batch()
    for batch, _ in adds(MAPPINGS + 10, number):
        whole.decisions += batch.decisions
        if len(whole.decisions) == 500:
            await home.store.write(whole, home.clock())
            whole = Batch()
    home.decider.ledger.numbers.decision = MAPPINGS + 10 + number


def copy(path: Path) -> int:
    """The bytes of a whole backup, read once."""
    with backup_of(path, {}, True, time.time()) as backup:
        return sum(map(len, backup.portions()))


async def bench(mappings: int, decisions: int) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        path = Path(directory) / "ledger.db"
        policy: LoadedPolicy = load_text(POLICY, "bench", TODAY)
        home = GatewayFixture(Path(directory), policy, Clock(), firewall=MemoryFirewall())
        home.settings = lambda: FirewallSettings(FirewallMode.ROUTER, NETWORK, size=40_000)  # type: ignore[method-assign]
        home.writer._settings = home.settings
        await home.store.open()
        await home.gateway.start()
        await fill(home, mappings)
        await fill_decisions(home, decisions)
        await home.evidence_collector.load()
        await home.store.synced()
        print(f"{mappings} mappings, {decisions} decisions: {path.stat().st_size / 1e6:.1f} MB")
        erasure = Erasure(home.decider, home.gateway, home.evidence_collector, home.store)
        for _ in range(3):
            await measured(home, "nothing else", lambda: asyncio.sleep(1))
            await measured(home, "a backup", lambda: asyncio.to_thread(copy, path))
        device = mapping(1, 0, 0).device
        await measured(home, "erase a device", lambda: erasure.erase({device, "02:00:00:00:00:05"}))
        for _ in range(3):
            await measured(home, "overwrite deleted rows", erasure.overwrite_deleted)
        await measured(home, "erase all", erasure.erase_all)
        await home.gateway.stop()
        await home.store.close()


if __name__ == "__main__":
    part = 10 if "--quick" in sys.argv[1:] else 1
    asyncio.run(bench(MAPPINGS // part, DECISIONS // part))
