"""What each kind of request, and each duty of the gateway's own, does to the ledger.

Every function is one ``Transaction``: it asks the gate, plans, changes the ledger's rows and says what to reply. None of
them waits or talks to the kernel; ``gateway`` brings what they changed into the kernel and the store.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from random import Random

from upnp_gw.engine.audit import map_record, removal_record
from upnp_gw.engine.datagram_requests import another_port, release, static_reply
from upnp_gw.engine.delete_any_protocol import unmap_port
from upnp_gw.engine.environment import Environment, clock_change_s
from upnp_gw.engine.operator_question import ask
from upnp_gw.engine.refresh import PlannedVerdict, answer, trial
from upnp_gw.engine.refusal_counter import RefusalCounter
from upnp_gw.engine.revocation import quarantine
from upnp_gw.gate.approval_queue import ApprovalQueue
from upnp_gw.gate.decide_removal import decide_removal
from upnp_gw.gate.decision import Facts, HeldMappings, Outcome, Verdict
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.facts import gather
from upnp_gw.gate.schema import Policy
from upnp_gw.gate.terms import topic_of
from upnp_gw.ledger.charges import InnerPort
from upnp_gw.ledger.events import IncidentBegan
from upnp_gw.ledger.filters import meeting
from upnp_gw.ledger.plan import NotPlanned, Planner
from upnp_gw.ledger.reachable import with_holds
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.mapping import DecisionId, IPAddress, Mapping, Via
from upnp_gw.model.network import private_external
from upnp_gw.model.request import (
    ChangeRequest,
    Granted,
    MapRequest,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
    Source,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
)

Removal = UnmapRequest | UnmapPortRequest | UnmapRangeRequest | ReleaseRequest
RETRY_S = {Refusal.ASK: 60, Refusal.RATE: 60}
"""When asking again makes sense: the operator may have said yes, the minute is over."""


@dataclass(slots=True)
class RequestOperations:
    """The operations and what they decide by. ``policy`` is replaced as a whole by a reload."""

    policy: Policy
    ledger: Ledger
    environment: Environment
    history: DeviceHistory
    random: Random
    questions: ApprovalQueue = field(default_factory=ApprovalQueue)
    visibility: str = "own"
    refuse_private_external: bool = False
    lenient_nonces: bool = False
    """A PCP client may renew and delete with another nonce than it mapped with."""
    on_reload: str = "revoke"
    """What a new policy does not allow any more: ``revoke`` ends it, ``keep`` leaves it until its lease ends."""
    refusal_counter: RefusalCounter = field(default_factory=RefusalCounter)

    # -- requests

    def perform(self, transaction: Transaction, request: ChangeRequest) -> Reply:
        transaction.records.extend(self.refusal_counter.over(transaction.now, transaction.on_undo))
        if isinstance(request, MapRequest):
            return self.map(transaction, request)
        if isinstance(request, UnmapRequest):
            return self.unmap(transaction, request)
        if isinstance(request, UnmapPortRequest):
            return unmap_port(self, transaction, request)
        if isinstance(request, ReleaseRequest):
            return release(self, transaction, request)
        return self.unmap_range(transaction, request)

    def map(self, transaction: Transaction, request: MapRequest, action: str = "map") -> Reply:
        """Opens a port or renews what is open. ``action``: ``approve`` where the operator's yes asks again."""
        planner = self._planner(transaction, request)
        owner = self._owner(request)
        own = planner.own_row(request, owner)
        if request.standing_only and own is None:
            return Refused(Refusal.NO_SUCH, "there is no such mapping", None)
        static = static_reply(self, transaction, request, own)
        if static is not None:
            return static
        found = answer(self, transaction, request, planner, owner, own)
        facts, verdict = found.facts, found.verdict
        transaction.on_undo.append(self.history.undoing(facts.device))
        again = (
            self.refusal_counter.again(facts.device, transaction.now, transaction.on_undo)
            if verdict.refusal is Refusal.RATE
            else None
        )
        if again is not None:
            self.history.refused(facts.device, request, verdict, transaction.now, facts.today)
            return _refused(verdict, again)
        decision = transaction.ledger.numbers.next_decision()
        if found.planned is None:
            transaction.records.append(
                map_record(transaction.now, decision, found.request, facts, verdict, action=action)
            )
            if verdict.refusal is Refusal.RATE:
                self.refusal_counter.begin(transaction.records[-1], transaction.now, transaction.on_undo)
            if verdict.outcome is Outcome.ASK:
                ask(self, transaction, found, planner, owner, decision)
            self._hold_against(transaction, request, facts, verdict)
            return another_port(self.policy, facts, request, decision) or _refused(verdict, decision)
        planned = found.numbered(decision)
        if isinstance(planned, NotPlanned):
            transaction.take_back()  # what made room did so for nothing
            transaction.records.append(
                map_record(transaction.now, decision, found.request, facts, verdict, busy=planned, action=action)
            )
            holder = planned.holder if request.via is Via.OPERATOR or action == "approve" else None
            return Refused(planned.refusal, planned.reason, decision, planned.retry_s, holder)
        mapping = planned.mapping
        if self.environment.client_unsettled(
            mapping.internal.address
        ):  # the operator's own: it waits for its device
            mapping = replace(mapping, parked=True)
        transaction.put(mapping)
        transaction.records.append(
            map_record(transaction.now, decision, found.request, facts, verdict, mapping=mapping.id, action=action)
        )
        self.questions.settle(topic_of(facts, found.request, None), transaction.on_undo)
        self.history.granted(
            facts.device, mapping.internal.port, transaction.now, facts.today, request.via.datagram
        )
        hold = mapping.hold_of(request.via.protocol)
        lifetime = max(1, round((hold.until if hold else mapping.until) - transaction.now.boot))
        return Granted(mapping, lifetime, self.external_address(mapping), planned.refreshed)

    def unmap(self, transaction: Transaction, request: UnmapRequest) -> Reply:
        """Ends the requester's hold on one mapping, and the mapping with its last hold."""
        mapping = self._wanted(request)
        if mapping is None:
            return Refused(Refusal.NO_SUCH, "there is no such mapping", None)
        verdict = self.removal(request, mapping)
        if verdict.outcome is not Outcome.ALLOW:
            return self.refuse_removal(transaction, request, mapping, verdict)
        self.write_down(transaction, request, mapping, verdict)
        self.end_hold(transaction, mapping, request.via)
        return Removed((mapping,))

    def unmap_range(self, transaction: Transaction, request: UnmapRangeRequest) -> Reply:
        """Ends every mapping in the range that the requester may delete; the others are skipped (IGD-162)."""
        device = None if self._sees_all(request) and request.everyone else self.device_of(request.source)
        gone: list[Mapping] = []
        for mapping in self.in_range(device, request):
            verdict = self.removal(request, mapping)
            if verdict.outcome is Outcome.ALLOW:
                self.write_down(transaction, request, mapping, verdict)
                self.end_hold(transaction, mapping, request.via)
                gone.append(mapping)
        if not gone:
            return Refused(Refusal.NO_SUCH, "there is no mapping of this control point in the range", None)
        return Removed(tuple(gone))

    def in_range(self, device: str | None, request: UnmapRangeRequest) -> list[Mapping]:
        """The port mappings of a device (None: of all) with an external port in the range, by port."""
        table = self.ledger.table
        rows = [table.get(i) for i in table.numbering(device)]
        found = [
            m
            for m in rows
            if m is not None
            and m.key.transport is request.transport
            and request.start <= m.key.external_port <= request.end
        ]
        return sorted(found, key=lambda m: m.key.external_port)

    def trial(self, request: MapRequest) -> PlannedVerdict:
        """The answer that a request would get now. Changes nothing."""
        transaction = Transaction(self.ledger, self.environment.clock())
        numbers = (f"m{number}" for number in count(self.ledger.numbers.mapping + 1))
        planner = replace(self._planner(transaction, request), new_id=numbers.__next__, random=Random(0))
        return trial(self, transaction, request, planner, self._owner(request))

    # -- how

    def external_address(self, mapping: Mapping) -> IPAddress | None:
        """Where the internet finds a mapping."""
        if mapping.key.external_address is not None:
            return mapping.key.external_address
        return self.environment.network.advertised

    def _hold_against(self, transaction: Transaction, request: MapRequest, facts: Facts, verdict: Verdict) -> None:
        """A refusal may be evidence against the device."""
        incident = self.history.refused(facts.device, request, verdict, transaction.now, facts.today)
        if incident is not None:
            transaction.told.append(IncidentBegan(incident))
            transaction.on_undo.append(partial(self.history.withdraw, incident))
            if incident.quarantines:
                quarantine(self, transaction, incident.device)

    def facts(
        self,
        transaction: Transaction,
        request: MapRequest,
        held: HeldMappings,
        stored: Mapping | None,
        restoring: bool = False,
        standing: bool = False,
    ) -> Facts:
        """``stored``: the mapping that the gateway itself decides about again."""
        around = self.environment
        return gather(
            self.policy,
            around.network,
            around.neighbours,
            around.ports(),
            self.history,
            held,
            request,
            transaction.now,
            around.local_time(transaction.now),
            clock_change_s=clock_change_s(transaction.now.wall),
            restoring=restoring,
            renewing=stored is not None,
            standing=standing,
            holder=stored.device if stored is not None else None,
            delegated=stored is not None and stored.delegated,
            leases=around.leases(),
        )

    def facts_of(self, transaction: Transaction, request: MapRequest) -> Facts:
        """The facts of a request that is only looked at."""
        return self.facts(transaction, request, self.held(request, self._owner(request)), None, standing=True)

    def held(self, request: MapRequest, owner: str, *without: Mapping | None) -> HeldMappings:
        """The mappings before the request, ``without`` these: its own, and one that would make room."""
        table = self.ledger.table
        rows = [row for each in without if each is not None and (row := table.get(each.id)) is not None]
        client = request.internal.address if self._delegated(request) else None
        inner = InnerPort(request.transport, request.internal.port, client)
        charged = table.charged(owner, inner, rows)
        total = len(table) - len(rows)
        return HeldMappings(total, charged.mappings, charged.by_grant, charged.elements, charged.on_inner)

    def _delegated(self, request: MapRequest) -> bool:
        """The internal client is another device than the one that asks."""
        if request.via is Via.OPERATOR:
            return False
        return self.environment.device_of(request.internal.address) != self.device_of(request.source)

    def _planner(self, transaction: Transaction, request: MapRequest) -> Planner:
        around = self.environment
        return Planner(
            table=self.ledger.table,
            now=transaction.now,
            random=self.random,
            new_id=transaction.ledger.numbers.next_mapping,
            reserved_ports=around.ports().holds,
            kept_for=self.ledger.cuts.kept_for,
            delegated=self._delegated(request),
            most_elements=self.policy.limits.elements_per_device if request.via is not Via.OPERATOR else None,
            epoch=self.ledger.epoch.number,
            lenient=self.lenient_nonces,
        )

    def _owner(self, request: MapRequest) -> str:
        """Who will hold it: the requester; for the operator's own, the device that it leads to."""
        if request.via is Via.OPERATOR:
            return self.environment.device_of(request.internal.address)
        return self.device_of(request.source)

    def device_of(self, source: Source) -> str:
        return self.environment.device_of(source.address, source.interface)

    def _sees_all(self, request: Removal) -> bool:
        return request.via is Via.OPERATOR or self.visibility == "all"

    def _wanted(self, request: UnmapRequest) -> Mapping | None:
        if request.mapping_id is not None:
            return self.ledger.table.get(request.mapping_id)
        return self.ledger.find(request.key, self.environment.network) if request.key is not None else None

    def removal(self, request: Removal, mapping: Mapping) -> Verdict:
        return decide_removal(
            mapping, request.via, self.device_of(request.source), self._sees_all(request), self.policy.digest
        )

    def refuse_removal(
        self, transaction: Transaction, request: Removal, mapping: Mapping, verdict: Verdict
    ) -> Refused:
        """Writes down that a delete was denied; of a device that asks too often no more than how often."""
        device, limit = self.device_of(request.source), self.policy.limits.requests_per_minute
        if self.history.changes_last_minute(device, transaction.now, request.via.datagram) < limit:
            return _refused(verdict, self.write_down(transaction, request, mapping, verdict))
        why = f"more than {limit} changes in a minute"
        verdict = Verdict(Outcome.DENY, None, Refusal.RATE, (why,), None, verdict.policy)
        again = self.refusal_counter.again(device, transaction.now, transaction.on_undo)
        if again is not None:
            return _refused(verdict, again)
        decision = self.write_down(transaction, request, mapping, verdict)
        self.refusal_counter.begin(transaction.records[-1], transaction.now, transaction.on_undo)
        return _refused(verdict, decision)

    def write_down(
        self, transaction: Transaction, request: Removal, mapping: Mapping, verdict: Verdict
    ) -> DecisionId:
        """The decision about a delete, in the audit log."""
        decision = transaction.ledger.numbers.next_decision()
        device = self.device_of(request.source)
        transaction.records.append(removal_record(transaction.now, decision, device, request, mapping, verdict))
        return decision

    def end_hold(self, transaction: Transaction, mapping: Mapping, via: Via) -> None:
        """Ends a mapping: all of it for the operator, for a control point its own hold, or all if it has none."""
        if via is Via.OPERATOR:
            transaction.end(mapping, "revoked")
            return
        if mapping.hold_of(via.protocol) is None:
            transaction.end(mapping, "deleted")
            return
        left = with_holds(mapping, tuple(hold for hold in mapping.holds if hold.via.protocol != via.protocol))
        # with FILTERs in force again it may meet another mapping of the port: it has to go then
        if left.holds and not any(meeting(left, self.ledger.table)):
            transaction.put(left)
        else:
            transaction.end(mapping, "deleted")

    def no_external_address(self, request: MapRequest) -> NotPlanned | None:
        """The refusal of a mapping that would have no usable external address; None where it has one."""
        external = self.environment.network.advertised
        if request.via.datagram and request.internal.address.version == 4 and external is None:
            return NotPlanned(Refusal.NO_EXTERNAL_ADDRESS, "the gateway has no external address now")
        if not self.refuse_private_external or request.internal.address.version == 6:
            return None
        if external is not None and private_external(external) is None:
            return None
        return NotPlanned(Refusal.NO_EXTERNAL_ADDRESS, "the gateway has no public external address")


def _refused(verdict: Verdict, decision: DecisionId) -> Refused:
    refusal = verdict.refusal or Refusal.NOT_AUTHORIZED
    return Refused(refusal, verdict.reasons[-1], decision, RETRY_S.get(refusal, 0))
