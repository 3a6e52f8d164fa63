"""A region of requests in a few boxes, each as large as possible."""

from collections.abc import Iterator

from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Algebra, Box, Region, crossed, merged, union
from upnp_gw.gate.proof.dimensions import Shape
from upnp_gw.gate.proof.space import Space

MOST_BOXES = 60
"""Most boxes that are made as large as possible."""


def largest(space: Space, algebra: Algebra, region: Region, grow: bool = True) -> Iterator[Box]:
    """A few boxes that together have the requests of the region. ``grow`` False: they do not become larger. Raises
    TooMuchWork."""
    rest = merged(box for box in crossed(merged(region), space.requests()) if space.possible(box))
    shown: Region = []
    whole = list(rest)
    for count, box in enumerate(sorted(rest, key=len)):
        left = [part for part in algebra.cleared(box, shown) if space.possible(part)]
        if not left:
            continue
        large = _grown(space, algebra, box, whole) if grow and count < MOST_BOXES else box
        shown += _by_shape(large)
        yield large


def _grown(space: Space, algebra: Algebra, box: Box, whole: Region) -> Box:
    """The box without each restriction that the region does not need, and with the boxes beside it."""
    for other in whole[:MOST_BOXES]:
        wider = _joined(box, other)
        if wider != box and _inside(space, algebra, wider, whole):
            box = wider
    for dimension in sorted(box, reverse=True):
        wider = {key: its for key, its in box.items() if key != dimension}
        if _inside(space, algebra, wider, whole):
            box = wider
    return box


def _inside(space: Space, algebra: Algebra, box: Box, whole: Region) -> bool:
    """True where every request of the box is in the region."""
    outside = (
        part
        for request in crossed([box], space.requests())
        for part in algebra.left(request, whole, space.possible)
    )
    return next(outside, None) is None


def _joined(box: Box, other: Box) -> Box:
    """The smallest box around both. Where the external port is the internal one, ``EXT`` does not count."""
    out: Box = {key: union(its, other[key]) for key, its in box.items() if key in other}
    for one, two in ((box, other), (other, box)):
        shapes = two.get(d.SHAPE, Shape.ALL)
        if d.EXT in one and d.EXT not in two and isinstance(shapes, int) and not shapes & Shape.OTHER:
            out[d.EXT] = one[d.EXT]
    return out


def _by_shape(box: Box) -> Region:
    """The same requests, with ``EXT`` only where it counts."""
    same: Box = {key: its for key, its in box.items() if key != d.EXT}
    return crossed([same], [{d.SHAPE: Shape.SAME}]) + crossed([box], [{d.SHAPE: Shape.OTHER}])
