"""Proves the invariants of a policy, or finds a request that violates them.

``never`` holds if no assignment of room to the grants lets a request of its kind through, or asks the operator
about it. ``always`` holds if each request of its kind is allowed by every assignment in which some matching grant
has room.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.invariant import Invariant, InvariantKind
from upnp_gw.gate.portset import ALL_PORTS, intersection
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.answers import Answer, Answers
from upnp_gw.gate.proof.boxes import Box, Effort, Region, TooMuchWork, crossed
from upnp_gw.gate.proof.dimensions import Shape
from upnp_gw.gate.proof.leases import longer
from upnp_gw.gate.proof.scope import always_scope, beyond, never_scope
from upnp_gw.gate.proof.space import DEFAULT_EFFORT, VIAS, Space
from upnp_gw.gate.proof.spans import Spans, without
from upnp_gw.gate.proof.witness import Witness, opens, witnesses
from upnp_gw.gate.schema import Mode, Policy
from upnp_gw.model.request import PortChoice

MOST_TRIED = 12
"""Most boxes of one rule from which a witness is made, to find a small one."""


class Standing(StrEnum):
    """The result of a proof."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Proof:
    """The result for one invariant."""

    invariant: Invariant
    standing: Standing
    witness: Witness | None = None
    """A request that violates it."""
    rule: str | None = None
    """The rule that lets the witness through, or that is in the way of an ``always``; None: no rule is."""
    passing: frozenset[str] = frozenset()
    """Every rule that lets some such request through."""
    observed: bool = False
    """It holds but for ``mode = "observe"``, of which the witness is."""


class Prover:
    """Proves invariants of one policy. ``since``: wall-clock seconds from which on they must hold; None: ever."""

    def __init__(
        self,
        policy: Policy,
        invariants: Sequence[Invariant],
        since: float | None = None,
        most: int = DEFAULT_EFFORT,
    ) -> None:
        macs = [one.sender.mac for one in invariants if one.sender.mac is not None]
        lans = [one.sender.lan for one in invariants if one.sender.lan is not None]
        self.policy = policy
        self.enforced = replace(policy, mode=Mode.ENFORCE)
        """Without observe mode, which allows almost everything."""
        self.invariants = invariants
        self.space = Space([policy], macs, lans, since)
        self.most = most
        self.answers = Answers(self.space, policy, Effort(most))

    def proofs(self) -> Iterator[Proof]:
        """The result for each invariant, in order."""
        for invariant in self.invariants:
            yield self.proof(invariant)

    def proof(self, invariant: Invariant) -> Proof:
        """The result for one invariant. ``UNKNOWN`` where it takes more than ``most`` steps."""
        self.answers.algebra.effort.left = self.most
        try:
            if invariant.kind is InvariantKind.NEVER:
                return self._never(invariant)
            return self._always(invariant)
        except TooMuchWork:
            return Proof(invariant, Standing.UNKNOWN)

    # -- never

    def _never(self, invariant: Invariant) -> Proof:
        scope = never_scope(self.space, self.policy, self.answers.algebra, invariant)
        found: list[tuple[Witness, str]] = []
        passes = False
        for answer in self.answers.all(observe=False):
            boxes = self._some(self._excluded(invariant, answer, scope))
            passes |= bool(boxes)
            found += ((one, answer.rule) for one in self._witnesses(self.enforced, boxes) if opens(one))
        if passes:
            return self._violated(invariant, found)
        answer = self.answers.observed
        boxes = self._some(self._excluded(invariant, answer, scope))
        found += ((one, answer.rule) for one in self._witnesses(self.policy, boxes) if opens(one))
        if found:
            witness, rule = min(found, key=_size)
            return Proof(invariant, Standing.HOLDS, witness, rule, observed=True)
        return Proof(invariant, Standing.HOLDS)

    def _excluded(self, invariant: Invariant, answer: Answer, scope: Region) -> Iterator[Box]:
        """The points of an answer that the invariant excludes. Which grant is charged, with its lease, depends on
        room: one before it that always has room comes first."""
        bounds = invariant.unless
        if bounds is None:
            yield from self.answers.points(answer, scope)
            return
        yield from self.answers.points(answer, crossed(scope, beyond(bounds)))
        if bounds.lease_s is None:
            return
        charged = self.answers.charged_before(answer.grant)
        for at, via in enumerate(VIAS):
            over = longer(self.space, self.policy, answer.grant, via, bounds.lease_s)
            yield from self.answers.points(answer, crossed(scope, [{d.VIA: 1 << at}], over), charged)

    def _some(self, boxes: Iterator[Box]) -> list[Box]:
        """The first boxes: one is enough for a violation, some more for a simple witness."""
        return list(islice(boxes, MOST_TRIED))

    def _violated(self, invariant: Invariant, found: Sequence[tuple[Witness, str]]) -> Proof:
        if not found:  # a request that no witness shows is no proof of anything
            return Proof(invariant, Standing.UNKNOWN)
        witness, rule = min(found, key=_size)
        return Proof(invariant, Standing.VIOLATED, witness, rule, frozenset(name for _, name in found))

    def _witnesses(self, policy: Policy, boxes: Iterable[Box], full: Iterable[str] = ()) -> Iterator[Witness]:
        for box in boxes:
            yield from witnesses(self.space, policy, box, full)

    # -- always

    def _always(self, invariant: Invariant) -> Proof:
        scope = crossed(
            always_scope(self.space, self.policy, self.answers.algebra, invariant), self.space.requests()
        )
        named = rules.external(invariant.requested.ext_ports)
        exact = crossed(scope, named, [{d.SHAPE: Shape.EXACT | Shape.PINHOLE}])
        chosen = crossed(scope, [{d.SHAPE: Shape.CHOSEN_SAME}])
        limited = [one.rule for one in self.answers.granted if one.limited and one.outcome is Outcome.ALLOW]
        ext = invariant.requested.ext_ports or ALL_PORTS
        fails = False
        found: list[tuple[Witness, str]] = []
        for boxes, full in (*self._denied(exact, None), *self._denied(chosen, named)):
            some = self._some(boxes)
            fails |= bool(some)
            witnesses = self._witnesses(self.enforced, some, limited if full else ())
            found += ((one, one.verdict.rule or "") for one in witnesses if not _allowed(one, ext))
        if fails:
            return self._violated(invariant, found)
        return Proof(invariant, Standing.HOLDS)

    def _denied(self, scope: Region, choices: Region | None) -> Iterator[tuple[Iterator[Box], bool]]:
        """Boxes of requests that are not allowed, and whether only while no limited grant has room. ``choices``:
        the external ports that the gateway may choose; None: the requests name theirs."""
        yield iter(self._possible(crossed(scope, self._denying(choices is not None)))), False
        regions: dict[bool, Region] = {True: [], False: []}
        asking: Region = []
        for answer in self.answers.granted:
            region = answer.region if choices is None else self._chosen(answer, scope, choices)
            if answer.outcome is Outcome.ASK:
                asking += region
            else:
                regions[answer.limited] += region
        yield self._outside(scope, [*regions[True], *regions[False]]), False
        yield self._outside(crossed(scope, asking), regions[False]), True

    def _denying(self, chosen: bool) -> Region:
        """The forbids that deny: all of them, or those without external ports."""
        return [
            box
            for forbid in self.policy.forbids
            if not chosen or forbid.ext_ports is None
            for box in rules.forbid_region(self.space, self.policy, forbid)
        ]

    def _chosen(self, answer: Answer, scope: Region, choices: Region) -> Region:
        """The requests to which a grant can give one of the ports, without regard to the port."""
        narrowing = [
            box
            for forbid in self.policy.forbids
            if forbid.ext_ports is not None
            for box in rules.forbid_region(self.space, self.policy, forbid)
        ]
        whatever = [{key: its for key, its in box.items() if key != d.SHAPE} for box in scope]
        region = crossed(answer.region, whatever, choices, [{d.SHAPE: Shape.CHOSEN}])
        return _any_choice(self.answers.algebra.subtract(region, narrowing))

    def _outside(self, scope: Region, allowed: Region) -> Iterator[Box]:
        for box in scope:
            yield from self.answers.algebra.left(box, allowed, self.space.possible)

    def _possible(self, region: Region) -> Region:
        return [box for box in region if self.space.possible(box)]


def _any_choice(region: Region) -> Region:
    """The region, with the requests that let the gateway choose whatever port it gives, as ``CHOSEN_SAME``."""
    out: Region = []
    for box in region:
        shapes = box.get(d.SHAPE, Shape.ALL)
        assert isinstance(shapes, int)
        if shapes & ~Shape.CHOSEN:
            out.append({**box, d.SHAPE: shapes & ~Shape.CHOSEN})
        if shapes & Shape.CHOSEN_SAME:
            out.append({**_but_ext(box), d.SHAPE: Shape.CHOSEN_SAME})
        if shapes & Shape.CHOSEN_OTHER:
            inner = _with_another(box)
            if inner:
                out.append({**_but_ext(box), d.SHAPE: Shape.CHOSEN_SAME, d.INT: inner})
    return out


def _but_ext(box: Box) -> Box:
    return {dimension: its for dimension, its in box.items() if dimension != d.EXT}


def _with_another(box: Box) -> Spans:
    """The internal ports for which the box has a different external one."""
    inner, outer = box.get(d.INT, ALL_PORTS), box.get(d.EXT, ALL_PORTS)
    assert not isinstance(inner, int)
    assert not isinstance(outer, int)
    outer = without(outer, ((d.UNDECIDED, d.UNDECIDED),))
    single = len(outer) == 1 and outer[0][0] == outer[0][1]
    return without(inner, outer) if single or not outer else inner


def _allowed(witness: Witness, ext: Spans) -> bool:
    verdict = witness.verdict
    if verdict.outcome is not Outcome.ALLOW or verdict.clamps is None:
        return False
    return witness.request.choice is PortChoice.EXACT or bool(intersection(verdict.clamps.external_ports, ext))


def _size(found: tuple[Witness, str]) -> tuple[object, ...]:
    """Smaller is simpler: allowed before asked, one device before two, low ports first."""
    witness, rule = found
    facts, request = witness.facts, witness.request
    return (
        witness.verdict.outcome is not Outcome.ALLOW,
        facts.device != facts.target_device,
        facts.address != request.internal.address,
        request.internal.address.version,
        request.internal.port,
        request.choice is not PortChoice.EXACT,
        witness.ext_port,
        request.transport.value,
        rule,
    )
