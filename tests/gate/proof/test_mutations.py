"""Bugs made by hand in the algebra are caught, each by a policy that is known to show it."""

import pytest

from tests.gate.proof import brute_force
from tests.gate.proof.mutations import MUTATIONS, ORACLES, Mutation, caught_by

CAUGHT = {
    "the last port of a range is lost": 0,
    "a piece before another range is one too long": 9,
    "the intersection of two ranges forgets its low end": 1,
    "IPv6 begins in the middle of IPv4": 0,
    "disjoint boxes are not noticed": 273,
    "a box keeps what was taken away in its first dimension": 6,
    "the last box that takes away is forgotten": 86,
    "a dimension of the second box is forgotten": 0,
    "boxes are joined that differ in two dimensions": 676,
    "hours over midnight end at midnight": 0,
    "today and yesterday are mixed up": 0,
    "holidays are ordinary days": 34,
    "a rule ends one division of time too late": 6,
    "the DHCP lease need not agree": 6,
    "a grant without external ports allows low ones": 1,
    "ext = same forbids an exact other port": 41,
    "a forbid of external ports forgets equal ports": 171,
    "a grant leads to other devices": 8,
    "the families are mixed up": 6,
    "the zone of a grant is at the wrong end": 25,
    "the zone of a forbid forgets the internal client": 32,
    "a LAN inside a zone does not count": 651,
    "a device's address is not looked at": 25,
    "a forbid of remote hosts denies everybody": 18,
    "remote ports are not looked at": 6,
    "the protocol of a forbid is not looked at": 992,
    "the question of the default forgets grants outside their hours": 1058,
}
"""Bug -> the seed of a policy that shows it. Others need a longer search."""


@pytest.mark.parametrize("mutation", [one for one in MUTATIONS if one.about in CAUGHT], ids=lambda one: one.about)
def test_a_bug_is_caught(mutation: Mutation) -> None:
    seed = CAUGHT[mutation.about]
    brute_force.check_one(seed)  # without the bug nothing is wrong
    assert caught_by(mutation, ORACLES[0], range(seed, seed + 1)) == seed


def test_the_bugs_are_of_the_present_source() -> None:
    assert CAUGHT.keys() <= {mutation.about for mutation in MUTATIONS}
    assert len(MUTATIONS) >= 30
