"""Values in libnftables' JSON as numbers: addresses, ports, protocols, TCP flags. Pure.

A value that is not understood is None, and the rule with it cannot be decided.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from upnp_gw.firewall.rules.index import Json, part
from upnp_gw.firewall.rules.packets import (
    DADDR,
    EVERY_ADDRESS,
    EVERY_PORT,
    FLAGS,
    ORIGINAL_DADDR,
    PROTOCOL,
    SADDR,
)
from upnp_gw.firewall.rules.ranges import Ranges, united

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "ospf": 89,
    "comp": 108,
    "ipcomp": 108,
    "vrrp": 112,
    "sctp": 132,
    "udplite": 136,
}
FLAG_BITS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
ADDRESSES = (SADDR, DADDR, ORIGINAL_DADDR)


def number_of(name: int, value: Json) -> int | None:
    """A single value of a field of boxes, as a number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        return flags_of(value) if name == FLAGS else None
    if name == PROTOCOL:
        return PROTOCOLS.get(value, _decimal(value))
    if name == FLAGS:
        return flags_of(value)
    if name in ADDRESSES:
        try:
            return int(IPv6Address(value) if ":" in value else IPv4Address(value))
        except ValueError:
            return None
    return _decimal(value)


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def flags_of(value: Json) -> int | None:
    """TCP flags: a name, a number, or several of them (``fin|syn`` as a list or as an expression)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        return FLAG_BITS.get(value, _decimal(value))
    members = value if isinstance(value, list) else part(value, "|")
    if not isinstance(members, list):
        return None
    found = 0
    for member in members:
        bits = flags_of(member)
        if bits is None:
            return None
        found |= bits
    return found


def ranges_of(name: int, version: int, value: Json) -> Ranges | None:
    """A value of a field as ranges: a number, a range, a prefix, ``*``. ``version``: of IP, for addresses."""
    if value == "*":
        return EVERY_ADDRESS[version] if name in ADDRESSES else EVERY_PORT
    if (ends := part(value, "range")) is not None:
        if not isinstance(ends, list) or len(ends) != 2:
            return None
        first, last = number_of(name, ends[0]), number_of(name, ends[1])
        return ((first, last),) if first is not None and last is not None and first <= last else None
    if (prefix := part(value, "prefix")) is not None:
        return _network(part(prefix, "addr"), part(prefix, "len"))
    number = number_of(name, value)
    return None if number is None else ((number, number),)


def _network(address: Json, length: Json) -> Ranges | None:
    try:
        start = ip_address(address)
        rest = (1 << (start.max_prefixlen - length)) - 1
    except (TypeError, ValueError):
        return None
    first = int(start) & ~rest
    return ((first, first | rest),)


def bits_of(wanted: Callable[[int], bool]) -> Ranges:
    """The values of TCP flags that are wanted."""
    return united((number, number) for number in range(256) if wanted(number))


def prefix_of(version: int, mask: Json, value: Json) -> Ranges | None:
    """``ip saddr & MASK == VALUE`` where the mask has its bits on the left."""
    bits, number = number_of(SADDR, mask), number_of(SADDR, value)
    if bits is None or number is None:
        return None
    rest = EVERY_ADDRESS[version][0][1] ^ bits
    return None if rest & (rest + 1) or number & rest else ((number, number | rest),)


def bare(element: Json) -> Json:
    """The value of an element without its timeout, counter and comment."""
    inner = part(element, "elem", "val")
    return element if inner is None else inner
