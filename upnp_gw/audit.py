"""What is written down of each decision: who asked for what, how, what was answered, why, and by which facts."""

from upnp_gw.gate.decision import Facts, Verdict
from upnp_gw.ledger.plan import NotPlanned
from upnp_gw.ledger.records import DecisionRecord
from upnp_gw.model import DecisionId, Instant, Mapping, Via
from upnp_gw.request import MapRequest, ReleaseRequest, UnmapRangeRequest, UnmapRequest


def map_record(
    now: Instant,
    decision: DecisionId,
    request: MapRequest,
    facts: Facts,
    verdict: Verdict,
    *,
    busy: NotPlanned | None = None,
    mapping: str | None = None,
    action: str = "map",
) -> DecisionRecord:
    """``busy``: the gate allowed it and the ledger could not. ``action``: map, renew, restore."""
    refusal = busy.refusal if busy else verdict.refusal
    return DecisionRecord(
        id=decision,
        at=now.wall,
        via=request.via.value,
        device=facts.device,
        source=str(request.source.address),
        action=action,
        transport=request.transport.value,
        external_port=request.external_port,
        internal_client=str(request.internal.address),
        internal_port=request.internal.port,
        remote=str(request.remote) if request.remote else None,
        lifetime_s=request.lifetime_s,
        description=request.description,
        verdict="busy" if busy else verdict.outcome.value,
        refusal=refusal.value if refusal else None,
        rule=verdict.rule,
        reasons=(*verdict.reasons, busy.reason) if busy else verdict.reasons,
        policy=verdict.policy,
        mapping=mapping,
        facts=_told(facts),
    )


def removal_record(
    now: Instant,
    decision: DecisionId,
    device: str,
    request: UnmapRequest | UnmapRangeRequest | ReleaseRequest,
    mapping: Mapping,
    verdict: Verdict,
) -> DecisionRecord:
    """``device``: who asked for the mapping to end."""
    return DecisionRecord(
        id=decision,
        at=now.wall,
        via=request.via.value,
        device="operator" if request.via is Via.OPERATOR else device,
        source=str(request.source.address),
        action="unmap",
        transport=mapping.key.transport.value,
        external_port=mapping.key.external_port,
        internal_client=str(mapping.internal.address),
        internal_port=mapping.internal.port,
        remote=str(mapping.key.remote) if mapping.key.remote else None,
        lifetime_s=None,
        description=mapping.description,
        verdict=verdict.outcome.value,
        refusal=verdict.refusal.value if verdict.refusal else None,
        rule=verdict.rule,
        reasons=verdict.reasons,
        policy=verdict.policy,
        mapping=mapping.id,
    )


def _told(facts: Facts) -> dict[str, object]:
    """The facts that decided, in plain values."""
    return {
        "mac": facts.mac,
        "address": str(facts.address),
        "target": facts.target_device,
        "held": facts.held.total,
        "held_by_device": facts.held.by_device,
        "held_by_grant": dict(facts.held.by_grant),
        "changes_last_minute": facts.changes_last_minute,
        "int_ports_today": len(facts.int_ports_today),
        "minute_of_day": facts.minute_of_day,
        "frozen": facts.frozen,
    }
