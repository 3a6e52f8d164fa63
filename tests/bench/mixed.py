"""Many mixed requests on a full and busy gateway: the worst of them is what a person notices.

Meanwhile counters are read, leases end, the events of a page are read and the audit log is pruned.
"""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.gateways import Gateway
from tests.bench.load import Request, Result, at_once, at_rate
from tests.bench.rows import LAST_PORT, OWN, checked, owner_of
from tests.bench.samples import Point, Table

MIXED = "mixed requests on a busy gateway"
PACED = "mixed requests at half of that rate"
"""So that they do not wait for each other: four clients at once are as much as the gateway can do."""
CLIENTS = 4
BATCH = 400
KEEP_DECISIONS = 5_000
"""The audit log of this row: fewer than are written."""
SHORT_LEASE_S = 20
STATUS_S = 2.0


def measure(table: Table, gateway: Gateway, point: Point, requests: int, log: Callable[[str], None]) -> None:
    """Four clients at once, of all hosts but the first: refreshes, reads, and new mappings with short leases. Then
    the same at half the rate that they reached."""
    spent_s = 0.0

    def crowd(batch: list[Request]) -> Result:
        return at_once(gateway.http, [batch[n::CLIENTS] for n in range(CLIENTS)])

    def paced(batch: list[Request]) -> Result:
        return at_rate(gateway.http, batch, requests / spent_s / 2)

    with _page(gateway):
        for row, send in ((MIXED, crowd), (PACED, paced)):
            spent_row_s = 0.0
            for number in range(0, requests, BATCH):
                batch = _batch(gateway, point.mappings, number, min(BATCH, requests - number))
                for host in gateway.hosts:
                    count = sum(request.host is host for request in batch)
                    gateway.shares.spend(host, connections=count, changes=count)
                result = checked(gateway, send(batch))
                spent_row_s += result.spent_s
                times = [seconds * 1000 for seconds in result.times]
                table.add(gateway.name, row, point, "ms", times, result.unanswered)
                if number and number % (50 * BATCH) == 0:
                    log(f"{number:,} of {requests:,} {row}, the slowest {max(times):.0f} ms in the last batch")
            spent_s = spent_s or spent_row_s


def _batch(gateway: Gateway, mappings: int, number: int, count: int) -> list[Request]:
    """Out of a hundred: 45 refreshes, 25 reads, and 30 new mappings with a lease that ends soon.

    Without mappings of other hosts than the first: new ones only.
    """
    others = gateway.hosts[1:]
    chooser = random.Random(number)
    standing = range(OWN, mappings)
    requests: list[Request] = []
    for position in range(count):
        kind = chooser.random()
        if standing and kind < 0.7:
            chosen = chooser.choice(standing)
            host, port = owner_of(others, chosen), LAST_PORT - chosen
            requests.append(gateway.add(host, port) if kind < 0.45 else gateway.get(host, port))
        else:
            host = others[position % len(others)]
            ports = gateway.ports(host)
            fresh = (number + position) // len(others)
            requests.append(gateway.add(host, ports[fresh % len(ports)], SHORT_LEASE_S))
    return requests


@contextmanager
def _page(gateway: Gateway) -> Iterator[None]:
    """A page is open: its events are read, and the status is asked for every two seconds."""
    daemon = gateway.daemon
    assert daemon is not None
    path = daemon.runtime_dir / "control.sock"
    stop = threading.Event()
    events = _get(path, "/v1/events")
    threads = [threading.Thread(target=_drain, args=(events,)), threading.Thread(target=_ask, args=(path, stop))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        events.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        events.close()


def _get(path: Path, resource: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    connection.sendall(f"GET {resource} HTTP/1.1\r\nHost: upnp-gw\r\nConnection: close\r\n\r\n".encode())
    return connection


def _drain(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def _ask(path: Path, stop: threading.Event) -> None:
    while not stop.wait(STATUS_S):
        with _get(path, "/v1/status") as connection:
            _drain(connection)
