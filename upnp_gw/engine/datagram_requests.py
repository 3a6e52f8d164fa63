"""What only NAT-PMP and PCP ask of the ledger: release by internal endpoint, the operator's mappings as they are,
the one port a client insists on."""

from dataclasses import replace

from upnp_gw.engine.decider import Decider
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, Outcome, Verdict
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import DecisionId, Endpoint, Mapping, Via
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refusal, Refused, ReleaseRequest, Removed, Reply

FOREVER_S = 2**32 - 1
"""What a client is told of the operator's permanent mappings (RFC 6887 section 15)."""
OTHER_NONCE = "the mapping was made with another nonce"


def release(decider: Decider, transaction: Transaction, request: ReleaseRequest) -> Reply:
    """Ends the requester's leases on an internal endpoint, or with port 0 on all of the client's.

    What was never there is gone as wished. What is another protocol's or the operator's stays, and with all ports
    the rest goes all the same (RFC 6886 section 3.4).
    """
    device = decider.device_of(request.source)
    kept: Refused | None = None
    gone: list[Mapping] = []
    for mapping in _concerned(decider, request):
        if mapping.device != device:
            continue
        verdict, left_s = _verdict(decider, transaction, request, mapping)
        if verdict.outcome is Outcome.ALLOW:
            decider.write_down(transaction, request, mapping, verdict)
            decider.end_hold(transaction, mapping, request.via)
            gone.append(mapping)
        else:
            kept = decider.refuse_removal(transaction, request, mapping, verdict)
            kept = kept if kept.refusal is Refusal.RATE else replace(kept, retry_s=left_s)
    if not gone and kept is None and not _may_ask(decider, transaction, request):
        return Refused(Refusal.NOT_AUTHORIZED, "a device may map ports only to itself", None)
    return kept or Removed(tuple(gone))


def _concerned(decider: Decider, request: ReleaseRequest) -> list[Mapping]:
    """What a release is about. A release of everything leaves alone what other protocols hold."""
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
    decider: Decider, transaction: Transaction, request: ReleaseRequest, mapping: Mapping
) -> tuple[Verdict, int]:
    """The gate's, and the nonce's; with the seconds for which another nonce is refused."""
    verdict = decider.removal(request, mapping)
    hold = mapping.hold_of(request.via.protocol)
    if hold is None or hold.nonce in (None, request.nonce) or decider.lenient_nonces:
        return verdict, 0
    denied = Verdict(Outcome.DENY, None, Refusal.BAD_NONCE, (OTHER_NONCE,), None, verdict.policy)
    return denied, max(1, round(hold.until - transaction.now.boot))


def _may_ask(decider: Decider, transaction: Transaction, request: ReleaseRequest) -> bool:
    """Whether the requester may ask for this internal client at all: itself, or one delegated to it."""
    target = decider.environment.device_of(request.address)
    if target == decider.device_of(request.source) or not request.port:
        return True
    internal = Endpoint(request.address, request.port)
    asks = MapRequest(request.via, request.source, request.transport, internal, 0, PortChoice.SUGGESTED, 1)
    facts = decider.facts_of(transaction, asks)
    return decide(decider.in_force.policy, facts, asks).refusal is not Refusal.NOT_AUTHORIZED


def static_reply(
    decider: Decider, transaction: Transaction, request: MapRequest, own: Mapping | None
) -> Reply | None:
    """The operator's own mapping of this internal endpoint, told to a client of NAT-PMP or PCP as it is: it needs
    no lease, and takes none (RFC 6887 section 11.3). None where there is none."""
    held = own.hold_of(Via.OPERATOR.protocol) if own is not None and request.via.datagram else None
    if own is None or held is None:
        return None
    if request.filters:
        return Refused(Refusal.TOO_MANY_FILTERS, "the operator's mappings take no filters", None)
    if request.choice is PortChoice.EXACT and request.external_port != own.key.external_port:
        return Refused(Refusal.CONFLICT, "the mapping has another external port", None)
    left = FOREVER_S if own.permanent else max(1, round(held.until - transaction.now.boot))
    return Granted(own, left, decider.external_address(own), True)


def another_port(policy: Policy, facts: Facts, request: MapRequest, decision: DecisionId) -> Refused | None:
    """Where only the external port that a PCP client insists on is not permitted, that is what it is told."""
    if request.via is not Via.PCP or request.choice is not PortChoice.EXACT:
        return None
    if decide(policy, facts, replace(request, choice=PortChoice.SUGGESTED)).outcome is not Outcome.ALLOW:
        return None
    return Refused(Refusal.NO_PORT, "this external port is not permitted", decision)
