"""The table comes, changes and goes: start, restart, another mode, another firewall, uninstall."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.fixtures.firewall_driver import NETWORK, Driver, driving, forward, settings
from upnp_gw.firewall.base import FirewallMode, Open, Refill
from upnp_gw.firewall.libnftables import LoadedLibrary
from upnp_gw.firewall.nftables import NftablesFirewall, uninstall
from upnp_gw.firewall.nftables.ruleset import structure
from upnp_gw.lab import Host
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.network import Link

ROUTER, ALONGSIDE = FirewallMode.ROUTER, FirewallMode.ALONGSIDE
FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
OTHER = """table inet fw4 {
    chain forward {
    type filter hook forward priority filter; policy drop;
    }
}
"""


@pytest.fixture
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    for switch in FORWARDING:  # some kernels start a namespace with the first one's values
        host.sysctl(switch, "0")
    host.ip("link add wan0 type veth peer name wan0-far")
    host.sysctl("net/ipv6/conf/wan0/accept_ra", "1")
    yield host
    host.close()


@pytest.fixture
def driver(bare: Host) -> Iterator[Driver[NftablesFirewall]]:
    with driving(NftablesFirewall(), bare) as driver:
        yield driver


def forwards(host: Host) -> list[str]:
    return [host.sysctl(switch) for switch in FORWARDING]


def chains(host: Host) -> str:
    return host.run(["nft", "list", "chains"]).stdout


def removed(host: Host) -> bool:
    def work() -> bool:
        with host.inside():
            return uninstall()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@pytest.mark.lab
def test_alongside_touches_nothing_but_its_own_table(driver: Driver[NftablesFirewall], bare: Host) -> None:
    bare.nft(OTHER)
    before = bare.run(["nft", "list", "table", "inet", "fw4"]).stdout
    driver.open(settings(ALONGSIDE))
    assert forwards(bare) == ["0", "0"]
    assert bare.run(["nft", "list", "table", "inet", "fw4"]).stdout == before
    assert removed(bare)
    assert bare.run(["nft", "list", "ruleset"]).stdout == before
    assert not removed(bare)


@pytest.mark.lab
@pytest.mark.spec("SR-3")
def test_router_mode_forwards_while_its_drops_stand(driver: Driver[NftablesFirewall], bare: Host) -> None:
    driver.open(settings(ROUTER))
    assert forwards(bare) == ["1", "1"]
    assert bare.sysctl("net/ipv6/conf/wan0/accept_ra") == "2", "the WAN keeps its IPv6 address"
    driver.close(flush=True)
    assert forwards(bare) == ["1", "1"]
    assert "chain input" in chains(bare)
    assert removed(bare)
    assert forwards(bare) == ["0", "0"]
    assert "upnp_gw" not in chains(bare)


@pytest.mark.lab
def test_router_mode_refuses_where_another_table_filters(driver: Driver[NftablesFirewall], bare: Host) -> None:
    bare.nft(OTHER)
    with pytest.raises(FirewallError, match="chain inet fw4 forward already filters"):
        driver.open(settings(ROUTER))
    assert "upnp_gw" not in chains(bare)
    assert forwards(bare) == ["0", "0"]
    driver.open(settings(ROUTER, allow_other_forward=True))
    assert forwards(bare) == ["1", "1"]


@pytest.mark.lab
def test_from_router_to_alongside_forwarding_goes_first(driver: Driver[NftablesFirewall], bare: Host) -> None:
    driver.open(settings(ROUTER))
    driver.open(settings(ALONGSIDE))
    assert forwards(bare) == ["0", "0"]
    assert "chain input" not in chains(bare)


@pytest.mark.lab
@pytest.mark.parametrize("mode", list(FirewallMode))
def test_leases_outlive_a_restart_and_rules_are_brought_up_to_date(bare: Host, mode: FirewallMode) -> None:
    with driving(NftablesFirewall(), bare) as first:
        first.open(settings(mode))
        first.apply(Open(forward("m1")), Open(forward("m2", 80, timeout_s=60)))
    renamed = replace(NETWORK, lans=(Link("br-lan.1", 9, True),))
    with driving(NftablesFirewall(), bare) as second:
        second.open(settings(mode, renamed, hairpin="same"))
        left = second.read().left_s
        assert set(left) == {"m1", "m2"}
        assert left["m2"] <= 60
        table = bare.run(["nft", "list", "table", "inet", "upnp_gw"]).stdout
        assert '"br-lan.1"' in table
        assert '"lan0"' not in table
        assert "oifname != @same_lan drop" in table or "iifname . oifname != @same_lan drop" in table
        second.apply(Refill((forward("m1"),)))
        assert second.ids() == {"m1"}


@pytest.mark.lab
def test_another_size_or_a_damaged_table_is_built_anew(driver: Driver[NftablesFirewall], bare: Host) -> None:
    driver.open(settings(size=8))
    driver.apply(Open(forward("m1")))
    driver.open(settings(size=16))
    assert driver.ids() == set(), "its caller refills"
    driver.apply(Refill((forward("m1"),)))
    bare.nft("flush chain inet upnp_gw special_lookup\ndelete map inet upnp_gw pm_ip_rh")
    driver.open(settings(size=16))
    driver.apply(Refill((forward("m1"),)))
    assert driver.ids() == {"m1"}


@pytest.mark.lab
def test_a_failed_apply_after_a_foreign_flush_heals_by_open_and_refill(
    driver: Driver[NftablesFirewall], bare: Host
) -> None:
    driver.open(settings())
    driver.apply(Open(forward("m1")))
    bare.nft("flush ruleset")
    with pytest.raises(FirewallError):
        driver.apply(Open(forward("m2", 80)))
    driver.open(settings())
    driver.apply(Refill((forward("m1"),)))
    assert driver.ids() == {"m1"}


@pytest.mark.lab
def test_an_impossible_interface_name_installs_nothing(driver: Driver[NftablesFirewall], bare: Host) -> None:
    for name in ('x" accept', "a b", "", "a" * 16, "lan*", "é"):
        with pytest.raises(FirewallError, match="interface name"):
            driver.open(settings(network=replace(NETWORK, wan=Link(name, 1, True))))
    assert "upnp_gw" not in chains(bare)


@pytest.mark.lab
def test_a_listing_of_the_others_is_without_our_table(driver: Driver[NftablesFirewall], bare: Host) -> None:
    bare.nft(OTHER)
    driver.open(settings())
    listing = driver.do(driver.firewall.read_ruleset())
    tables = [item["table"]["name"] for item in listing["nftables"] if "table" in item]
    assert tables == ["fw4"]


def test_a_missing_library_names_the_package() -> None:
    with pytest.raises(FirewallError, match="apt install libnftables1"):
        LoadedLibrary("libnftables.so.404")


CRASHES = """
import ctypes, sys
from upnp_gw.model.errors import FirewallError
from upnp_gw.firewall.libnftables import check_library

check_library()
check_library(lambda: sys.exit("the library is missing"))
try:
    check_library(lambda: ctypes.string_at(0))
except FirewallError as error:
    print(error)
"""


def test_a_library_that_crashes_on_the_ruleset_is_reported_before_the_daemon_needs_it() -> None:
    ran = subprocess.run([sys.executable, "-c", CRASHES], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.match(r"libnftables crashes when it reads the tables.*Upgrade libnftables1", ran.stdout)


@pytest.mark.parametrize("mode", FirewallMode)
def test_every_set_of_one_part_names_its_field(mode: FirewallMode) -> None:
    """A ``{ type ipv4_addr; }`` that nft 1.1 made makes nft 1.0.6 crash; ``{ typeof ip saddr; }`` does not."""
    declared = re.findall(r"(?:set|map) (\w+) \{ (type(?:of)?) ([^;]+);", structure(settings(mode)))
    assert {"wan", "external", "pm"} <= {name for name, _, _ in declared}
    wrong = [name for name, word, kind in declared if word == "type" and " . " not in kind.split(":")[0]]
    assert wrong == []


@pytest.mark.lab
@pytest.mark.parametrize("mode", list(FirewallMode))
def test_a_listing_of_the_table_loads_again(
    driver: Driver[NftablesFirewall], bare: Host, mode: FirewallMode
) -> None:
    """An operator who saves the whole ruleset also saves our table: nft must load the file at the next boot."""
    driver.open(settings(mode))
    driver.apply(Open(forward(remote="203.0.113.0/24")), Open(forward("m2", 443, "2001:db8::1")))
    driver.close()
    saved = bare.run(["nft", "list", "ruleset"]).stdout
    bare.nft(f"flush ruleset\n{saved}")
    again = bare.run(["nft", "list", "ruleset"]).stdout
    assert [line.split("expires")[0] for line in again.split("\n")] == [
        line.split("expires")[0] for line in saved.split("\n")
    ]
