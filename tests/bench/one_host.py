"""The requests that upnp-gw answers for a single LAN host in a second, when it asks as fast as it can."""

import select
import socket
import time
from dataclasses import dataclass

from tests.bench import messages
from tests.bench.gateways import SPARE_PORTS, Gateway
from tests.bench.load import Request, Result, at_once, open_sockets
from tests.bench.messages import datagram_ok
from upnp_gw.lab import Host

CLIENTS = 4
TRY_S = 0.25
"""A connection that the kernel drops is given up after this time: a retry of TCP takes a second."""
BATCH = 40
DATAGRAMS_PER_S = 60
"""Below what the kernel lets through, above what is answered."""


@dataclass(frozen=True, slots=True)
class HostLimit:
    """Answers a second of one host."""

    what: str
    first: float
    """Answers in the first second."""
    lasting: float
    """Answers a second in the last half of the time."""
    why: str


def measure(gateway: Gateway, seconds: float) -> list[HostLimit]:
    """Each for so many seconds, each by another host."""
    reader, mapper, datagrams = gateway.hosts[-3:]
    # The gateway gets to know the neighbours by it: the first datagram of an unknown host waits for that.
    at_once(gateway.http, [[gateway.add(host, gateway.ports(host)[0])] for host in (reader, mapper, datagrams)])
    read = [gateway.get(reader, gateway.ports(reader)[0])] * BATCH
    refresh = [gateway.add(mapper, gateway.ports(mapper)[0])] * BATCH
    limits = [
        HostLimit(
            "reads, 4 connections at once",
            *_http(gateway, read, seconds),
            "500 new connections at once, then 200 a second, dropped in the kernel (decision 30)",
        ),
        HostLimit(
            "AddPortMapping, 4 connections at once",
            *_http(gateway, refresh, seconds),
            "the same; besides, at most requests_per_minute changes in a minute: 60 by default, 6,000 in this run",
        ),
        HostLimit(
            "NAT-PMP maps",
            *_datagrams(gateway, datagrams, seconds),
            "64 requests for a new mapping at once, then 8 a second",
        ),
    ]
    at_once(gateway.http, [[gateway.delete(host, gateway.ports(host)[0])] for host in (reader, mapper, datagrams)])
    return limits


def _http(gateway: Gateway, requests: list[Request], seconds: float) -> tuple[float, float]:
    answers: list[float] = []
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        before = time.monotonic()
        result: Result = at_once(gateway.http, [requests[n::CLIENTS] for n in range(CLIENTS)], TRY_S)
        count = len(result.times) - result.unanswered - len(result.refused)
        passed = time.monotonic() - before
        answers += [before - started + passed * n / count for n in range(count)]
    return _rates(answers, seconds)


def _datagrams(gateway: Gateway, host: Host, seconds: float) -> tuple[float, float]:
    """Sends at a fixed rate and does not wait for answers."""
    ports = SPARE_PORTS[: int(seconds * DATAGRAMS_PER_S)]
    (asker,) = open_sockets([Request(host, b"")], socket.SOCK_DGRAM)
    answers: list[float] = []
    with asker:
        asker.connect(gateway.datagrams)
        started = time.monotonic()
        for number, port in enumerate(ports, 1):
            asker.send(messages.natpmp_map(port, messages.LEASE_S))
            while (left := started + number / DATAGRAMS_PER_S - time.monotonic()) > 0:
                if select.select([asker], [], [], left)[0] and datagram_ok(asker.recv(2048)):
                    answers.append(time.monotonic() - started)
    deletes = [gateway.delete(host, port) for port in ports]
    gateway.shares.spend(host, connections=len(deletes))
    at_once(gateway.http, [deletes])
    return _rates(answers, seconds)


def _rates(answers: list[float], seconds: float) -> tuple[float, float]:
    half = seconds / 2
    return float(sum(moment < 1 for moment in answers)), sum(half <= moment < seconds for moment in answers) / half
