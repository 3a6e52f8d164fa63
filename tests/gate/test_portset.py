"""Port ranges against Python's own sets."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.decision import PortRanges
from upnp_gw.gate.portset import ALL_PORTS, contains, includes, intersection, normalized, subtract

spans = st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
sets = st.lists(spans, max_size=6)


def ports(ranges: PortRanges | list[tuple[int, int]]) -> set[int]:
    return {port for low, high in ranges for port in range(low, high + 1)}


@given(sets, sets)
def test_ranges_are_sets(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    one, two = normalized(some), normalized(others)
    assert ports(one) == ports(some)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(one))
    for result, expected in (
        (subtract(one, two), ports(one) - ports(two)),
        (intersection(one, two), ports(one) & ports(two)),
    ):
        assert ports(result) == expected
        assert normalized(result) == result
    assert includes(one, two) == (ports(one) >= ports(two))
    assert all(contains(one, port) == (port in ports(one)) for port in range(75))


def test_the_ends() -> None:
    assert subtract(ALL_PORTS, ((1, 1), (65535, 65535))) == ((2, 65534),)
    assert contains(ALL_PORTS, 1)
    assert contains(ALL_PORTS, 65535)
    assert not contains(ALL_PORTS, 0)
    assert not contains((), 5)
