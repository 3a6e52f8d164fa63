"""The smallest transaction for a batch of changes, and the flows to end after it.

The state is unchanged until the kernel has accepted it: a refused batch has no effect. O(its own changes).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from upnp_gw.firewall.base import Change, Close, Cut, Forward, Open, Refill, UpdateNetwork, most_for_remotes
from upnp_gw.firewall.flows import Flows, FlowsToEnd, OutgoingFlows, flows_before
from upnp_gw.firewall.nftables.element_edits import ElementEdit, ElementEdits
from upnp_gw.firewall.nftables.elements import (
    Element,
    HeldForward,
    Key,
    Slot,
    carrying,
    element_of,
    external_key,
    internal_key,
    internal_key_of,
    is_ipv6,
    keeps_source_port,
    out_element,
    peer_key,
    ranges_overlap,
    slot_of,
    timeout_seconds,
    transport_key,
)
from upnp_gw.firewall.nftables.names import listed, with_name, without_name
from upnp_gw.firewall.nftables.overlay import Overlay, add_to, take_from
from upnp_gw.firewall.nftables.refill import refilled
from upnp_gw.firewall.nftables.ruleset import INTERVALS, REMOTE_MAPS, SPECIAL, SPECIAL_MAPS
from upnp_gw.firewall.nftables.screens import own_maps
from upnp_gw.firewall.nftables.state import RulesetState
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import MappingKind, Transport
from upnp_gw.model.network import Network

CUT_S = 120
"""Seconds that a cut endpoint stays in ``cut``: longer than a TCP peer waits between two retransmissions."""


class RulesetDelta:
    """A batch that is not in force yet: ``edits`` for the kernel, ``flows`` to end afterwards."""

    def __init__(self, state: RulesetState, now: float) -> None:
        self._state = state
        self._now = now
        self._network = state.network
        self._forwards = Overlay(state.forwards)
        self._slots = Overlay(state.slots)
        self._many = state.many
        self._special_until = state.special_until
        self._users = Overlay(state.users)
        self._ports = Overlay(state.ports)
        self._outs = Overlay(state.outs)
        self._outs_external = state.outs_external
        self._closed = Overlay(state.closed)
        self._closed_at = Overlay(state.closed_at)
        in_use = self._forwards, self._slots, self._users, self._ports, self._outs
        self._layers: tuple[Overlay[Any, Any], ...] = (*in_use, self._closed, self._closed_at)
        self.edits = ElementEdits(own_maps(state.screens))
        self._touched: dict[Key, None] = {}
        self._cut_inners: set[Key] = set()
        self._touched_ports: dict[Key, None] = {}
        self._new_port_mappings: list[Forward] = []
        """New port mappings. Flows from before them may still use their external ports."""
        self._ended: list[FlowsToEnd] = []
        self.taken_over = False
        """A forward's place leads to another host now. The kernel lets its flows through until they are ended."""
        self.renewed: list[HeldForward] = []
        """Forwards whose elements this transaction replaces, with their counters."""

    @property
    def refilled(self) -> bool:
        """The batch has a ``Refill``."""
        return self.edits.refilled

    @property
    def touched(self) -> Iterable[str]:
        """The ids of the forwards that the batch opens, renews or closes."""
        return self._forwards.changed

    def add(self, change: Change) -> None:
        match change:
            case Open(forward):
                self._open(forward)
            case Close(forward):
                self._close(forward)
            case Cut(forward):
                self._cut(forward)
            case Refill(forwards):
                self._refill(forwards)
            case UpdateNetwork(network):
                self._update_network(network)

    @property
    def filled(self) -> tuple[int, int]:
        """Slots in use after the draft: in maps with one element per mapping, and in ``REMOTE_MAPS``."""
        return len(self._slots) - self._many, self._many

    def settle(self) -> None:
        """Updates ``out``, ``cut`` and ``external_ports`` for the touched endpoints and ports."""
        if self._network.external[:1] != self._outs_external:
            self._touched.update(dict.fromkeys(self._users))
        for inner in self._touched:
            v6 = is_ipv6(inner)
            if not v6:
                self._settle_out(inner)
            if inner in self._cut_inners:
                self.edits.replace(
                    Slot("cut6" if v6 else "cut", inner), ElementEdit.renewing(Element(b"", "", CUT_S))
                )
        for port in self._touched_ports:
            self._settle_port(port)
        self._settle_special()

    def flows(self) -> list[FlowsToEnd]:
        """The flows to end after the transaction. Call it before the next batch."""
        flows = [self._spare_other_forwards(flows) for flows in self._ended]
        for forward in self._new_port_mappings:
            flows += flows_before(forward, self._network.external)
            if self._state.router:
                flows.append(self._outgoing(forward))
        return flows

    def commit(self) -> None:
        """Updates the state. Called when the kernel has accepted the transaction."""
        for layer in self._layers:
            layer.merge()
        self._state.network, self._state.many = self._network, self._many
        self._state.outs_external = self._network.external[:1]
        self._state.special_until = self._special_until
        self._forget_closed()

    def _open(self, forward: Forward) -> None:
        held = self._forwards.get(forward.id)
        slot, inner, element = slot_of(forward), internal_key_of(forward), element_of(forward)
        if held is not None and held.differs(forward):
            self._replace(held.forward(self._now), forward)
            held = None
        if held is None and forward.kind is MappingKind.PORT_MAPPING:
            self._new_port_mappings.append(forward)
        self._put(slot, element)
        self._carry(forward, slot, element.timeout_s + self._state.live_grace_s, held is not None)
        if held is not None:
            self.renewed.append(held)
        self._forwards[forward.id] = HeldForward.of(forward, self._now + element.timeout_s)
        self._fill(slot, forward.id)
        self._users[inner] = with_name(self._users.get(inner), forward.id)
        self._touched[inner] = None
        self._take_port(forward, True)

    def _replace(self, old: Forward, new: Forward) -> None:
        self._close(old)
        if old.internal != new.internal:  # its flows now lead past the mapping
            self._cut(old)
            self.taken_over |= old.internal.address != new.internal.address

    def _close(self, forward: Forward) -> None:
        held = self._forwards.get(forward.id)
        forward = held.forward(self._now) if held is not None else forward
        slot, inner = slot_of(forward), internal_key_of(forward)
        if self._slots.get(slot) in (forward.id, None):  # else another forward has taken the place over
            self.edits.record(slot, element_of(forward), None)
            self._fill(slot, None)
            if held is not None:
                self._carry_on(forward)
        self._forwards[forward.id] = None
        self._users[inner] = without_name(self._users.get(inner), forward.id)
        self._touched[inner] = None
        self._take_port(forward, False)

    def _cut(self, forward: Forward) -> None:
        """Ends the flows of a forward: no element carries them any more."""
        for slot, held in self._closed_like(forward):
            if held.internal == forward.internal and forward.remote in (None, held.remote):
                self._carry_no_more(slot, held)
        self._cut_inners.add(internal_key_of(forward))
        self._touched[internal_key_of(forward)] = None
        self._ended.append(Flows.through(forward))

    def _take_port(self, forward: Forward, taken: bool) -> None:
        if self._state.router and forward.kind is MappingKind.PORT_MAPPING:
            port = peer_key(forward.transport, forward.external_port)
            self._ports[port] = (with_name if taken else without_name)(self._ports.get(port), forward.id)
            self._touched_ports[port] = None

    # Carrying elements: one for each forward, and for each closed forward whose flows are not cut yet.

    def _carry(self, forward: Forward, opening: Slot, timeout_s: float, stands: bool) -> None:
        slot = carrying(opening)
        for other, held in self._closed_like(forward):
            if held.internal != forward.internal:  # its flows would be carried as the new one's
                self._cut(held.forward(self._now))
                self.taken_over |= held.internal.address != forward.internal.address
            elif other == slot:
                self._forget(other, held)
                stands = True
            elif ranges_overlap(held, forward):
                # flows that only the old one carried are refused from now on
                self._carry_no_more(other, held)
        element = Element(b"", forward.id, timeout_seconds(timeout_s))
        # a new range must not be added first: it may overlap one that this transaction deletes
        self.edits.record(slot, element if stands or slot.map not in INTERVALS else None, element)

    def _carry_on(self, forward: Forward) -> None:
        """Keeps the carrying element of a closed forward: its flows go on until they are cut."""
        slot, grace_s = carrying(slot_of(forward)), self._state.live_grace_s
        element = Element(b"", forward.id, timeout_seconds(grace_s))
        self.edits.record(slot, element, element)
        self._closed[slot] = HeldForward.of(forward, self._now + grace_s)
        add_to(self._closed_at, external_key(forward), slot)

    def _carry_no_more(self, slot: Slot, held: HeldForward) -> None:
        self.edits.record(slot, Element(b"", held.id, 1), None)
        self._forget(slot, held)

    def _forget(self, slot: Slot, held: HeldForward) -> None:
        self._closed[slot] = None
        take_from(self._closed_at, external_key(held), slot)

    def _closed_like(self, forward: Forward) -> list[tuple[Slot, HeldForward]]:
        """The closed forwards with the same external side, for any remote host."""
        slots = self._closed_at.get(external_key(forward)) or ()
        return [(slot, held) for slot in slots if (held := self._closed.get(slot)) is not None]

    def _forget_closed(self) -> None:
        """Removes the closed forwards that have expired in the kernel, from the state themselves."""
        closed, at = self._state.closed, self._state.closed_at
        while closed and (held := closed[slot := next(iter(closed))]).until <= self._now:
            del closed[slot]
            endpoint = external_key(held)
            left = tuple(other for other in at.get(endpoint, ()) if other != slot)
            if left:
                at[endpoint] = left
            else:
                at.pop(endpoint, None)

    def _fill(self, slot: Slot, forward_id: str | None) -> None:
        if slot.map in REMOTE_MAPS:
            self._many += (forward_id is not None) - (self._slots.get(slot) is not None)
        self._slots[slot] = forward_id

    def _put(self, slot: Slot, element: Element) -> None:
        holder = self._forwards.get(self._slots.get(slot) or "")
        if holder is not None and holder.id != element.comment:
            if holder.until > self._now:
                raise FirewallError("another forward has this external port")
            self._close(holder.forward(self._now))  # it has expired in the kernel and was not closed
            holder = None
        old = element._replace(timeout_s=timeout_seconds(holder.until - self._now)) if holder is not None else None
        self.edits.record(slot, old, element)

    def _refill(self, forwards: Sequence[Forward]) -> None:
        self.edits.empty_maps()
        for layer in self._layers:
            layer.clear()
        self._many = 0
        self._special_until = 0.0
        self._touched.clear()
        self._touched_ports.clear()
        self._new_port_mappings.clear()
        made = refilled(forwards, self._state, self._network, self._now)
        if made is None:  # one of them takes the place of another
            for forward in forwards:
                self._open(forward)
            return
        self._forwards.fill(made.forwards)
        self._slots.fill(made.slots)
        self._users.fill(made.users)
        self._ports.fill(made.ports)
        self._outs.fill(made.outs)
        self._outs_external = self._network.external[:1]
        self.edits.fill(made.elements)
        self._many = sum(slot.map in REMOTE_MAPS for slot in made.slots)
        self._new_port_mappings += (forward for forward in forwards if forward.kind is MappingKind.PORT_MAPPING)

    def _update_network(self, network: Network) -> None:
        self.edits.renew_own_sets(network)
        self._network = network

    def _spare_other_forwards(self, flows: FlowsToEnd) -> FlowsToEnd:
        """Spares the flows of other forwards to the same endpoint."""
        if not isinstance(flows, Flows) or flows.internal is None:
            return flows
        users = listed(self._users.get(internal_key(flows.transport, flows.internal)))
        standing = [held.forward(self._now) for held in map(self._held, users) if held.until > self._now]
        return replace(flows, spared=tuple(Flows.that_pass(one, self._state.hosts) for one in standing))

    def _outgoing(self, forward: Forward) -> OutgoingFlows:
        users = listed(self._ports.get(peer_key(forward.transport, forward.external_port)))
        return OutgoingFlows.of(
            forward, (self._held(user).forward(self._now) for user in users), self._network.external
        )

    def _settle_special(self) -> None:
        """First packets are looked up in the special maps as long as one of them may have an element."""
        longest_s = self.edits.longest_added(SPECIAL_MAPS)
        if longest_s and self._now + longest_s > self._special_until:
            self._special_until = self._now + longest_s
            for transport in Transport:
                slot = Slot(SPECIAL, transport_key(transport))
                self.edits.replace(slot, ElementEdit.renewing(Element(b"", "", longest_s)))

    def _settle_port(self, port: Key) -> None:
        slot = Slot("external_ports", port)
        users = listed(self._ports.get(port))
        if users:
            until = max(self._held(user).until for user in users)
            self.edits.replace(slot, ElementEdit.renewing(Element(b"", "", timeout_seconds(until - self._now))))
        else:
            self.edits.replace(slot, ElementEdit(Element(b"", "", 1), None))

    def _settle_out(self, inner: Key) -> None:
        before = self._outs.get(inner)
        keepers = [u for u in listed(self._users.get(inner)) if keeps_source_port(self._held(u))]
        new = None
        if keepers:
            keeper = before if before is not None and before in keepers else keepers[0]
            held = self._held(keeper)
            new = out_element(held, self._network.external, timeout_seconds(held.until - self._now))
        if before is None and new is None:
            return
        # as it was made of the forward before this batch; after a refill there is none
        standing = None if before is None or self.refilled else self._state.forwards.get(before)
        old = None if standing is None else out_element(standing, self._state.outs_external, 1)
        self.edits.replace(Slot("out", inner), ElementEdit(old, new))
        self._outs[inner] = keeper if new is not None else None

    def _held(self, forward_id: str) -> HeldForward:
        held = self._forwards.get(forward_id)
        assert held is not None, "users and forwards go together"
        return held


def delta_of(state: RulesetState, changes: Iterable[Change], now: float) -> RulesetDelta:
    """Works out the changes; ``now`` is the monotonic second. Raises FirewallError for impossible ones."""
    delta = RulesetDelta(state, now)
    for change in changes:
        delta.add(change)
    delta.settle()
    single, many = delta.filled
    most_single, most_many = max(state.size, len(state.slots) - state.many), most_for_remotes(state.size)
    if single > most_single or many > max(most_many, state.many):
        raise FirewallError("the table is full")
    return delta
