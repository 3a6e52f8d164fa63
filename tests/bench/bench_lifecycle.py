"""Starts, stops, healing, memory and `upnp-gw list`, of this checkout and of another one in turn:

    python -m tests.bench.bench_lifecycle [--before DIR] [--mappings 10000] [--times 7]

Each is the real daemon on nftables in a lab of its own. The leases are made once, by requests; the other checkout
gets a copy of them. Prints the median and the best of each figure. Needs root, or user namespaces.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import lifecycle, rows
from tests.bench.gateways import BenchDaemon, Gateway, daemon_of, lab_of, served
from tests.bench.kernel_elements import KernelElements
from tests.bench.load import raise_descriptor_limit
from tests.bench.rows import in_turn
from tests.bench.samples import Point, Table
from tests.fixtures.needed_lab import need_lab

HOSTS = 34
CPU = ", processor time"


class Side:
    """One checkout: its lab, its daemon, and what was measured."""

    def __init__(self, name: str, daemon: BenchDaemon, gateway: Gateway) -> None:
        self.name, self.daemon, self.gateway = name, daemon, gateway

    @property
    def state(self) -> Path:
        return self.daemon.state_dir


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_lifecycle")
    parser.add_argument("--before", type=Path, help="another checkout of upnp-gw")
    parser.add_argument("--mappings", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument(
        "--leases", type=Path, help="a directory that keeps the leases for the next run of this boot"
    )
    given = parser.parse_args(arguments)
    need_lab()
    raise_descriptor_limit()
    table, point = Table(), Point(given.mappings, 0)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        sides = list[Side]()
        for name, checkout in [("now", None), *([("before", given.before.resolve())] if given.before else [])]:
            lab = stack.enter_context(lab_of(HOSTS))
            own = Path(directory) / name
            own.mkdir()
            daemon = daemon_of(lab, own, "full", checkout)
            stack.callback(daemon.stop)
            daemon.start()  # it writes the bytecode, and the identity
            sides.append(Side(name, daemon, served(name, lab, daemon)))
            daemon.stop()
        for number in range(given.times):
            for side in in_turn(sides, number):
                _bare(table, side, Point(0, 0))
        _fill(sides, given.mappings, given.leases)
        for number in range(given.times):
            for side in in_turn(sides, number):
                _full(table, side, point)
    _print(table, [side.name for side in sides])
    return 0


def _bare(table: Table, side: Side, point: Point) -> None:
    _start(table, side, point, lifecycle.BARE_START)
    table.add(side.name, lifecycle.BARE_MEMORY, point, "MiB", [side.gateway.memory_mib()])
    side.daemon.stop()


def _start(table: Table, side: Side, point: Point, row: str) -> None:
    started = time.perf_counter()
    side.daemon.start(120.0)
    table.add(side.name, row, point, "s", [time.perf_counter() - started])
    side.gateway.pid = side.daemon.pid
    table.add(side.name, row + CPU, point, "s", [side.gateway.cpu_s()])


def _fill(sides: list[Side], mappings: int, kept: Path | None) -> None:
    """The first one is asked for the mappings; the others get a copy of its files."""
    if kept is None or not kept.exists():
        first, *_ = sides
        first.daemon.start()
        first.gateway = served(first.name, first.gateway.lab, first.daemon)
        rows.introduce(first.gateway)
        rows.fill(first.gateway, 0, mappings)
        first.daemon.stop()
        kept = kept or first.state.with_name("kept")
        shutil.copytree(first.state, kept)
    for side in sides:
        shutil.rmtree(side.state)
        shutil.copytree(kept, side.state)


def _full(table: Table, side: Side, point: Point) -> None:
    """As after a reboot: the leases are on file, the kernel has nothing."""
    gateway = side.gateway.lab.gateway
    gateway.nft("flush ruleset")
    with KernelElements(gateway) as elements:
        _start(table, side, point, lifecycle.START)
        present = elements.count()
        assert present >= point.mappings, f"{side.name} has {present} forwards in the kernel"
        for _ in range(2):
            started = time.perf_counter()
            side.daemon.cli("list", timeout=60)
            table.add(side.name, lifecycle.LIST, point, "s", [time.perf_counter() - started])
        table.add(side.name, rows.MEMORY, point, "MiB", [side.gateway.memory_mib()])
        before = side.gateway.cpu_s()
        started = time.perf_counter()
        gateway.nft("flush ruleset")
        lifecycle.await_elements(elements, present, "the foreign flush")
        table.add(side.name, lifecycle.HEAL, point, "s", [time.perf_counter() - started])
        table.add(side.name, lifecycle.HEAL + CPU, point, "s", [side.gateway.cpu_s() - before])
        time.sleep(0.5)  # what follows the heal is not part of the stop
        started = time.perf_counter()
        side.daemon.stop()
        table.add(side.name, lifecycle.STOP, point, "s", [time.perf_counter() - started])


def _print(table: Table, names: list[str]) -> None:
    for point in table.points:
        print(f"\n{point.mappings:,} mappings: median (best)")
        for row in table.rows(point):
            cells = []
            for name in names:
                samples = table.get(name, row, point)
                assert samples is not None
                best = min(samples.values)
                cells.append(f"{name} {statistics.median(samples.values):8.3f} ({best:8.3f}) {samples.unit}")
            print(f"  {row:<75} {'   '.join(cells)}")


if __name__ == "__main__":
    sys.exit(main())
