"""Decides about requests and standing mappings: gathers the facts, asks the gate, and writes the decision down.

The requests of control points (``requests``, ``datagram_requests``) and the gateway's own duties (``reevaluation``)
share it. Nothing here waits or talks to the kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

from upnp_gw.engine.above_rules import AboveRules, with_own_port
from upnp_gw.engine.audit import removal_record
from upnp_gw.engine.environment import Environment, clock_change_s
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.engine.refusal_counter import RefusalCounter
from upnp_gw.gate.approval_queue import ApprovalQueue
from upnp_gw.gate.decide_removal import decide_removal
from upnp_gw.gate.decision import Facts, HeldMappings, Outcome, Verdict
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.facts import RequestHosts, gather, hosts_of
from upnp_gw.ledger.charges import InternalPort
from upnp_gw.ledger.conflicts import conflicting_rows
from upnp_gw.ledger.plan import Planner
from upnp_gw.ledger.reachable import with_holds
from upnp_gw.ledger.refusals import NotPlanned
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.mapping import DecisionId, IPAddress, Mapping, Via
from upnp_gw.model.network import GatewayPorts
from upnp_gw.model.public_addresses import private_external
from upnp_gw.model.request import (
    MapRequest,
    Refusal,
    Refused,
    ReleaseRequest,
    Source,
    UnmapPortRequest,
    UnmapRangeRequest,
    UnmapRequest,
)

Removal = UnmapRequest | UnmapPortRequest | UnmapRangeRequest | ReleaseRequest
RETRY_S = {Refusal.ASK: 60, Refusal.RATE: 60}
"""Seconds until a client should ask again: by then the operator may have approved it, or the minute is over."""


class Parties(NamedTuple):
    """The hosts and devices of a request for a mapping, worked out once for one transaction."""

    hosts: RequestHosts
    owner: str
    """The device that will hold it: the requester; for the operator's own, the device that it leads to."""
    delegated: bool
    """The internal client is another device than the one that asks."""


class Asked(NamedTuple):
    """A request for a mapping, with what is known of its hosts and of the gateway's ports at its turn.

    It is worked out once for one transaction. Nothing of it can change before the transaction is over."""

    request: MapRequest
    parties: Parties
    gateway_ports: GatewayPorts
    """External ports that cannot be given to anybody."""
    requester_contested: bool
    """Several hosts claim the requester's address, on the LAN that it asks on."""
    contested: bool
    """Several hosts claim the internal client's address."""
    unsettled: bool
    """The internal client's address is not known to belong to one host only."""

    @property
    def claimed(self) -> bool:
        """Several hosts claim an address of the request."""
        other = self.request.internal.address != self.request.source.address
        return self.requester_contested or (other and self.contested)

    def about(self, request: MapRequest) -> "Asked":
        """The same for another form of the request, by the same hosts."""
        return self._replace(request=request)


@dataclass(slots=True)
class Decider:
    """Decides requests by the policy in force and the facts about the requester."""

    in_force: PolicyInForce
    ledger: Ledger
    environment: Environment
    history: DeviceHistory
    random: Random
    reserved_ports: Callable[[], GatewayPorts] = GatewayPorts
    """External ports that cannot be given to anybody."""
    questions: ApprovalQueue = field(default_factory=ApprovalQueue)
    visibility: str = "own"
    refuse_private_external: bool = False
    lenient_nonces: bool = False
    """A PCP client may renew and delete with another nonce than it mapped with."""
    on_reload: str = "revoke"
    """For mappings that a new policy does not allow: ``revoke`` ends them, ``keep`` lets their leases run out."""
    refusal_counter: RefusalCounter = field(default_factory=RefusalCounter)
    above: AboveRules | None = None
    """None: no gateway above is asked."""

    def external_address(self, mapping: Mapping) -> IPAddress | None:
        """The address at which the internet reaches a mapping; None: there is none."""
        if mapping.above is not None:
            return mapping.above.external.address if mapping.above.external is not None else None
        if mapping.key.external_address is not None:
            return mapping.key.external_address
        return self.environment.network.advertised

    def facts(
        self,
        transaction: Transaction,
        request: MapRequest,
        held: HeldMappings,
        stored: Mapping | None,
        restoring: bool = False,
        standing: bool = False,
        hosts: RequestHosts | None = None,
        gateway_ports: GatewayPorts | None = None,
    ) -> Facts:
        """``stored``: the mapping that the gateway itself decides about again. ``hosts``, ``gateway_ports``: if
        known already."""
        around = self.environment
        return gather(
            self.in_force.policy,
            around.network,
            around.neighbours,
            gateway_ports or self.reserved_ports(),
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
            leases=around.leases.leases,
            hosts=hosts,
        )

    def facts_of(self, transaction: Transaction, request: MapRequest) -> Facts:
        """The facts of a request that is only looked at."""
        parties = self.parties(request)
        held = self.held(request, parties)
        return self.facts(transaction, request, held, None, standing=True, hosts=parties.hosts)

    def held(self, request: MapRequest, parties: Parties, *without: Mapping | None) -> HeldMappings:
        """The mappings before the request, ``without`` these: its own, and one that would make room."""
        table = self.ledger.table
        rows = [row for each in without if each is not None and (row := table.get(each.id)) is not None]
        client = request.internal.address if parties.delegated else None
        inner = InternalPort(request.transport, request.internal.port, client)
        charged = table.charged(parties.owner, inner, rows)
        total = len(table) - len(rows)
        return HeldMappings(total, charged.mappings, charged.by_grant, charged.elements, charged.on_internal_port)

    def parties(self, request: MapRequest) -> Parties:
        """The hosts and devices of a request, as the neighbour table has them now."""
        hosts = hosts_of(self.environment.network, self.environment.neighbours, request)
        requester, client = hosts.requester.device, hosts.internal_client.device
        if request.via is Via.OPERATOR:
            return Parties(hosts, client, False)
        return Parties(hosts, requester, client != requester)

    def as_served(self, request: MapRequest) -> MapRequest:
        """The request as the present network serves it: a pinhole where there is no NAT, and only there."""
        client = request.internal.address
        if client.version == 6 or request.pinhole != self.environment.network.translates(client):
            return request
        return replace(request, external_address=None) if request.pinhole else request.without_nat()

    def asked(self, request: MapRequest) -> Asked:
        """The request with its hosts, as they are now.

        Two LANs can have the same link-local address, and a guest who claims it must not block a home device: the
        requester's address counts on the LAN that it asks on, the internal client's on the LAN of its prefix."""
        request = self.as_served(request)
        parties = self.parties(request)
        if self.above is not None:
            request = with_own_port(self.ledger.table, request, parties.owner)
        hosts, source, client = self.environment.hosts, request.source, request.internal.address
        lan = self.environment.network.lan_of(client)
        contested, unsettled = hosts.contested(client, lan), hosts.unsettled(client, lan)
        same = (source.address, source.interface) == (client, lan)
        return Asked(
            request,
            parties,
            self.reserved_ports(),
            contested if same else hosts.contested(source.address, source.interface),
            contested,
            unsettled,
        )

    def planner(self, transaction: Transaction, asked: Asked) -> Planner:
        request = asked.request
        return Planner(
            table=self.ledger.table,
            now=transaction.now,
            random=self.random,
            new_id=transaction.ledger.numbers.next_mapping,
            reserved_ports=asked.gateway_ports.holds,
            kept_for=self.ledger.cuts.kept_for,
            delegated=asked.parties.delegated,
            most_elements=self.in_force.policy.limits.elements_per_device
            if request.via is not Via.OPERATOR
            else None,
            epoch=self.ledger.epoch.number,
            lenient=self.lenient_nonces,
        )

    def device_of(self, source: Source) -> str:
        return self.environment.device_of(source.address, source.interface)

    def sees_all(self, request: Removal) -> bool:
        return request.via is Via.OPERATOR or self.visibility == "all"

    def removal(self, request: Removal, device: str, mapping: Mapping) -> Verdict:
        """``device``: the requester's, here and below."""
        return decide_removal(mapping, request.via, device, self.sees_all(request), self.in_force.policy.digest)

    def refuse_removal(
        self, transaction: Transaction, request: Removal, device: str, mapping: Mapping, verdict: Verdict
    ) -> Refused:
        """Writes down that a delete was denied; of a device that asks too often no more than how often."""
        limit = self.in_force.policy.limits.requests_per_minute
        if self.history.changes_last_minute(device, transaction.now, request.via.datagram) < limit:
            return refused(verdict, self.write_down(transaction, request, device, mapping, verdict))
        why = f"more than {limit} changes in a minute"
        verdict = Verdict(Outcome.DENY, None, Refusal.RATE, (why,), None, verdict.policy)
        again = self.refusal_counter.again(device, transaction.now, transaction.on_undo)
        if again is not None:
            return refused(verdict, again)
        decision = self.write_down(transaction, request, device, mapping, verdict)
        self.refusal_counter.begin(transaction.records[-1], transaction.now, transaction.on_undo)
        return refused(verdict, decision)

    def write_down(
        self, transaction: Transaction, request: Removal, device: str, mapping: Mapping, verdict: Verdict
    ) -> DecisionId:
        """The decision about a delete, in the audit log."""
        decision = transaction.ledger.numbers.next_decision()
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
        remaining = with_holds(mapping, tuple(hold for hold in mapping.holds if hold.via.protocol != via.protocol))
        # with FILTERs in force again it may overlap another mapping of the port: then it ends
        if remaining.holds and not any(conflicting_rows(remaining, self.ledger.table)):
            transaction.put(remaining)
        else:
            transaction.end(mapping, "deleted")

    def no_external_address(self, request: MapRequest) -> NotPlanned | None:
        """The refusal of a mapping that would have no usable external address; None where it has one."""
        external = self.environment.network.advertised
        if request.pinhole:
            return None
        own = self.environment.network.external
        if self.above is not None and self.above.asks_at(request.external_address or next(iter(own), None)):
            return None if own else NotPlanned(Refusal.NO_EXTERNAL_ADDRESS, "the WAN has no address now")
        if request.via.datagram and external is None:
            return NotPlanned(Refusal.NO_EXTERNAL_ADDRESS, "the gateway has no external address now")
        if not self.refuse_private_external:
            return None
        if external is not None and private_external(external) is None:
            return None
        return NotPlanned(Refusal.NO_EXTERNAL_ADDRESS, "the gateway has no public external address")


def refused(verdict: Verdict, decision: DecisionId) -> Refused:
    refusal = verdict.refusal or Refusal.NOT_AUTHORIZED
    return Refused(refusal, verdict.reasons[-1], decision, RETRY_S.get(refusal, 0))
