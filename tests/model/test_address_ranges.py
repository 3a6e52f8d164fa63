"""Sets of addresses against Python's own sets, over a small universe in each family."""

import itertools
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upnp_gw.model.address_ranges import (
    AFTER_ALL,
    EVERY_ADDRESS,
    NO_ADDRESSES,
    TOGETHER,
    AddressRanges,
    IPAddress,
    IPNetwork,
)

BASE4, BASE6 = int(IPv4Address("255.255.255.240")), int(IPv6Address("2001:db8::"))
UNIVERSE: list[IPAddress] = [
    *(IPv4Address(BASE4 + number) for number in range(16)),
    *(IPv6Address(BASE6 + number) for number in range(16)),
]
"""The last addresses of IPv4, and some of IPv6."""


def prefix(version: int, length: int, place: int) -> IPNetwork:
    size = 1 << (4 - length)
    at = place % 16 // size * size
    if version == 4:
        return IPv4Network((BASE4 + at, 28 + length))
    return IPv6Network((BASE6 + at, 124 + length))


networks = st.lists(st.builds(prefix, st.sampled_from([4, 6]), st.integers(0, 4), st.integers(0, 15)), max_size=6)


def members(nets: list[IPNetwork]) -> set[IPAddress]:
    return {address for address in UNIVERSE if any(address in net for net in nets)}


def found(ranges: AddressRanges) -> set[IPAddress]:
    return {address for address in UNIVERSE if ranges.has(address)}


@given(networks, networks)
def test_the_operations_are_those_of_sets(one: list[IPNetwork], two: list[IPNetwork]) -> None:
    first, second = AddressRanges.of(one), AddressRanges.of(two)
    assert found(first) == members(one)
    assert found(first | second) == members(one) | members(two)
    assert found(first & second) == members(one) & members(two)
    assert found(first - second) == members(one) - members(two)
    assert (first == second) == (members(one) == members(two)) == (first.digest == second.digest)
    assert bool(first) == bool(members(one))
    assert EVERY_ADDRESS - (EVERY_ADDRESS - first) == first
    assert first - first == NO_ADDRESSES


@given(networks, st.builds(prefix, st.sampled_from([4, 6]), st.integers(0, 4), st.integers(0, 15)))
def test_a_prefix_is_inside_or_meets_a_set(nets: list[IPNetwork], net: IPNetwork) -> None:
    ranges, there = AddressRanges.of(nets), {address for address in UNIVERSE if address in net}
    assert ranges.includes(net) == (there <= members(nets))
    assert ranges.meets(net) == bool(there & members(nets))
    assert ranges.within(net) == ranges & AddressRanges.of([net])


@given(networks)
def test_runs_prefixes_and_edges_say_the_same(nets: list[IPNetwork]) -> None:
    ranges = AddressRanges.of(nets)
    for version in (4, 6):
        runs = list(ranges.spans(version))
        assert all(first <= last for first, last in runs)
        assert all(last + 1 < after for (_, last), (after, _) in itertools.pairwise(runs))
        assert ranges.count(version) == len(runs)
        assert ranges.any_of(version) == bool(runs)
        assert AddressRanges.of(ranges.networks(version)) == AddressRanges.of(
            net for net in nets if net.version == version
        )
    for address in UNIVERSE:
        edge = ranges.next_edge(address.version, int(address))
        same = [a for a in UNIVERSE if a.version == address.version and int(address) <= int(a) < edge]
        assert {ranges.has(a) for a in same} == {ranges.has(address)}


def test_families_are_apart_and_all_is_all() -> None:
    four = AddressRanges.of([ip_network("0.0.0.0/0")])
    assert four.has(IPv4Address("255.255.255.255"))
    assert not four.has(IPv6Address("::1"))
    assert four | AddressRanges.of([ip_network("::/0")]) == EVERY_ADDRESS
    assert EVERY_ADDRESS.next_edge(6, 0) == 1 << 128 < AFTER_ALL
    assert NO_ADDRESSES.next_edge(4, 0) == AFTER_ALL
    assert repr(four).startswith("AddressRanges(1 runs of IPv4, 0 of IPv6")


@pytest.mark.parametrize("count", [100_000])
def test_a_hundred_thousand_prefixes_are_looked_up_in_few_steps(count: int) -> None:
    ranges = AddressRanges.of(IPv4Network((number << 9, 24)) for number in range(count))
    assert ranges.count(4) == count
    assert ranges.has(IPv4Address((count - 1) << 9))
    assert not ranges.has(IPv4Address(((count - 1) << 9) + 256))


@given(networks, networks)
def test_the_runs_that_differ_are_those_after_the_same_ones_and_before_the_same_ones(
    one: list[IPNetwork], two: list[IPNetwork]
) -> None:
    ours, others = AddressRanges.of(one), AddressRanges.of(two)
    for version in (4, 6):
        same, differing, of_other = ours.differing(version, others)
        runs, other_runs = list(ours.spans(version)), list(others.spans(version))
        assert runs[:same] == other_runs[:same]
        assert runs[same + differing :] == other_runs[same + of_other :]
        assert list(ours.some_spans(version, same, differing)) == runs[same : same + differing]
        if differing and of_other:
            assert runs[same] != other_runs[same]
            assert runs[same + differing - 1] != other_runs[same + of_other - 1]


@settings(max_examples=10)
@given(st.integers(0, 1 << 32))
def test_long_lists_in_any_order_are_sorted(seed: int) -> None:
    random = Random(seed)
    numbers = [random.randrange(30_000) for _ in range(2 * TOGETHER + 500)]
    ranges = AddressRanges.of_spans([(number * 2, number * 2) for number in numbers])
    assert [first // 2 for first, _ in ranges.spans(4)] == sorted(set(numbers))
