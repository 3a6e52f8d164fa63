"""A device that moved from one LAN to another asks again for the external port that it has there."""

from dataclasses import replace

from upnp_gw.engine.decider import Decider
from upnp_gw.gate.decision import Facts
from upnp_gw.gate.facts import may_be_moved
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping, Via
from upnp_gw.model.request import MapRequest


def end_left_behind(decider: Decider, transaction: Transaction, request: MapRequest, facts: Facts) -> None:
    """Ends the mapping of this external port that the requester left on another LAN."""
    for mapping in left_behind(decider, request, facts):
        moved = replace(mapping, device=facts.device)  # else the port stays reserved for the old identifier
        transaction.put(moved)
        transaction.end(moved, "device-moved")


def left_behind(decider: Decider, request: MapRequest, facts: Facts) -> list[Mapping]:
    """The mappings of this external port that the requester left on another LAN: they are parked, since nobody
    answers there any more. The operator's mappings are left out."""
    if request.pinhole or not request.external_port:
        return []
    rows = decider.ledger.table.on_port(request.transport, request.external_port)
    if not rows:
        return []

    def left(mapping: Mapping) -> bool:
        may_move = may_be_moved(decider.in_force.policy, facts, mapping.device) and not mapping.delegated
        absent = mapping.parked and not decider.environment.client_contested(mapping.internal.address)
        return may_move and absent and mapping.hold_of(Via.OPERATOR.protocol) is None

    return [mapping for mapping in rows if left(mapping)]
