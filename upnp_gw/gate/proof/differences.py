"""The differences between two policies over all requests: what the new one opens more, less, or by another rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof.answers import Answer, Answers
from upnp_gw.gate.proof.boxes import UNDECIDED, Box, Effort, Region, crossed
from upnp_gw.gate.proof.describe import box_text
from upnp_gw.gate.proof.largest import largest
from upnp_gw.gate.proof.space import DEFAULT_EFFORT, Space
from upnp_gw.gate.proof.witness import witnesses
from upnp_gw.gate.schema import Policy

MOST_TOLD = 8
TOLD_STEPS = 200_000
"""Steps that a reload spends on saying what opens: well under a second."""


class Kind(StrEnum):
    """MORE: deny becomes ask or allow, or ask allow. LESS: the other way. OTHER: the same answer by another rule,
    or with another lease or other limits."""

    MORE = "opens more"
    LESS = "opens less"
    OTHER = "other rule or lease"


@dataclass(frozen=True, slots=True)
class Difference:
    """One box of requests that the two policies answer differently."""

    kind: Kind
    text: str
    """The requests, in words."""
    was: str
    now: str


class Differences:
    """Compares two policies. ``since``: wall-clock seconds from which on; None: ever."""

    def __init__(self, old: Policy, new: Policy, since: float | None = None, most: int = DEFAULT_EFFORT) -> None:
        self.policies = (old, new)
        self.space = Space(self.policies, since=since)
        effort = Effort(most)
        self.old, self.new = Answers(self.space, old, effort), Answers(self.space, new, effort)
        self.algebra = self.new.algebra

    def all(self) -> Iterator[Difference]:
        """Every difference, those that open more first. None: the policies answer every request alike. Raises
        TooMuchWork."""
        yield from self.more()
        yield from self._less()
        yield from self._other()

    def more(self) -> Iterator[Difference]:
        """The requests to which the new policy says more."""
        for box in self._raised(self.old, self.new):
            yield self._difference(Kind.MORE, box)

    def _less(self) -> Iterator[Difference]:
        for box in self._raised(self.new, self.old):
            yield self._difference(Kind.LESS, box)

    def _raised(self, old: Answers, new: Answers) -> Iterator[Box]:
        """Boxes where ``new`` allows what ``old`` does not, or asks about what ``old`` denies."""
        region: Region = []
        for answer in new.all():
            before = [one for one in old.all() if answer.outcome is Outcome.ASK or one.outcome is Outcome.ALLOW]
            region += self._added(answer, sorted(before, key=lambda one: one.rule != answer.rule))
        yield from largest(self.space, self.algebra, region)

    def _added(self, answer: Answer, before: Sequence[Answer]) -> Region:
        """The points of an answer that are in none of the answers before. The one of the same rule comes first:
        mostly it leaves nothing."""
        rest = answer.region
        for index, one in enumerate(before):
            if not rest:
                break
            apart = self.algebra.subtract(rest, one.region)
            rest = [*apart, *crossed(rest, one.region, [box for box in one.taken if box not in answer.taken])]
            if index == 0:
                rest = self.algebra.subtract(rest, answer.taken)
        return rest if before else self.algebra.subtract(rest, answer.taken)

    def _other(self) -> Iterator[Difference]:
        """The same outcome by another rule, or by a rule with other terms, where every grant has room."""
        before = list(_charged(self.old))
        region: Region = []
        for answer, earlier in _charged(self.new):
            for one, earlier_then in before:
                same = one.rule == answer.rule and _terms(self.old, one) == _terms(self.new, answer)
                if same or one.outcome is not answer.outcome:
                    continue
                both = crossed(answer.region, one.region)
                for taken in (answer.taken, one.taken, earlier, earlier_then) if both else ():
                    both = self.algebra.subtract(both, taken)
                region += both
        for box in largest(self.space, self.algebra, region, grow=False):
            yield self._difference(Kind.OTHER, box)

    def _difference(self, kind: Kind, box: Box) -> Difference:
        old, new = self.policies
        text = box_text(self.space, self.policies, box)
        return Difference(kind, text, _answer(self.space, old, box), _answer(self.space, new, box))


def _charged(answers: Answers) -> Iterator[tuple[Answer, Region]]:
    """Each answer, with the points at which an earlier one is charged where every grant has room."""
    earlier: Region = []
    for answer in answers.granted:
        yield answer, list(earlier)
        earlier += answer.region
    allowed = [box for answer in answers.granted if answer.outcome is Outcome.ALLOW for box in answer.region]
    yield answers.observed, allowed
    yield answers.asked_by_default, []


def _terms(answers: Answers, answer: Answer) -> tuple[object, ...]:
    """Everything about an answer that is not its region."""
    limits, grant = answers.policy.limits, answer.grant
    if grant is None:
        return limits.max_ttl_s, limits.max_hold_s
    return (
        min(limits.max_ttl_s, grant.max_ttl_s or limits.max_ttl_s),
        min(limits.max_hold_s, grant.max_hold_s or limits.max_hold_s),
        grant.max_mappings,
        grant.max_ports_per_day,
        grant.external,
        grant.approve_for_s,
    )


def _answer(space: Space, policy: Policy, box: Box) -> str:
    """The answer to a request of the box, with its rule: ``allow by nas-web``."""
    witness = next(witnesses(space, policy, box), None)
    if witness is None:
        return "no answer"
    verdict = witness.verdict
    return (
        f"{verdict.outcome} by {verdict.rule}"
        if verdict.rule is not None
        else f"{verdict.outcome}: {verdict.reasons[-1]}"
    )


def opened_more(old: Policy, new: Policy) -> tuple[str, ...]:
    """The requests to which a new policy says more, in words: at most ``MOST_TOLD`` boxes, with bounded effort."""
    if old.digest == new.digest:
        return ()
    try:
        found = list(islice(Differences(old, new, most=TOLD_STEPS).more(), MOST_TOLD + 1))
    except UNDECIDED:
        return ("not known: the comparison takes too many steps; upnp-gw policy diff --all makes more",)
    told = [f"{one.text}: was {one.was}, becomes {one.now}" for one in found[:MOST_TOLD]]
    return (*told, *(["and more; upnp-gw policy diff --all lists all"] if len(found) > MOST_TOLD else []))
