"""A frozen device renews the mappings that it holds, and opens nothing by a refresh. Proved by packets."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, SHUT_S, TCP, Home, served_home
from tests.lab.igd_control_point import Fault, refused
from tests.lab.test_end_to_end_network import wake
from tests.lab.test_pinholes import SERVICE, at, pinhole
from tests.lab.test_port5351 import GATEWAY6, Talk, talk
from upnp_gw.lab.probe import EchoServer
from upnp_gw.lab.topology import CONSOLE
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.messages import ANY_IPV6, PcpFilter, ResultCode

pytestmark = pytest.mark.lab

INCIDENT_AFTER = 3
POLICY = f"""
version = 1
default = "deny"
[limits]
requests_per_minute = 600
incident_after = {INCIDENT_AFTER}
[[forbid]]
name = "no-web-on-6000"
int_ports = [7777]
ext_ports = [6000]
[[grant]]
name = "everyone"
who = "*"
family = ["ip4", "ip6"]
int_ports = ["1024-65535"]
max_mappings = 16
owner = "the test"
reason = "what everybody may have"
review_by = 2099-01-01
"""
CLEAR = PcpFilter(0, 0, ANY_IPV6)
LEASE_S = 600
ELSEWHERE = 7777


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    with served_home(tmp_path, *ROUTER, policy=POLICY) as home:
        home.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        yield home


@contextmanager
def listening(home: Home, *ports: int) -> Iterator[None]:
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(EchoServer(home.console, TCP, port))
        yield


def freeze(home: Home) -> None:
    """Brings an incident over the console."""
    for port in range(100, 100 + INCIDENT_AFTER):
        with refused(606):
            home.point().add(port)
    (incident,) = home.ask("GET", "/v1/incidents")
    assert (incident["device"], incident["action"]) == (home.console.mac, "freeze")


def ask_natpmp(line: Talk, port: int, suggested: int = 0, lifetime: int = LEASE_S) -> int:
    """The result code of a mapping request."""
    answer = natpmp.parse_response(
        line.ask(natpmp.build_request(natpmp.MappingRequest(TCP, port, suggested, lifetime)))
    )
    assert isinstance(answer, natpmp.MappingResponse)
    return answer.result


@pytest.mark.spec("SR-6", "SR-7")
def test_a_frozen_device_renews_its_mappings_and_cannot_change_them(home: Home) -> None:
    point, point2 = home.point(), home.point(igd_version=IgdVersion.IGD2)
    peer, friend = home.peer, home.lab.hosts["peer2"]
    address6 = home.console.address6
    only4, only6 = PcpFilter(128, 0, friend.address), PcpFilter(128, 0, friend.address6)
    with (
        listening(home, ELSEWHERE, *range(5000, 5006), 6001, 6002),
        talk(home.console) as line,
        talk(home.console, address6, GATEWAY6) as line6,
    ):
        point.add(5000)
        point.add(5001, NewEnabled=0)
        for port in (5002, 5003, 5004):
            assert line.map(port, port, LEASE_S, only4).result == 0
        point.add(5005)
        assert ask_natpmp(line, 5004) == 0, "the same mapping, with the filter that is in force"
        for port in (6001, 6002):
            assert line6.map(port, 0, LEASE_S, only6).result == 0
        number = pinhole(point2, 6003)

        def shut() -> None:
            """Checks that each port that was shut before the incident is still shut."""
            assert home.shut(5001), "disabled"
            for port in (5002, 5003, 5004):
                assert home.shut(port), f"{port} is for the other peer"
                assert home.reach(port, peer="peer2").answered_by == "console"
            for port in (6001, 6002):
                assert not at(peer, address6, port, timeout=SHUT_S), f"{port} is for the other peer"
                assert at(friend, address6, port).answered_by == "console"
            assert not at(peer, address6, ELSEWHERE, timeout=SHUT_S)
            assert home.shut(ELSEWHERE)
            for port in (5000, 5005):
                assert home.reach(port).answered_by == "console"

        def moved() -> bool:
            return any(row["internal_port"] == ELSEWHERE for row in home.rows())

        shut()
        freeze(home)
        attempts: dict[str, Callable[[], object]] = {
            "another internal port, AddPortMapping": lambda: point.add(5000, NewInternalPort=ELSEWHERE),
            "another internal port, AddAnyPortMapping": lambda: point2.add_any(5000, NewInternalPort=ELSEWHERE),
            "enabled, AddPortMapping": lambda: point.add(5001),
            "without its filter, AddPortMapping": lambda: point.add(5003),
            "without its filter, AddPinhole": lambda: pinhole(point2, 6002),
            "without its filter, UpdatePinhole": lambda: point2.call(
                "UpdatePinhole", SERVICE, UniqueID=unique_ids(home)[6002], NewLeaseTime=LEASE_S
            ),
            "something new, AddPortMapping": lambda: point.add(ELSEWHERE),
            "something new, AddPinhole": lambda: pinhole(point2, ELSEWHERE),
        }
        granted = [what for what, attempt in attempts.items() if not is_refused(attempt)]
        other = PcpFilter(120, 0, peer.address)
        answers = {
            "enabled, NAT-PMP": ask_natpmp(line, 5001) == natpmp.NatPmpResult.REFUSED,
            "without its filter, PCP": line.map(5002, 5002, LEASE_S, CLEAR).result is ResultCode.NOT_AUTHORIZED,
            "one filter more, PCP": line.map(5002, 5002, LEASE_S, other).result is ResultCode.NOT_AUTHORIZED,
            "without its filter, PCP, IPv6": line6.map(6001, 0, LEASE_S, CLEAR).result is ResultCode.NOT_AUTHORIZED,
        }
        granted += [what for what, no in answers.items() if not no]
        assert line.map(5004, 0, 0).result == 0, "the lease with the filter ends, the one over NAT-PMP goes on"
        shut()
        assert not granted
        assert not moved()

        point.add(5000, NewLeaseDuration=LEASE_S)
        assert ask_natpmp(line, 5005) == 0
        assert ask_natpmp(line, 5004) == 0
        assert line.map(5002, 0, LEASE_S).result == 0
        assert line6.map(6001, 0, LEASE_S).result == 0
        point2.call("UpdatePinhole", SERVICE, UniqueID=number, NewLeaseTime=LEASE_S)
        point.add(5001, NewEnabled=0)
        point.add(5005, NewEnabled=0)
        assert home.shut(5005)
        with refused(606):
            point.add(5005)
        assert ask_natpmp(line, 5005) == natpmp.NatPmpResult.REFUSED
        assert home.shut(5005), "what it has closed stays closed"

        home.daemon.cli("release", str(home.console.address))
        point.add(5000, NewInternalPort=ELSEWHERE)
        assert home.reach(5000).answered_by == "console"
        assert moved()
        assert ask_natpmp(line, 5004) == 0
        assert home.reach(5004), "its client asked for anyone"


def is_refused(attempt: Callable[[], object]) -> bool:
    """True where the action is answered with 606, False where it is carried out."""
    with suppress(Fault):
        attempt()
        return False
    with refused(606):
        attempt()
    return True


def unique_ids(home: Home) -> dict[int, int]:
    """Internal port -> UniqueID of every pinhole."""
    return {
        row["external_port"]: int(row["id"][1:]) % 65536 for row in home.rows() if ":" in row["internal_client"]
    }


@pytest.mark.spec("SR-5")
def test_another_internal_port_of_the_same_mapping_is_one_of_the_days_ports(
    namespaces: None, tmp_path: Path
) -> None:
    """The built-in home policy: 12 different ones a day."""
    with served_home(tmp_path, *ROUTER, policy=None) as home, listening(home, 20_011, 20_012):
        point = home.point()
        moves = {port: partial(point.add, 5000, NewInternalPort=port) for port in range(20_000, 20_020)}
        granted = [port for port, move in moves.items() if not is_refused(move)]
        assert granted == list(range(20_000, 20_012))
        (row,) = home.rows()
        assert row["internal_port"] == 20_011
        assert home.reach(5000).answered_by == "console"
        point.add(5000, NewInternalPort=20_000)
        assert not home.reach(5000), "it leads to the first one again, and nothing listens there"


FOR_PC = f"""
version = 1
default = "deny"
[device.console]
mac = ["{CONSOLE.mac}"]
[[grant]]
name = "for-pc"
who = "console"
for = ["192.168.77.20"]
[[grant]]
name = "own"
who = "*"
"""


def test_a_mapping_that_leads_to_another_host_and_back_ends_when_the_address_moves(
    namespaces: None, tmp_path: Path
) -> None:
    """By a grant with ``for`` it may lead to another host; the last request counts, not the first."""
    with served_home(tmp_path, *ROUTER, policy=FOR_PC) as home, home.watch() as watch:
        console, pc, gateway = home.console, home.pc, home.gateway.address
        point = home.point()
        wake(home, "pc")
        for port, clients in {
            7000: (pc, console),
            7001: (console,),
            7002: (console, pc),
        }.items():
            for client in clients:
                point.add(port, NewInternalClient=client.address)
        with ExitStack() as stack:
            for host in (console, pc):
                for port in (7000, 7001, 7002):
                    stack.enter_context(EchoServer(host, TCP, port))
            leads_to = {port: home.reach(port).answered_by for port in (7000, 7001, 7002)}
            assert leads_to == {7000: "console", 7001: "console", 7002: "pc"}
            with home.lab.unplugged("console"):
                taken, way = f"addr {{}} {console.address}/32 dev eth0", f"route {{}} {gateway}/32 dev eth0"
                pc.ip(taken.format("add"), way.format("add") + f" src {console.address}")
                pc.ip("neigh flush dev eth0")  # so that it asks for the gateway, and is seen asking
                wake(home, "pc")
                for port in (7000, 7001):
                    watch.wait("removed", external_port=port, why="device-moved", device=console.mac)
                    assert home.shut(port)
                pc.ip(way.format("del"), taken.format("del"))
            assert home.reach(7002).answered_by == "pc"
            assert [row["external_port"] for row in home.rows()] == [7002]
