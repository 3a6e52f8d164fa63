"""Boxes against sets of points."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.proof.boxes import Algebra, Box, Effort, Region, crossed, meet, merged
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


@given(regions, regions)
def test_regions(one: Region, two: Region) -> None:
    assert points(crossed(one, two)) == points(one) & points(two)
    assert points(algebra().subtract(one, two)) == points(one) - points(two)
    assert points(merged(one)) == points(one)
    assert len(merged(one)) <= len(one)
