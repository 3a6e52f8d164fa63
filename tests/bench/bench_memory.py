"""Resident memory over many requests:

    python -m tests.bench.bench_memory [--requests 1000000] [--mappings 1000] [--figures] [--trace]

The real daemon on nftables in a lab, with 34 hosts. Mappings are added, refreshed, read, listed and deleted over
UPnP IGD, NAT-PMP and PCP, some requests are refused, and the number of mappings stays the same. Prints the memory
at each twentieth, and the slope of a line through the second half. A million requests take half an hour on two
idle cores. Ends with 1 where the slope is more than --limit. --figures prints what the memory is made of, and by
which objects it grew, --trace also by which lines of the program.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench import messages, rows
from tests.bench.gateways import Gateway, daemon_of, lab_of, served
from tests.bench.load import Request, at_once, datagrams_one_by_one, raise_descriptor_limit
from tests.fixtures.needed_lab import need_lab
from tests.memory.asking import Asking
from tests.memory.resident import resident, slope

HOSTS, CLIENTS, PORTS, DATAGRAMS = 34, 8, 50, 6
KEEP_DECISIONS = 5_000
"""Fewer than are written, so that the audit log is pruned."""
LIMIT_KIB = 10.0
"""For each 100,000 requests."""
STEPS = 20
"""Lines that are printed."""
REFUSED_PORT = 99
"""A port below 1024, which a rule must name."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_memory")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--mappings", type=int, default=1_000, help="that are there all the time")
    parser.add_argument("--limit", type=float, default=LIMIT_KIB, help="KiB for each 100,000 requests")
    parser.add_argument("--figures", action="store_true", help="what the memory is made of, and what grew")
    parser.add_argument("--trace", action="store_true", help="the same by line of the program; slow")
    given = parser.parse_args(arguments)
    need_lab()
    raise_descriptor_limit()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lab = stack.enter_context(lab_of(HOSTS))
        daemon = daemon_of(lab, directory, "full", keep_decisions=KEEP_DECISIONS)
        asking: Asking | None = None
        if given.figures or given.trace:
            asking = Asking(Path(stack.enter_context(tempfile.TemporaryDirectory())), given.trace)
            daemon.module, daemon.environment = "tests.memory.daemon", asking.environment
        stack.enter_context(daemon)
        gateway = served("upnp-gw", lab, daemon)
        rows.introduce(gateway)
        rows.fill(gateway, 0, given.mappings)
        growth = slope(measured(gateway, given.requests, asking)) * 100_000
    print(f"slope over the second half: {growth:+.1f} KiB for each 100,000 requests (at most {given.limit:.0f})")
    return int(growth > given.limit)


def measured(gateway: Gateway, requests: int, asking: Asking | None) -> list[tuple[float, float]]:
    """Requests so far and KiB after each batch of the second half. Prints them, and what grew."""
    samples: list[tuple[float, float]] = []
    begun, done = time.monotonic(), 0
    for step in range(1, STEPS + 1):
        while done < requests * step / STEPS:
            done += batch(gateway)
            samples.append((done, resident(gateway.pid).total))
        print(f"{time.monotonic() - begun:7.0f} s {done:>10,} requests {samples[-1][1]:>10,.0f} KiB", flush=True)
        if asking:
            print(f"    {asking.ask(gateway.pid, objects=step in (STEPS // 2, STEPS))}", flush=True)
    if asking:
        print("\n".join(asking.growth()))
    return samples[len(samples) // 2 :]


def batch(gateway: Gateway) -> int:
    """Some thousand requests, after which the mappings are those from before. Returns their number."""
    hosts = gateway.shares.richest(gateway.hosts[1:], CLIENTS)
    done = 0
    for make in (gateway.add, gateway.add, gateway.get, gateway.delete):
        requests = [[make(host, port) for port in gateway.ports(host)[:PORTS]] for host in hosts]
        done += _send(gateway, requests)
    refused = [[gateway.add(host, REFUSED_PORT), gateway.listing(host, 10)] for host in hosts]
    done += _send(gateway, refused, granted=False)
    for host in hosts[:2]:
        gateway.shares.spend(
            host, new_datagrams=2 * DATAGRAMS, standing_datagrams=4 * DATAGRAMS, changes=6 * DATAGRAMS
        )
        ports = gateway.ports(host)[PORTS : PORTS + 2 * DATAGRAMS]
        for lifetime_s in (messages.LEASE_S, messages.LEASE_S, 0):
            asked = [
                *(Request(host, messages.natpmp_map(port, lifetime_s)) for port in ports[:DATAGRAMS]),
                *(Request(host, messages.pcp_map(host.address, port, lifetime_s)) for port in ports[DATAGRAMS:]),
            ]
            rows.checked(gateway, datagrams_one_by_one(gateway.datagrams, asked))
            done += len(asked)
    return done


def _send(gateway: Gateway, requests: list[list[Request]], granted: bool = True) -> int:
    for own in requests:
        gateway.shares.spend(own[0].host, connections=len(own), changes=len(own))
    result = at_once(gateway.http, requests)
    if granted:
        rows.checked(gateway, result)
    return len(result.times)


if __name__ == "__main__":
    sys.exit(main())
