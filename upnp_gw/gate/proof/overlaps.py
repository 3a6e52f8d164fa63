"""Pairs of grants that match the same requests, and which of the two decides."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, islice

from upnp_gw.gate.portset import intersection
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.answers import Answer, Answers
from upnp_gw.gate.proof.boxes import UNDECIDED, Box, Effort, Region, crossed
from upnp_gw.gate.proof.describe import box_text
from upnp_gw.gate.proof.dimensions import Relation
from upnp_gw.gate.proof.largest import largest
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.schema import Grant, Policy

MOST_TOLD = 3
"""Most boxes of one pair in words."""
MOST_BOXES = 40
"""Most boxes of one pair that are looked at."""
MOST_GROWING = 20_000
"""Most steps to make the boxes of one pair larger."""
OTHERS: Box = {d.RELATION: Relation.OTHER_DEVICE}


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two grants that both match some requests. The first is charged while it has room."""

    first: Grant
    second: Grant
    limited: bool
    """True: the first may have no room, or depends on an address list that may be out of date. Then the second
    decides."""
    requests: tuple[str, ...]
    """The requests, in words: at most ``MOST_TOLD`` boxes. Those for another address of the same device are left
    out where there are some for the address that asks."""
    more: bool
    """There are more boxes."""

    def __str__(self) -> str:
        """``nas, tcp, internal 8080: a decides, whose name comes first, while it has room; then b``."""
        if self.second.approve and not self.first.approve:
            why = f"{self.first.name} decides, since {self.second.name} needs an approval and comes last"
        else:
            why = f"{self.first.name} decides, whose name comes first"
        room = f", while it has room; then {self.second.name}" if self.limited else ""
        return f"{'; '.join(self.requests)}{' and more' if self.more else ''}: {why}{room}"


def overlaps(policy: Policy, most: int) -> Iterator[Overlap]:
    """Every pair with a common request that no forbid denies, in the order in which grants are charged. Raises
    TooMuchWork after ``most`` steps."""
    space = Space([policy])
    answers = Answers(space, policy, Effort(most))
    for one, other in combinations(answers.granted, 2):
        answers.algebra.effort.spend(1)
        if one.grant is None or other.grant is None or not intersection(one.grant.int_ports, other.grant.int_ports):
            continue
        if not (common := _common(answers, one, other)):
            continue
        usual = crossed(common, [{d.RELATION: Relation.SAME_ADDRESS}]) or common
        told = [box_text(space, [policy], box) for box in _few(space, usual)]
        others = usual is not common and bool(crossed(common, [OTHERS]))
        more = others or len(told) > MOST_TOLD or len(common) == MOST_BOXES
        yield Overlap(one.grant, other.grant, not answers.always_has_room(one), tuple(told[:MOST_TOLD]), more)


def _few(space: Space, region: Region) -> Region:
    """One box more than are told, as large as possible where that takes few steps."""
    try:
        return list(islice(largest(space, space.algebra(Effort(MOST_GROWING)), region), MOST_TOLD + 1))
    except UNDECIDED:
        return region[: MOST_TOLD + 1]


def _common(answers: Answers, one: Answer, other: Answer) -> Region:
    """At most ``MOST_BOXES`` boxes."""
    answers.algebra.effort.spend(len(one.region) * len(other.region) // 10)
    both = crossed(one.region, other.region)
    answer = replace(one, rule=f"{one.rule} and {other.rule}", region=both)
    return list(islice(answers.points(answer, [{}]), MOST_BOXES)) if both else []
