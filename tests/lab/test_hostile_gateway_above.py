"""A whole daemon below a gateway that answers whatever it likes: other hosts are served meanwhile, an address that
cannot be outside is not believed, each fault is logged once, and the memory stays."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import pytest

from tests.fixtures.foreign_answers import (
    GRANTED,
    WRONG_DESCRIPTIONS,
    granted,
    igd_answer,
    igd_server,
    pcp_server,
    search_answer,
)
from tests.fixtures.gateway_above import OUTSIDE, Answer, ForeignGateway, HttpReply
from tests.lab.end_to_end import pinhole
from tests.lab.gateways_in_series import BOTTOM, RACK, SHELF, Below, served_below
from tests.lab.igd_control_point import ControlPoint, refused
from tests.lab.packets import captured
from tests.lab.well_behaved_client import memory_kb
from upnp_gw.lab import HOME, Host, Lab, Topology
from upnp_gw.model.mapping import Endpoint
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp.codec import build_response
from upnp_gw.protocols.pcp.messages import Request, Response, ResultCode

pytestmark = pytest.mark.lab

ABOVE = HOME.network[1]
HONEST_S = 2.0
"""The longest answer to a host that needs no gateway above, on a busy machine."""
REFUSED_S = 4.0
"""The same for one that waits for it: a second, and the machine."""
GROWTH_KB = 16 * 1024
WARNINGS = 5
"""The most in one run: silent, without an address, leads back, restarted, and what is asked for again then."""
INSIDE = [IPv4Address(text) for text in ("127.0.0.1", "224.0.0.5", "0.0.0.0", "255.255.255.255", "192.168.91.5")]
"""Addresses that nobody outside can send to, and one of our LAN."""
ANNOUNCEMENTS = 2000
HANGING = ("bytes", "slower than any request waits")
"""They come after another silent one, whose question still waits for its answer."""


@dataclass
class Pair:
    """A foreign gateway, and a daemon below it."""

    lab: Lab
    foreign: ForeignGateway
    below: Below

    def __post_init__(self) -> None:
        self.rack, self.shelf = (
            ControlPoint(self.lab.hosts[host.name], BOTTOM.lan.network[1], IgdVersion.IGD2)
            for host in (RACK, SHELF)
        )


@contextmanager
def foreign_gateway(host: Host, address: IPv4Address) -> Iterator[ForeignGateway]:
    """It answers in a thread of its own, with sockets of the host."""
    gateway, ready, ends = ForeignGateway(address), threading.Event(), threading.Event()

    async def serve() -> None:
        await gateway.open()
        ready.set()
        await asyncio.to_thread(ends.wait)
        await gateway.close()

    def run() -> None:
        with host.inside():
            asyncio.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10.0)
        yield gateway
    finally:
        ends.set()
        thread.join()


@contextmanager
def below_a_foreign_gateway(directory: Path, ask: str) -> Iterator[Pair]:
    """After the block: the daemon has logged each fault once, and has not grown."""
    topology = Topology(lans=(replace(HOME, routers=(BOTTOM,)),))
    with Lab(topology) as lab, foreign_gateway(lab.gateway, ABOVE) as foreign:
        host, upstream = lab.hosts[BOTTOM.host.name], f"ask = {ask}\ntimeout = 1"
        with served_below(host, directory / "below", HOME, BOTTOM.host.number, upstream) as below:
            before = memory_kb(below.daemon.pid)
            yield Pair(lab, foreign, below)
            assert memory_kb(below.daemon.pid) - before < GROWTH_KB
            faults = [line for line in below.daemon.output if line.startswith(("WARNING", "ERROR", "Traceback"))]
            assert len(faults) == len(set(faults)) <= WARNINGS, faults


def seconds_of(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def assert_refused(point: ControlPoint) -> None:
    with refused(501, 728):
        point.add(8080)


def assert_served(point: ControlPoint) -> None:
    """A pinhole needs no gateway above."""
    opened = pinhole(point)
    assert point.external_address() == "", "none is believed"
    point.call("DeletePinhole", "WANIPv6FirewallControl", UniqueID=opened)


def assert_serves_on(pair: Pair, name: str) -> None:
    """One host asks for a port, which is refused in time; another one is served meanwhile."""
    foreign = pair.foreign
    seen = len(foreign.datagrams) + len(foreign.requests)
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(seconds_of, partial(assert_refused, pair.rack))
        assert seconds_of(partial(assert_served, pair.shelf)) < HONEST_S, name
        assert asking.result() < REFUSED_S, name
    state = pair.below.status()
    assert state["above"]["external_address"] is None, name
    assert state["wan"]["advertised"] is None, name
    assert not pair.below.rows(), name
    assert len(foreign.datagrams) + len(foreign.requests) > seen or name in HANGING, name


@contextmanager
def forger(pair: Pair) -> Iterator[Callable[[Request], Iterable[bytes]]]:
    """Another host of the link sends the answer."""
    console = pair.lab.hosts["console"]
    with console.inside():
        sock = socket(AF_INET, SOCK_DGRAM)
    sock.bind((str(console.address), 5351))

    def forged(request: Request) -> Iterable[bytes]:
        assert pair.foreign.peer is not None
        sock.sendto(granted(request), pair.foreign.peer)
        return ()

    with sock:
        yield forged


@pytest.mark.spec("CAS-015", "CAS-023")
def test_wrong_answers_over_pcp_and_natpmp(namespaces: None, tmp_path: Path) -> None:
    with below_a_foreign_gateway(tmp_path, '["pcp", "natpmp"]') as pair, forger(pair) as forged:
        answers: dict[str, Answer] = {
            "another nonce": pcp_server(lambda request: [granted(request, nonce=b"x" * 12)]),
            "another host": pcp_server(forged),
            "a lifetime of one second": pcp_server(lambda request: [granted(request, lifetime_s=1)]),
            "port 0": pcp_server(lambda request: [granted(request, Endpoint(OUTSIDE, 0))]),
            **{str(inside): told_over_pcp(inside) for inside in INSIDE},
            "silence": lambda data: (),
            "bytes": lambda data: [b"", b"\2", bytes(60), bytes(1100), b"\xff" * 1100],
        }
        for name, answer in answers.items():
            pair.foreign.on_datagram = answer
            assert_serves_on(pair, name)
        epochs = range(ANNOUNCEMENTS, 0, -1)
        with pair.lab.gateway.inside():
            pair.foreign.announce(*(build_response(Response(ResultCode.SUCCESS, 0, epoch)) for epoch in epochs))
        pair.foreign.on_datagram = pcp_server(lambda request: [granted(request, lifetime_s=2**32 - 1)])
        pair.rack.add(GRANTED.port)
        (row,) = pair.below.rows()
        assert row["above"]["left_s"] <= 1800, "an absurd lifetime is cut"
        assert pair.shelf.external_address() == str(OUTSIDE)


def told_over_pcp(address: IPv4Address) -> Answer:
    return pcp_server(lambda request: [granted(request, Endpoint(address, 8080))])


def told_over_igd(address: IPv4Address) -> Callable[[str], HttpReply]:
    own = str(HOME.network[BOTTOM.host.number])
    return lambda action: igd_answer(action, NewExternalIPAddress=str(address), NewInternalClient=own)


def always(reply: HttpReply) -> Callable[[bytes], HttpReply]:
    return lambda request: reply


@pytest.mark.spec("CAS-015")
def test_wrong_answers_over_igd(namespaces: None, tmp_path: Path) -> None:
    """None of them makes the daemon connect to another host."""
    with below_a_foreign_gateway(tmp_path, '["igd"]') as pair:
        foreign = pair.foreign
        foreign.on_search = lambda data: (search_answer(foreign.location),)
        with captured(pair.below.host) as capture:
            for inside in INSIDE:
                igd_server(foreign, told_over_igd(inside))
                assert_serves_on(pair, str(inside))
            for name, reply in sorted(WRONG_DESCRIPTIONS.items(), key=lambda each: not isinstance(each[1], bytes)):
                foreign.on_http = always(reply)
                assert_serves_on(pair, name)
    asked = {packet.target for packet in capture.packets if packet.outgoing and packet.interface == "wan0"}
    assert {address for address in asked if not address.is_multicast and address.version == 4} == {ABOVE}
