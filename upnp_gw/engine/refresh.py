"""Decides a request as a refresh or as new: the gate judges it as such, and the ledger plans the allowed row.

A frozen device may renew its own mappings, and a renewal does not count towards the ports of the day. That holds
only if the request makes nothing reachable that was not reachable before. Another internal endpoint, a mapping that
is enabled again, or a further remote host is decided as new.
"""

from dataclasses import dataclass, field, replace

from upnp_gw.engine.decider import Asked, Decider
from upnp_gw.engine.former_addresses import parked_in_the_way, with_former_port
from upnp_gw.engine.full_quota import make_room
from upnp_gw.engine.moved_devices import end_left_behind, left_behind
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Allowed, Facts, HeldMappings, Outcome, Verdict
from upnp_gw.gate.schema import OPERATOR_RULE
from upnp_gw.ledger.filters import filters_after
from upnp_gw.ledger.plan import Planned, Planner
from upnp_gw.ledger.reachable import no_wider, opens
from upnp_gw.ledger.refusals import NotPlanned
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
    """The row, with the number that its decision will get; None: the gate refused, or a trial cannot know it."""


def answer(
    decider: Decider, transaction: Transaction, planner: Planner, asked: Asked, own: Mapping | None
) -> PlannedVerdict:
    """Decides a request. ``own``: the owner's row that it refreshes, see ``Planner.own_row``."""
    if not asked.request.external_port:
        asked = with_former_port(decider, asked)
    found = _Attempt(decider, transaction, planner, asked.about(about(asked.request, own)), own).answer()
    # the mapping may not be refreshed: decide without it, which leaves the choice of another port
    if found.planned is None and own is not None and _may_be_elsewhere(asked.request):
        return _Attempt(decider, transaction, planner, asked, None).answer()
    return found


def trial(decider: Decider, transaction: Transaction, planner: Planner, asked: Asked) -> PlannedVerdict:
    """The verdict that a request would get now, as far as known without asking its device. Changes nothing."""
    own, asked = planner.own_row(asked.request, asked.parties.owner), with_former_port(decider, asked)
    asked = asked.about(about(asked.request, own))
    return _Attempt(decider, transaction, planner, asked, own, trial=True).answer()


def about(request: MapRequest, own: Mapping | None) -> MapRequest:
    """The request with the port that it would get: a refresh of a port mapping keeps that external port, whatever
    it suggests. The gate has to judge this port."""
    if own is None or request.choice is PortChoice.EXACT or request.pinhole:
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
    planner: Planner
    asked: Asked
    own: Mapping | None
    trial: bool = False
    """True: no other mapping is ended to make room."""
    replaced: list[Mapping] = field(init=False)
    """The requester's mappings on this port whose addresses do not answer. The new one replaces them."""
    judged: MapRequest = field(init=False)
    """The request with all FILTERs that the PCP lease will have, including those already in force."""

    def __post_init__(self) -> None:
        request, own = self.asked.request, self.own
        self.replaced = [] if own is not None else parked_in_the_way(self.decider, request, self.asked.parties)
        hold = own.hold_of(Via.PCP.protocol) if own is not None and request.via is Via.PCP else None
        self.judged = request if hold is None else replace(request, filters=filters_after(request, hold.filters))

    def facts(self, standing: bool, held: HeldMappings) -> Facts:
        hosts, ports = self.asked.parties.hosts, self.asked.gateway_ports
        return self.decider.facts(
            self.transaction, self.judged, held, None, standing=standing, hosts=hosts, gateway_ports=ports
        )

    def answer(self) -> PlannedVerdict:
        held = self.decider.held(self.judged, self.asked.parties, self.own, *self.replaced)
        facts, verdict = self._decided(self.facts(self.own is not None, held))
        planned = self.plan(facts, verdict)
        if self.own is None or not isinstance(planned, Planned) or not opens(self.own, planned.mapping):
            return PlannedVerdict(self.judged, facts, verdict, planned)
        # the row would let more in than before: only a verdict on it as new may allow that
        new = self.facts(False, facts.held)
        verdict_new = decide(self.decider.in_force.policy, new, self.judged)
        if verdict_new.outcome is Outcome.ALLOW:
            return PlannedVerdict(self.judged, new, verdict_new, self.plan(new, verdict_new))
        kept = no_wider(self.own, planned.mapping, self.judged.via)
        if kept is not None:
            return PlannedVerdict(self.judged, facts, verdict, replace(planned, mapping=kept))
        self.transaction.undo_rows()  # restores the mappings that were ended to make room
        return PlannedVerdict(self.judged, new, verdict_new, None)

    def plan(self, facts: Facts, verdict: Verdict) -> Planned | NotPlanned | None:
        if verdict.outcome is not Outcome.ALLOW or verdict.clamps is None:
            return None
        if not self.trial:
            end_left_behind(self.decider, self.transaction, self.asked.request, facts)
            for mapping in self.replaced:
                self.transaction.end(mapping, "device-moved")
        request = self.asked.request
        nobody = None if self.trial else _nobodys_address(self.asked)  # a trial assumes a present client
        not_now = self.decider.no_external_address(request) or nobody
        number = self.transaction.ledger.numbers.upcoming_decision
        allowed = Allowed(number, verdict, verdict.clamps, verdict.rule or OPERATOR_RULE)
        planned = not_now or self.planner.plan(request, allowed, self.asked.parties.owner, self.own)
        # a real request would end this holder first; a trial ends nothing
        if self.trial and isinstance(planned, NotPlanned) and planned.holder in self._makes_room(facts):
            return None
        if isinstance(planned, Planned) and self.asked.unsettled:
            # an operator's mapping waits for its client
            return replace(planned, mapping=replace(planned.mapping, parked=True))
        return planned

    def _makes_room(self, facts: Facts) -> list[Mapping]:
        """The mappings that the request itself would end first."""
        return [*self.replaced, *left_behind(self.decider, self.asked.request, facts)]

    def _decided(self, facts: Facts) -> tuple[Facts, Verdict]:
        verdict = decide(self.decider.in_force.policy, facts, self.judged)
        if self.trial or verdict.refusal is not Refusal.QUOTA:
            return facts, verdict
        without = self.own, *self.replaced
        return make_room(self.decider, self.transaction, self.judged, self.asked.parties, facts, verdict, without)


def _nobodys_address(asked: Asked) -> NotPlanned | None:
    """The refusal if it is unknown which host has the internal client's address; None if it is known."""
    if asked.request.via is Via.OPERATOR:
        return None
    if asked.contested:
        return NotPlanned(Refusal.ABSENT, "another host claims the internal client's address")
    if asked.unsettled:
        return NotPlanned(Refusal.ABSENT, "nobody answers for the internal client's address")
    return None
