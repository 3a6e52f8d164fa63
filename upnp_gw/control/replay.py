"""Recorded decisions, decided again under another policy: what would have been answered differently. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from upnp_gw.engine.audit import NotReplayable, asked
from upnp_gw.gate.decide import decide, lifetime_s
from upnp_gw.gate.schema import Policy
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
        """What a client can tell apart: the verdict, and how long the lease lives."""
        return self.verdict, self.lease_s


@dataclass(slots=True)
class Difference:
    """The same question, asked ``times`` times, with another answer."""

    record: DecisionRecord
    """The newest of them."""
    was: ReplayedAnswer
    now: ReplayedAnswer
    times: int = 1


@dataclass(slots=True)
class Replayed:
    same: int = 0
    changed: int = 0
    not_replayable: int = 0
    differences: list[Difference] = field(default_factory=list)
    """Alike ones together, in the order in which they were found."""


def replay(policy: Policy, records: Iterable[DecisionRecord]) -> Replayed:
    """Only answers to map requests are asked again: what a device may end is no matter of the policy file."""
    done = Replayed()
    alike: dict[tuple[object, ...], Difference] = {}
    for record in records:
        if record.action == "unmap":
            continue
        try:
            facts, request = asked(record)
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
    """What the gate said then: where the ledger was busy, it had said yes."""
    if record.verdict == "busy":
        return ReplayedAnswer("allow", record.rule, record.granted_s, record.reasons[-2])
    return ReplayedAnswer(record.verdict, record.rule, record.granted_s, record.reasons[-1])
