"""The daemon stops, is killed, and comes back: granted mappings stay, in the ledger and in the kernel."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import TCP, UDP, Home, ended, pinhole
from tests.lab.igd_control_point import ControlPoint, Fault, refused
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

Ending = Callable[[Home], int]
ENDINGS = pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda home: home.daemon.stop(), id="stop"),
        pytest.param(lambda home: home.daemon.kill(), id="kill"),
    ],
)


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    yield module_home
    module_home.clear()


def boot_id(home: Home) -> int:
    """BOOTID.UPNP.ORG of an answer to a unicast search."""
    with home.console.inside():
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


def identity(home: Home) -> list[tuple[list[str], dict[str, str], dict[str, str]]]:
    """The gateway's names that clients remember, read afresh: UDNs, control and event URLs."""
    points = [ControlPoint(home.console, home.gateway.address, igd_version) for igd_version in IgdVersion]
    return [(point.udns, point.control, point.events) for point in points]


@ENDINGS
@pytest.mark.spec("IGD-007", "IGD-037", "SR-10")
def test_a_restart_keeps_mappings_leases_and_identity(home: Home, end: Ending) -> None:
    point, pc = home.point(), home.point("pc", IgdVersion.IGD2)
    point.add(8080, NewInternalPort=8000, NewLeaseDuration=0)
    point.add(8081, UDP, NewInternalPort=8000, NewLeaseDuration=600, NewPortMappingDescription="a \u00e9 <&> b")
    point.add(8082, NewRemoteHost=home.peer.address, NewInternalPort=8000)
    point.add(8083, NewEnabled=0)
    pc.add(8084, NewInternalPort=8000)
    with refused(606):
        pc.add(8085, NewInternalClient=home.console.address)
    before, known, boot = home.rows(), identity(home), boot_id(home)
    assert boot_id(home) == boot
    assert all(len(set(udns)) == len(udns) == 3 for udns, _, _ in known)
    with EchoServer(home.console, TCP, 8000), EchoServer(home.console, UDP, 8000), EchoServer(home.pc, TCP, 8000):
        end(home)
        assert home.reach(8080), "leases live on in the kernel"
        home.daemon.start()
        home.agree()
        for port, transport, host in (
            (8080, TCP, "console"),
            (8081, UDP, "console"),
            (8082, TCP, "console"),
            (8084, TCP, "pc"),
        ):
            assert home.reach(port, transport).answered_by == host
        assert home.shut(8082, peer="peer2")
        assert home.shut(8083)
        assert home.shut(8085)
    after = home.rows()
    assert identity(home) == known
    assert boot_id(home) > boot
    kept = ("id", "transport", "external_port", "internal_client", "internal_port", "remote_host", "via", "device",
            "description", "granted_at", "state")  # fmt: skip
    assert [[row[name] for name in kept] for row in after] == [[row[name] for name in kept] for row in before]
    for old, new in zip(before, after, strict=True):
        assert 0 <= old["lease_left_s"] - new["lease_left_s"] < 60, "a lease does not grow"


def test_mappings_wait_for_a_lan_that_comes_after_the_start(home: Home) -> None:
    """A boot: the service starts before its interfaces have addresses. The hosts say nothing by themselves."""
    (lan,) = home.lab.topology.lans
    addresses = [f"{lan.network[1]}/24", *(f"{net[1]}/64" for net in (lan.network6, lan.ula))]
    with EchoServer(home.console, TCP, 8080), EchoServer(home.console, TCP, 6000):
        home.point().add(8080)
        pinhole(home.point("console", IgdVersion.IGD2), 6000)
        before = {row["id"] for row in home.rows()}
        home.daemon.stop()
        home.gateway.ip(*(f"addr del {address} dev {lan.interface}" for address in addresses))
        home.daemon.start()
        assert {row["id"]: row["state"] for row in home.rows()} == dict.fromkeys(before, "parked")
        assert home.installed() == {}
        home.gateway.ip(*(f"addr add {address} dev {lan.interface}" for address in addresses[:1]))
        assert until(lambda: home.row(8080)["state"] == "active", 30)
        assert home.reach(8080).answered_by == "console"
        home.gateway.ip(*(f"addr add {address} dev {lan.interface} nodad" for address in addresses[1:]))
        assert until(lambda: home.row(6000)["state"] == "active", 30)
        assert reach(home.peer, TCP, home.console.address6, 6000)
        home.agree()


def test_flows_of_a_mapping_deleted_before_a_kill_are_cut_after_it(home: Home) -> None:
    """Its flows had five seconds left when the daemon died."""
    point = home.point()
    with EchoServer(home.console, TCP, 8000):
        point.add(8080, NewInternalPort=8000)
        with dial(home.peer, TCP, home.external, 8080) as call:
            assert call.ask()
            point.delete(8080)
            home.daemon.kill()
            assert call.ask(), "nobody is there to cut it"
            home.daemon.start()
            assert until(lambda: ended(call), 12)
        assert home.shut(8080)


def test_a_lease_that_ends_while_the_daemon_is_dead_is_not_restored(home: Home) -> None:
    point = home.point()
    point.add(8080, NewLeaseDuration=2)
    point.add(8081, NewLeaseDuration=600)
    ends = home.row(8080)["expires_at"]
    home.daemon.kill()
    assert until(lambda: datetime.now(UTC) > datetime.fromisoformat(ends) + timedelta(seconds=1))
    home.daemon.start()
    assert [row["external_port"] for row in home.rows()] == [8081]
    home.agree()


class Load:
    """Control points that add mappings until they are asked to stop; the acknowledged requests and the others."""

    def __init__(self, home: Home, first: int) -> None:
        self.granted: set[int] = set()
        self.refused: set[int] = set()
        self._points = [home.point("console"), home.point("pc", IgdVersion.IGD2)]
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

    def _add(self, point: ControlPoint, other: ControlPoint) -> None:
        while not self._stop:
            with self._changed:
                port, self._next = self._next, self._next + 1
            target = other if port % 5 == 0 else point
            try:
                point.add(port, NewInternalClient=target.host.address)
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
def test_twenty_kills_under_load_lose_nothing_that_was_acknowledged(home: Home) -> None:
    granted: set[int] = set()
    denied: set[int] = set()
    port = 10000
    for kill in range(20):
        load = Load(home, port)
        load.await_granted(1 + kill * 7 % 11)
        home.daemon.kill()
        port = load.stop()
        granted |= load.granted
        denied |= load.refused
        home.daemon.start()
        home.agree()
        stands = {row["external_port"] for row in home.rows()}
        assert granted <= stands
        assert not denied & stands
    assert denied
    with EchoServer(home.console, TCP, port):
        home.point().add(port)
        assert home.reach(port), "and it goes on"
