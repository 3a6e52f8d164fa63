"""Values of what all packets of a class have in common: interfaces, the state of a flow, labels, marks. Pure."""

from upnp_gw.firewall.rules.index import Json, part
from upnp_gw.firewall.rules.packets import Common
from upnp_gw.firewall.rules.values import bare

_VERSIONS = {"ipv4": 4, "ipv6": 6, 2: 4, 10: 6, "ip": 4, "ip6": 6, 0x0800: 4, 0x86DD: 6}
_DIRECTIONS = {"original": True, 0: True, "reply": False, 1: False}


def has_value(common: Common, name: str, value: Json, mask: Json) -> bool | None:
    """True if the packets have this value; None: it cannot be told."""
    value = bare(value)
    match name:
        case "iif" | "oif":
            return _interface(common.iif if name == "iif" else common.oif, value)
        case "version":
            return _VERSIONS.get(value) == common.version if isinstance(value, str | int) else None
        case "pkttype":
            return ("host" if value == "unicast" else value) == common.pkttype if isinstance(value, str) else None
        case "direction":
            return _DIRECTIONS.get(value) if isinstance(value, str | int) else None
        case "state":
            return _word(value, frozenset([common.state]))
        case "status":
            return _word(value, common.status)
        case "labels":
            number = _number(value)
            return None if number is None else number in common.labels
        case "mark" | "ct_mark":
            return _mark(common.mark if name == "mark" else common.ct_mark, value, mask)
    return None


def _interface(present: str | None, value: Json) -> bool | None:
    if present is None or not isinstance(value, str):
        return None  # a number is the index of an interface that is gone
    return present.startswith(value[:-1]) if value.endswith("*") else present == value


def _word(value: Json, present: frozenset[str]) -> bool | None:
    if isinstance(value, list):
        answers = [_word(one, present) for one in value]
        return True if True in answers else None if None in answers else False
    return value in present if isinstance(value, str) else None


def _number(value: Json) -> int | None:
    if isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _mark(present: int | None, value: Json, mask: Json) -> bool | None:
    bits = 0xFFFFFFFF if mask is None else _number(mask)
    if present is None or bits is None:
        return None
    ends = part(value, "range")
    if isinstance(ends, list) and len(ends) == 2:
        first, last = _number(ends[0]), _number(ends[1])
        return None if first is None or last is None else first <= present & bits <= last
    number = _number(value)
    return None if number is None else present & bits == number
