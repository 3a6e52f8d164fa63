"""The cost of the first packet of a flow through a mapping, beside one bare dnat rule on a gateway of its own.

A send over veth runs the whole way to the other host's socket before it returns, so its time is the packet's. A TCP
connection takes a packet in each direction.
"""

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench import messages
from tests.bench.gateways import PEER_HOST, Gateway, lab_of
from tests.bench.load import Request, collected, datagrams_one_by_one, open_sockets
from tests.bench.rows import checked, in_turn
from tests.bench.samples import Point, Table
from upnp_gw.lab import Host, Lab
from upnp_gw.model.mapping import IPAddress

UDP_IN = "first packet of a flow, UDP, in"
UDP_OUT = "first packet of a flow, UDP, out"
TCP_OPEN = "first packets of a flow, TCP, both directions"
BARE = "one dnat rule"
BARE_PORT = 2_000
BARE_TABLE = """
table ip bare {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    iifname "wan0" meta l4proto {{ tcp, udp }} th dport {port} dnat to {address}
  }}
}}
"""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that closes with a reset, so that no connection waits."""
WAIT_S = 5.0
TRIES = 20
"""Requests for the mapping, a second each. A state before answers nothing while it reads the counters of 60,000."""
TURN = 10
"""Flows of one way before the next one's turn."""


class NoWay(Exception):
    """A gateway does not answer the request for the mapping, or lets no packet through."""


@dataclass(frozen=True, slots=True)
class Way:
    """A forwarded port."""

    name: str
    lab: Lab
    host: Host
    port: int
    target: IPAddress
    """The address that the internet sends to."""


@contextmanager
def bare_rule() -> Iterator[Way]:
    """A gateway that has one rule and nothing else."""
    with lab_of(1) as lab:
        (host,) = [lab.hosts[host.name] for host in lab.topology.lans[0].hosts]
        lab.gateway.nft(BARE_TABLE.format(port=BARE_PORT, address=host.address))
        yield Way(BARE, lab, host, BARE_PORT, lab.external[0])


@contextmanager
def mapped(gateway: Gateway) -> Iterator[Way]:
    """A port of the last host, over both transports. Raises NoWay."""
    host = gateway.hosts[-1]
    port = gateway.ports(host)[-1]

    def ask(lifetime_s: int) -> None:
        requests = [Request(host, messages.natpmp_map(port, lifetime_s, udp)) for udp in (False, True)]
        for _ in range(TRIES):
            gateway.shares.spend(host, new_datagrams=2, standing_datagrams=2)
            if not checked(gateway, datagrams_one_by_one(gateway.datagrams, requests)).unanswered:
                return
        raise NoWay(f"{gateway.name} answers no request for port {port} of {host.name}")

    ask(messages.LEASE_S)
    try:
        yield Way(gateway.name, gateway.lab, host, port, gateway.lab.external[0])
    finally:
        ask(0)


def measure(table: Table, ways: Sequence[Way], point: Point, rounds: int, flows: int) -> None:
    """So many flows a round over each transport. The ways take turns after a few flows, so that a round's medians
    of all of them are of the same moments. Raises NoWay."""
    for number in range(rounds + 1):
        times: dict[tuple[str, str], list[float]] = {}
        for turn, first in enumerate(range(0, flows, TURN)):
            for way in in_turn(ways, number + turn):
                count = min(TURN, flows - first)
                for row, values in _flows(way, count):
                    times.setdefault((way.name, row), []).extend(values)
        for way in ways:
            way.lab.gateway.run(["conntrack", "-F"])
        if number:  # the first round fills caches
            for (name, row), values in times.items():
                table.add(name, row, point, "us", values)


def _flows(way: Way, flows: int) -> list[tuple[str, list[float]]]:
    """Rows and microseconds of new flows over both transports."""
    try:
        return [*_udp(way, flows), *_tcp(way, flows)]
    except TimeoutError:
        raise NoWay(f"{way.name}: no packet came through port {way.port} in {WAIT_S:.0f} s") from None


def _sockets(way: Way, flows: int, kind: socket.SocketKind) -> list[socket.socket]:
    return open_sockets([Request(way.lab.hosts[PEER_HOST], b"")] * flows, kind)


def _udp(way: Way, flows: int) -> list[tuple[str, list[float]]]:
    with way.host.inside():
        inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    senders = _sockets(way, flows, socket.SOCK_DGRAM)
    inner.bind(("", way.port))
    inner.settimeout(WAIT_S)
    inward: list[float] = []
    outward: list[float] = []
    with collected(), inner:
        for sender in senders:
            sender.settimeout(WAIT_S)
            sender.connect((str(way.target), way.port))
            started = time.perf_counter()
            sender.send(b"in")
            inward.append((time.perf_counter() - started) * 1e6)
            _, back = inner.recvfrom(10)
            started = time.perf_counter()
            inner.sendto(b"out", back)
            outward.append((time.perf_counter() - started) * 1e6)
            sender.recv(10)
            sender.close()
    return [(UDP_IN, inward), (UDP_OUT, outward)]


def _tcp(way: Way, flows: int) -> list[tuple[str, list[float]]]:
    with way.host.inside():
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connections = _sockets(way, flows, socket.SOCK_STREAM)
    listener.bind(("", way.port))
    listener.listen(flows)
    times: list[float] = []
    with collected(), listener:
        for connection in connections:
            connection.settimeout(WAIT_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            started = time.perf_counter()
            connection.connect((str(way.target), way.port))
            times.append((time.perf_counter() - started) * 1e6)
            accepted, _ = listener.accept()
            connection.close()
            accepted.close()
    return [(TCP_OPEN, times)]
