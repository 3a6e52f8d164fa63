"""Concrete requests of narrow boxes."""

from tests.fixtures.policies import PC, TV, policy_of
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Box
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.space import Space
from upnp_gw.gate.proof.spans import number_of
from upnp_gw.gate.proof.witness import witnesses

POLICY = policy_of('[zone]\nguest = ["192.168.1.23"]\n[[grant]]\nname = "all"\nwho = "*"\nfor = ["0.0.0.0/0"]\n')
HOST, OTHER = number_of(PC), number_of(TV)
TWO: Box = {d.SHAPE: Shape.EXACT_SAME, d.RELATION: Relation.OTHER_DEVICE, d.INT: ((8080, 8080),)}


def test_the_requester_has_another_address_than_the_internal_client() -> None:
    box = {**TWO, d.SOURCE: ((HOST, HOST),), d.TARGET: ((HOST, HOST + 1),)}
    (witness,) = witnesses(Space([POLICY]), POLICY, box)
    assert int(witness.facts.address) == HOST
    assert int(witness.request.internal.address) == HOST + 1
    assert witness.verdict.rule == "all"


def test_a_box_of_which_no_network_has_a_request_has_no_witness() -> None:
    """The zone is the host itself: the gateway has no address in it."""
    box = {**TWO, d.SOURCE: ((HOST, HOST),), d.TARGET: ((OTHER, OTHER),), d.ZONE: 2}
    assert list(witnesses(Space([POLICY]), POLICY, box)) == []
