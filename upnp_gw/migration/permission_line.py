"""A permission line of miniupnpd: ``(allow|deny) EXTERNAL-PORTS ADDRESS[/MASK] INTERNAL-PORTS [PATTERN]``.

It is read as ``read_permission_line`` of ``upnppermissions.c`` (miniupnpd 2.3.11) reads it. So an address without a
mask is one host, an address or a mask of a single number counts bits (``0/0`` is every host), an octet with a
leading zero is octal, and a comment may follow the internal ports.
"""

import re
from ipaddress import IPv4Network

from upnp_gw.migration.original import Line, Permission, PortRange
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.escape import shown

MOST_PREFIXES = 64
"""Most prefixes that a mask with gaps may stand for."""
LONGEST_SHOWN = 60
FORM = "allow 1024-65535 192.168.1.0/24 1024-65535"
_SPACE = r"[ \t\v\f\r]+"
_WORDS = re.compile(rf"(allow|deny){_SPACE}(\S+){_SPACE}(\S+){_SPACE}([0-9-]+)(.*)", re.DOTALL)
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)
_OCTET = re.compile(r"0[0-7]*|[1-9][0-9]*", re.ASCII)


def begins_permission(text: str) -> bool:
    """True for a line that miniupnpd takes for a permission."""
    return len(text) > 6 and text.startswith(("allow", "deny"))


def read_permission(line: Line, where: str) -> Permission:
    """The permission. Raises ConfigError."""
    words = _WORDS.fullmatch(line.text)
    if words is None:
        raise _mistake(where, line, f'"{shown(line.text, LONGEST_SHOWN)}": accepted: a line such as {FORM}')
    verdict, ext, clients, int_, rest = words.groups()
    return Permission(
        allow=verdict == "allow",
        ext=_ports(ext, "external ports", line, where),
        clients=_clients(clients, line, where),
        int_=_ports(int_, "internal ports", line, where),
        pattern=_pattern(rest, line, where),
        line=line,
    )


def _mistake(where: str, line: Line, problem: str) -> ConfigError:
    return ConfigError(where, "", problem, line.number)


def _ports(text: str, key: str, line: Line, where: str) -> PortRange:
    found = _RANGE.fullmatch(text)
    accepted = "accepted: a port or a range such as 1024-65535"
    if found is None:
        raise ConfigError(where, key, f'"{shown(text, LONGEST_SHOWN)}": {accepted}', line.number)
    low, high = int(found[1]), int(found[2] or found[1])
    if max(low, high) > 65535:
        raise ConfigError(where, key, f"{max(low, high)} is no port: {accepted}", line.number)
    if low > high:
        raise ConfigError(where, key, f"{low}-{high} ends before it begins: write {high}-{low}", line.number)
    return low, high


def _clients(text: str, line: Line, where: str) -> tuple[IPv4Network, ...]:
    address_text, slash, mask_text = text.partition("/")
    address = _address_or_bits(address_text)
    mask = _address_or_bits(mask_text) if slash else (1 << 32) - 1
    if address is None or mask is None:
        problem = f'"{shown(text, LONGEST_SHOWN)}": accepted: an IPv4 address or prefix such as 192.168.1.0/24'
        raise ConfigError(where, "address", problem, line.number)
    return _prefixes(address, mask, text, line, where)


def _address_or_bits(text: str) -> int | None:
    """Four octets, or a number of bits from the left, 0 to 32. None: neither."""
    octets = text.split(".")
    if len(octets) == 1:
        bits = int(text) if re.fullmatch("[0-9]{1,9}", text, re.ASCII) else 33
        return ((1 << bits) - 1) << (32 - bits) if bits <= 32 else None
    if len(octets) != 4 or len(text) > 63 or not all(_OCTET.fullmatch(octet) for octet in octets):
        return None
    numbers = [int(octet, 8) if octet.startswith("0") else int(octet) for octet in octets]
    return int.from_bytes(bytes(numbers)) if max(numbers) <= 255 else None


def _prefixes(address: int, mask: int, text: str, line: Line, where: str) -> tuple[IPv4Network, ...]:
    """The addresses that agree with this one where the mask has a bit. A mask with gaps stands for several
    prefixes."""
    tail = (~mask & 0xFFFFFFFF) + 1
    tail &= -tail  # the bits at the right end that are free
    free = [bit for bit in range(32) if not mask >> bit & 1 and 1 << bit >= tail]
    if 1 << len(free) > MOST_PREFIXES:
        problem = (
            f'"{shown(text, LONGEST_SHOWN)}": the mask has its bits not at the left end, and stands for'
            f" {1 << len(free)} prefixes; accepted: a mask such as /24 or /255.255.255.0"
        )
        raise ConfigError(where, "address", problem, line.number)
    base, length = address & mask, 32 - (tail.bit_length() - 1)
    starts = [base]
    for bit in free:
        starts += [start | 1 << bit for start in starts]
    return tuple(IPv4Network((start, length)) for start in sorted(starts))


def _pattern(rest: str, line: Line, where: str) -> str | None:
    """The fifth word, in quotes or to the next space. What follows it is ignored."""
    text = rest.lstrip(" \t\v\f\r")
    if not text or text.startswith("#"):
        return None
    if text == rest:
        problem = f'"{shown(line.text, LONGEST_SHOWN)}": accepted: a space after the internal ports'
        raise ConfigError(where, "internal ports", problem, line.number)
    quote = text[0] if text[0] in "\"'" else ""
    word, escaped = "", False
    for sign in text[len(quote) :]:
        if not escaped and (sign == quote if quote else sign.isspace()):
            break
        word += sign
        escaped = not escaped and sign == "\\"
    return word or None
