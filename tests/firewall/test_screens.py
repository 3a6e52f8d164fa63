"""Mappings for the remote hosts of address lists, by packets: who gets in, and who does not after a change."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from tests.fixtures.firewall_driver import Driver, forward, network_of, settings
from tests.fixtures.lab_firewall import Gateway, connected, goes_on, to
from upnp_gw.firewall.base import Close, Cut, Firewall, FirewallMode, Open, Refill, UpdateHosts
from upnp_gw.firewall.tables import set_names
from upnp_gw.lab import Lab
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach
from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import NO_SCREEN, IPAddress, Screen, Transport

TCP, UDP = Transport.TCP, Transport.UDP
OFFICE, BOTS = "h00000000001", "h00000000002"
ONLY, NEVER, BOTH = Screen(only=(OFFICE,)), Screen(never=(BOTS,)), Screen((OFFICE,), (BOTS,))


def ranges(*hosts: IPAddress | str) -> AddressRanges:
    return AddressRanges.of([ip_network(str(host)) for host in hosts])


def lists(office: AddressRanges, bots: AddressRanges) -> Mapping[str, AddressRanges]:
    return {OFFICE: office, BOTS: bots}


NOBODY = lists(ranges(), ranges())


@pytest.mark.lab
@pytest.mark.parametrize("transport", [TCP, UDP])
def test_only_the_hosts_that_pass_get_in_and_the_kernel_follows_a_list(
    gateway: Gateway, fresh_lab: Lab, transport: Transport
) -> None:
    lab = fresh_lab
    console, one, two = lab.hosts["console"], lab.hosts["peer1"], lab.hosts["peer2"]
    v4, external, ports = str(console.address), lab.external[0], (4001, 4002, 4003, 4004)
    more: dict[str, Any] = {"transport": transport}
    gateway.apply(UpdateHosts(lists(ranges(one.address), ranges(two.address))))
    gateway.apply(
        Open(replace(forward("m1", 4001, v4, 3074, **more), screen=ONLY)),
        Open(replace(forward("m2", 4002, v4, 3074, keep=False, **more), screen=NEVER)),
        Open(replace(forward("m3", 4003, v4, 3074, keep=False, **more), screen=BOTH)),
        Open(forward("m4", 4004, v4, 3074, keep=False, **more)),
    )

    def seen() -> list[set[int]]:
        """The ports at which each peer reaches the console."""
        return [
            {port for port in ports if reach(peer, transport, external, port, timeout=REFUSED_S)}
            for peer in (one, two)
        ]

    with EchoServer(console, transport, 3074):
        assert seen() == [{4001, 4002, 4003, 4004}, {4004}]
        gateway.apply(UpdateHosts(lists(ranges(two.address), ranges(one.address))))
        assert seen() == [{4004}, {4001, 4002, 4003, 4004}]
        gateway.apply(UpdateHosts(NOBODY))
        assert seen() == [{4002, 4004}, {4002, 4004}]


@pytest.mark.lab
def test_a_pinhole_lets_in_only_the_hosts_that_pass(router: Gateway, fresh_lab: Lab) -> None:
    console, one, two = (fresh_lab.hosts[name] for name in ("console", "peer1", "peer2"))
    hole = replace(forward("m6", 3074, str(console.address6)), screen=NEVER)
    router.apply(UpdateHosts(lists(ranges(), ranges(two.address6))), Open(hole))
    with EchoServer(console, TCP, 3074):
        assert reach(one, TCP, console.address6, 3074)
        assert not reach(two, TCP, console.address6, 3074, timeout=REFUSED_S)
        router.apply(UpdateHosts(lists(ranges(), ranges("2001:db8::/32", one.address6))))
        assert not reach(one, TCP, console.address6, 3074, timeout=REFUSED_S)
        assert reach(two, TCP, console.address6, 3074)


@pytest.mark.lab
def test_a_cut_ends_the_flows_of_hosts_that_no_longer_pass_and_no_others(router: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    console, one, two = lab.hosts["console"], lab.hosts["peer1"], lab.hosts["peer2"]
    mapping = replace(to(lab, "console", "m1", 443), screen=NEVER)
    router.apply(UpdateHosts(NOBODY), Open(mapping))
    external = str(lab.external[0])
    with connected(console, (one, external, 443, 0), (two, external, 443, 0)) as pairs:
        router.apply(UpdateHosts(lists(ranges(), ranges(one.address))), Open(mapping))
        router.apply(Cut(replace(mapping, screen=NO_SCREEN)))
        router.do(router.firewall.settled())
        assert [goes_on(*pair) for pair in pairs] == [False, True]


@pytest.mark.lab
def test_a_screen_that_nobody_needs_leaves_the_kernel(router: Gateway, fresh_lab: Lab) -> None:
    plain = names(fresh_lab)
    router.apply(UpdateHosts(NOBODY))
    mapping = replace(to(fresh_lab, "console", "m1", 443), screen=BOTH)
    router.apply(Open(mapping))
    assert {f"{OFFICE}_4", f"{BOTS}_6", f"pm__{BOTH.name}"} < names(fresh_lab)
    router.apply(Close(mapping), UpdateHosts({}))
    assert names(fresh_lab) == plain


@pytest.mark.lab
def test_a_new_start_fills_the_screens_again_and_removes_old_ones(router: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    one, console = lab.hosts["peer1"], lab.hosts["console"]
    old = replace(to(lab, "console", "m1", 443), screen=BOTH)
    router.apply(UpdateHosts(NOBODY), Open(old))
    hosts = lists(ranges(one.address), ranges())
    router.open(settings(FirewallMode.ROUTER, network_of(lab)))
    assert not {name for name in names(lab) if BOTH.name in name or name.startswith(BOTS)}
    router.apply(UpdateHosts(hosts), Refill((replace(to(lab, "console", "m1", 443), screen=ONLY),)))
    with EchoServer(console, TCP, 443):
        assert reach(one, TCP, lab.external[0], 443)
        assert not reach(lab.hosts["peer2"], TCP, lab.external[0], 443, timeout=REFUSED_S)


@pytest.mark.lab
def test_a_table_that_is_gone_is_made_again_with_its_lists(router: Gateway, fresh_lab: Lab) -> None:
    lab = fresh_lab
    one, two, console = lab.hosts["peer1"], lab.hosts["peer2"], lab.hosts["console"]
    hosts = lists(ranges(), ranges(one.address))
    mapping = replace(to(lab, "console", "m1", 443), screen=NEVER)
    router.apply(UpdateHosts(hosts), Open(mapping))
    lab.gateway.nft("delete table inet upnp_gw")
    router.open(settings(FirewallMode.ROUTER, network_of(lab)))
    router.apply(UpdateHosts(hosts), Refill((mapping,)))
    with EchoServer(console, TCP, 443):
        assert not reach(one, TCP, lab.external[0], 443, timeout=REFUSED_S)
        assert reach(two, TCP, lab.external[0], 443)


@pytest.mark.lab
def test_a_change_that_is_refused_leaves_the_lists_as_they_were(router: Gateway, fresh_lab: Lab) -> None:
    lab, console = fresh_lab, fresh_lab.hosts["console"]
    one = lab.hosts["peer1"]
    mapping = replace(to(lab, "console", "m1", 443), screen=NEVER)
    router.apply(UpdateHosts(NOBODY), Open(mapping))
    other = to(lab, "console", "m2", 443)
    with pytest.raises(FirewallError):
        router.apply(UpdateHosts(lists(ranges(), ranges(one.address))), Open(other), Open(replace(other, id="m3")))
    with EchoServer(console, TCP, 443):
        assert reach(one, TCP, lab.external[0], 443)


def names(lab: Lab) -> set[str]:
    with lab.gateway.inside():
        return set(set_names())


def test_a_forward_for_hosts_that_are_not_there_is_refused(any_firewall: Driver[Firewall]) -> None:
    any_firewall.open(settings())
    screened = replace(forward(), screen=NEVER)
    with pytest.raises(FirewallError, match="a list that is not there"):
        any_firewall.apply(Open(screened))
    assert any_firewall.ids() == set()
    any_firewall.apply(UpdateHosts(NOBODY), Open(screened))
    assert any_firewall.ids() == {"m1"}


def test_a_mapping_changes_its_screen_and_keeps_its_place(any_firewall: Driver[Firewall]) -> None:
    any_firewall.open(settings())
    any_firewall.apply(UpdateHosts(NOBODY))
    for screen in (NO_SCREEN, NEVER, BOTH, NO_SCREEN, ONLY):
        any_firewall.apply(Open(replace(forward(), screen=screen)))
        assert any_firewall.ids() == {"m1"}
    any_firewall.apply(Close(replace(forward(), screen=ONLY)))
    assert any_firewall.ids() == set()


def test_what_is_refused_takes_the_lists_back(any_firewall: Driver[Firewall]) -> None:
    any_firewall.open(settings())
    any_firewall.apply(UpdateHosts({OFFICE: ranges("203.0.113.0/24")}), Open(forward("m1")))
    with pytest.raises(FirewallError):
        any_firewall.apply(UpdateHosts({BOTS: ranges()}), Open(forward("m2")), Open(forward("m3")))
    any_firewall.apply(Open(replace(forward("m4", 4444), screen=ONLY)))
    assert any_firewall.ids() == {"m1", "m4"}
