"""What a mapping costs while they pile up: each thousand of ten thousand requests, by the real daemon (SR-22).

    python -m tests.bench.bench_requests [REQUESTS]

Four hosts take turns; each AddPortMapping is a new mapping over a connection of its own, to the daemon on real
nftables. The kernel forgets those connections after a second, so that mappings pile up and flows do not. Printed
for each thousand: median and p99 of the answers, the daemon's own processor time, which depends less on what else
the machine does, and its memory; at the end the last thousand as a ratio to the first.
"""

import math
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from tests.lab.end_to_end import ROOMY, ROUTER, Home, served_home
from tests.lab.well_behaved_client import memory_kb
from tests.soak.household import HOSTS, TOPOLOGY
from upnp_gw.lab import acquire

REQUESTS = 10_000
EACH = 1_000
FIRST_PORT = 10_000
WIDE = (
    ROOMY.replace("total_mappings = 1024", "total_mappings = 16384")
    .replace("per_device = 400", "per_device = 8192")
    .replace("max_mappings = 400", "max_mappings = 8192")
)
TICKS_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Thousand:
    """The figures of so many requests, milliseconds a request."""

    median: float
    p99: float
    processor: float

    def ratio(self, first: "Thousand") -> str:
        pairs = zip(("median", "p99", "processor"), (self.median, self.p99, self.processor), strict=True)
        return ", ".join(f"{name} {value / getattr(first, name):.2f}" for name, value in pairs)


def processor_s(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICKS_S


def ask(home: Home, ports: range) -> Thousand:
    """A new mapping for every port, by the hosts in turn."""
    points = [home.point(host.name) for host in HOSTS]
    before, times = processor_s(home.daemon.pid), []
    for port, point in zip(ports, cycle(points), strict=False):
        begun = time.perf_counter()
        point.add(port, NewLeaseDuration=0)
        times.append((time.perf_counter() - begun) * 1000)
    busy = (processor_s(home.daemon.pid) - before) * 1000 / len(ports)
    return Thousand(statistics.median(times), sorted(times)[math.ceil(len(times) * 0.99) - 1], busy)


def measure(home: Home, requests: int) -> list[Thousand]:
    rows = []
    for first in islice(range(FIRST_PORT, FIRST_PORT + requests, EACH), requests // EACH):
        row = ask(home, range(first, first + EACH))
        rows.append(row)
        held, memory = first - FIRST_PORT + EACH, memory_kb(home.daemon.pid)
        print(f"{held:8} {row.median:9.2f} {row.p99:8.2f} {row.processor:13.2f} {memory // 1024:8}", flush=True)
    return rows


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    print(acquire())
    with (
        tempfile.TemporaryDirectory() as directory,
        served_home(Path(directory), *ROUTER, topology=TOPOLOGY, policy=WIDE) as home,
    ):
        home.gateway.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")
        ask(home, range(FIRST_PORT - 100, FIRST_PORT))  # the first answers load code
        print(f"{'mappings':>8} {'median ms':>9} {'p99 ms':>8} {'processor ms':>13} {'RSS MB':>8}")
        rows = measure(home, requests)
        print(f"the last {EACH} to the first: {rows[-1].ratio(rows[0])}")
        home.agree()


if __name__ == "__main__":
    main()
