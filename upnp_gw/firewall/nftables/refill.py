"""The contents of all maps for a list of forwards, made at once: the same as after opening each of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.nftables.elements import (
    Element,
    HeldForward,
    Key,
    Slot,
    carrying,
    element_of,
    internal_key,
    is_ipv6,
    keeps_source_port,
    out_element,
    peer_key,
    slot_of,
    timeout_seconds,
)
from upnp_gw.firewall.nftables.names import Names, listed, with_name
from upnp_gw.firewall.nftables.state import RulesetState
from upnp_gw.model.mapping import MappingKind
from upnp_gw.model.network import Network


@dataclass(slots=True)
class Refilled:
    """The fields of a ``RulesetState``, and the elements."""

    forwards: dict[str, HeldForward | None] = field(default_factory=dict)
    slots: dict[Slot, str | None] = field(default_factory=dict)
    users: dict[Key, Names | None] = field(default_factory=dict)
    ports: dict[Key, Names | None] = field(default_factory=dict)
    outs: dict[Key, str | None] = field(default_factory=dict)
    elements: dict[Slot, Element] = field(default_factory=dict)


def refilled(forwards: Sequence[Forward], state: RulesetState, network: Network, now: float) -> Refilled | None:
    """The contents at the monotonic second ``now``. None if two forwards have the same id or place.

    Raises FirewallError for a forward that makes no sense.
    """
    made = Refilled()
    held, slots, users, ports, elements = made.forwards, made.slots, made.users, made.ports, made.elements
    grace_s, router = state.live_grace_s, state.router
    for forward in forwards:
        name, slot, element = forward.id, slot_of(forward), element_of(forward)
        inner = internal_key(forward.transport, forward.internal)
        held[name] = HeldForward.of(forward, now + element.timeout_s)
        slots[slot] = name
        elements[slot] = element
        elements[carrying(slot)] = Element(b"", name, timeout_seconds(element.timeout_s + grace_s))
        users[inner] = with_name(users.get(inner), name)
        if router and forward.kind is MappingKind.PORT_MAPPING:
            port = slot.key if slot.map == "pm" else peer_key(forward.transport, forward.external_port)
            ports[port] = with_name(ports.get(port), name)
    if not len(forwards) == len(held) == len(slots):
        return None
    _add_outs(made, network, now)
    for port, names in ports.items():
        until = max(found.until for name in listed(names) if (found := held[name]) is not None)
        elements[Slot("external_ports", port)] = Element(b"", "", timeout_seconds(until - now))
    return made


def _add_outs(made: Refilled, network: Network, now: float) -> None:
    """The source ports: each internal endpoint keeps that of its first forward that may."""
    for inner, names in made.users.items():
        if is_ipv6(inner):
            continue
        present = (found for name in listed(names) if (found := made.forwards[name]) is not None)
        keeper = next((one for one in present if keeps_source_port(one)), None)
        if keeper is None:
            continue
        element = out_element(keeper, network.external, timeout_seconds(keeper.until - now))
        if element is not None:
            made.outs[inner] = keeper.id
            made.elements[Slot("out", inner)] = element
