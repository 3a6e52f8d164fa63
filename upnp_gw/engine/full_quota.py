"""Requests of a device whose quota is full: one of its older mappings ends, or the request is refused."""

from collections.abc import Sequence
from dataclasses import replace

from upnp_gw.engine.decider import Decider, Parties
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Outcome, Verdict
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping, Via
from upnp_gw.model.request import MapRequest


def make_room(
    decider: Decider,
    transaction: Transaction,
    request: MapRequest,
    parties: Parties,
    facts: Facts,
    verdict: Verdict,
    without: Sequence[Mapping | None],
) -> tuple[Facts, Verdict]:
    """The quota refused a request: ends the oldest mapping of the device that may yield, if that lets the request
    in. Returns the facts and verdict after it.

    The gateway keeps to a lifetime that it gave a client (RFC 6887 section 15). A datagram request ends nothing:
    anybody on the LAN can have sent it (SR-26). ``without``: the rows that the request refreshes or replaces.
    """
    if request.via.datagram or request.via is Via.OPERATOR:
        return facts, verdict
    for mapping in decider.ledger.table.of_device(parties.owner):
        if not may_yield(mapping) or any(row is not None and row.id == mapping.id for row in without):
            continue
        fewer = replace(facts, held=decider.held(request, parties, *without, mapping))
        again = decide(decider.in_force.policy, fewer, request)
        if again.outcome is Outcome.ALLOW:
            transaction.end(mapping, "displaced")
            return fewer, again
    return facts, verdict


def may_yield(mapping: Mapping) -> bool:
    """True if no client was given a lifetime and none uses the mapping: its client asked over IGD for lease 0 (as
    long as possible), and does not answer at its address now."""
    return mapping.parked and all(hold.via.protocol == "igd" and hold.requested_s is None for hold in mapping.holds)
