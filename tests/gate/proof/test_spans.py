"""Sets of numbers, against Python's own sets."""

from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.proof.spans import Spans, common, has, joined, without

numbers = st.sets(st.integers(0, 30), max_size=12)


def spans_of(values: set[int]) -> Spans:
    return joined((value, value) for value in values)


def values_of(spans: Spans) -> set[int]:
    assert spans == joined(spans)
    return {value for low, high in spans for value in range(low, high + 1)}


@given(numbers, numbers)
def test_operations_are_those_of_sets(one: set[int], two: set[int]) -> None:
    first, second = spans_of(one), spans_of(two)
    assert values_of(common(first, second)) == one & two
    assert values_of(without(first, second)) == one - two
    assert values_of(joined((*first, *second))) == one | two
    assert {value for value in range(31) if has(first, value)} == one


def test_a_long_list_is_looked_up() -> None:
    many = tuple((10 * n, 10 * n + 4) for n in range(100_000))
    assert common(((3, 12),), many) == ((3, 4), (10, 12))
    assert common(many, ((999_990, 2_000_000),)) == ((999_990, 999_994),)
