"""From an allowed request to the row to put: conflict, port choice, refresh, lease. Changes nothing.

The gate has decided that the mapping is allowed. The plan says whether it is possible (IGD section 6.2).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from upnp_gw.gate.decide import lifetime_s
from upnp_gw.gate.decision import Allowed
from upnp_gw.ledger.conflicts import (
    conflicting_holder,
    conflicting_pinhole,
    conflicting_rows,
    overlapping_port_mapping,
)
from upnp_gw.ledger.filters import (
    AllowedPeers,
    allowed_peers,
    combined_peers,
    filters_after,
    granted_prefixes,
    requested_peers,
)
from upnp_gw.ledger.leases import grant_ends_at, recheck_at
from upnp_gw.ledger.ports import choose_port
from upnp_gw.ledger.refusals import (
    MAPPING_OVERLAP,
    NOT_GRANTED,
    ONLY_ITS_OWN_PORT,
    OPEN_OVER_TCP,
    PINHOLE_OVERLAP,
    TOO_MANY_ELEMENTS,
    TOO_MANY_ELEMENTS_WITH_FILTERS,
    TOO_MANY_FILTERS,
    NotPlanned,
    overlap_refusal,
)
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import (
    MOST_FILTERS,
    UNIQUE_IDS,
    Hold,
    Instant,
    Mapping,
    MappingKey,
    Transport,
    Via,
    compact_endpoint,
    shared_text,
)
from upnp_gw.model.request import MapRequest, PortChoice, Refusal


@dataclass(frozen=True, slots=True)
class Planned:
    """The row to put. ``refreshed``: it exists already."""

    mapping: Mapping
    refreshed: bool


@dataclass(frozen=True, slots=True)
class Planner:
    """The state that a plan depends on. One for each request."""

    table: MappingTable
    now: Instant
    random: Random
    new_id: Callable[[], str]
    reserved_ports: Callable[[Transport, int], bool]
    """True for a port that the gateway itself or a static rule uses."""
    kept_for: Callable[[Transport, int], str | None]
    """The device that a freed port is kept for until its flows are cut; None: nobody."""

    delegated: bool
    """The internal client is another device than the requester."""
    epoch: int = 0
    """The number of the present epoch."""
    lenient: bool = False
    """A PCP refresh needs no matching nonce."""
    most_elements: int | None = None
    """Most elements of the kernel for one device's mappings; None: no limit."""

    def plan(self, request: MapRequest, allowed: Allowed, owner: str, own: Mapping | None) -> Planned | NotPlanned:
        """``owner``: the device that will hold the mapping; ``own``: its row to refresh (``own_row``)."""
        planned = self._planned(request, allowed, owner, own)
        if isinstance(planned, Planned) and _admits_nobody(planned.mapping, request):
            return NOT_GRANTED
        if isinstance(planned, Planned) and self._exceeds_elements(planned.mapping, own):
            return TOO_MANY_ELEMENTS_WITH_FILTERS if request.filters else TOO_MANY_ELEMENTS
        return planned

    def _exceeds_elements(self, mapping: Mapping, own: Mapping | None) -> bool:
        """True if the device would have more elements in the kernel than before, and more than allowed."""
        if self.most_elements is None:
            return False
        more = len(allowed_peers(mapping)) - (len(allowed_peers(own)) if own is not None else 0)
        return more > 0 and self.table.elements(mapping.device) + more > self.most_elements

    def _planned(
        self, request: MapRequest, allowed: Allowed, owner: str, own: Mapping | None
    ) -> Planned | NotPlanned:
        if request.pinhole and request.needs_nat:
            return ONLY_ITS_OWN_PORT
        if own is not None:
            return self._refresh(own, request, allowed)
        if request.filters and len(self._peers(request, allowed)) > MOST_FILTERS:
            return TOO_MANY_FILTERS
        if request.pinhole:
            holder = conflicting_pinhole(self._peers(request, allowed), request, self.table)
            if holder is not None:
                return replace(PINHOLE_OVERLAP, holder=holder)
            return self._new(request, allowed, owner, pinhole_key(request))
        if request.choice is PortChoice.EXACT:
            key = key_on(request, request.external_port)
            conflict = self._conflict(key, request, allowed, owner)
            return conflict or self._new(request, allowed, owner, key)
        port = self._choose(request, allowed, owner)
        if port is None:
            return NotPlanned(Refusal.NO_PORT, "no permitted external port is free")
        return self._new(request, allowed, owner, key_on(request, port))

    def own_row(self, request: MapRequest, owner: str) -> Mapping | None:
        """The row that this request refreshes: the owner's row with the same key. Over NAT-PMP and PCP its row with
        the same internal endpoint, whichever program of the owner requested it."""
        if request.pinhole:
            row = self.table.by_key(pinhole_key(request))
            return row if row is not None and row.device == owner else None
        if request.via.datagram:
            return self._own_datagram_row(request, owner)
        return self._own_igd_row(request, owner)

    def _own_datagram_row(self, request: MapRequest, owner: str) -> Mapping | None:
        rows = [
            row
            for row in self.table.to_internal(request.transport, request.internal)
            if row.device == owner and row.key.remote == request.remote
        ]
        held = [row for row in rows if row.hold_of(request.via.protocol) is not None]
        return next(iter(held or rows), None)

    def _own_igd_row(self, request: MapRequest, owner: str) -> Mapping | None:
        row = self.table.by_key(key_on(request, request.external_port)) if request.external_port else None
        if row is None or row.device != owner:
            return None
        if row.internal.address == request.internal.address:
            return row
        # Another address of the owner may be another host behind its MAC address: see ``engine.former_addresses``.
        may_lead_elsewhere = request.via is Via.OPERATOR or row.delegated or self.delegated
        return row if may_lead_elsewhere and request.choice is PortChoice.EXACT else None

    def _refresh(self, row: Mapping, request: MapRequest, allowed: Allowed) -> Planned | NotPlanned:
        hold = row.hold_of(request.via.protocol)
        refusal = self._may_not_refresh(row, hold, request)
        if refusal is not None:
            return refusal
        mapping = self._refreshed(row, hold, request, allowed)
        return self._conflict_of_refresh(row, mapping, request) or Planned(mapping, refreshed=True)

    def _may_not_refresh(self, row: Mapping, hold: Hold | None, request: MapRequest) -> NotPlanned | None:
        """The reason against this change of the row; None: there is none. ``hold``: the row's for the protocol."""
        if hold is not None and not (self.lenient or nonce_fits(hold, request.nonce, self.epoch)):
            left_s = max(1, round(hold.until - self.now.boot))
            return NotPlanned(Refusal.BAD_NONCE, "the mapping was made with another nonce", left_s)
        if request.via is Via.PCP and request.choice is PortChoice.EXACT and not _has(row, request):
            return NotPlanned(Refusal.CONFLICT, "the mapping has another external port", holder=row)
        if row.internal != request.internal and any(h is not hold for h in row.holds):
            return NotPlanned(
                Refusal.CONFLICT_OTHER,
                "the port has a lease over another protocol for another internal port",
                holder=row,
            )
        return None

    def _refreshed(self, row: Mapping, hold: Hold | None, request: MapRequest, allowed: Allowed) -> Mapping:
        """The row after the request. The operator's mapping keeps its description, rule and filters."""
        of_operator = request.via is not Via.OPERATOR and row.hold_of(Via.OPERATOR.protocol) is not None
        holds = row.holds_with(self._hold(request, allowed, hold))
        same = row.internal == request.internal
        return replace(
            row,
            holds=holds,
            internal=row.internal if same else compact_endpoint(request.internal, row.key.external_port),
            parked=False,
            decision=allowed.id,
            delegated=self.delegated,
            permanent=row.permanent or request.permanent,
            description=row.description
            if of_operator or request.keep_description
            else shared_text(request.description),
            enabled=row.enabled if of_operator else request.enabled,
            rule=row.rule if of_operator else allowed.rule,
            filters=row.filters if of_operator else granted_prefixes(allowed.clamps, request),
            screen=row.screen if of_operator else allowed.clamps.screen,
            recheck_at=recheck_at(holds, allowed.clamps, self.now),
            grant_ends_at=grant_ends_at(allowed.clamps, self.now),
        )

    def _conflict_of_refresh(self, row: Mapping, mapping: Mapping, request: MapRequest) -> NotPlanned | None:
        """The reason why the refreshed row cannot be in force; None: it can."""
        if request.filters and not all(hold.via.datagram for hold in row.holds):
            return OPEN_OVER_TCP
        filtered = bool(request.filters or request.clear_filters)
        if filtered and len(allowed_peers(mapping)) > MOST_FILTERS:
            return TOO_MANY_FILTERS
        if (
            allowed_peers(mapping) != allowed_peers(row)
            and (holder := next(conflicting_rows(mapping, self.table), None)) is not None
        ):
            return overlap_refusal(mapping, holder)
        if filtered and (holder := overlapping_port_mapping(mapping, self.table)) is not None:
            return replace(MAPPING_OVERLAP, holder=holder)
        return None

    def _new(self, request: MapRequest, allowed: Allowed, owner: str, key: MappingKey) -> Planned:
        holds = (self._hold(request, allowed, None),)
        mapping = Mapping(
            id=self._new_pinhole_id() if request.internal.address.version == 6 else self.new_id(),
            key=key,
            internal=compact_endpoint(request.internal, key.external_port),
            device=shared_text(owner),
            description=shared_text(request.description),
            enabled=request.enabled,
            parked=False,
            holds=holds,
            granted_at=self.now.wall,
            decision=allowed.id,
            rule=allowed.rule,
            recheck_at=recheck_at(holds, allowed.clamps, self.now),
            filters=granted_prefixes(allowed.clamps, request),
            screen=allowed.clamps.screen,
            delegated=self.delegated,
            permanent=request.permanent,
            grant_ends_at=grant_ends_at(allowed.clamps, self.now),
        )
        return Planned(mapping, refreshed=False)

    def _new_pinhole_id(self) -> str:
        """An id whose UniqueID is not 0, and is that of no pinhole."""
        while True:
            mapping_id = self.new_id()
            unique_id = int(mapping_id[1:]) % UNIQUE_IDS
            if unique_id and self.table.pinhole(unique_id) is None:
                return mapping_id

    def _hold(self, request: MapRequest, allowed: Allowed, before: Hold | None) -> Hold:
        """The requester's lease. PCP's filters are added to those of its lease ``before``. NAT-PMP has no
        filters."""
        present = before.filters if before is not None and request.via is Via.PCP else ()
        until = self.now.boot + max(1, lifetime_s(request, allowed.clamps))
        filters = filters_after(request, present)
        return Hold(request.via, until, request.lifetime_s, request.nonce, self.epoch, filters)

    def _peers(self, request: MapRequest, allowed: Allowed) -> AllowedPeers:
        """The remote hosts that may connect to a new mapping."""
        filters = requested_peers(request.remote, request.remote_port) or filters_after(request, ())
        return combined_peers(filters, granted_prefixes(allowed.clamps, request))

    def _choose(self, request: MapRequest, allowed: Allowed, owner: str) -> int | None:
        def free(port: int) -> bool:
            conflict = self._conflict(key_on(request, port), request, allowed, owner)
            return conflict is None and not (
                needs_companion and self._companion_taken(request.transport, port, owner)
            )

        needs_companion, clamps = request.via.datagram, allowed.clamps
        return choose_port(
            request.transport, request.external_port, clamps.external_ports, clamps.external, free, self.random
        )

    def _conflict(self, key: MappingKey, request: MapRequest, allowed: Allowed, owner: str) -> NotPlanned | None:
        if self.reserved_ports(key.transport, key.external_port):
            return NotPlanned(Refusal.CONFLICT_OTHER, "the gateway itself uses this external port")
        if self.kept_for(key.transport, key.external_port) not in (None, owner):
            return NotPlanned(
                Refusal.CONFLICT, "the external port is kept for another device until its flows are cut"
            )
        rows = self.table.on_port(key.transport, key.external_port)
        row = conflicting_holder(rows, key, self._peers(request, allowed), owner) if rows else None
        if row is None:
            return None
        whom = "to another device" if row.device != owner else "for an overlapping remote host"
        return NotPlanned(Refusal.CONFLICT, f"the external port is mapped {whom}", holder=row)

    def is_free(self, request: MapRequest, owner: str) -> bool:
        """True if the external port of an exact request is free, for every remote host."""
        transport, port = request.transport, request.external_port
        return (
            not self.reserved_ports(transport, port)
            and self.kept_for(transport, port) in (None, owner)
            and not self.table.on_port(transport, port)
            and not (request.via.datagram and self._companion_taken(transport, port, owner))
        )

    def _companion_taken(self, transport: Transport, port: int, owner: str) -> bool:
        """True if another device has this port over the other transport: never chosen (RFC 6886 section 3.3)."""
        companion = Transport.UDP if transport is Transport.TCP else Transport.TCP
        return any(row.device != owner for row in self.table.on_port(companion, port))


def nonce_fits(hold: Hold, nonce: bytes | None, epoch: int) -> bool:
    """True for the hold's own nonce, and once after each new epoch for any nonce: Apple's clients draw a new nonce
    then (RFC 6887 section 11.3; Q1 in docs/spec/pcp.md)."""
    return hold.nonce is None or hold.nonce == nonce or hold.epoch != epoch


def _has(row: Mapping, request: MapRequest) -> bool:
    """True if the row has the external port of the request, and its external address if it has one."""
    requested_peers = request.external_address
    return row.key.external_port == request.external_port and requested_peers in (None, row.key.external_address)


def key_on(request: MapRequest, port: int) -> MappingKey:
    """The key of a port mapping on this external port."""
    return MappingKey(request.transport, request.external_address, port, request.remote)


def pinhole_key(request: MapRequest) -> MappingKey:
    """The key of a pinhole: its external side is the internal endpoint."""
    host, internal = request.remote, request.internal
    return MappingKey(request.transport, internal.address, internal.port, host, request.remote_port)


def _admits_nobody(mapping: Mapping, request: MapRequest) -> bool:
    """True if nobody could connect, at all or through one of the request's filters: the reply could not say so."""
    return not allowed_peers(mapping) or not all(one.within(mapping.filters) for one in request.filters)
