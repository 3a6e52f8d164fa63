"""Requests that only NAT-PMP and PCP have: release by internal endpoint, a lease on a mapping of the operator, and
one external port without a substitute."""

from dataclasses import replace

from upnp_gw.engine.decider import Decider
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Outcome, Verdict
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import DecisionId, Endpoint, Mapping, Via
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Refused, ReleaseRequest, Removed, Reply

FOREVER_S = 2**32 - 1
"""The lifetime in seconds in replies about the operator's permanent mappings (RFC 6887 section 15)."""
OTHER_NONCE = "the mapping was made with another nonce"


def release(decider: Decider, transaction: Transaction, request: ReleaseRequest, device: str) -> Reply:
    """Ends the requester's leases on an internal endpoint; port 0: on all ports of the client.

    If there is no mapping, the release succeeds. Leases of other protocols and of the operator stay; with port 0
    the client's own leases end nevertheless (RFC 6886 section 3.4).
    """
    kept: Refused | None = None
    deleted: list[Mapping] = []
    for mapping in _concerned(decider, request):
        if mapping.device != device:
            continue
        verdict, left_s = _verdict(decider, transaction, request, device, mapping)
        if verdict.outcome is Outcome.ALLOW:
            decider.write_down(transaction, request, device, mapping, verdict)
            decider.end_hold(transaction, mapping, request.via)
            deleted.append(mapping)
        else:
            kept = decider.refuse_removal(transaction, request, device, mapping, verdict)
            kept = kept if kept.refusal is Refusal.RATE else replace(kept, retry_s=left_s)
    if not deleted and kept is None and not _may_ask(decider, transaction, request, device):
        return Refused(Refusal.NOT_AUTHORIZED, "a device may map ports only to itself", None)
    return kept or Removed(tuple(deleted))


def _concerned(decider: Decider, request: ReleaseRequest) -> list[Mapping]:
    """The mappings of a release. With port 0, those that only other protocols hold are left out."""
    table = decider.ledger.table
    if request.port:
        rows = table.to_internal(request.transport, Endpoint(request.address, request.port))
        return [row for row in rows if row.key.remote is None]
    protocols = (request.via.protocol, Via.OPERATOR.protocol)
    return [
        row
        for row in table.to_client(request.address)
        if row.key.transport is request.transport and any(h.via.protocol in protocols for h in row.holds)
    ]


def _verdict(
    decider: Decider, transaction: Transaction, request: ReleaseRequest, device: str, mapping: Mapping
) -> tuple[Verdict, int]:
    """The verdict of the gate and of the nonce check, and the seconds for which another nonce is refused."""
    verdict = decider.removal(request, device, mapping)
    hold = mapping.hold_of(request.via.protocol)
    if hold is None or hold.nonce in (None, request.nonce) or decider.lenient_nonces:
        return verdict, 0
    denied = Verdict(Outcome.DENY, None, Refusal.BAD_NONCE, (OTHER_NONCE,), None, verdict.policy)
    return denied, max(1, round(hold.until - transaction.now.boot))


def _may_ask(decider: Decider, transaction: Transaction, request: ReleaseRequest, device: str) -> bool:
    """True if the requester may make requests for this internal client: itself, or one delegated to it."""
    target = decider.environment.device_of(request.address)
    if target == device or not request.port:
        return True
    internal = Endpoint(request.address, request.port)
    map_request = MapRequest(request.via, request.source, request.transport, internal, 0, PortChoice.SUGGESTED, 1)
    facts = decider.facts_of(transaction, map_request)
    return decide(decider.in_force.policy, facts, map_request).refusal is not Refusal.NOT_AUTHORIZED


def static_reply(decider: Decider, transaction: Transaction, request: MapRequest, own: Mapping) -> Reply | None:
    """The reply to a NAT-PMP or PCP client if the operator has mapped this internal endpoint; else None. The
    mapping is granted as it is, and the client gets no lease of its own (RFC 6887 section 11.3)."""
    held = own.hold_of(Via.OPERATOR.protocol) if request.via.datagram else None
    if held is None:
        return None
    if request.filters:
        return Refused(Refusal.TOO_MANY_FILTERS, "the operator's mappings take no filters", None)
    if request.choice is PortChoice.EXACT and request.external_port != own.key.external_port:
        return Refused(Refusal.CONFLICT, "the mapping has another external port", None)
    lifetime_s = FOREVER_S if own.permanent else max(1, round(held.until - transaction.now.boot))
    return Granted(own, lifetime_s, decider.external_address(own), True)


def another_port(policy: Policy, facts: Facts, request: MapRequest, decision: DecisionId) -> Refused | None:
    """The refusal if only the external port that a PCP client insists on is not permitted; else None."""
    if request.via is not Via.PCP or request.choice is not PortChoice.EXACT:
        return None
    if decide(policy, facts, replace(request, choice=PortChoice.SUGGESTED)).outcome is not Outcome.ALLOW:
        return None
    return Refused(Refusal.NO_PORT, "this external port is not permitted", decision)
