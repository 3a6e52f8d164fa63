"""Boxes: products of sets, one for each dimension of a request. Exact intersection and difference. Pure.

A box is a dict from a dimension to its set; a dimension that is not in it is unrestricted. A set is a bit mask
(finite dimensions) or ``Spans`` (ports, minutes, addresses). A region is a list of boxes, whose union it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from upnp_gw.gate.proof import spans as spans_of
from upnp_gw.gate.proof.spans import Spans, common, joined, without

Set = int | Spans
Box = dict[int, Set]
Region = list[Box]


LONG = 64
"""Ranges of a set from which on a step with it counts as more: one for each 16 ranges."""
CHEAP = 4
"""Comparisons of two boxes that count as one step."""


class TooMuchWork(Exception):
    """The question needs more steps than it may take: the answer is unknown."""


UNDECIDED = (TooMuchWork, MemoryError, RecursionError)
"""Everything that ends a proof without an answer."""


class Effort:
    """Counts the steps of a proof. Raises ``TooMuchWork`` after ``most`` of them."""

    __slots__ = ("left",)

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork


def overlap(first: Set, second: Set) -> Set:
    """The intersection of two sets of one dimension; falsy if it is empty."""
    if isinstance(first, int):
        assert isinstance(second, int)
        return first & second
    assert not isinstance(second, int)
    return common(first, second)


def difference(first: Set, second: Set) -> Set:
    """The first set without the second, of one dimension; falsy if it is empty."""
    if isinstance(first, int):
        assert isinstance(second, int)
        return first & ~second
    assert not isinstance(second, int)
    return without(first, second)


def union(first: Set, second: Set) -> Set:
    """Both sets of one dimension."""
    if isinstance(first, int):
        assert isinstance(second, int)
        return first | second
    assert not isinstance(second, int)
    return joined((*first, *second))


def meet(first: Box, second: Box) -> Box | None:
    """The intersection of two boxes; None: it is empty."""
    if len(first) < len(second):
        first, second = second, first
    out = dict(first)
    for dimension, its in second.items():
        other = first.get(dimension)
        if other is None:
            out[dimension] = its
        elif both := overlap(other, its):
            out[dimension] = both
        else:
            return None
    return out


def apart(first: Box, second: Box) -> bool:
    """True where no point is in both boxes."""
    if len(first) > len(second):
        first, second = second, first
    for dimension, its in first.items():
        other = second.get(dimension)
        if other is None:
            continue
        if isinstance(its, int):
            assert isinstance(other, int)
            if not its & other:
                return True
        elif len(its) == 1 and len(other) == 1:  # type: ignore[arg-type]
            if its[0][0] > other[0][1] or other[0][0] > its[0][1]:  # type: ignore[index]
                return True
        elif not spans_of.meet(its, other):  # type: ignore[arg-type]
            return True
    return False


def crossed(*regions: Sequence[Box]) -> Region:
    """The intersection of regions."""
    out: Region = [{}]
    for region in regions:
        out = [both for one in out for other in region if (both := meet(one, other)) is not None]
    return out


class Algebra:
    """Differences of boxes of one space. ``full``: dimension -> the set of all its values. ``long``: there can be
    sets of many ranges."""

    def __init__(self, full: Mapping[int, Set], effort: Effort, long: bool = True) -> None:
        self.full = full
        self.effort = effort
        self.long = long

    def crossed(self, *regions: Sequence[Box]) -> Region:
        """The intersection of regions (``crossed``), counted."""
        out: Region = [{}]
        for region in regions:
            self.effort.spend(len(out) * len(region) // CHEAP)
            if self.long:
                self.effort.spend(sum(_more_steps(one, other) for one in out for other in region))
            out = [both for one in out for other in region if (both := meet(one, other)) is not None]
        return out

    def minus(self, box: Box, other: Box) -> Region:
        """The box without the other one, as disjoint boxes."""
        shared: Box = {}
        for dimension, its in other.items():
            own = box.get(dimension)
            if own is None:
                shared[dimension] = its
            elif both := overlap(own, its):
                shared[dimension] = both
            else:
                return [box]
        pieces: Region = []
        rest = box
        for dimension in sorted(shared):
            left = difference(rest.get(dimension, self.full[dimension]), shared[dimension])
            if left:
                pieces.append({**rest, dimension: left})
                rest = {**rest, dimension: shared[dimension]}
        self.effort.spend(1 + len(pieces) + (_more_steps(box, other) if self.long else 0))
        return pieces

    def left(self, box: Box, others: Iterable[Box], wanted: Callable[[Box], bool]) -> Iterator[Box]:
        """The parts of the box that are in none of the others, disjoint, found one after the other: whoever needs
        one part only stops there. ``wanted``: leaves out parts of which it is False."""
        others = list(others)
        near = [other for other in others if not apart(box, other)]
        self.effort.spend(len(near) + len(others) // CHEAP)
        open_parts = [(box, 0)]
        while open_parts:
            part, at = open_parts.pop()
            if not wanted(part):
                continue
            while at < len(near):
                pieces = self.minus(part, near[at])
                at += 1
                if len(pieces) != 1 or pieces[0] is not part:
                    open_parts += ((piece, at) for piece in reversed(pieces))
                    break
            else:
                yield part

    def cleared(self, box: Box, others: Iterable[Box]) -> Region:
        """The box without all of the others, as disjoint boxes."""
        pieces = [box]
        for other in others:
            self.effort.spend(len(pieces))
            pieces = [part for piece in pieces for part in self.minus(piece, other)]
            if not pieces:
                break
        return pieces

    def subtract(self, region: Iterable[Box], others: Sequence[Box]) -> Region:
        """The region without the other one."""
        return [piece for box in region for piece in self.cleared(box, others)]

    def disjoint(self, region: Iterable[Box]) -> Region:
        """The same region as boxes of which no two overlap."""
        out: Region = []
        for box in region:
            out += self.cleared(box, list(out))
        return out


def _more_steps(first: Box, second: Box) -> int:
    """The steps that long lists of ranges in both boxes cost."""
    steps = 0
    for dimension, its in first.items():
        other = second.get(dimension)
        if other is None or its is other or isinstance(its, int) or isinstance(other, int):
            continue
        if min(len(its), len(other)) > LONG:
            steps += (len(its) + len(other)) // 16
    return steps


def merged(region: Iterable[Box]) -> Region:
    """The same region in fewer boxes: those that differ in one dimension only are joined."""
    boxes = list(region)
    changed = True
    while changed:
        changed = False
        for dimension in sorted({key for box in boxes for key in box}, reverse=True):
            groups: dict[object, Box] = {}
            for box in boxes:
                key = frozenset((name, its) for name, its in box.items() if name != dimension)
                known = groups.get(key)
                if known is None:
                    groups[key] = box
                elif dimension in known and dimension in box:
                    groups[key] = {**known, dimension: union(known[dimension], box[dimension])}
                else:
                    groups[key] = {name: its for name, its in known.items() if name != dimension}
            changed |= len(groups) < len(boxes)
            boxes = list(groups.values())
    return boxes
