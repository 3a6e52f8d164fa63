"""The kernel refuses, others change our table, the library is missing: answers, and mappings in force."""

import time
from collections.abc import Iterator

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import TCP, UDP
from tests.lab.igd_control_point import refused
from tests.soak.household import Household, household
from upnp_gw.lab.daemon import DaemonFailed
from upnp_gw.lab.probe import EchoServer

pytestmark = pytest.mark.lab

FIREWALLD = """
table inet firewalld
delete table inet firewalld
table inet firewalld {
  chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept; ct status dnat accept; }
  chain nat_POSTROUTING { type nat hook postrouting priority srcnat + 10; policy accept; }
}
"""
"""A reload of firewalld: its own table goes and comes in one transaction."""
NFTABLES_SERVICE = """
flush ruleset
table inet filter { chain forward { type filter hook forward priority filter; policy accept; }; }
"""
"""A reload of the nftables service: everybody's tables go."""


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("d")) as home:
        yield home


@pytest.fixture
def home(module_home: Household) -> Iterator[Household]:
    yield module_home
    assert module_home.disagreement() == ""
    assert module_home.unproved() == ""
    module_home.clear()


@pytest.mark.parametrize(
    "complaint", ["Device or resource busy", "Cannot allocate memory", "Too many open files in system"]
)
def test_a_failing_kernel_refuses_only_requests_that_change_it(home: Household, complaint: str) -> None:
    point = home.point()
    point.add(8080)
    with home.daemon.faulty("kernel", complaint):
        with refused(501):
            point.add(8081)
        with refused(501):
            point.delete(8080)
        with refused(606):
            point.add(8082, NewInternalClient=home.pc.address)
        assert point.specific(8080)["NewInternalPort"] == "8080"
    assert [row["external_port"] for row in home.rows()] == [8080]
    point.add(8081)
    point.delete(8080)
    assert any("Traceback" in line for line in home.daemon.output) is False


def test_a_table_that_cannot_be_installed_again_is_tried_until_it_can(home: Household) -> None:
    home.point().add(3074, UDP)
    with EchoServer(home.console, UDP, 3074), home.watch() as watch:
        with home.daemon.faulty("kernel", "Cannot allocate memory"):
            home.gateway.nft("flush ruleset")
            assert until(lambda: any("cannot be installed again" in line for line in home.daemon.output))
            with refused(501):
                home.point().add(8080)
            with refused(606):
                home.point().add(8081, NewInternalClient=home.pc.address)
        watch.wait("healed")
        assert home.reach(3074, UDP)


def test_a_full_map_is_reported_as_full(home: Household) -> None:
    """Elements that somebody else put there take the room; they go with the heal, and there is room again."""
    home.point().add(8080)
    before = home.ask("GET", "/v1/status")["healed"]
    many = ", ".join(f"tcp . {port} timeout 1h : 192.168.77.10 . 80" for port in range(20000, 22040))
    home.gateway.nft(f"add element inet upnp_gw pm {{ {many} }}")
    assert until(lambda: home.ask("GET", "/v1/status")["healed"] > before)
    home.point().add(8081)
    assert len(home.installed()) == 2


@pytest.mark.parametrize(
    "by_hand",
    [
        "add element inet upnp_gw pm { tcp . 9999 timeout 1h : 192.168.77.10 . 9999 }",
        "insert rule inet upnp_gw forward accept",
        "flush chain inet upnp_gw postrouting",
        "flush set inet upnp_gw live",
    ],
)
def test_manual_changes_are_undone_in_under_a_second(home: Household, by_hand: str) -> None:
    """The best of three: a loaded machine has pauses of its own."""
    home.point().add(8080)
    with EchoServer(home.console, TCP, 9999), EchoServer(home.console, TCP, 8080):

        def heal_s() -> float:
            before = home.ask("GET", "/v1/status")["healed"]
            begun = time.monotonic()
            home.gateway.nft(by_hand)
            assert until(lambda: home.ask("GET", "/v1/status")["healed"] > before)
            return time.monotonic() - begun

        assert any(heal_s() < 1.0 for _ in range(3))
        assert home.shut(9999)
        assert home.reach(8080)
    assert any("installed again" in line for line in home.daemon.output), "it is logged"


def test_firewalld_reloads_beside_us(home: Household) -> None:
    home.point().add(3074, UDP)
    before = home.ask("GET", "/v1/status")["healed"]
    with EchoServer(home.console, UDP, 3074):
        for _ in range(5):
            home.gateway.nft(FIREWALLD)
            assert home.reach(3074, UDP)
    assert home.ask("GET", "/v1/status")["healed"] == before
    home.gateway.nft("delete table inet firewalld")


def test_the_nftables_service_reloads_beside_us(home: Household) -> None:
    home.point().add(3074, UDP)
    with EchoServer(home.console, UDP, 3074):
        for _ in range(3):
            with home.watch() as watch:
                home.gateway.nft(NFTABLES_SERVICE)
                watch.wait("healed")
            assert home.reach(3074, UDP)
    assert "table inet filter" in home.gateway.run(["nft", "list", "tables"]).stdout, "and theirs is left alone"
    home.gateway.nft("delete table inet filter")


def test_without_the_library_the_package_is_named(home: Household) -> None:
    home.daemon.stop()
    with (
        home.daemon.faulty("library", "libnftables-that-nobody-has.so.1"),
        pytest.raises(DaemonFailed, match=r"code 1:\n(?s:.*)apt install libnftables1"),
    ):
        home.daemon.start()
    home.daemon.start()
