"""Start, stop, healing, the command line and a renew storm: the rows of upnp-gw alone."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.bench import messages
from tests.bench.gateways import BenchDaemon, Gateway, served
from tests.bench.kernel_elements import KernelElements
from tests.bench.load import Request, datagrams_one_by_one, storm
from tests.bench.rows import checked
from tests.bench.samples import Point, Table

BARE_START = "bare start, until it serves"
BARE_MEMORY = "resident memory, idle, no mappings"
EACH_MAPPING = "memory of each mapping"
LIST = "upnp-gw list"
HEAL = "foreign flush, until all is in the kernel again"
STOP = "SIGTERM, until it ended"
START = "start with the leases on file, until it serves"
START_KERNEL = "start with the leases on file, until all is in the kernel"
FIRST_DATAGRAM = "first NAT-PMP map of a host"
STORM = "PCP renew storm, until all are answered"
MAP_RETRY_S = 1.0
HEAL_S = 60.0
POLL_S = 0.005
STORM_RETRY_S, STORM_DEADLINE_S = 3.0, 30.0
"""RFC 6887 section 8.1.1 has a client wait 3 s before it sends again."""


def bare_start(table: Table, name: str, daemon: BenchDaemon, times: int) -> None:
    """Starts and stops a daemon without leases; it is running at the end."""
    point = Point(0, 0)
    for number in range(times):
        started = time.perf_counter()
        daemon.start()
        table.add(name, BARE_START, point, "s", [time.perf_counter() - started])
        if number < times - 1:
            daemon.stop()


def restarts(table: Table, gateway: Gateway, point: Point, times: int) -> Gateway:
    """Flush, stop and start with all mappings there; the answer is the gateway as it runs at the end."""
    daemon, lab, name = gateway.daemon, gateway.lab, gateway.name
    assert isinstance(daemon, BenchDaemon)
    for _ in range(times):
        started = time.perf_counter()
        daemon.cli("list", timeout=60)
        table.add(name, LIST, point, "s", [time.perf_counter() - started])
    with KernelElements(lab.gateway) as elements:
        present = elements.count()
        for _ in range(times):
            started = time.perf_counter()
            lab.gateway.nft("flush ruleset")
            await_elements(elements, present, "the foreign flush")
            table.add(name, HEAL, point, "s", [time.perf_counter() - started])
        for _ in range(times):
            started = time.perf_counter()
            daemon.stop()
            table.add(name, STOP, point, "s", [time.perf_counter() - started])
            lab.gateway.nft("flush ruleset")  # as after a reboot
            _start(table, gateway, point, daemon, elements, present)
    fresh = served(name, lab, daemon)
    fresh.shares = gateway.shares
    return fresh


def _start(
    table: Table, gateway: Gateway, point: Point, daemon: BenchDaemon, elements: KernelElements, present: int
) -> None:
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        ready = pool.submit(_timed, daemon.start)
        await_elements(elements, present, "the start")
        installed = time.perf_counter() - started
        table.add(gateway.name, START, point, "s", [ready.result()])
    table.add(gateway.name, START_KERNEL, point, "s", [installed])


def _timed(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def await_elements(elements: KernelElements, present: int, after: str) -> None:
    """Until the kernel has as many forwards as before. Raises RuntimeError after HEAL_S."""
    deadline = time.monotonic() + HEAL_S
    while (count := elements.count()) < present:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{HEAL_S:.0f} s after {after} the kernel has {count} of {present} forwards")
        time.sleep(POLL_S)


def first_datagrams(table: Table, gateway: Gateway, point: Point) -> None:
    """The first request of each host, over NAT-PMP: upnp-gw waits for others that claim its address."""
    times, unanswered = [], 0
    for host in gateway.hosts[1:]:  # the first one has read the description
        port = gateway.ports(host)[0]
        gateway.shares.spend(host, new_datagrams=1, standing_datagrams=1, changes=2)
        request = Request(host, messages.natpmp_map(port, messages.LEASE_S))
        result = checked(gateway, datagrams_one_by_one(gateway.datagrams, [request]))
        times.append(result.times[0] * 1000)
        unanswered += result.unanswered
        datagrams_one_by_one(gateway.datagrams, [Request(host, messages.natpmp_map(port, 0))])
    table.add(gateway.name, FIRST_DATAGRAM, point, "ms", times, unanswered)


def renew_storm(table: Table, gateway: Gateway, point: Point, each: int) -> None:
    """PCP clients of every host renew at once, ``each`` a host (at most 32 of one host wait at the gateway)."""
    clients = [(host, gateway.ports(host)[:each]) for host in gateway.hosts]

    def requests(lifetime_s: int) -> list[Request]:
        return [
            Request(host, messages.pcp_map(host.address, port, lifetime_s))
            for host, ports in clients
            for port in ports
        ]

    for host, ports in clients:
        gateway.shares.spend(host, new_datagrams=each, changes=each)
        own = [Request(host, messages.pcp_map(host.address, port, messages.LEASE_S)) for port in ports]
        mapped = len(storm(gateway.datagrams, own, MAP_RETRY_S, STORM_DEADLINE_S))
        if mapped < each:
            raise RuntimeError(f"{gateway.name} mapped {mapped} of {each} ports of {host.name} for the renew storm")
    for host in gateway.hosts:
        gateway.shares.spend(host, standing_datagrams=each, changes=each)
    renewals = requests(messages.LEASE_S)
    answered = storm(gateway.datagrams, renewals, STORM_RETRY_S, STORM_DEADLINE_S)
    last = answered[-1] if len(answered) == len(renewals) else STORM_DEADLINE_S
    table.add(gateway.name, STORM, point, "s", [last], len(renewals) - len(answered))
    for host in gateway.hosts:
        gateway.shares.spend(host, standing_datagrams=each, changes=each)
    datagrams_one_by_one(gateway.datagrams, requests(0))
