"""Pages, bytes and processor time of a commit of the store: ``python -m tests.bench.bench_store``.

Each commit is what an AddPortMapping makes: one mapping with its lease, and one decision with its facts. 40 devices
ask in turn. The audit log is full, so that an old decision leaves for each new one. ``--quick``: a tenth of it.
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from tests.fixtures.mapping_rows import mapping
from tests.fixtures.policies import facts_of, map_request, policy_of
from upnp_gw.engine.audit import map_record
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import HeldMappings
from upnp_gw.model.mapping import DecisionId, Instant, Mapping
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store import syncing
from upnp_gw.store.pruning import Retention
from upnp_gw.store.store import Batch, Store

DEVICES, FIRST_PORT, PORTS = 40, 9000, 50_000
POLICY = policy_of('[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1024-65535"]\nmax_mappings = 64\n')
PAGE_OF_LOG = 24


def adds(first: int, count: int) -> Iterator[tuple[Batch, Instant]]:
    """The batches of these AddPortMappings. Each lease is an hour, and the clock goes on by 2 ms."""
    for number in range(first, first + count):
        now = Instant(1000.0 + number * 0.002, 1_800_000_000.0 + number * 0.002)
        device, port = number % DEVICES, FIRST_PORT + number % PORTS
        address = IPv4Address(f"192.168.1.{10 + device}")
        held = number // DEVICES % 30
        facts = replace(
            facts_of(address, mac=f"02:00:00:00:00:{device:02x}"),
            held=HeldMappings(min(number, 900), held, {"all": held}, held, {}),
            changes_last_minute=held,
            int_ports_today=frozenset(range(2000, 2000 + held)),
            wall=now.wall,
            second_of_minute=now.wall % 60,
            minute_of_day=int(now.wall // 60) % 1440,
            lan="lan",
            target_lan="lan",
            main_lan="lan",
            dhcp_name=f"console-{device}",
        )
        request = map_request(address, port)
        decision = DecisionId(f"d{number}")
        verdict = decide(POLICY, facts, request)
        record = map_record(now, decision, request, facts, verdict, mapping=f"m{number}")
        assert record.verdict == "allow", record
        yield Batch(put=[(_row(number, port, record, now), number)], decisions=[record]), now


def _row(number: int, port: int, record: DecisionRecord, now: Instant) -> Mapping:
    return mapping(
        number,
        port,
        device=record.device,
        client=record.address,
        until=now.boot + 3600,
        description="a game of a console",
        granted_at=now.wall,
        decision=record.id,
    )


async def filled(path: Path, decisions: int, mappings: int) -> Store:
    """A store with these numbers of decisions and mappings."""
    store = Store(path, "boot", keep=Retention(decisions, 1e12))
    await store.open()
    whole, last = Batch(), Instant(0.0, 0.0)
    for batch, last in adds(1, decisions):
        if int(batch.put[0][0].id[1:]) > decisions - mappings:
            whole.put += batch.put
        whole.decisions += batch.decisions
        if len(whole.decisions) == 500:
            await store.write(whole, last)
            whole = Batch()
    await store.write(whole, last)
    await store.synced()
    return store


def percentile(sorted_values: list[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


async def measure(directory: Path, decisions: int, mappings: int, commits: int) -> None:
    path = directory / "ledger.db"
    store = await filled(path, decisions, mappings)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        (page,) = db.execute("PRAGMA page_size").fetchone()
        sizes = dict(db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name")) if _has_dbstat(db) else {}
    audit = sum(size for name, size in sizes.items() if "decision" in name)
    print(f"{decisions} decisions, {mappings} mappings: {path.stat().st_size / 1e6:.1f} MB", end="")
    print(f", {audit / decisions:.0f} bytes a decision" if audit else "")

    # pages: no checkpoint, so that the log only grows
    syncing.CHECKPOINT_ROWS = 10**9
    store = Store(path, "boot", keep=Retention(decisions, 1e12))
    await store.open()
    await store._run(lambda: store._open_db.execute("PRAGMA wal_autocheckpoint = 0"))
    log = path.with_name("ledger.db-wal")
    batches = list(adds(decisions + 1, commits))
    before = log.stat().st_size
    began = time.thread_time()
    for batch, now in batches:
        store._write(batch, now)
    used = (time.thread_time() - began) / commits * 1e6
    grown = (log.stat().st_size - before) / commits
    print(f"a commit: {used:.0f} us of its thread, {grown / (page + PAGE_OF_LOG):.2f} pages, {grown / 1000:.1f} KB")
    await store.close()

    # as in the daemon: checkpoints, syncs and the deletes of old decisions beside it
    syncing.CHECKPOINT_ROWS = CHECKPOINT_ROWS
    store = Store(path, "boot", keep=Retention(decisions, 1e12))
    await store.open()
    batches = list(adds(decisions + commits + 1, commits * 5))
    took: list[float] = []
    began = time.process_time()
    for batch, now in batches:
        start = time.perf_counter()
        await store.write(batch, now)
        took.append((time.perf_counter() - start) * 1e3)
    used = (time.process_time() - began) / len(batches) * 1e6
    took.sort()
    print(
        f"{len(batches)} commits at once after another: {used:.0f} us of the process each; ms: median "
        f"{percentile(took, 0.5):.2f}, p99 {percentile(took, 0.99):.2f}, p99.9 {percentile(took, 0.999):.2f}, "
        f"worst {took[-1]:.2f}"
    )
    took.clear()
    began = time.process_time()
    for batch, now in adds(decisions + 6 * commits + 1, commits):
        await asyncio.sleep(0.003)
        start = time.perf_counter()
        await store.write(batch, now)
        took.append((time.perf_counter() - start) * 1e3)
    took.sort()
    print(
        f"{commits} commits, 3 ms between them; ms: median {percentile(took, 0.5):.2f}, "
        f"p99 {percentile(took, 0.99):.2f}, p99.9 {percentile(took, 0.999):.2f}, worst {took[-1]:.2f}"
    )
    for what, wanted in (
        ("the newest 100", RecordFilter()),
        ("one by its id", RecordFilter(id=f"d{decisions}", limit=1)),
        ("of one device", RecordFilter(devices=("02:00:00:00:00:05",))),
        ("of a device without any", RecordFilter(devices=("02:ff:00:00:00:05",))),
        ("by rule, none", RecordFilter(rule="none")),
    ):
        start = time.perf_counter()
        found = await store.decisions(wanted)
        print(f"log, {what}: {len(found)} in {(time.perf_counter() - start) * 1e3:.1f} ms")
    await store.close()


def _has_dbstat(db: sqlite3.Connection) -> bool:
    try:
        return bool(db.execute("SELECT count(*) FROM dbstat").fetchone())
    except sqlite3.OperationalError:
        return False


CHECKPOINT_ROWS = syncing.CHECKPOINT_ROWS


def main() -> None:
    part = 10 if "--quick" in sys.argv else 1
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(Path(directory), 50_000 // part, 10_000 // part, 2_000 // part))


if __name__ == "__main__":
    main()
