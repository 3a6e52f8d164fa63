"""The mapping that a key of IGD means, for askers on LANs with and without NAT."""

import gc
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, ip_address

import pytest

from tests.fixtures.mapping_rows import mapping
from upnp_gw.ledger.igd_key import find
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Mapping, MappingKey, Transport
from upnp_gw.model.network import Link, Network
from upnp_gw.model.request import Source

A, B, C, HOME = "11.77.0.10", "11.77.0.20", "11.77.0.30", "192.168.88.10"
NETWORK = Network(
    Link("wan0", 1, True, (IPv4Interface("11.22.33.44/24"),)),
    (
        Link("lan0", 2, True, (IPv4Interface("11.77.0.1/24"),)),
        Link("lan1", 3, True, (IPv4Interface("192.168.88.1/24"),)),
    ),
    external=(IPv4Address("11.22.33.44"),),
    without_nat=frozenset({"lan0"}),
)
WITH_NAT = replace(NETWORK, without_nat=frozenset())


def own(number: int, client: str, port: int = 443, **more: object) -> Mapping:
    """A pinhole of the device that is called as its address."""
    return mapping(number, port, client=client, nat=False, **{"device": client, **more})  # type: ignore[arg-type]


def gateways(number: int, client: str = HOME, **more: object) -> Mapping:
    """A port mapping of the gateway's port 443."""
    return mapping(number, 443, client=client, **{"device": client, **more})  # type: ignore[arg-type]


CASES: dict[str, tuple[list[Mapping], str, str | None]] = {
    "each its own": ([own(1, A), own(2, B)], A, "m1"),
    "the other its own": ([own(1, A), own(2, B)], B, "m2"),
    "another's is not in its way": ([own(1, A)], C, None),
    "another's without NAT, asked for with NAT": ([own(1, A)], HOME, None),
    "its own port, held by another device": ([own(1, A, device=B)], A, "m1"),
    "the one that it holds for another host": ([own(1, A, device=B), own(2, C)], B, "m1"),
    "one of two that it holds": ([own(1, A, device=B), own(2, C, device=B)], B, None),
    "the gateway's, with NAT": ([gateways(1), own(2, A)], HOME, "m1"),
    "the gateway's of another device, with NAT": ([gateways(1, device="x"), own(2, A)], HOME, "m1"),
    "the gateway's, without NAT": ([gateways(1)], A, None),
    "the gateway's that it holds for another host": ([gateways(1, device=A)], A, "m1"),
    "another port": ([own(1, A, 80)], A, None),
    "over IPv6, its own": ([own(1, A), own(2, B)], "fe80::a", None),
}


@pytest.mark.spec("IGD-207")
@pytest.mark.parametrize("name", CASES)
def test_the_mapping_that_is_meant(name: str) -> None:
    rows, asker, expected = CASES[name]
    table = MappingTable()
    for row in rows:
        table.put(row)
    interface = "lan1" if asker == HOME else "lan0"
    key = MappingKey(Transport.TCP, None, 443, None)
    found = find(table, NETWORK, key, Source(ip_address(asker), interface), asker)
    assert (found.id if found else None) == expected


def test_a_device_that_asks_over_ipv6_means_its_only_pinhole() -> None:
    table = MappingTable()
    for row in (own(1, A, device="console"), own(2, B)):
        table.put(row)
    source, key = Source(ip_address("fe80::a"), "lan0"), MappingKey(Transport.TCP, None, 443, None)
    found = find(table, NETWORK, key, source, "console")
    assert found is not None
    assert found.id == "m1"


def test_with_nat_the_mapping_of_the_primary_address_is_found_too() -> None:
    table, key = MappingTable(), MappingKey(Transport.TCP, None, 443, None)
    external = NETWORK.external[0]
    table.put(gateways(1, key=key._replace(external_address=external)))
    for network in (NETWORK, WITH_NAT):
        found = find(table, network, key, Source(ip_address(HOME), "lan1"), HOME)
        assert found is not None
        exact = find(table, network, key._replace(external_address=external), Source(ip_address(A), "lan0"), A)
        assert exact == found


@pytest.mark.spec("SR-22")
@pytest.mark.parametrize("asker", [C, A])
def test_it_costs_the_same_beside_a_thousand_hosts_with_the_port(asker: str) -> None:
    source, key = Source(ip_address(asker), "lan0"), MappingKey(Transport.TCP, None, 443, None)
    calls = Counter[int]()
    for hosts in (3, 1000):
        table = MappingTable()
        for number in range(hosts):
            table.put(own(number + 1, str(IPv4Address("11.78.0.1") + number)))

        def count(frame: object, event: str, argument: object, hosts: int = hosts) -> None:
            calls[hosts] += event == "call"

        gc.collect()
        gc.disable()  # the calls of finalizers would be counted
        sys.setprofile(count)
        try:
            find(table, NETWORK, key, source, asker)
        finally:
            sys.setprofile(None)
            gc.enable()
    assert calls[3] == calls[1000]
