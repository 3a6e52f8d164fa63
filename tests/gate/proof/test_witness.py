"""Concrete requests of narrow boxes."""

from tests.fixtures.policies import PC, TV, policy_of
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof.boxes import Box
from upnp_gw.gate.proof.dimensions import Relation, Shape
from upnp_gw.gate.proof.space import LOCAL4, VIAS, Space
from upnp_gw.gate.proof.spans import IP6, number_of
from upnp_gw.gate.proof.witness import witnesses
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import PortChoice

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


def test_over_nat_pmp_the_gateway_chooses_the_port_of_the_sender_itself() -> None:
    """RFC 6886 section 3.3: no other request can be sent."""
    space, natpmp = Space([POLICY]), 1 << VIAS.index(Via.NATPMP)
    found = list(witnesses(space, POLICY, {d.VIA: natpmp, d.TARGET: LOCAL4}))
    assert {(one.request.choice, one.facts.address == one.request.internal.address) for one in found} == {
        (PortChoice.SUGGESTED, True)
    }
    for box in ({d.SHAPE: Shape.EXACT}, {d.RELATION: Relation.OTHER_DEVICE}, {d.TARGET: IP6}):
        assert not space.possible({**box, d.VIA: natpmp})
        assert space.possible({**box, d.VIA: natpmp | 1})
        assert {one.request.via for one in witnesses(space, POLICY, {**box, d.VIA: natpmp | 1})} <= {Via.IGD1}
