"""PCP FILTERs in the form that the kernel can hold: the same hosts and ports, no two ranges overlapping."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.ledger.filters import combined_peers, disjoint
from upnp_gw.model.mapping import MOST_FILTERS, IPNetwork, RemotePeers


def peers(text: str, port: int = 0) -> RemotePeers:
    return RemotePeers(ip_network(text), port)


CASES: dict[str, tuple[list[RemotePeers], list[str], set[tuple[str, int]] | None]] = {
    "none is anyone": ([], [], None),
    "the grant's": ([], ["198.51.100.0/24"], {("198.51.100.0/24", 0)}),
    "the client's": ([peers("198.51.100.0/24")], [], {("198.51.100.0/24", 0)}),
    "the client's inside the grant's": (
        [peers("198.51.100.7/32", 9)],
        ["198.51.100.0/24"],
        {("198.51.100.7/32", 9)},
    ),
    "the grant's inside the client's": ([peers("198.51.0.0/16")], ["198.51.100.0/24"], {("198.51.100.0/24", 0)}),
    "apart: nobody": ([peers("203.0.113.0/24")], ["198.51.100.0/24"], set()),
    "everybody is anyone": ([peers("0.0.0.0/0"), peers("203.0.113.0/24")], [], None),
    "everybody, from one port": ([peers("0.0.0.0/0", 53)], [], {("0.0.0.0/0", 53)}),
    "one inside another": ([peers("203.0.113.7/32"), peers("203.0.113.0/24")], [], {("203.0.113.0/24", 0)}),
    "a port of any": ([peers("203.0.113.0/24"), peers("203.0.113.0/24", 9)], [], {("203.0.113.0/24", 0)}),
    "crossing": (
        [peers("203.0.113.0/30", 9), peers("203.0.113.0/31")],
        [],
        {("203.0.113.0/31", 0), ("203.0.113.2/31", 9)},
    ),
}


@pytest.mark.spec("PCP-112", "PCP-116", "PCP-118")
@pytest.mark.parametrize("name", CASES)
def test_reach(name: str) -> None:
    requested, granted, expected = CASES[name]
    found = combined_peers(requested, [ip_network(net) for net in granted])
    if expected is None:
        assert found == (None,)
    else:
        assert {(str(one.network), one.port) for one in found if one} == expected


def prefix(number: int, length: int) -> IPv4Network:
    return IPv4Network((number, length), strict=False)


prefixes = st.builds(prefix, st.integers(0, 255).map(lambda n: 0xCB007100 + n), st.integers(24, 32))
filters = st.lists(st.builds(RemotePeers, prefixes, st.sampled_from([0, 1, 2])), min_size=1, max_size=6)


def lets_in(ranges: list[RemotePeers], address: IPv4Address, port: int) -> int:
    return sum(address in one.network and one.port in (0, port) for one in ranges)


@given(filters)
def test_the_same_peers_and_no_overlap(requested: list[RemotePeers]) -> None:
    found = list(disjoint(requested))
    if len(found) > MOST_FILTERS:
        return
    for number in range(256):
        address = IPv4Address(0xCB007100 + number)
        for port in (1, 2, 3):
            assert lets_in(found, address, port) == min(1, lets_in(requested, address, port))


def test_it_stops_where_there_are_too_many() -> None:
    wide = RemotePeers(IPv6Network("::/0"), 9)
    narrow = [RemotePeers(IPv6Network((1 << n, 128)), 0) for n in range(40)]
    found: list[IPNetwork] = [one.network for one in disjoint([wide, *narrow])]
    assert MOST_FILTERS < len(found) < 300
