"""Boxes against sets of points."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.proof.boxes import Algebra, Box, Effort, Region, TooMuchWork, crossed, meet, merged
from upnp_gw.gate.proof.spans import joined

FULL: Box = {0: 0b111, 1: ((1, 4),), 2: ((0, 3),)}
Point = tuple[int, int, int]
POINTS = set(itertools.product(range(3), range(1, 5), range(4)))


def spans(low: int, high: int) -> st.SearchStrategy[tuple[tuple[int, int], ...]]:
    return st.sets(st.integers(low, high), min_size=1).map(lambda values: joined((v, v) for v in values))


boxes = st.fixed_dictionaries({}, optional={0: st.integers(1, 7), 1: spans(1, 4), 2: spans(0, 3)})
regions = st.lists(boxes, max_size=4)


def inside(box: Box, point: Point) -> bool:
    for dimension, its in box.items():
        value = point[dimension]
        if not (its >> value & 1 if isinstance(its, int) else any(low <= value <= high for low, high in its)):
            return False
    return True


def points(region: Region) -> set[Point]:
    return {point for point in POINTS if any(inside(box, point) for box in region)}


def algebra() -> Algebra:
    return Algebra(FULL, Effort(100_000))


@given(boxes, boxes)
def test_meet_and_minus(one: Box, two: Box) -> None:
    both = meet(one, two)
    assert points([both] if both is not None else []) == points([one]) & points([two])
    pieces = algebra().minus(one, two)
    assert points(pieces) == points([one]) - points([two])
    assert sum(len(points([piece])) for piece in pieces) == len(points(pieces))


@given(boxes, regions)
def test_what_is_left_is_found_part_by_part(box: Box, others: Region) -> None:
    parts = list(algebra().left(box, others, lambda _: True))
    assert points(parts) == points([box]) - points(others)
    assert sum(len(points([part])) for part in parts) == len(points(parts))
    assert points(algebra().cleared(box, others)) == points(parts)


LONG = tuple((10 * n, 10 * n + 4) for n in range(100_000))
"""A set as long as a blocklist."""


@pytest.mark.parametrize(
    "work",
    [
        lambda made: made.crossed([{0: 1}] * 100, [{1: ((1, 2),)}] * 100),
        lambda made: made.crossed([{2: LONG}], [{2: LONG[1:]}]),
        lambda made: made.minus({2: LONG}, {2: LONG[1:]}),
        lambda made: list(made.left({0: 1}, [{0: 2}] * 10_000, lambda _: True)),
        lambda made: made.cleared({0: 1}, [{0: 2}] * 10_000),
    ],
    ids=["pairs", "long lists", "a long list without another", "boxes looked at", "boxes taken away"],
)
def test_all_work_is_counted(work: Callable[[Algebra], object]) -> None:
    """A proof ends, whatever it is about."""
    with pytest.raises(TooMuchWork):
        work(Algebra(FULL, Effort(2_000)))


def test_a_blocklist_without_itself_is_nothing() -> None:
    made = Algebra(FULL, Effort(100))
    assert made.minus({2: LONG}, {2: tuple(LONG)}) == []
    assert made.crossed([{2: LONG}], [{2: ((0, 10**9),)}]) == [{2: LONG}]


@given(regions, regions)
def test_regions(one: Region, two: Region) -> None:
    assert points(crossed(one, two)) == points(one) & points(two)
    assert algebra().crossed(one, two) == crossed(one, two)
    assert points(algebra().subtract(one, two)) == points(one) - points(two)
    assert points(merged(one)) == points(one)
    assert len(merged(one)) <= len(one)
