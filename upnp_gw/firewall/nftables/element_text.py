"""Edits of map elements as nft commands, for libnftables. Pure."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address, summarize_address_range
from typing import NamedTuple

from upnp_gw.firewall.base import TABLE
from upnp_gw.firewall.nftables.element_edits import Edits, Step
from upnp_gw.firewall.nftables.elements import Element, Slot
from upnp_gw.firewall.nftables.ruleset import KEY_TYPES, is_map, own_sets
from upnp_gw.firewall.nftables.screens import OfEachMap


class _Type(NamedTuple):
    """A type of a part of a key."""

    length: int
    text: Callable[[bytes, bytes], str]
    """The text of the range from the first value to the last one."""


def _number(first: bytes, last: bytes) -> str:
    low, high = int.from_bytes(first, "big"), int.from_bytes(last, "big")
    return str(low) if low == high else f"{low}-{high}"


def _address(first: bytes, last: bytes) -> str:
    if first == last:
        return str(ip_address(first))
    (network,) = summarize_address_range(ip_address(first), ip_address(last))
    return str(network)


_TYPES = {
    "inet_proto": _Type(1, _number),
    "inet_service": _Type(2, _number),
    "ipv4_addr": _Type(4, _address),
    "ipv6_addr": _Type(16, _address),
}
_DATA = ("ipv4_addr", "inet_service")
_PARTS = OfEachMap({name: types.split(" . ") for name, types in KEY_TYPES.items()})


def commands_of(edits: Edits) -> str:
    """The commands of one transaction, a line each."""
    lines = [f"flush {'map' if is_map(name) else 'set'} {TABLE} {name}" for name in edits.emptied]
    renewed = own_sets(edits.network) if edits.network is not None else ""
    return renewed + "\n".join(lines + [_command(step) for step in edits.steps])


def _command(step: Step) -> str:
    if step.adds:
        elements = [_element(slot, element) for slot, element in step.elements]
    else:
        elements = [key_text(slot) for slot, _ in step.elements]
    return f"{'add' if step.adds else 'delete'} element {TABLE} {step.map} {{ {', '.join(elements)} }}"


def _element(slot: Slot, element: Element) -> str:
    comment = f' comment "{element.comment}"' if element.comment else ""
    data = f" : {_joined(_DATA, element.data, element.data)}" if element.data else ""
    return f"{key_text(slot)} timeout {element.timeout_s}s{comment}{data}"


def key_text(slot: Slot) -> str:
    """The key as nft writes it."""
    return _joined(_PARTS[slot.map], slot.key, slot.end or slot.key)


def _joined(types: Sequence[str], first: bytes, last: bytes) -> str:
    parts, at = [], 0
    for name in types:
        length, text = _TYPES[name]
        parts.append(text(first[at : at + length], last[at : at + length]))
        at += (length + 3) & ~3
    return " . ".join(parts)
