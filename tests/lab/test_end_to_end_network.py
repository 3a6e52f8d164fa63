"""Changes around active mappings: of addresses and links, of other firewalls, of devices that come and go."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, ended, served_home
from tests.lab.igd_control_point import ControlPoint, Subscriber, refused
from upnp_gw.lab import CONSOLE
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

RECHECK = 'max_ttl = "2s"'
"""The gateway looks after each device every two seconds, not every hour."""


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER, limits=RECHECK) as home:
        yield home


def arrives(home: Home, port: int) -> bool:
    """Sends one datagram. True if it came through at once."""
    return bool(reach(home.peer, UDP, home.external, port, timeout=0.05))


def _served(home: Home, address: IPv4Address) -> bool:
    with suppress(OSError):  # refused until the daemon listens there
        return ControlPoint(home.console, address).external_address() == str(home.external)
    return False


# -- the WAN


@pytest.mark.spec("IGD-196")
def test_a_new_external_address_is_followed(home: Home) -> None:
    other = IPv4Address("11.22.33.99")
    home.point().add(8080)
    with EchoServer(home.console, TCP, 8080), home.watch() as watch:
        home.renumber_wan(other)
        watch.wait("wan")
        assert home.point().external_address() == str(other)
        assert home.reach(8080, address=other)
        assert home.row(8080)["external_address"] == str(other)
        assert not reach(home.peer, TCP, home.external, 8080, timeout=0.3)
        home.renumber_wan(home.external)
        assert until(lambda: bool(home.reach(8080)))


def test_a_wan_interface_that_is_made_again_carries_every_mapping(home: Home) -> None:
    """A ppp0 that redials: the same name, another index."""
    home.point().add(8080)
    home.point().add(3074, UDP)
    with (
        EchoServer(home.console, TCP, 8080),
        EchoServer(home.console, UDP, 3074) as game,
        EchoServer(home.peer, UDP, 3074),
        Subscriber(home.point()) as subscriber,
    ):
        assert home.reach(8080)
        assert subscriber.next()["ConnectionStatus"] == "Connected"
        with home.watch() as watch:
            home.lab.replug_wan()
            watch.wait("wan")
        assert until(lambda: arrives(home, 3074))
        assert home.reach(8080).answered_by == "console"
        assert game.reach(home.peer.address, 3074).seen_port == 3074
        home.point().add(8081)
        assert home.point().external_address() == str(home.external)


def test_a_wan_link_that_was_down_carries_every_mapping(home: Home) -> None:
    home.point().add(3074, UDP)
    with EchoServer(home.console, UDP, 3074), home.watch() as watch:
        home.lab.internet.ip("link set gateway down")
        watch.wait("wan")
        home.lab.internet.ip("link set gateway up")
        assert until(lambda: arrives(home, 3074))


# -- the LAN


def test_a_new_lan_address_is_served_and_mappings_stay(home: Home) -> None:
    old, new = home.gateway.address, IPv4Address("192.168.77.254")
    home.point().add(8080)
    home.gateway.sysctl("net/ipv4/conf/lan0/promote_secondaries", "1")
    with EchoServer(home.console, TCP, 8080):
        try:
            with home.watch() as watch:
                home.gateway.ip(f"addr add {new}/24 dev lan0", f"addr del {old}/24 dev lan0")
                watch.wait("lan")
            for host in (home.console, home.pc):
                host.ip(f"route replace default via {new}")

            assert until(lambda: _served(home, new))
            assert home.reach(8080)
            ControlPoint(home.console, new).add(8081)
            with pytest.raises(OSError, match=r"timed out|refused|route"):
                ControlPoint(home.console, old)
        finally:
            home.gateway.ip(f"addr replace {old}/24 dev lan0", f"addr del {new}/24 dev lan0")
            for host in (home.console, home.pc):
                host.ip(f"route replace default via {old}")
        assert until(lambda: _served(home, old))
        assert home.reach(8080)


# -- other programs at the firewall


@pytest.mark.parametrize(
    "foreign",
    [
        "flush ruleset",
        "delete table inet upnp_gw",
        "flush map inet upnp_gw pm",
        "flush chain inet upnp_gw prerouting",
        "delete element inet upnp_gw pm { udp . 3074 }",
    ],
)
def test_elements_removed_by_others_are_back_in_under_a_second(home: Home, foreign: str) -> None:
    """The best of three: a loaded machine has pauses of its own."""
    point = home.point()
    point.add(3074, UDP)
    with EchoServer(home.console, UDP, 3074):

        def heal_s() -> float:
            assert home.reach(3074, UDP)
            before = healed(home)
            with home.watch() as watch:
                home.gateway.nft(foreign)
                begun = time.monotonic()
                assert until(lambda: arrives(home, 3074))
                took = time.monotonic() - begun
                watch.wait("healed")
            assert healed(home) == before + 1
            assert home.unproved() == ""
            return took

        assert any(heal_s() < 1.0 for _ in range(3))
        point.add(3074, UDP, NewPortMappingDescription="refreshed")
        assert home.reach(3074, UDP)


def healed(home: Home) -> int:
    """The number of times that the daemon had to install its table again."""
    count: int = home.ask("GET", "/v1/status")["healed"]
    return count


@contextmanager
def busy_firewall(home: Home) -> Iterator[None]:
    """Another program that changes its own table all the time."""
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            home.gateway.nft("add table ip foreign\nadd chain ip foreign c\nadd rule ip foreign c counter")
            home.gateway.nft("delete table ip foreign")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_changes_of_others_beside_us_disturb_nothing(home: Home) -> None:
    before = healed(home)
    point = home.point(igd_version=IgdVersion.IGD2)
    with EchoServer(home.console, UDP, 3074), busy_firewall(home):
        for port in range(9000, 9030):
            point.add(port, UDP, NewInternalPort=3074)
        assert all(home.reach(port, UDP) for port in range(9000, 9030))
        for port in range(9000, 9010):
            point.delete(port, UDP)
        assert [point.generic(index)["NewExternalPort"] for index in range(20)]
        with refused(713):
            point.generic(20)
    home.agree()
    assert healed(home) == before


# -- devices that come and go


def wake(home: Home, name: str) -> None:
    """A host says something to the gateway, as one does that wakes: a word to a shut port, which is answered."""
    host, gateway = home.lab.hosts[name], home.gateway.address
    assert until(lambda: reach(host, UDP, gateway, 9, timeout=0.1).how == "reset")


def test_a_console_that_sleeps_is_parked_and_back_within_a_second(home: Home) -> None:
    """The best of three."""
    home.point().add(3074, UDP, NewLeaseDuration=0)
    home.point("pc")
    with EchoServer(home.console, UDP, 3074):
        assert home.reach(3074, UDP)

        def wake_s() -> float:
            with home.watch() as watch:
                with home.lab.unplugged("console"):
                    watch.wait("changed", external_port=3074, state="parked")
                    assert home.installed() == {}
                    with refused(718):
                        home.point("pc").add(3074, UDP)
                wake(home, "console")
                begun = time.monotonic()
                watch.wait("changed", external_port=3074, state="active")
                assert until(lambda: arrives(home, 3074))
                return time.monotonic() - begun

        assert any(wake_s() < 1.0 for _ in range(3))
    assert home.row(3074, UDP)["state"] == "active"


def test_a_mapping_of_a_console_that_stays_is_renewed_without_a_gap(home: Home) -> None:
    home.point().add(3074, UDP, NewLeaseDuration=0)
    mapping = home.row(3074, UDP)["id"]
    left_s = [home.kernel_left_s(mapping)]
    gaps = []

    def renewed_three_times() -> bool:
        gaps.extend([] if arrives(home, 3074) else [time.monotonic()])
        left_s.append(home.kernel_left_s(mapping))
        return sum(later > earlier for earlier, later in pairwise(left_s)) >= 3

    with EchoServer(home.console, UDP, 3074):
        assert until(renewed_three_times), left_s
        assert arrives(home, 3074)
    assert not gaps
    assert min(left_s) > 0


def test_another_device_at_the_address_inherits_nothing(home: Home) -> None:
    console, pc, gateway = home.console, home.pc, home.gateway.address
    home.point().add(8080)
    with (
        EchoServer(console, TCP, 8080),
        EchoServer(pc, TCP, 8080),
        home.watch() as watch,
        dial(home.peer, TCP, home.external, 8080) as call,
    ):
        assert call.ask().answered_by == "console"
        with home.lab.unplugged("console"):
            taken, way = (
                f"addr {{}} {console.address}/32 dev {pc.interface}",
                f"route {{}} {gateway}/32 dev {pc.interface}",
            )
            pc.ip(taken.format("add"), way.format("add") + f" src {console.address}")
            pc.ip(f"neigh flush dev {pc.interface}")  # so that it asks for the gateway, and is seen asking
            wake(home, "pc")
            watch.wait("removed", external_port=8080, why="device-moved", device=CONSOLE.mac)
            assert home.shut(8080)
            pc.ip(way.format("del"), taken.format("del"))
        wake(home, "console")
        assert ended(call), "its flow was cut, not only interrupted"
    assert home.rows() == []
