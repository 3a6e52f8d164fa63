"""The daemon stops, is killed, and comes back: what was granted stands, in the ledger and in the kernel."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.conftest import Orphan
from tests.lab.end_to_end import TCP, UDP, Home, ended
from tests.lab.igd_control_point import ControlPoint, Fault, refused, until
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

GRACE_S = 30 + 10
"""By so much a mapping outlives its lease in the kernel when nobody is there; and a loaded machine."""
LIVE_GRACE_S = 90 + 10
"""And its live flows."""

Ending = Callable[[Home], int]
ENDINGS = pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda here: here.daemon.stop(), id="stop"),
        pytest.param(lambda here: here.daemon.kill(), id="kill"),
    ],
)


@pytest.fixture
def here(shared: Home) -> Iterator[Home]:
    yield shared
    shared.clear()


def boot_id(here: Home) -> int:
    """BOOTID.UPNP.ORG of an answer to a unicast search."""
    with here.console.inside():
        searcher = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with searcher:
        searcher.settimeout(5)
        head = (
            'M-SEARCH * HTTP/1.1\r\nHOST: 192.168.77.1:1900\r\nMAN: "ssdp:discover"\r\nST: upnp:rootdevice\r\n\r\n'
        )
        searcher.sendto(head.encode(), ("192.168.77.1", 1900))
        answer = searcher.recv(2048).decode()
    (found,) = re.findall(r"(?mi)^BOOTID.UPNP.ORG: *(\d+)\r$", answer)
    return int(found)


def identity(here: Home) -> list[tuple[list[str], dict[str, str], dict[str, str]]]:
    """What clients remember of the gateway, read afresh: UDNs, control and event URLs."""
    points = [ControlPoint(here.console, here.gateway.address, igd_version) for igd_version in IgdVersion]
    return [(point.udns, point.control, point.events) for point in points]


@ENDINGS
@pytest.mark.spec("IGD-007", "IGD-037", "SR-10")
def test_a_restart_keeps_mappings_leases_and_identity(here: Home, end: Ending) -> None:
    point, pc = here.point(), here.point("pc", IgdVersion.IGD2)
    point.add(8080, NewInternalPort=8000, NewLeaseDuration=0)
    point.add(8081, UDP, NewInternalPort=8000, NewLeaseDuration=600, NewPortMappingDescription="a \u00e9 <&> b")
    point.add(8082, NewRemoteHost=here.peer.address, NewInternalPort=8000)
    point.add(8083, NewEnabled=0)
    pc.add(8084, NewInternalPort=8000)
    with refused(606):
        pc.add(8085, NewInternalClient=here.console.address)
    before, known, boot = here.rows(), identity(here), boot_id(here)
    assert boot_id(here) == boot
    assert all(len(set(udns)) == len(udns) == 3 for udns, _, _ in known)
    with EchoServer(here.console, TCP, 8000), EchoServer(here.console, UDP, 8000), EchoServer(here.pc, TCP, 8000):
        end(here)
        assert here.reach(8080), "leases live on in the kernel"
        here.daemon.start()
        here.agree()
        for port, transport, who in (
            (8080, TCP, "console"),
            (8081, UDP, "console"),
            (8082, TCP, "console"),
            (8084, TCP, "pc"),
        ):
            assert here.reach(port, transport).answered_by == who
        assert here.shut(8082, peer="peer2")
        assert here.shut(8083)
        assert here.shut(8085)
    after = here.rows()
    assert identity(here) == known
    assert boot_id(here) > boot
    kept = ("id", "transport", "external_port", "internal_client", "internal_port", "remote_host", "via", "device",
            "description", "granted_at", "state")  # fmt: skip
    assert [[row[name] for name in kept] for row in after] == [[row[name] for name in kept] for row in before]
    for old, new in zip(before, after, strict=True):
        assert 0 <= old["lease_left_s"] - new["lease_left_s"] < 60, "a lease does not grow"


def test_what_was_deleted_before_a_kill_is_cut_after_it(here: Home) -> None:
    """Its flows had five seconds left when the daemon died."""
    point = here.point()
    with EchoServer(here.console, TCP, 8000):
        point.add(8080, NewInternalPort=8000)
        with dial(here.peer, TCP, here.external, 8080) as call:
            assert call.ask()
            point.delete(8080)
            here.daemon.kill()
            assert call.ask(), "nobody is there to cut it"
            here.daemon.start()
            assert until(lambda: ended(call), 12)
        assert here.shut(8080)


def test_a_lease_that_ends_while_nobody_is_there_is_not_restored(here: Home) -> None:
    point = here.point()
    point.add(8080, NewLeaseDuration=2)
    point.add(8081, NewLeaseDuration=600)
    ends = here.row(8080)["expires_at"]
    here.daemon.kill()
    assert until(lambda: datetime.now(UTC) > datetime.fromisoformat(ends) + timedelta(seconds=1))
    here.daemon.start()
    assert [row["external_port"] for row in here.rows()] == [8081]
    here.agree()


@pytest.mark.spec("SR-29", "SR-39")
def test_with_the_daemon_dead_the_kernel_ends_leases_and_live_flows(orphan: Orphan) -> None:
    """It was killed when the first test of the lab began; a lease of seconds ends by the kernel's own clock."""
    here = orphan.home
    assert not here.daemon.running
    assert until(lambda: here.shut(8080), orphan.left(GRACE_S))
    assert here.reach(8081).answered_by == "console", "a longer lease stands"
    assert not reach(here.peer, TCP, here.console.address6, 8080)
    assert reach(here.peer, TCP, here.console.address6, 8081)
    assert until(lambda: all(map(ended, orphan.calls)), orphan.left(LIVE_GRACE_S))
    assert all(call.ask() for call in orphan.longer), "and so do its flows"


class Load:
    """Control points that add, one after another, until they are told to stop; what was acknowledged, and not."""

    def __init__(self, here: Home, first: int) -> None:
        self.granted: set[int] = set()
        self.refused: set[int] = set()
        self._points = [here.point("console"), here.point("pc", IgdVersion.IGD2)]
        self._next = first
        self._stop = False
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(4)
        for number in range(4):
            self._threads.submit(self._add, self._points[number % 2], self._points[1 - number % 2])

    def await_granted(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.granted) >= count, 20)

    def stop(self) -> int:
        """The first port that was not asked for."""
        self._stop = True
        self._threads.shutdown()
        return self._next

    def _add(self, mine: ControlPoint, other: ControlPoint) -> None:
        while not self._stop:
            with self._changed:
                port, self._next = self._next, self._next + 1
            target = other if port % 5 == 0 else mine
            try:
                mine.add(port, NewInternalClient=target.host.address)
            except Fault:
                known = self.refused
            except OSError:
                continue  # killed before it answered: either is right
            else:
                known = self.granted
            with self._changed:
                known.add(port)
                self._changed.notify_all()


@pytest.mark.spec("SR-20")
def test_twenty_kills_under_load_lose_nothing_that_was_acknowledged(here: Home) -> None:
    granted: set[int] = set()
    denied: set[int] = set()
    port = 10000
    for kill in range(20):
        load = Load(here, port)
        load.await_granted(1 + kill * 7 % 11)
        here.daemon.kill()
        port = load.stop()
        granted |= load.granted
        denied |= load.refused
        here.daemon.start()
        here.agree()
        stands = {row["external_port"] for row in here.rows()}
        assert granted <= stands
        assert not denied & stands
    assert denied
    with EchoServer(here.console, TCP, port):
        here.point().add(port)
        assert here.reach(port), "and it goes on"
