"""Bugs made by hand in the algebra are caught, each by a policy that is known to show it."""

import pytest

from tests.gate.proof import brute_force
from tests.gate.proof.mutations import MUTATIONS, ORACLES, Mutation, caught_by

CAUGHT = {
    "the last port of a range is lost": 128,
    "a piece before another range is one too long": 41,
    "adjacent ranges stay apart or overlap": 2413,
    "the intersection of two ranges forgets its low end": 0,
    "IPv6 begins in the middle of IPv4": 2,
    "disjoint boxes are not noticed": 35,
    "a box keeps what was taken away in its first dimension": 0,
    "the last box that takes away is forgotten": 0,
    "a dimension of the second box is forgotten": 0,
    "boxes are joined that differ in two dimensions": 25,
    "hours over midnight end at midnight": 1,
    "today and yesterday are mixed up": 3,
    "holidays are ordinary days": 145,
    "a rule ends one division of time too late": 109,
    "a device of the first LAN is recognised on every LAN": 4511,
    "the DHCP lease need not agree": 8,
    "a pinhole may lead to a unique local address": 6,
    "a grant without external ports allows low ones": 57,
    "ext = same forbids an exact other port": 7,
    "a forbid of external ports forgets equal ports": 7,
    "a grant leads to other devices": 3,
    "the families are mixed up": 0,
    "the zone of a grant is at the wrong end": 201,
    "the zone of a forbid forgets the internal client": 199,
    "a LAN inside a zone does not count": 3092,
    "a forbid forgets the MAC address of the internal client": 1914,
    "a device's address is not looked at": 5,
    "only and never of remote hosts are mixed up": 2,
    "a host without a known MAC address is any device": 29,
    "a forbid of remote hosts denies everybody": 86,
    "remote ports are not looked at": 19,
    "the protocol of a forbid is not looked at": 317,
    "the question of the default forgets grants outside their hours": 2166,
    "an approval is a yes for an always": 39,
}
"""Bug -> the seed of a policy that shows it. Others need a longer search."""


@pytest.mark.parametrize("mutation", [one for one in MUTATIONS if one.about in CAUGHT], ids=lambda one: one.about)
def test_a_bug_is_caught(mutation: Mutation) -> None:
    seed = CAUGHT[mutation.about]
    brute_force.check_one(seed)  # without the bug nothing is wrong
    assert caught_by(mutation, ORACLES[0], range(seed, seed + 1)) == seed


def test_the_bugs_are_of_the_present_source() -> None:
    assert CAUGHT.keys() <= {mutation.about for mutation in MUTATIONS}
    assert len(CAUGHT) >= 30
