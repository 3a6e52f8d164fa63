"""Changes to the ledger without a request: leases end, mappings are renewed or restored, the policy changes.

As in ``decider``, every method works in one ``Transaction``, waits for nothing and does not call the kernel.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from upnp_gw.engine.audit import FLOOR_OK, NO_WIDER, map_record, record_all
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.late_lans import awaits_lan
from upnp_gw.engine.unchanged_rows import UnchangedRows, renewed, request_of
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import FAULT, Clamps, Facts, Outcome, Verdict
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.gate.schema import KEPT_RULE, OPERATOR_RULE
from upnp_gw.ledger.conflicts import conflicting_rows
from upnp_gw.ledger.events import Confirmed
from upnp_gw.ledger.filters import allowed_peers
from upnp_gw.ledger.leases import with_renewal, without_expired_holds
from upnp_gw.ledger.reachable import no_wider, opens
from upnp_gw.ledger.refusals import NotPlanned, nat_refusal, overlap_refusal
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import mac_of
from upnp_gw.model.mapping import DecisionId, Hold, Instant, IPAddress, Mapping, Via
from upnp_gw.model.request import MapRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RevokedMapping:
    """A mapping that the present policy no longer allows."""

    mapping: Mapping
    decision: DecisionId
    reason: str
    kept: bool
    """True: it stays until its lease ends."""


def log_revoked(revoked: Iterable[RevokedMapping]) -> None:
    """Logs one line for each."""
    for one in revoked:
        log.info(
            "%s of %s is not allowed any more (%s): %s",
            one.mapping.id,
            one.mapping.device,
            one.reason,
            "kept until its lease ends" if one.kept else "ended",
            extra={"decision": one.decision, "mapping": one.mapping.id},
        )


class Reevaluation:
    """Decides again about existing mappings, with the ledger and policy that requests use."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    def expire(self, transaction: Transaction, ids: Iterable[str]) -> None:
        """Removes the holds that have ended, and the mappings without a remaining hold."""
        ids = list(ids)
        for mapping in self._rows(ids):
            if mapping.permanent:  # its hold never ends: it is extended each time
                endless = Hold(
                    Via.OPERATOR, transaction.now.boot + self._decider.in_force.policy.limits.max_hold_s, None
                )
                mapping = mapping.with_hold(endless)
            left = without_expired_holds(mapping, transaction.now)
            if left is None:
                transaction.end(mapping, "expired")
            else:
                transaction.put(left)
        self._end_overlapping(transaction, ids, "renew")

    def renew(self, transaction: Transaction, mapping_id: str, present: bool | None) -> None:
        """Decides again about an existing mapping: it is renewed in the kernel, parked or ended.

        ``present``: its device answers; None: not checked (no MAC address to ask for).
        """
        mapping = self._decider.ledger.table.get(mapping_id)
        if mapping is None:
            return
        mapping = self._still_delegated(self._known(mapping))
        if self._moved(mapping):
            self._leave(transaction, mapping)
        elif present is False:
            transaction.park(mapping, cut=self._decider.environment.client_contested(mapping.internal.address))
        else:
            transaction.quiet = not mapping.parked
            self._decide_again(transaction, mapping, "renew")
            self._end_overlapping(transaction, [mapping_id], "renew")

    def policy_changed(self, transaction: Transaction, loaded: LoadedPolicy) -> list[RevokedMapping]:
        """Puts a new policy in force and decides again about every mapping. Returns those that are no longer
        allowed: they end, or are kept until their lease ends. If a quota shrinks, the oldest mappings stay."""
        before = self._decider.in_force.hosts
        self._decider.in_force.replace(loaded, transaction.now.wall, transaction.on_undo)
        # the newest are judged first, while the older ones still count towards the quota
        newest_first = sorted(self._decider.ledger.table, key=lambda mapping: mapping.granted_at, reverse=True)
        decided = [self._decide_again(transaction, mapping, "reload") for mapping in newest_first]
        revoked = [
            *filter(None, decided),
            *self._end_overlapping(transaction, self._narrowed(newest_first), "reload"),
        ]
        transaction.follow_hosts(before, self._decider.in_force.hosts)
        record_all(transaction, newest_first, "reload", self._decider.in_force.policy.digest)
        return revoked

    def record_counted_refusals(self, transaction: Transaction, now: Instant | None = None) -> None:
        """Records the counted refusals; without ``now`` also those of the current minute."""
        transaction.records.extend(self._decider.refusal_counter.over(now, transaction.on_undo))

    def park(self, transaction: Transaction, device: str, address: IPAddress) -> None:
        """Parks a device's mappings at an address where it does not answer, unless it is back there by now."""
        if self._decider.environment.host_of(address) == device:
            return
        for mapping in self._decider.ledger.table.to_client(address):
            if mapping.device == device and mapping.serves and not mapping.delegated:
                transaction.park(mapping, cut=False)

    def device_moved(self, transaction: Transaction, address: IPAddress, old: str) -> None:
        """The address belongs to another device now: the new holder neither sees nor inherits its mappings."""
        for mapping in self._decider.ledger.table.to_client(address):
            if mapping.device == old and not mapping.delegated:
                self._leave(transaction, mapping)

    def _leave(self, transaction: Transaction, mapping: Mapping) -> None:
        """Ends a mapping whose address is another device's now. An operator's mapping is parked for its own device:
        a host that takes an address for a moment must not delete it."""
        if mapping.hold_of(Via.OPERATOR.protocol) is None:
            transaction.end(mapping, "device-moved")
        elif not mapping.parked:
            transaction.park(mapping, cut=True)

    def device_gone(self, transaction: Transaction, address: IPAddress) -> None:
        """Nobody answers for the address: parks its mappings, since the next host there would get them. Flows go
        on: the device may be back in a moment. If another device comes instead, they are cut."""
        for mapping in self._decider.ledger.table.to_client(address):
            if mapping.serves:
                transaction.park(mapping, cut=False)

    def contested(self, transaction: Transaction, address: IPAddress) -> None:
        """Another host claims the address: parks its mappings until that is settled."""
        for mapping in self._decider.ledger.table.to_client(address):
            if mapping.serves:
                transaction.park(mapping, cut=True)

    def network_changed(self, transaction: Transaction) -> None:
        """Ends pinholes to addresses of an IPv6 prefix that is gone, mappings to the gateway's own addresses, and
        those of internal clients for which NAT began or ended.

        An IPv4 prefix does not change by itself: it is gone while an interface is set up again, and mappings to its
        hosts wait for their next check."""
        network = self._decider.environment.network
        for mapping in list(self._decider.ledger.table):
            address = mapping.internal.address
            gone = address.version == 6 and not network.on_lan(address)
            if gone and mapping.parked and awaits_lan(network, address):
                continue  # after a boot: the prefix has not come yet
            if network.is_gateway(address) or gone:
                transaction.end(mapping, "prefix-gone")
            elif (refusal := nat_refusal(mapping, network)) is not None:
                self._end(transaction, mapping, refusal, "renew", "nat-changed")

    def _known(self, mapping: Mapping) -> Mapping:
        """The mapping with its device. Until the neighbour was known, an address stood for the device."""
        device = self._decider.environment.host_of(mapping.internal.address)
        if device is None or mapping.delegated or mapping.device != str(mapping.internal.address):
            return mapping
        return replace(mapping, device=device)

    def _still_delegated(self, mapping: Mapping) -> Mapping:
        """The mapping, no longer delegated if its holder has the internal client's address itself now."""
        around = self._decider.environment
        own = mapping.delegated and around.device_of(mapping.internal.address) == mapping.device
        return replace(mapping, delegated=False) if own else mapping

    def restore(self, transaction: Transaction, stored: Sequence[Mapping]) -> list[RevokedMapping]:
        """Decides about the stored rows at start. An unknown neighbour is no reason to refuse, and a mapping whose
        LAN is not there yet waits for it, parked. Returns the mappings that the policy no longer allows: they end,
        or are kept."""
        unchanged = UnchangedRows(
            self._decider,
            transaction,
            lambda request, mapping: self._facts(transaction, request, mapping, "restore"),
        )
        network = self._decider.environment.network
        decided: list[RevokedMapping | None] = []
        changed: list[Mapping] = []
        for mapping in stored:
            live = without_expired_holds(mapping, transaction.now)
            if live is None:
                transaction.end(mapping, "expired")
            elif awaits_lan(network, mapping.internal.address):
                transaction.park(live, cut=False)
            elif (refusal := nat_refusal(mapping, network)) is not None:
                decided.append(self._end(transaction, mapping, refusal, "restore", "nat-changed"))
            elif live is not mapping or not unchanged.keep(mapping):
                decided.append(self._decide_again(transaction, live, "restore"))
                changed.append(mapping)
        revoked = [*filter(None, decided), *self._end_overlapping(transaction, self._narrowed(changed), "restore")]
        record_all(transaction, stored, "restore", self._decider.in_force.policy.digest)
        return revoked

    def _narrowed(self, before: Iterable[Mapping]) -> list[str]:
        """The ids of these old rows whose allowed remote hosts are different now."""
        table = self._decider.ledger.table
        return [
            m.id for m in before if (now := table.get(m.id)) is not None and allowed_peers(now) != allowed_peers(m)
        ]

    def _end_overlapping(
        self, transaction: Transaction, changed: Iterable[str], action: str
    ) -> list[RevokedMapping]:
        """Ends changed rows whose remote hosts now overlap another row's: the kernel cannot hold both and would
        refuse the whole batch. The other row stays, since its request named the remote host."""
        ended = list[RevokedMapping]()
        for mapping in self._rows(changed):
            other = next(conflicting_rows(mapping, transaction.ledger.table), None)
            if other is not None:
                busy = overlap_refusal(mapping, other)
                busy = replace(busy, reason=f"{busy.reason}: {other.id}")
                ended.append(self._end(transaction, mapping, busy, action, "policy"))
        return ended

    def _end(
        self, transaction: Transaction, mapping: Mapping, busy: NotPlanned, action: str, why: str
    ) -> RevokedMapping:
        """Ends a mapping that cannot be, whatever the policy says, and writes that down."""
        request = request_of(self._decider.environment, mapping, transaction.now)
        facts = self._facts(transaction, request, mapping, action)
        verdict = decide(self._decider.in_force.policy, facts, request)
        decision = transaction.ledger.numbers.next_decision()
        transaction.records.append(
            map_record(
                transaction.now, decision, request, facts, verdict, busy=busy, mapping=mapping.id, action=action
            )
        )
        transaction.quiet = False
        transaction.end(mapping, why)
        return RevokedMapping(mapping, decision, busy.reason, kept=False)

    def _decide_again(self, transaction: Transaction, mapping: Mapping, action: str) -> RevokedMapping | None:
        """Renews, keeps or ends a mapping. Returns it if it is not allowed any more."""
        request = request_of(self._decider.environment, mapping, transaction.now)
        # a renewal makes a parked mapping active again
        present = replace(mapping, parked=mapping.parked and action != "renew")
        facts, verdict, again = self._decide_row(transaction, present, request, action)
        row = None if again is None else replace(again, rule=verdict.rule or OPERATOR_RULE)
        before = self._decider.ledger.table.get(mapping.id) or mapping  # without the device that is known now
        same = row is not None and _without_times(row) == _without_times(before)
        if row is not None and same and not verdict.reasons[-1].startswith(NO_WIDER):
            # no record: the mapping still names the decision that let it in
            transaction.announcements.append(Confirmed(row, action, transaction.now.wall))
            transaction.put(row)
            if row.active and self._decider.environment.client_contested(row.internal.address):
                transaction.park(row, cut=mapping.active)
            return None
        decision = transaction.ledger.numbers.next_decision()
        reason, kept = verdict.reasons[-1], self._stays(mapping, verdict, action)
        if kept:
            verdict = replace(verdict, reasons=(*verdict.reasons, "it stays until its lease ends"))
        transaction.records.append(
            map_record(
                transaction.now,
                decision,
                request,
                facts,
                verdict,
                mapping=mapping.id,
                action=action,
                unchanged=same,
            )
        )
        if kept:  # the mapping still names the decision that allowed it
            limits = self._decider.in_force.policy.limits
            clamps = Clamps(limits.max_ttl_s, limits.max_hold_s, ())
            transaction.put(replace(with_renewal(present, clamps, transaction.now), rule=KEPT_RULE))
            return RevokedMapping(mapping, decision, reason, kept=True)
        if row is None:
            transaction.quiet = False
            transaction.end(mapping, "policy")
            return RevokedMapping(mapping, decision, reason, kept=False)
        transaction.put(replace(row, decision=decision))
        return None

    def _decide_row(
        self, transaction: Transaction, mapping: Mapping, request: MapRequest, action: str
    ) -> tuple[Facts, Verdict, Mapping | None]:
        """The decision about an existing mapping, and its new row; None: it is not allowed any more.

        Another grant or policy may let further remote hosts connect. That is decided as a new request of the
        device: while the device is frozen, the mapping stays as it is.
        """
        policy = self._decider.in_force.policy
        facts = self._facts(transaction, request, mapping, action)
        verdict = decide(policy, facts, request)
        again = renewed(mapping, verdict, request, transaction.now)
        if again is None or not opens(mapping, again):
            return facts, verdict, again
        as_new = replace(
            facts,
            renewing=False,
            restoring=False,
            changes_last_minute=0,  # the gateway asks, not the device
            int_ports_today=facts.int_ports_today | {mapping.internal.port},  # not a further port
        )
        new = decide(policy, as_new, request)
        if (wider := renewed(mapping, new, request, transaction.now)) is not None:
            return as_new, new, wider
        if (kept := no_wider(mapping, again)) is None:
            return as_new, new, None
        note = f"{NO_WIDER}{new.reasons[-1]}"
        return facts, replace(verdict, reasons=(*verdict.reasons, note)), kept

    def _stays(self, mapping: Mapping, verdict: Verdict, action: str) -> bool:
        """True if a mapping that is no longer allowed is kept: ``on_reload`` is ``keep``, only the policy refuses
        it, and a new policy was the cause."""
        return (
            verdict.outcome is not Outcome.ALLOW
            and self._decider.on_reload == "keep"
            and (action == "reload" or mapping.rule == KEPT_RULE)
            and verdict.reasons[0] == FLOOR_OK
            and FAULT not in verdict.reasons
            and {*mapping.screen.only, *mapping.screen.never} <= self._decider.in_force.policy.screened.keys()
        )

    def _facts(self, transaction: Transaction, request: MapRequest, mapping: Mapping, action: str) -> Facts:
        """The facts of an existing mapping. The holder's other mappings count towards its quota."""
        parties = self._decider.parties(request)
        held = self._decider.held(request, parties._replace(owner=mapping.device), mapping)
        restoring = action == "restore"
        return self._decider.facts(transaction, request, held, mapping, restoring=restoring, hosts=parties.hosts)

    def _moved(self, mapping: Mapping) -> bool:
        """True if another device is known to have the internal client's address now."""
        device = self._decider.environment.host_of(mapping.internal.address)
        known = device is not None and mac_of(mapping.device) is not None
        return known and not mapping.delegated and device != mapping.device

    def _rows(self, ids: Iterable[str]) -> list[Mapping]:
        return [mapping for i in ids if (mapping := self._decider.ledger.table.get(i)) is not None]


def _without_times(mapping: Mapping) -> Mapping:
    """The mapping without the fields that every new decision replaces."""
    return replace(mapping, decision=DecisionId(""), holds=(), recheck_at=0.0, grant_ends_at=None)
