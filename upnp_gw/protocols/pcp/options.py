"""The options of a PCP message (RFC 6887 section 7.3): bytes <-> typed options, and how often each may occur."""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.pcp.address import pack_address, unpack_address
from upnp_gw.protocols.pcp.messages import (
    MAPPED_BITS,
    Description,
    Opcode,
    Option,
    PcpFilter,
    PreferFailure,
    ResultCode,
    ThirdParty,
    UnknownOption,
)

OPTIONAL = 128
"""The server may ignore options with codes from here on."""
THIRD_PARTY, PREFER_FAILURE, FILTER, DESCRIPTION = 1, 2, 3, 128
OPCODES = {code: frozenset({Opcode.MAP}) for code in (THIRD_PARTY, PREFER_FAILURE, FILTER, DESCRIPTION)}
"""Known option -> the opcodes that it may occur in."""
ONCE = frozenset({THIRD_PARTY, PREFER_FAILURE, DESCRIPTION})
DESCRIPTION_MAX = 1016
"""Bytes (RFC 7220 section 3)."""

_HEAD = struct.Struct("!BBH")
_FILTER = struct.Struct("!BBH16s")


class PcpError(WireError):
    """A request that gets an error answer."""

    def __init__(self, result: ResultCode, reason: str) -> None:
        super().__init__(reason)
        self.result = result


def parse_options(data: bytes, opcode: Opcode) -> tuple[Option, ...]:
    """The options in order. Raises PcpError: for a broken structure first, then for the first bad option."""
    raw = tuple(split_options(data))
    counts = Counter(code for code, _ in raw)
    options: list[Option] = []
    for code, value in raw:
        if code not in OPCODES:
            if code < OPTIONAL:
                raise PcpError(ResultCode.UNSUPP_OPTION, "option-unknown")
            options.append(UnknownOption(code, value))
            continue
        if opcode not in OPCODES[code] or (code in ONCE and counts[code] > 1):
            raise PcpError(ResultCode.MALFORMED_OPTION, "option-misplaced")
        options.append(_READ[code](value))
    return tuple(options)


def split_options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(code, data) of each option. Raises PcpError where one is longer than the message."""
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise PcpError(ResultCode.MALFORMED_OPTION, "option-cut-off")
        code, _, length = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        at = start + length + -length % 4
        if at > len(data):
            raise PcpError(ResultCode.MALFORMED_OPTION, "option-cut-off")
        yield code, data[start : start + length]


def build_options(options: Iterable[Option]) -> bytes:
    """Each padded to 4 bytes."""
    return b"".join(_build(*_write(option)) for option in options)


def _build(code: int, data: bytes) -> bytes:
    return _HEAD.pack(code, 0, len(data)) + data + bytes(-len(data) % 4)


def _write(option: Option) -> tuple[int, bytes]:
    match option:
        case ThirdParty(address):
            return THIRD_PARTY, pack_address(address)
        case PreferFailure():
            return PREFER_FAILURE, b""
        case PcpFilter(prefix_length, port, address):
            return FILTER, _FILTER.pack(0, prefix_length, port, pack_address(address))
        case Description(text):
            return DESCRIPTION, text.encode("utf-8")
        case UnknownOption(code, data):
            return code, data


def _third_party(data: bytes) -> ThirdParty:
    return ThirdParty(_address(data))


def _prefer_failure(data: bytes) -> PreferFailure:
    if data:
        raise PcpError(ResultCode.MALFORMED_OPTION, "prefer-failure-length")
    return PreferFailure()


def _filter(data: bytes) -> PcpFilter:
    if len(data) != _FILTER.size:
        raise PcpError(ResultCode.MALFORMED_OPTION, "filter-length")
    _, length, port, packed = _FILTER.unpack(data)
    address = unpack_address(packed)
    least = MAPPED_BITS if address.version == 4 else 0
    if length > 128 or 0 < length < least:
        raise PcpError(ResultCode.MALFORMED_OPTION, "filter-prefix")
    return PcpFilter(length, port, address)


def _description(data: bytes) -> Option:
    """A description that is not UTF-8 is ignored; the mapping is made anyway (RFC 7220 section 3)."""
    if len(data) > DESCRIPTION_MAX:
        raise PcpError(ResultCode.MALFORMED_OPTION, "description-length")
    try:
        return Description(data.decode("utf-8"))
    except UnicodeDecodeError:
        return UnknownOption(DESCRIPTION, data)


def _address(data: bytes) -> IPAddress:
    if len(data) != 16:
        raise PcpError(ResultCode.MALFORMED_OPTION, "third-party-length")
    return unpack_address(data)


_READ: dict[int, Callable[[bytes], Option]] = {
    THIRD_PARTY: _third_party,
    PREFER_FAILURE: _prefer_failure,
    FILTER: _filter,
    DESCRIPTION: _description,
}
