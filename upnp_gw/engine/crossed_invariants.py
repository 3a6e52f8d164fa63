"""Tells the operator which ``[[never]]`` of the policy an own mapping crosses, in the reply and in its decision."""

from collections.abc import Iterator
from dataclasses import replace

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.engine.refresh import PlannedVerdict
from upnp_gw.engine.unchanged_rows import request_of
from upnp_gw.gate.crossed import crossed_by
from upnp_gw.gate.decision import Facts, Outcome, Verdict
from upnp_gw.gate.invariant import named
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import MapRequest


def crossings(in_force: PolicyInForce, facts: Facts, request: MapRequest) -> tuple[str, ...]:
    """A sentence for each ``[[never]]`` that the operator's request crosses, with the line of the file. Empty for
    the request of a control point: the policy holds for it."""
    if request.via is not Via.OPERATOR or not in_force.policy.invariants:
        return ()
    return tuple(
        f"crosses {named(one)} ({in_force.place_of(one.key)})"
        for one in crossed_by(in_force.policy, facts, request)
    )


def with_crossings(verdict: Verdict, sentences: tuple[str, ...]) -> Verdict:
    """The verdict with these among its reasons. The last one stays: lists show it."""
    if not sentences:
        return verdict
    *before, last = verdict.reasons
    return replace(verdict, reasons=(*before, *sentences, last))


def told(decider: Decider, found: PlannedVerdict) -> tuple[PlannedVerdict, tuple[str, ...]]:
    """A decision about a request of the operator with what it crosses, and the sentences about that."""
    if found.verdict.outcome is not Outcome.ALLOW:
        return found, ()
    sentences = crossings(decider.in_force, found.facts, found.request)
    return replace(found, verdict=with_crossings(found.verdict, sentences)), sentences


def standing_crossings(decider: Decider, transaction: Transaction) -> Iterator[str]:
    """A sentence for each mapping of the operator that crosses a ``[[never]]`` of the policy in force."""
    if not decider.in_force.policy.invariants:
        return
    for mapping in sorted(decider.ledger.table, key=lambda row: row.granted_at):
        if mapping.hold_of(Via.OPERATOR.protocol) is None:
            continue
        request = request_of(decider.environment, mapping, transaction.now)
        for sentence in crossings(decider.in_force, decider.facts_of(transaction, request), request):
            key = f"{mapping.key.transport} {mapping.key.external_port} -> {mapping.internal}"
            yield f"{mapping.id} ({key}), which you added, {sentence}; to close it: upnp-gw delete {mapping.id}"
