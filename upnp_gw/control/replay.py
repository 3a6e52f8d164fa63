"""Decides recorded requests again under another policy, and lists answers that differ. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from upnp_gw.engine.audit import NotReplayable, facts_and_request
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.schema import Policy
from upnp_gw.model.device import GATEWAY
from upnp_gw.model.records import DecisionRecord


@dataclass(frozen=True, slots=True)
class ReplayedAnswer:
    verdict: str
    """allow, deny, ask"""
    rule: str | None
    lease_s: int | None
    reason: str

    @property
    def seen(self) -> tuple[str, int | None]:
        """The verdict and the lease: the parts that a client notices."""
        return self.verdict, self.lease_s


@dataclass(slots=True)
class Difference:
    """A request, sent ``times`` times, that gets another answer."""

    record: DecisionRecord
    """The newest record of it."""
    was: ReplayedAnswer
    now: ReplayedAnswer
    times: int = 1


@dataclass(slots=True)
class Replayed:
    same: int = 0
    changed: int = 0
    not_replayable: int = 0
    differences: list[Difference] = field(default_factory=list)
    """One entry for equal requests, in the order of the records."""


def replay(policy: Policy, records: Iterable[DecisionRecord]) -> Replayed:
    """Decides map requests again. Deletes are left out: the policy file has no rules for them. So are records about
    all mappings at once."""
    done = Replayed()
    alike: dict[tuple[object, ...], Difference] = {}
    for record in records:
        if record.action == "unmap" or record.device == GATEWAY:
            continue
        try:
            facts, request = facts_and_request(record)
        except NotReplayable:
            done.not_replayable += 1
            continue
        verdict = decide(policy, facts, request)
        lease_s = None if verdict.clamps is None else lifetime_s(request, verdict.clamps)
        now = ReplayedAnswer(verdict.outcome.value, verdict.rule, lease_s, verdict.reasons[-1])
        was = _recorded_answer(record)
        if was.seen == now.seen:
            done.same += record.count
            continue
        done.changed += record.count
        key = (record.device, record.transport, record.internal_client, record.internal_port, was.verdict, now)
        if key in alike:
            alike[key].times += record.count
        else:
            alike[key] = Difference(record, was, now, record.count)
    done.differences = list(alike.values())
    return done


def _recorded_answer(record: DecisionRecord) -> ReplayedAnswer:
    """The recorded answer of the gate; busy: the gate had allowed it."""
    if record.verdict == "busy":
        return ReplayedAnswer("allow", record.rule, record.granted_s, record.reasons[-2])
    return ReplayedAnswer(record.verdict, record.rule, record.granted_s, record.reasons[-1])
