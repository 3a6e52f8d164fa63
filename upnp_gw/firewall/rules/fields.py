"""The left side of a match: the field of the packet that it looks at, as far as we know it. Pure."""

from enum import Enum
from typing import NamedTuple

from upnp_gw.firewall.rules.index import Json, part
from upnp_gw.firewall.rules.packets import (
    DADDR,
    DPORT,
    FLAGS,
    ORIGINAL_DADDR,
    ORIGINAL_DPORT,
    PROTOCOL,
    SADDR,
    SPORT,
)
from upnp_gw.firewall.rules.ranges import Ranges
from upnp_gw.firewall.rules.values import PROTOCOLS


class Kind(Enum):
    """The knowledge of a field."""

    NUMBERS = "a field of the boxes"
    LOCAL = "whether an address is one of the gateway's own: its number is the address"
    COMMON = "the same for all packets of a class"
    CHOSEN = "the sender, or the time, can make it match and not match"
    UNKNOWN = "not known"


class Field(NamedTuple):
    """A field, and what a packet needs to have it: without that a rule does not match, whatever the operator."""

    kind: Kind
    number: int = 0
    """NUMBERS, LOCAL: the field of the boxes."""
    name: str = ""
    """COMMON: the field of ``packets.Common``."""
    version: int = 0
    """It is in the header of this IP version; 0: of both."""
    protocols: Ranges = ()
    """It is in the header of these protocols; empty: of all."""
    mask: Json = None
    """Only these bits are compared."""
    flow: bool = False
    """It is of a flow: a packet without one does not match."""


VERSION = {"ip": 4, "ip6": 6}
_IP = {"saddr": SADDR, "daddr": DADDR, "protocol": PROTOCOL, "nexthdr": PROTOCOL}
_PORTS = {"sport": SPORT, "dport": DPORT}
_WITH_PORTS = ("tcp", "udp", "udplite", "sctp", "dccp", "th")
_META = {
    "iifname": "iif",
    "iif": "iif",
    "oifname": "oif",
    "oif": "oif",
    "nfproto": "version",
    "protocol": "version",
    "mark": "mark",
    "pkttype": "pkttype",
}
_META_CHOSEN = ("length", "hour", "day", "time", "random", "priority", "cpu")
_CT = {"state": "state", "status": "status", "label": "labels", "mark": "ct_mark", "direction": "direction"}
_CT_NUMBERS = {
    "proto-dst": ORIGINAL_DPORT,
    "proto-src": SPORT,
    "daddr": ORIGINAL_DADDR,
    "saddr": SADDR,
    "protocol": PROTOCOL,
}
UNKNOWN = Field(Kind.UNKNOWN)


def field_of(left: Json) -> Field:
    """The field of the left side of a match."""
    if (payload := part(left, "payload")) is not None:
        return _payload(part(payload, "protocol"), part(payload, "field"))
    if (meta := part(left, "meta", "key")) is not None:
        return _meta(meta)
    if part(left, "ct") is not None:
        return _conntrack(part(left, "ct", "key"), part(left, "ct", "dir"))
    if part(left, "fib") is not None:
        return _fib(part(left, "fib", "result"), part(left, "fib", "flags"))
    if part(left, "exthdr") is not None:
        return Field(Kind.CHOSEN, version=6)
    if part(left, "tcp option") is not None:
        return Field(Kind.CHOSEN, protocols=_protocols("tcp"))
    if part(left, "ip option") is not None:
        return Field(Kind.CHOSEN, version=4)
    masked = part(left, "&")
    if isinstance(masked, list) and len(masked) == 2:
        field = field_of(masked[0])
        return UNKNOWN if field.mask is not None or field.kind is Kind.LOCAL else field._replace(mask=masked[1])
    return UNKNOWN


_NETWORK_HEADER = {
    (4, 72, 8): PROTOCOL,
    (4, 96, 32): SADDR,
    (4, 128, 32): DADDR,
    (6, 48, 8): PROTOCOL,
    (6, 64, 128): SADDR,
    (6, 192, 128): DADDR,
}
"""IP version, offset and length in bits (RFC 791, RFC 8200) -> the field there."""
_TRANSPORT_HEADER = {(0, 16): SPORT, (16, 16): DPORT}


def raw_fields(left: Json) -> dict[int, Field] | None:
    """IP version -> the field at a place of a header (``@nh,72,8``), as miniupnpd writes its rules; None: the left
    side is no such place."""
    base = part(left, "payload", "base")
    if base is None:
        return None
    place = part(left, "payload", "offset"), part(left, "payload", "len")
    found: dict[int, Field] = {}
    for version in (4, 6):
        number = _NETWORK_HEADER.get((version, *place)) if base == "nh" else None
        number = _TRANSPORT_HEADER.get(place) if base == "th" else number
        found[version] = Field(Kind.CHOSEN if base != "ll" else Kind.UNKNOWN)
        if number is not None:
            found[version] = Field(Kind.NUMBERS, number, version=version)
    return found


def _payload(protocol: Json, name: Json) -> Field:
    if protocol in VERSION:
        number = _IP.get(str(name))
        version = VERSION[protocol]
        return Field(Kind.CHOSEN, version=version) if number is None else Field(Kind.NUMBERS, number, "", version)
    if protocol in _WITH_PORTS and name in _PORTS:
        return Field(Kind.NUMBERS, _PORTS[name], protocols=_protocols(protocol))
    if protocol == "tcp" and name == "flags":
        return Field(Kind.NUMBERS, FLAGS, protocols=_protocols(protocol))
    return Field(Kind.CHOSEN, protocols=_protocols(protocol))


def _protocols(name: Json) -> Ranges:
    number = PROTOCOLS.get(str(name))
    return () if number is None else ((number, number),)


def _meta(key: Json) -> Field:
    if key == "l4proto":
        return Field(Kind.NUMBERS, PROTOCOL)
    if key in _META:
        return Field(Kind.COMMON, name=_META[key])
    return Field(Kind.CHOSEN if key in _META_CHOSEN else Kind.UNKNOWN)


def _conntrack(key: Json, direction: Json) -> Field:
    """Packets from outside of a flow that began outside go in the original direction."""
    header, _, name = str(key).rpartition(" ")
    if direction == "reply":
        return Field(Kind.UNKNOWN, flow=True)
    if name in _CT and not header:
        return Field(Kind.COMMON, name=_CT[name], flow=name != "state")
    if name in _CT_NUMBERS and (header or name.startswith("proto")):
        return Field(Kind.NUMBERS, _CT_NUMBERS[name], version=VERSION.get(header, 0), flow=True)
    return Field(Kind.UNKNOWN, flow=name != "state")


def _fib(result: Json, flags: Json) -> Field:
    looked_up = flags if isinstance(flags, list) else [flags]
    if result == "type" and looked_up in (["daddr"], ["saddr"]):
        return Field(Kind.LOCAL, DADDR if looked_up == ["daddr"] else SADDR)
    if "saddr" in looked_up:  # the filter of reverse paths: outside there are addresses that pass
        return Field(Kind.CHOSEN)
    return UNKNOWN
