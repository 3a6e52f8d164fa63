"""The ARP (RFC 826) and neighbour discovery (RFC 4861) messages of "who has this address?", and socket filters.
Pure.

A socket of ``who_has`` would receive every such message of the link. Its filter (``socket_filter``) accepts only
answers to open queries, and each answer once. So no flood of answers reaches the daemon.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.socket_filter import (
    JUMP_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_STORED,
    LOAD_WORD,
    RETURN,
    STORE,
    Instruction,
)

ARP = struct.Struct("!HHBBH6s4s6s4s")
ETHERNET, IPV4, REQUEST = 1, 0x0800, 1
SOLICITATION, ADVERTISEMENT = 135, 136
ND = struct.Struct("!BBHI16s")
SOURCE_MAC, TARGET_MAC = 1, 2
SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))

INTERFACE_INDEX = 0xFFFFF008
"""SKF_AD_OFF + SKF_AD_IFINDEX: loads the index of the interface that the packet came in on."""
WHOLE = 0x40000

NOTHING: tuple[Instruction, ...] = ((RETURN, 0, 0, 0),)
"""The filter that drops everything."""


@dataclass(frozen=True, slots=True)
class OpenQuery:
    """A query for the hosts that have this address on this interface. ``answered``: the MAC addresses that have
    answered already."""

    address: IPAddress
    index: int
    answered: tuple[str, ...] = ()


def arp_request(mac: str, own: IPv4Address, address: IPv4Address) -> bytes:
    """An ARP request with the gateway as sender. (Not an RFC 5227 probe: hosts take a probe, which has no sender
    address, for a claim to the address.)"""
    return ARP.pack(ETHERNET, IPV4, 6, 4, REQUEST, _packed(mac), own.packed, bytes(6), address.packed)


def arp_claim(data: bytes) -> tuple[IPv4Address, str] | None:
    """IP and MAC address of the sender of an ARP message; None for other bytes."""
    if len(data) < ARP.size:
        return None
    hardware, protocol, hardware_length, protocol_length, _, mac, address, _, _ = ARP.unpack_from(data)
    if (hardware, protocol, hardware_length, protocol_length) != (ETHERNET, IPV4, 6, 4) or not any(mac):
        return None
    return IPv4Address(address), mac.hex(":")


def solicitation(mac: str, address: IPv6Address) -> bytes:
    """A neighbour solicitation. The kernel fills in the checksum."""
    return ND.pack(SOLICITATION, 0, 0, 0, address.packed) + bytes([SOURCE_MAC, 1]) + _packed(mac)


def advertised(data: bytes) -> tuple[IPv6Address, str] | None:
    """IP and MAC address of a neighbour advertisement; None for other bytes.

    An answer to a multicast solicitation carries the MAC address (RFC 4861 section 7.2.4).
    """
    if len(data) < ND.size or data[0] != ADVERTISEMENT:
        return None
    at = ND.size
    while at + 8 <= len(data) and data[at + 1]:
        if data[at] == TARGET_MAC and any(data[at + 2 : at + 8]):
            return IPv6Address(data[8:24]), data[at + 2 : at + 8].hex(":")
        at += 8 * data[at + 1]
    return None


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The multicast group of the hosts that may have this address (RFC 4291 section 2.7.1)."""
    return IPv6Address(SOLICITED_NODE | int(address) & 0xFFFFFF)


def arp_filter(queries: Iterable[OpenQuery]) -> tuple[Instruction, ...]:
    """Accepts ARP messages whose sender has a queried address. The program sees them from the first ARP byte on."""
    return _filter([(LOAD_WORD, 8), (LOAD_HALF, 12), (LOAD_WORD, INTERFACE_INDEX), (LOAD_WORD, 14)], queries)


def nd_filter(queries: Iterable[OpenQuery]) -> tuple[Instruction, ...]:
    """Accepts neighbour advertisements of a queried address. The program sees them from the ICMPv6 header on.

    The MAC address must be their first option. Every known host sends it so.
    """
    kind: list[Instruction] = [(LOAD_BYTE, 0, 0, 0), (JUMP_EQUAL, 1, 0, ADVERTISEMENT), *NOTHING]
    target = [(LOAD_WORD, at) for at in range(8, 24, 4)]
    return (*kind, *_filter([(LOAD_WORD, 26), (LOAD_HALF, 30), (LOAD_WORD, INTERFACE_INDEX), *target], queries))


def _filter(loads: Sequence[tuple[int, int]], queries: Iterable[OpenQuery]) -> tuple[Instruction, ...]:
    """``loads``: the MAC address in two parts, the interface, the address. Each is loaded from the packet only
    once: a filter may have 20 KB, and a load from the packet takes 240 bytes of them."""
    program: list[Instruction] = []
    for cell, (load, at) in enumerate(loads):
        program += [(load, 0, 0, at), (STORE, 0, 0, cell)]
    for query in queries:
        known = [step for mac in query.answered for step in _unless(mac)]
        values = (query.index, *struct.unpack(f"!{len(query.address.packed) // 4}I", query.address.packed))
        rest = 2 * len(values) + len(known) + 1
        for place, value in enumerate(values):
            program += [(LOAD_STORED, 0, 0, 2 + place), (JUMP_EQUAL, 0, rest - 2 * place - 2, value)]
        program += [*known, (RETURN, 0, 0, WHOLE)]
    return (*program, *NOTHING)


def _unless(mac: str) -> list[Instruction]:
    """Drops the packet if it names this MAC address."""
    first, last = struct.unpack("!IH", _packed(mac))
    return [
        (LOAD_STORED, 0, 0, 0),
        (JUMP_EQUAL, 0, 3, first),
        (LOAD_STORED, 0, 0, 1),
        (JUMP_EQUAL, 0, 1, last),
        (RETURN, 0, 0, 0),
    ]


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
