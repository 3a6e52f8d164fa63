"""Decides a request as a refresh or as new: the gate judges it as such, and the ledger plans the allowed row.

A frozen device may renew its own mappings, and a renewal does not count towards the ports of the day. That holds
only if the request makes nothing reachable that was not reachable before. Another internal endpoint, a mapping that
is enabled again, or a further remote host is decided as new.
"""

from dataclasses import dataclass, field, replace

from upnp_gw.engine.decider import Decider, Parties
from upnp_gw.engine.environment import Environment
from upnp_gw.engine.former_addresses import parked_in_the_way, with_former_port
from upnp_gw.engine.full_quota import make_room
from upnp_gw.engine.moved_devices import end_left_behind, left_behind
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Allowed, Facts, Outcome, Verdict
from upnp_gw.gate.schema import OPERATOR_RULE
from upnp_gw.ledger.filters import filters_after
from upnp_gw.ledger.plan import NotPlanned, Planned, Planner
from upnp_gw.ledger.reachable import no_wider, opens
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping, Via
from upnp_gw.model.request import MapRequest, PortChoice, Refusal

@dataclass(frozen=True, slots=True)
class PlannedVerdict:
    """The gate's verdict, and the ledger's plan for it."""

    request: MapRequest
    """The request as decided: a refresh of a port mapping keeps its external port, a PCP lease its FILTERs."""
    facts: Facts
    verdict: Verdict
    planned: Planned | NotPlanned | None
    """The planned row, with the number that the decision gets; None: the gate refused, or a trial cannot know it."""


def answer(
    decider: Decider,
    transaction: Transaction,
    request: MapRequest,
    planner: Planner,
    parties: Parties,
    own: Mapping | None,
) -> PlannedVerdict:
    """Decides a request. ``own``: the owner's row that it refreshes, see ``Planner.own_row``."""
    request = with_former_port(decider, request, parties)
    found = _Attempt(decider, transaction, about(request, own), planner, parties, own).answer()
    # the mapping may not be refreshed: decide without it, which leaves the choice of another port
    if found.planned is None and own is not None and _may_be_elsewhere(request):
        return _Attempt(decider, transaction, request, planner, parties, None).answer()
    return found


def trial(
    decider: Decider, transaction: Transaction, request: MapRequest, planner: Planner, parties: Parties
) -> PlannedVerdict:
    """The verdict that a request would get now, as far as known without asking its device. Changes nothing."""
    own, request = planner.own_row(request, parties.owner), with_former_port(decider, request, parties)
    return _Attempt(decider, transaction, about(request, own), planner, parties, own, trial=True).answer()


def about(request: MapRequest, own: Mapping | None) -> MapRequest:
    """The request with the port that it would get: a refresh of a port mapping keeps that external port, whatever
    it suggests. The gate has to judge this port."""
    if own is None or request.choice is PortChoice.EXACT or request.internal.address.version == 6:
        return request
    return replace(request, choice=PortChoice.EXACT, external_port=own.key.external_port)


def _may_be_elsewhere(request: MapRequest) -> bool:
    """True if another external port will do: AddAnyPortMapping takes one if its own is not available. Over NAT-PMP
    and PCP an internal endpoint has one mapping (RFC 6887 section 11.3)."""
    return request.choice is PortChoice.SUGGESTED and not request.via.datagram


@dataclass(slots=True)
class _Attempt:
    """One try to get a request allowed, as a refresh of ``own`` or as new."""

    decider: Decider
    transaction: Transaction
    request: MapRequest
    planner: Planner
    parties: Parties
    own: Mapping | None
    trial: bool = False
    """True: no other mapping is ended to make room."""
    replaced: list[Mapping] = field(init=False)
    """The requester's mappings on this port whose addresses do not answer. The new one replaces them."""

    def __post_init__(self) -> None:
        self.replaced = parked_in_the_way(self.decider, self.request, self.parties) if self.own is None else []

    @property
    def judged(self) -> MapRequest:
        """The request with all FILTERs that the PCP lease will have, including those already in force."""
        hold = self.own.hold_of(Via.PCP.protocol) if self.own is not None and self.request.via is Via.PCP else None
        if hold is None:
            return self.request
        return replace(self.request, filters=filters_after(self.request, hold.filters))

    def facts(self, standing: bool) -> Facts:
        held = self.decider.held(self.request, self.parties, self.own, *self.replaced)
        hosts = self.parties.hosts
        return self.decider.facts(self.transaction, self.judged, held, None, standing=standing, hosts=hosts)

    def answer(self) -> PlannedVerdict:
        facts, verdict = self._decided(self.facts(standing=self.own is not None))
        planned = self.plan(facts, verdict)
        if self.own is None or not isinstance(planned, Planned) or not opens(self.own, planned.mapping):
            return PlannedVerdict(self.judged, facts, verdict, planned)
        # the row would let more in than before: only a verdict on it as new may allow that
        new = replace(self.facts(standing=False), held=facts.held)
        verdict_new = decide(self.decider.in_force.policy, new, self.judged)
        if verdict_new.outcome is Outcome.ALLOW:
            return PlannedVerdict(self.judged, new, verdict_new, self.plan(new, verdict_new))
        kept = no_wider(self.own, planned.mapping, self.request.via)
        if kept is not None:
            return PlannedVerdict(self.judged, facts, verdict, replace(planned, mapping=kept))
        self.transaction.undo_rows()  # restores the mappings that were ended to make room
        return PlannedVerdict(self.judged, new, verdict_new, None)

    def plan(self, facts: Facts, verdict: Verdict) -> Planned | NotPlanned | None:
        if verdict.outcome is not Outcome.ALLOW or verdict.clamps is None:
            return None
        if not self.trial:
            end_left_behind(self.decider, self.transaction, self.request, facts)
            for mapping in self.replaced:
                self.transaction.end(mapping, "device-moved")
        unsettled = self._around.client_unsettled(self.request.internal.address)
        nobody = None if self.trial else self._nobodys_address(unsettled)  # a trial assumes a present client
        not_now = self.decider.no_external_address(self.request) or nobody
        number = self.transaction.ledger.numbers.upcoming_decision
        allowed = Allowed(number, verdict, verdict.clamps, verdict.rule or OPERATOR_RULE)
        planned = not_now or self.planner.plan(self.request, allowed, self.parties.owner, self.own)
        # a real request would end this holder first; a trial ends nothing
        if self.trial and isinstance(planned, NotPlanned) and planned.holder in self._makes_room(facts):
            return None
        if isinstance(planned, Planned) and unsettled:
            # an operator's mapping waits for its client
            return replace(planned, mapping=replace(planned.mapping, parked=True))
        return planned

    def _makes_room(self, facts: Facts) -> list[Mapping]:
        """The mappings that the request itself would end first."""
        return [*self.replaced, *left_behind(self.decider, self.request, facts)]

    @property
    def _around(self) -> Environment:
        return self.decider.environment

    def _nobodys_address(self, unsettled: bool) -> NotPlanned | None:
        """The refusal if it is unknown which host has the internal client's address; None if it is known."""
        address = self.request.internal.address
        if self.request.via is Via.OPERATOR:
            return None
        if self._around.client_contested(address):
            return NotPlanned(Refusal.ABSENT, "another host claims the internal client's address")
        if unsettled:
            return NotPlanned(Refusal.ABSENT, "nobody answers for the internal client's address")
        return None

    def _decided(self, facts: Facts) -> tuple[Facts, Verdict]:
        verdict = decide(self.decider.in_force.policy, facts, self.judged)
        if self.trial:
            return facts, verdict
        without = self.own, *self.replaced
        return make_room(self.decider, self.transaction, self.judged, self.parties, facts, verdict, without)
