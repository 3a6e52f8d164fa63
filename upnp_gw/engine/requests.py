"""The changes that each kind of request makes to the ledger.

Every method is one ``Transaction``: it asks the gate, plans, changes the ledger's rows and makes the reply. None of
them waits or talks to the kernel; ``gateway`` brings their changes into the kernel and the store.
"""

from dataclasses import dataclass, replace
from itertools import count
from random import Random

from upnp_gw.engine.audit import map_record
from upnp_gw.engine.crossed_invariants import told
from upnp_gw.engine.datagram_requests import another_port, release, static_reply
from upnp_gw.engine.decider import Asked, Decider, Removal, refused
from upnp_gw.engine.delete_any_protocol import unmap_port
from upnp_gw.engine.operator_question import ask
from upnp_gw.engine.refresh import PlannedVerdict, answer, trial
from upnp_gw.engine.request_log import log_decision
from upnp_gw.engine.revocation import count_refusal
from upnp_gw.gate.decision import Outcome
from upnp_gw.gate.terms import subject_of
from upnp_gw.ledger.events import FirstMapping
from upnp_gw.ledger.igd_key import find
from upnp_gw.ledger.refusals import NotPlanned
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping, Via
from upnp_gw.model.request import (
    Granted,
    MapRequest,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
)


@dataclass(frozen=True, slots=True)
class RequestOperations:
    """One method for each kind of request."""

    decider: Decider

    def perform(self, transaction: Transaction, request: Removal | Asked, device: str) -> Reply:
        """``Asked``: a request for a mapping. ``device``: the requester's."""
        decider = self.decider
        transaction.records.extend(decider.refusal_counter.over(transaction.now, transaction.on_undo))
        if isinstance(request, Asked):
            return self.map(transaction, request)
        if isinstance(request, UnmapRequest):
            return self.unmap(transaction, request, device)
        if isinstance(request, UnmapPortRequest):
            return unmap_port(decider, transaction, request, device)
        if isinstance(request, ReleaseRequest):
            return release(decider, transaction, request, device)
        return self.unmap_range(transaction, request, device)

    def map(self, transaction: Transaction, asked: Asked, action: str = "map") -> Reply:
        """Opens a port or renews what is open. ``action``: ``approve`` where the operator's approval asks again,
        ``import`` for a lease of another gateway (``takeover``)."""
        decider, request, owner = self.decider, asked.request, asked.parties.owner
        if not asked.contested:
            transaction.uncontested.add(request.internal.address)
        planner = decider.planner(transaction, asked)
        own = planner.own_row(request, owner)
        if request.standing_only and own is None:
            return Refused(Refusal.NO_SUCH, "there is no such mapping", None)
        static = static_reply(decider, transaction, request, own) if own is not None else None
        if static is not None:
            return static
        found = answer(decider, transaction, planner, asked, own)
        found, crosses = told(decider, found)
        facts, verdict = found.facts, found.verdict
        log_decision(found.request, facts, verdict)
        transaction.on_undo.append(decider.history.undo_for(facts.device))
        again = (
            decider.refusal_counter.again(facts.device, transaction.now, transaction.on_undo)
            if verdict.refusal is Refusal.RATE
            else None
        )
        if again is not None:
            decider.history.count_refusal(facts.device, request, verdict, transaction.now, facts.today)
            return refused(verdict, again)
        decision = transaction.ledger.numbers.next_decision()
        if found.planned is None:
            transaction.records.append(
                map_record(transaction.now, decision, found.request, facts, verdict, action=action)
            )
            if verdict.refusal is Refusal.RATE:
                decider.refusal_counter.begin(transaction.records[-1], transaction.now, transaction.on_undo)
            if verdict.outcome is Outcome.ASK:
                ask(decider, transaction, found, planner, owner, decision)
            count_refusal(decider, transaction, request, facts, verdict, asks=action != "import")
            return another_port(decider.in_force.policy, facts, request, decision) or refused(verdict, decision)
        planned = found.planned
        if isinstance(planned, NotPlanned):
            transaction.undo_rows()  # rows that were removed to make room come back
            transaction.records.append(
                map_record(transaction.now, decision, found.request, facts, verdict, busy=planned, action=action)
            )
            holder = planned.holder if request.via is Via.OPERATOR or action == "approve" else None
            return Refused(planned.refusal, planned.reason, decision, planned.retry_s, holder)
        mapping = planned.mapping
        if decider.above is not None:
            network, now = decider.environment.network, transaction.now.boot
            mapping = decider.above.reserved(mapping, request, network, now, decider.random)
        transaction.put(mapping)
        transaction.records.append(
            map_record(transaction.now, decision, found.request, facts, verdict, mapping=mapping.id, action=action)
        )
        if decider.questions.has_of_device(facts.device):
            decider.questions.settle(subject_of(facts, found.request, None), transaction.on_undo)
        first = decider.history.count_grant(
            facts.device, mapping.internal.port, transaction.now, facts.today, request.via.datagram
        )
        if first and request.via is not Via.OPERATOR:
            transaction.announcements.append(FirstMapping(mapping))
        hold = mapping.hold_of(request.via.protocol)
        lifetime = max(1, round((hold.until if hold else mapping.until) - transaction.now.boot))
        return Granted(mapping, lifetime, decider.external_address(mapping), planned.refreshed, crosses)

    def unmap(self, transaction: Transaction, request: UnmapRequest, device: str) -> Reply:
        """Ends the requester's hold on one mapping, and the mapping with its last hold."""
        decider = self.decider
        mapping = self._wanted(request, device)
        if mapping is None:
            return Refused(Refusal.NO_SUCH, "there is no such mapping", None)
        verdict = decider.removal(request, device, mapping)
        if verdict.outcome is not Outcome.ALLOW:
            return decider.refuse_removal(transaction, request, device, mapping, verdict)
        decider.write_down(transaction, request, device, mapping, verdict)
        decider.end_hold(transaction, mapping, request.via)
        return Removed((mapping,))

    def unmap_range(self, transaction: Transaction, request: UnmapRangeRequest, device: str) -> Reply:
        """Ends every mapping in the range that the requester may delete; the others are skipped (IGD-162)."""
        decider = self.decider
        everyone = decider.sees_all(request) and request.everyone
        deleted: list[Mapping] = []
        for mapping in self.in_range(None if everyone else device, request):
            verdict = decider.removal(request, device, mapping)
            if verdict.outcome is Outcome.ALLOW:
                decider.write_down(transaction, request, device, mapping, verdict)
                decider.end_hold(transaction, mapping, request.via)
                deleted.append(mapping)
        if not deleted:
            return Refused(Refusal.NO_SUCH, "there is no mapping of this control point in the range", None)
        return Removed(tuple(deleted))

    def in_range(self, device: str | None, request: UnmapRangeRequest) -> list[Mapping]:
        """The port mappings of a device (None: of all) with an external port in the range, by port."""
        table = self.decider.ledger.table
        rows = [table.get(i) for i in table.numbering(device)]
        found = [
            m
            for m in rows
            if m is not None
            and m.key.transport is request.transport
            and request.start <= m.outside_port <= request.end
        ]
        return sorted(found, key=lambda m: m.outside_port)

    def trial(self, request: MapRequest) -> PlannedVerdict:
        """The answer that a request would get now. Changes nothing."""
        decider = self.decider
        transaction = Transaction(decider.ledger, decider.environment.clock())
        numbers = (f"m{number}" for number in count(decider.ledger.numbers.mapping + 1))
        asked = decider.asked(request)
        planner = replace(decider.planner(transaction, asked), new_id=numbers.__next__, random=Random(0))
        return trial(decider, transaction, planner, asked)

    def _wanted(self, request: UnmapRequest, device: str) -> Mapping | None:
        table, network = self.decider.ledger.table, self.decider.environment.network
        if request.mapping_id is not None:
            return table.get(request.mapping_id)
        if request.key is None:
            return None
        return find(table, network, request.key, request.source, device)
