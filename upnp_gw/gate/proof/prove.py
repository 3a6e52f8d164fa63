"""Proves the invariants of a policy, or finds a request that violates them.

``never`` holds if no assignment of room to the grants lets a request of its kind through, or asks the operator
about it. ``always`` holds if each request of its kind is allowed by every assignment in which some matching grant
has room.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import islice

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.invariant import Invariant, InvariantKind
from upnp_gw.gate.portset import ALL_PORTS
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.answers import DEFAULT_RULE, Answer, Answers
from upnp_gw.gate.proof.boxes import UNDECIDED, Box, Effort, Region
from upnp_gw.gate.proof.dimensions import Shape
from upnp_gw.gate.proof.leases import cut_short, days_ahead, longer
from upnp_gw.gate.proof.room import ROOM, Room, rooms
from upnp_gw.gate.proof.scope import always_scope, beyond, never_scope
from upnp_gw.gate.proof.space import DEFAULT_EFFORT, VIAS, Space
from upnp_gw.gate.proof.spans import Spans, without
from upnp_gw.gate.proof.verdicts import gives, longest_s, opens
from upnp_gw.gate.proof.witness import Witness, witnesses
from upnp_gw.gate.schema import Mode, Policy
from upnp_gw.model.request import PortChoice

MOST_TRIED = 12
"""Most boxes of one rule from which a witness is made at first, to find a small one."""
TOO_MUCH = "it takes too many steps. Name fewer ports or devices in it"
NOT_SHOWN = "no request was found that shows it. Name fewer ports or devices in it"
WITNESS_STEPS = 20
"""Steps of the effort that the witnesses of a box count as."""


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
    problem: str = ""
    """The reason why it is unknown."""


@dataclass(slots=True)
class _Part:
    """Points that an invariant excludes."""

    boxes: Iterator[Box]
    rooms: Iterable[Room]
    """States of the quotas with which a witness is tried."""
    shows: Callable[[Witness, Policy], str | None]
    """The rule by which a witness is one; None: it is none."""
    first: list[Box] = field(default_factory=list)
    """The boxes that are looked at: one is enough for a violation, some more for a simple witness."""


def _open(parts: Iterable[_Part]) -> list[_Part]:
    """The parts with their next boxes, if they have more."""
    found = []
    for part in parts:
        part.first = list(islice(part.boxes, MOST_TRIED))
        if part.first:
            found.append(part)
    return found


class Prover:
    """Proves invariants of one policy. ``since``: wall-clock seconds from which on they must hold; None: ever."""

    def __init__(
        self,
        policy: Policy,
        invariants: Sequence[Invariant],
        since: float | None = None,
        most: int = DEFAULT_EFFORT,
    ) -> None:
        self.policy = policy
        self.enforced = replace(policy, mode=Mode.ENFORCE)
        """Without observe mode, which allows almost everything."""
        self.invariants = invariants
        self.since = since
        self.most = most
        self._cut: dict[int, Region] = {}

    @cached_property
    def space(self) -> Space:
        """The values that the policy and the invariants can tell apart."""
        macs = [one.sender.mac for one in self.invariants if one.sender.mac is not None]
        lans = [one.sender.lan for one in self.invariants if one.sender.lan is not None]
        bounds_s = [one.unless.lease_s for one in self.invariants if one.unless is not None and one.unless.lease_s]
        ahead = days_ahead(self.policy, max(bounds_s)) if bounds_s else 0
        return Space([self.policy], macs, lans, self.since, ahead)

    @cached_property
    def answers(self) -> Answers:
        """The answers of the policy."""
        return Answers(self.space, self.policy, Effort(self.most))

    def proofs(self) -> Iterator[Proof]:
        """The result for each invariant, in order."""
        for invariant in self.invariants:
            yield self.proof(invariant)

    def proof(self, invariant: Invariant) -> Proof:
        """The result for one invariant. ``UNKNOWN`` where it takes more than ``most`` steps, or more memory than
        there is, and where the prover itself fails: an error is never a proof. Never raises."""
        try:
            self.answers.algebra.effort.left = self.most
            if invariant.kind is InvariantKind.NEVER:
                return self._never(invariant)
            return self._always(invariant)
        except UNDECIDED:
            return Proof(invariant, Standing.UNKNOWN, problem=TOO_MUCH)
        except Exception as error:
            return Proof(invariant, Standing.UNKNOWN, problem=f"the prover failed: {type(error).__name__}")

    # -- never

    def _never(self, invariant: Invariant) -> Proof:
        scope = never_scope(self.space, self.policy, self.answers.algebra, invariant)
        answers = self.answers.all(observe=False)
        parts = _open([part for answer in answers for part in self._parts(invariant, answer, scope)])
        if parts:
            return self._violated(invariant, self._searched(parts, self.enforced))
        parts = _open(self._parts(invariant, self.answers.observed, scope))
        if observed := self._searched(parts, self.policy):
            witness, rule = min(observed, key=_size)
            return Proof(invariant, Standing.HOLDS, witness, rule, observed=True)
        return Proof(invariant, Standing.HOLDS)

    def _parts(self, invariant: Invariant, answer: Answer, scope: Region) -> Iterator[_Part]:
        """The points of an answer that the invariant excludes. Which grant is charged, with its lease, depends on
        room: one before it that always has room comes first."""
        bounds = invariant.unless
        if bounds is None:
            yield self._part(answer, self.answers.points(answer, scope))
            return
        yield self._part(answer, self.answers.points(answer, self.answers.algebra.crossed(scope, beyond(bounds))))
        if bounds.lease_s is None:
            return
        charged = self.answers.charged_before(answer.grant)
        cut = self._cut_short(bounds.lease_s) if answer.outcome is Outcome.ALLOW else []
        for at, via in enumerate(VIAS):
            over = longer(self.space, self.policy, answer.grant, via, bounds.lease_s)
            region = self.answers.algebra.crossed(scope, [{d.VIA: 1 << at}], over)
            boxes = self.answers.points(answer, region, charged, cut if via.datagram else [])
            yield self._part(answer, boxes, bounds.lease_s)

    def _cut_short(self, bound_s: int) -> Region:
        if bound_s not in self._cut:
            self._cut[bound_s] = cut_short(self.space, self.policy, bound_s)
        return self._cut[bound_s]

    def _part(self, answer: Answer, boxes: Iterator[Box], lease_s: int = 0) -> _Part:
        def shows(witness: Witness, policy: Policy) -> str | None:
            if opens(policy, witness) and longest_s(policy, witness) > lease_s:
                return witness.verdict.rule or DEFAULT_RULE
            return None

        return _Part(boxes, rooms(self.policy, answer.grant), shows)

    def _searched(self, parts: Sequence[_Part], policy: Policy) -> list[tuple[Witness, str]]:
        """Requests that ``decide`` answers as the parts say, with the rule that does. Those of the simplest state
        of the quotas in which the first boxes have some; else of the next boxes."""
        states = {id(part): tuple(part.rooms) for part in parts}
        while parts:
            for at in range(max(map(len, states.values()))):
                tried = [(part, room) for part in parts for room in states[id(part)][at : at + 1]]
                if found := [one for part, room in tried for one in self._shown(part, room, policy)]:
                    return found
            parts = _open(parts)
        return []

    def _shown(self, part: _Part, room: Room, policy: Policy) -> Iterator[tuple[Witness, str]]:
        for box in part.first:
            self.answers.algebra.effort.spend(WITNESS_STEPS)
            for one in witnesses(self.space, policy, box, room):
                if (rule := part.shows(one, policy)) is not None:
                    yield one, rule

    def _violated(self, invariant: Invariant, found: Sequence[tuple[Witness, str]]) -> Proof:
        if not found:  # a request that no witness shows is no proof of anything
            return Proof(invariant, Standing.UNKNOWN, problem=NOT_SHOWN)
        witness, rule = min(found, key=_size)
        return Proof(invariant, Standing.VIOLATED, witness, rule, frozenset(name for _, name in found))

    # -- always

    def _always(self, invariant: Invariant) -> Proof:
        scope = self.answers.algebra.crossed(
            always_scope(self.space, self.policy, self.answers.algebra, invariant), self.space.requests()
        )
        ext = invariant.requested.ext_ports or ALL_PORTS
        exact = self.answers.algebra.crossed(
            scope, rules.external(invariant.requested.ext_ports), [{d.SHAPE: Shape.EXACT | Shape.PINHOLE}]
        )
        chosen = self.answers.algebra.crossed(scope, [{d.SHAPE: Shape.CHOSEN_SAME}])

        def shows(witness: Witness, _: Policy) -> str | None:
            return None if gives(witness, ext) else witness.verdict.rule or ""

        parts = _open(
            [_Part(boxes, (room,), shows) for boxes, room in (*self._exact(exact), *self._chosen(chosen, ext))]
        )
        if parts:
            return self._violated(invariant, self._searched(parts, self.enforced))
        return Proof(invariant, Standing.HOLDS)

    def _exact(self, scope: Region) -> Iterator[tuple[Iterator[Box], Room]]:
        """Boxes of requests for a port of theirs that are not allowed, and the state of the quotas in which they
        are not."""
        yield self._possible(self.answers.algebra.crossed(scope, self._forbidding(narrowing=True))), ROOM
        allowing = [one for one in self.answers.granted if one.outcome is Outcome.ALLOW]
        yield self._outside(scope, [box for one in allowing for box in one.region]), ROOM
        asking = [box for one in self.answers.granted if one.outcome is Outcome.ASK for box in one.region]
        sure = [box for one in allowing if not one.limited for box in one.region]
        full = Room(frozenset(one.rule for one in allowing if one.limited))
        yield self._outside(self._counting(self.answers.algebra.crossed(scope, asking), full), sure), full

    def _chosen(self, scope: Region, ext: Spans) -> Iterator[tuple[Iterator[Box], Room]]:
        """The same for requests that let the gateway choose: the grant that is charged, with some state of the
        quotas, gives no port of ``ext``. The boxes are without regard to the port."""
        yield self._possible(self.answers.algebra.crossed(scope, self._forbidding(narrowing=False))), ROOM
        giving: dict[str, Region] = {}
        before: Region = []
        full: list[str] = []
        for answer in self.answers.granted:
            matching = self._choosable(answer, scope, ALL_PORTS)
            if answer.outcome is Outcome.ALLOW:
                giving[answer.rule] = matching if ext == ALL_PORTS else self._choosable(answer, scope, ext)
            room = Room(frozenset(full))
            yield self._outside(self._counting(matching, room), [*before, *giving.get(answer.rule, [])]), room
            if answer.limited:
                full.append(answer.rule)
            else:
                before += matching
        yield self._outside(scope, [box for region in giving.values() for box in region]), ROOM

    def _counting(self, region: Region, room: Room) -> Region:
        """The region where the quotas count: a grant is never full at a restart."""
        return self.answers.algebra.crossed(region, [{d.LEASE: self.space.unread - 1}]) if room.full else region

    def _forbidding(self, narrowing: bool) -> Region:
        """The regions of the forbids; without ``narrowing``: of those that deny where the gateway chooses."""
        return [
            box
            for forbid in self.policy.forbids
            if narrowing or forbid.ext_ports is None
            for box in rules.forbid_region(self.space, self.policy, forbid)
        ]

    @cached_property
    def _narrowing(self) -> Region:
        """The regions of the forbids that take ports away where the gateway chooses."""
        return [
            box
            for forbid in self.policy.forbids
            if forbid.ext_ports is not None
            for box in rules.forbid_region(self.space, self.policy, forbid)
        ]

    def _choosable(self, answer: Answer, scope: Region, ext: Spans) -> Region:
        """The requests to which a grant can give one of the ports, without regard to the port."""
        whatever = [{key: its for key, its in box.items() if key != d.SHAPE} for box in scope]
        region = self.answers.algebra.crossed(
            answer.region, whatever, rules.external(ext), [{d.SHAPE: Shape.CHOSEN}]
        )
        return _any_choice(self.answers.algebra.subtract(region, self._narrowing))

    def _outside(self, scope: Region, allowed: Region) -> Iterator[Box]:
        for box in scope:
            yield from self.answers.algebra.left(box, allowed, self.space.possible)

    def _possible(self, region: Region) -> Iterator[Box]:
        return (box for box in region if self.space.possible(box))


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
