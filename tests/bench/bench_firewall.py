"""The cost of the real firewall, by the size of its maps. By hand: ``python -m tests.bench.bench_firewall``.

Needs network namespaces (root, or a user namespace); nothing outside the one it makes is changed.
"""

import asyncio
import json
import os
import resource
import socket
import statistics
import time
from collections.abc import Awaitable
from ipaddress import IPv4Address
from itertools import count

from tests.fixtures.firewall_driver import NETWORK, forward, settings
from upnp_gw.firewall.base import Change, Close, Cut, FirewallMode, Forward, Open, Refill
from upnp_gw.firewall.conntrack import end_flows
from upnp_gw.firewall.flows import Flows
from upnp_gw.firewall.libnftables import Session
from upnp_gw.firewall.netlink import NfnetlinkSocket
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.lab import acquire
from upnp_gw.lab.host import Host
from upnp_gw.model.mapping import Transport

SIZES = (0, 1_000, 10_000)
FLOWS = 20_000


def many(number: int, first: int = 1) -> list[Forward]:
    base = int(IPv4Address("10.0.0.1"))
    return [
        forward(f"m{n}", 1024 + n % 60_000, str(IPv4Address(base + n // 16)), 1024 + n % 16, timeout_s=3600)
        for n in range(first, first + number)
    ]


async def timed(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def each(firewall: NftablesFirewall, batches: list[list[Change]]) -> str:
    times = [await timed(firewall.apply(batch)) for batch in batches]
    times.sort()
    return f"{statistics.median(times):7.3f} ms median {times[int(len(times) * 0.99)]:8.3f} ms p99"


async def bench(mode: FirewallMode) -> None:
    print(f"\n{mode.value}")
    firewall = NftablesFirewall()
    await firewall.open(settings(mode, NETWORK, size=60_000), print)
    numbers = count(20_001, 200)
    for size in SIZES:
        refill = Refill(tuple(many(size)))
        print(f"{size:6} mappings: refill {await timed(firewall.apply([refill])):9.1f} ms")
        fresh = many(200, next(numbers))
        print(f"        add       {await each(firewall, [[Open(f)] for f in fresh])}")
        print(f"        refresh   {await each(firewall, [[Open(f)] for f in fresh])}")
        print(f"        close     {await each(firewall, [[Close(f)] for f in fresh])}")
        print(f"        close+cut {await each(firewall, [[Close(f), Cut(f)] for f in fresh])}")
        hundreds = [many(100, next(numbers)) for _ in range(10)]
        print(f"        add 100   {await each(firewall, [[Open(f) for f in batch] for batch in hundreds])}")
        print(f"        read      {await timed(firewall.read()):7.1f} ms")
        await firewall.settled()
    await firewall.close(flush=True)


def bench_listing() -> None:
    session = Session()
    start = time.perf_counter()
    listing = session.query("list map inet upnp_gw pm")
    print(
        f"listing by libnftables: {(time.perf_counter() - start) * 1000:.1f} ms, {len(json.dumps(listing))} bytes"
    )


def bench_cut() -> None:
    """Ends the flows of one port, and of many, among FLOWS others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        for n in range(FLOWS):
            sock.sendto(b"", (f"127.0.{n % 200}.{n // 50_000 + 1}", 1024 + n % 50_000))
    netlink = NfnetlinkSocket()
    for ports in (1, 16, 17, 1000):
        flows = [Flows(Transport.UDP, 60_000 + n, None, None, None) for n in range(ports)]
        start = time.perf_counter()
        end_flows(netlink, flows)
        took = (time.perf_counter() - start) * 1000
        print(f"{ports:5} ports without a flow among {FLOWS}: {took:.1f} ms")
    flows = [Flows(Transport.UDP, 1024 + n, None, None, None) for n in range(5000)]
    start = time.perf_counter()
    ended = end_flows(netlink, flows)
    print(f" 5000 ports: {ended} flows ended in {(time.perf_counter() - start) * 1000:.1f} ms")
    netlink.close()


def main() -> None:
    acquire()
    host = Host("bench")
    try:
        host.ip("link set lo up")
        with host.inside():
            for mode in FirewallMode:
                asyncio.run(bench(mode))
            asyncio.run(listing())
            bench_cut()
    finally:
        host.close()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB, {os.cpu_count()} CPUs")


async def listing() -> None:
    firewall = NftablesFirewall()
    await firewall.open(settings(FirewallMode.ROUTER, size=60_000), print)
    await firewall.apply([Refill(tuple(many(10_000)))])
    await asyncio.to_thread(bench_listing)
    print(f"read of the same: {await timed(firewall.read()):.1f} ms")
    await firewall.close(flush=True)


if __name__ == "__main__":
    main()
