"""The answers of a policy as regions: what each grant opens, and what the operator is asked about.

Room is counted at the moment of a request. A grant with ``max_mappings`` or ``max_ports_per_day`` may have none;
any other grant always has. A point is one request with the external port and the remote host that it would get.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.proof import dimensions as d
from upnp_gw.gate.proof import rules
from upnp_gw.gate.proof.boxes import Algebra, Box, Effort, Region, apart, crossed, merged
from upnp_gw.gate.proof.dimensions import Shape
from upnp_gw.gate.proof.room import implied, limited
from upnp_gw.gate.proof.space import DEFAULT_EFFORT, Space
from upnp_gw.gate.schema import OBSERVE_RULE, Forbid, Grant, Mode, Policy

DEFAULT_RULE = "default"
"""The name of ``default = "ask"`` among the answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The points to which one rule says yes, or which it asks the operator about: ``region`` without ``taken``."""

    outcome: Outcome
    rule: str
    """The grant, ``OBSERVE_RULE`` or ``DEFAULT_RULE``."""
    grant: Grant | None
    region: Region
    taken: Region

    @property
    def limited(self) -> bool:
        """True where the rule may have no room."""
        return self.grant is not None and limited(self.grant)


class Answers:
    """The regions of one policy in one space. What is not looked at is not computed."""

    def __init__(self, space: Space, policy: Policy, effort: Effort | None = None) -> None:
        self.space = space
        self.policy = policy
        self.algebra: Algebra = space.algebra(effort or Effort(DEFAULT_EFFORT))
        self._near_of: dict[tuple[str, int], Region] = {}

    @cached_property
    def granted(self) -> tuple[Answer, ...]:
        """The grants, in the order in which they are charged."""
        return tuple(
            Answer(
                Outcome.ASK if grant.approve else Outcome.ALLOW,
                grant.name,
                grant,
                rules.grant_region(self.space, self.policy, grant),
                self.forbidden,
            )
            for grant in self.policy.grants
        )

    @cached_property
    def forbidden(self) -> Region:
        """The points that the forbids take away, the simplest boxes first."""
        region = [
            box for forbid in self.policy.forbids for box in rules.forbid_region(self.space, self.policy, forbid)
        ]
        return sorted(merged(region), key=len)

    @cached_property
    def asked_by_default(self) -> Answer:
        """The points where no grant matches and the operator is asked. A grant outside its hours matches, and so
        does one that allows other external ports, where the gateway chooses."""
        region = rules.unasked(self.policy.default is Outcome.ASK)
        matched: Region = []
        for granted in self.granted if region else ():
            matches, grant = granted.region, granted.grant
            if grant is not None and grant.hours is not None:
                matches = rules.grant_region(self.space, self.policy, grant, at_any_hour=True)
            matched += crossed(matches, [{d.SHAPE: Shape.ALL & ~Shape.CHOSEN}])
            matched += rules.whatever_port(matches)
        taken = [*self.forbidden, *sorted(merged(matched), key=len)]
        return Answer(Outcome.ASK, DEFAULT_RULE, None, region, taken)

    @cached_property
    def observed(self) -> Answer:
        """The points that observe mode allows, with or without a grant."""
        region = rules.observed() if self.policy.mode is Mode.OBSERVE else []
        return Answer(Outcome.ALLOW, OBSERVE_RULE, None, region, self.forbidden)

    def all(self, observe: bool = True) -> Iterator[Answer]:
        """Every rule that says yes or asks, in order. ``observe`` False: as if the mode were enforce."""
        yield from self.granted
        if observe and self.observed.region:
            yield self.observed
        if self.asked_by_default.region:
            yield self.asked_by_default

    def points(self, answer: Answer, scope: Region, *without: Region) -> Iterator[Box]:
        """The requests of an answer in a part of the space, as disjoint boxes for each box of its region.
        ``without``: points to leave out."""
        more = [box for region in without for box in region]
        for at, whole in enumerate(answer.region):
            for box in self.algebra.crossed([whole], scope, self.space.requests()):
                taken = [*self._near(answer, at), *more]
                yield from self.algebra.left(box, taken, self.space.possible)

    def _near(self, answer: Answer, at: int) -> Region:
        """The points taken away that meet a box of the answer. Many scopes are asked about each."""
        near = self._near_of.get((answer.rule, at))
        if near is None:
            near = [box for box in answer.taken if not apart(box, answer.region[at])]
            self._near_of[answer.rule, at] = near
            self.algebra.effort.spend(len(answer.taken))
        return near

    def charged_before(self, grant: Grant | None) -> Region:
        """The points at which another grant is charged, whatever room there is: one before it that always has
        room. None: at which any grant could be."""
        region: Region = []
        for before in self.granted:
            if before.grant is grant:
                break
            if grant is None:
                region += before.region
                continue
            if before.grant is not None and implied(before.grant, grant) and not self._may_be_stale(before.grant):
                region += before.region
        return region

    def meets(self, forbid: Forbid, answer: Answer) -> bool:
        """True where the forbid takes away points of the answer."""
        region = rules.forbid_region(self.space, self.policy, forbid)
        return any(not apart(box, own) for box in region for own in answer.region)

    def denies(self, name: str, answer: Answer) -> bool:
        """True where this forbid alone takes away all requests of the answer."""
        forbid = next(one for one in self.policy.forbids if one.name == name)
        taken = rules.forbid_region(self.space, self.policy, forbid)
        alone = Answer(answer.outcome, f"{answer.rule} without {name}", answer.grant, answer.region, taken)
        return next(self.points(alone, [{}]), None) is None

    def always_has_room(self, answer: Answer) -> bool:
        """True where the grant is charged whenever it matches, whatever was granted before."""
        return answer.grant is not None and not answer.limited and not self._may_be_stale(answer.grant)

    def _may_be_stale(self, grant: Grant) -> bool:
        """True where the grant depends on an address list that can be out of date."""
        sets = () if grant.remote is None else grant.remote.sets
        return any(name in sets and one.max_age_s is not None for name, one in self.policy.sets.items())
