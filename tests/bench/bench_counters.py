"""Measures how long readings of counters and ends of leases stop the event loop. By hand:
``python -m tests.bench.bench_counters [SIZE]``.

The real firewall in a network namespace of its own, and the real engine. A heartbeat task notes each time that the
loop comes late. ``ACTIVE`` of a thousand mappings have counted packets since the reading before.
"""

import asyncio
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from tests.fixtures.gateway import NETWORK, Clock, GatewayFixture
from upnp_gw.engine.garbage_collection import GarbageCollection
from upnp_gw.firewall.base import FirewallMode, FirewallSettings
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.gate.builtin import home_policy
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.lab import acquire
from upnp_gw.lab.host import Host
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import DecisionId, Endpoint, Hold, Mapping, MappingKey, Transport, Via

SIZE = 36_000
ACTIVE = 10
LATE_MS = 5.0


class Heartbeat:
    """A task that wants to run every millisecond."""

    def __init__(self) -> None:
        self.late: list[float] = []
        """Milliseconds."""

    async def beat(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.late.append((now - last) * 1000 - 1)
            last = now


def mapping(number: int, now: float, until: float) -> Mapping:
    host, inner = divmod(number, 128)
    return Mapping(
        id=f"m{number + 1}",
        key=MappingKey(Transport.TCP, None, 10_000 + number, None),
        internal=Endpoint(IPv4Address("192.168.77.0") + 20 + host % 200, 20_000 + 128 * (host // 200) + inner),
        device=f"02:00:00:00:{host // 256:02x}:{host % 256:02x}",
        description="bench",
        enabled=True,
        parked=False,
        holds=(Hold(Via.IGD2, until, 3600),),
        granted_at=now,
        decision=DecisionId(f"d{number + 1}"),
        rule="home-own-ports",
        recheck_at=until,
    )


async def fill(home: GatewayFixture, number: int, lease_s: float = 7200.0) -> None:
    now = home.clock.now

    def put(numbers: range, transaction: Transaction) -> None:
        for each in numbers:
            transaction.put(mapping(each, now.wall, now.boot + lease_s))

    for first in range(0, number, 100):
        await home.gateway.submit(partial(put, range(first, min(number, first + 100))))
    home.decider.ledger.numbers.mapping = number + 1


async def measured(what: str, work: Callable[[], Awaitable[object]]) -> None:
    heart = Heartbeat()
    task = asyncio.create_task(heart.beat())
    await asyncio.sleep(0.05)
    heart.late.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    await asyncio.sleep(0.01)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    task.cancel()
    late = sorted(heart.late)
    over = sum(1 for each in late if each > LATE_MS)
    print(
        f"{what:44} {wall * 1000:8.1f} ms, CPU {cpu * 1000:8.1f} ms, loop stopped for at most {late[-1]:8.1f} ms,"
        f" {over:4} times over {LATE_MS:.0f} ms",
        flush=True,
    )


def count_packets(host: Host, number: int) -> None:
    """Gives elements counters, as traffic would."""
    lines = []
    for n in range(0, number, 1000 // ACTIVE):
        one = mapping(n, 0, 0)
        key = f"6 . {one.key.external_port}"
        element = f'counter packets 3 bytes 400 timeout 7200s comment "{one.id}"'
        to = f"{one.internal.address} . {one.internal.port}"
        lines.append(f"delete element inet upnp_gw pm {{ {key} }}")
        lines.append(f"add element inet upnp_gw pm {{ {key} {element} : {to} }}")
        lines.append(f"delete element inet upnp_gw live {{ {key} }}")
        lines.append(f"add element inet upnp_gw live {{ {key} {element} }}")
    for at in range(0, len(lines), 400):
        host.nft("\n".join(lines[at : at + 400]) + "\n")


async def bench(host: Host, number: int) -> None:
    firewall = NftablesFirewall()
    with tempfile.TemporaryDirectory() as directory:
        home = _home(Path(directory), firewall, number)
        home.published.subscribe(GarbageCollection().on_event)
        await home.store.open()
        await home.gateway.start()
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await fill(home, number)
        print(
            f"{number} mappings, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base} KiB more at the peak"
        )
        await home.evidence_collector.load()
        await measured("nothing: others use the machine", lambda: asyncio.sleep(2))
        await measured("first reading", lambda: home.usage_reader.count())
        await measured("reading, nothing changed", lambda: home.usage_reader.count())
        assert firewall._monitor is not None
        firewall._monitor._loop.remove_reader(
            firewall._monitor._socket.fileno()
        )  # what nft(8) does here is not to be repaired
        await asyncio.to_thread(count_packets, host, number)
        home.clock.pass_s(10)
        await measured(f"reading, {ACTIVE} of 1,000 changed", lambda: home.usage_reader.count())
        home.clock.pass_s(10)
        await measured("reading with the remote hosts", lambda: home.usage_reader.count(remotes=True))
        await measured("evidence to the store", home.evidence_collector.flush)
        home.clock.pass_s(7200)

        async def end() -> None:
            began = time.perf_counter()
            home.scheduler.sweep()
            print(f"sweep {(time.perf_counter() - began) * 1000:.0f} ms")
            await home.scheduler.settled()
            await home.gateway.settled()

        await measured("every lease ends at once", end)
        print(len(home.decider.ledger.table), "left")
        home.clock.pass_s(7200)
        firewall._monitor._loop.add_reader(firewall._monitor._socket.fileno(), lambda: None)
        await home.gateway.stop()
        await home.store.close()


def _home(directory: Path, firewall: NftablesFirewall, number: int) -> GatewayFixture:
    home = GatewayFixture(directory, LoadedPolicy(home_policy(), ()), Clock(), firewall=firewall)
    home.settings = lambda: FirewallSettings(FirewallMode.ROUTER, NETWORK, size=number + 64)  # type: ignore[method-assign]
    home.writer._settings = home.settings
    return home


def main() -> None:
    acquire()
    host = Host("bench")
    try:

        def run() -> None:
            with host.inside():
                asyncio.run(bench(host, int(sys.argv[1]) if len(sys.argv) > 1 else SIZE))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        host.close()


if __name__ == "__main__":
    main()
