"""Resident memory over many requests:

    python -m tests.bench.bench_memory [--requests 1000000] [--mappings 1000]

The real daemon on nftables in a lab, with 34 hosts. Mappings are added, refreshed, read, listed and deleted over
UPnP IGD, NAT-PMP and PCP, some requests are refused, and the number of mappings stays the same. Prints the memory
at each twentieth, and the slope of a line through the second half. A million requests take half an hour on two
idle cores. Ends with 1 where the slope is more than --limit.
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
from upnp_gw.lab import LabUnavailable, acquire

HOSTS, CLIENTS, PORTS, DATAGRAMS = 34, 8, 50, 6
KEEP_DECISIONS = 5_000
"""Fewer than are written, so that the audit log is pruned."""
LIMIT_KIB = 10.0
"""For each 100,000 requests."""
REFUSED_PORT = 99
"""A port below 1024, which a rule must name."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_memory")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--mappings", type=int, default=1_000, help="that are there all the time")
    parser.add_argument("--limit", type=float, default=LIMIT_KIB, help="KiB for each 100,000 requests")
    given = parser.parse_args(arguments)
    try:
        acquire()
    except LabUnavailable as problem:
        sys.exit(f"the benchmark needs network namespaces: {problem}")
    raise_descriptor_limit()
    samples: list[tuple[int, float]] = []
    begun = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lab = stack.enter_context(lab_of(HOSTS))
        daemon = stack.enter_context(daemon_of(lab, directory, "full", keep_decisions=KEEP_DECISIONS))
        gateway = served("upnp-gw", lab, daemon)
        rows.introduce(gateway)
        rows.fill(gateway, 0, given.mappings)
        done = printed = 0
        while done < given.requests:
            done += batch(gateway)
            samples.append((done, gateway.memory_mib() * 1024))
            if done - printed >= given.requests / 20 or done >= given.requests:
                printed = done
                passed = time.monotonic() - begun
                print(f"{passed:7.0f} s {done:>10,} requests {samples[-1][1]:>10,.0f} KiB", flush=True)
    growth = slope(samples[len(samples) // 2 :]) * 100_000
    print(f"slope over the second half: {growth:+.1f} KiB for each 100,000 requests (at most {given.limit:.0f})")
    return int(growth > given.limit)


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


def slope(samples: list[tuple[int, float]]) -> float:
    """KiB for each request: of a line by least squares."""
    middle_x = sum(x for x, _ in samples) / len(samples)
    middle_y = sum(y for _, y in samples) / len(samples)
    across = sum((x - middle_x) ** 2 for x, _ in samples)
    return sum((x - middle_x) * (y - middle_y) for x, y in samples) / across if across else 0.0


if __name__ == "__main__":
    sys.exit(main())
