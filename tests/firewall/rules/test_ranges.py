"""Sets of ranges, beside Python's own sets."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.firewall.rules import ranges
from upnp_gw.firewall.rules.ranges import Ranges, both, forget, inside, only, size, united, without

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda s: (s[0], s[0] + s[1])), max_size=6)


def numbers(known: Ranges) -> set[int]:
    return {number for first, last in known for number in range(first, last + 1)}


def is_normal(known: Ranges) -> bool:
    return all(first <= last for first, last in known) and all(
        one[1] + 1 < other[0] for one, other in pairwise(known)
    )


@pytest.fixture(scope="module", params=[ranges.LARGE, -1], ids=["small", "large"])
def large(request: pytest.FixtureRequest) -> Iterator[int]:
    """Sets of more ranges count as large: the results of such are remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "LARGE", request.param)
        yield request.param
    forget()


@given(SPANS, SPANS)
def test_they_are_the_sets_of_their_numbers(
    large: int, some: list[tuple[int, int]], more: list[tuple[int, int]]
) -> None:
    one, other = united(some), united(more)
    assert is_normal(one)
    assert numbers(one) == {n for first, last in some for n in range(first, last + 1)}
    assert numbers(both(one, other)) == numbers(one) & numbers(other)
    assert numbers(without(one, other)) == numbers(one) - numbers(other)
    assert is_normal(without(one, other))
    assert is_normal(both(one, other))
    assert inside(one, other) == (numbers(one) <= numbers(other))
    assert size(one) == len(numbers(one))
    assert (only(one) is not None) == (len(numbers(one)) == 1)
