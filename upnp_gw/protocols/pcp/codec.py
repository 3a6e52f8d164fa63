"""PCP datagrams (RFC 6887): bytes <-> messages, requests and responses, for the gateway and for a client.

A request that gets an error answer raises ``PcpError`` with the result; one that gets no answer raises another
``WireError``. An error answer is a copy of the request with a new header (section 8.2), so it is built from bytes.
"""

import struct

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.pcp.address import pack_address, unpack_address
from upnp_gw.protocols.pcp.messages import (
    NONCE_BYTES,
    VERSION,
    MapData,
    Opcode,
    Request,
    Response,
    ResultCode,
    error_lifetime_s,
)
from upnp_gw.protocols.pcp.options import PcpError, build_options, parse_options

RESPONSE = 0x80
HEADER_BYTES = 24
MAX_BYTES = 1100
LEAST = {Opcode.ANNOUNCE: 24, Opcode.MAP: 60}
"""Opcode -> bytes without options."""
UNPARSED = frozenset({ResultCode.UNSUPP_VERSION, ResultCode.MALFORMED_REQUEST, ResultCode.MALFORMED_OPTION})
"""Errors whose reserved bytes hold the end of the client's address (section 7.2)."""

_REQUEST = struct.Struct("!BBHI16s")
_RESPONSE = struct.Struct("!BBBBII12s")
_MAP = struct.Struct(f"!{NONCE_BYTES}sB3sHH16s")


def parse_request(data: bytes, source: IPAddress, served: frozenset[Opcode] = frozenset(Opcode)) -> Request:
    """The message of a datagram, checked in the order of section 8.2. ``source``: its source address.

    Raises PcpError for a request that gets an error answer, WireError for a datagram that gets none.
    """
    if len(data) < 2:
        raise WireError("short")
    if data[1] & RESPONSE:
        raise WireError("response")
    if data[0] != VERSION:
        raise PcpError(ResultCode.UNSUPP_VERSION, "version")
    if len(data) < HEADER_BYTES:
        raise WireError("short")
    # an unknown opcode has no known length, and a wrong length is reported before it (section 8.2)
    opcode = next((known for known in served if known == data[1]), None)
    least = LEAST[opcode] if opcode is not None else HEADER_BYTES
    if len(data) > MAX_BYTES or len(data) % 4 or len(data) < least:
        raise PcpError(ResultCode.MALFORMED_REQUEST, "length")
    _, _, _, lifetime_s, packed = _REQUEST.unpack_from(data)
    client = unpack_address(packed)
    if client != source:
        raise PcpError(ResultCode.ADDRESS_MISMATCH, "address-mismatch")
    if opcode is None:
        raise PcpError(ResultCode.UNSUPP_OPCODE, "opcode")
    map_data = _map_data(data) if opcode is Opcode.MAP else None
    return Request(lifetime_s, client, map_data, parse_options(data[least:], opcode))


def build_request(request: Request) -> bytes:
    """A client's datagram. Raises ValueError where the options do not fit."""
    head = _REQUEST.pack(VERSION, request.opcode, 0, request.lifetime_s, pack_address(request.client))
    return _bounded(head + _map_bytes(request.map) + build_options(request.options))


def build_response(response: Response) -> bytes:
    """A success, or an error without a request (a mapping update). ``build_error`` makes the error answers."""
    head = _RESPONSE.pack(
        response.version,
        RESPONSE | response.opcode,
        0,
        response.result,
        response.lifetime_s,
        response.epoch_s & 0xFFFFFFFF,
        b"",
    )
    return _bounded(head + _map_bytes(response.map) + build_options(response.options))


def build_error(data: bytes, result: ResultCode, epoch_s: int, lifetime_s: int | None = None) -> bytes:
    """The request with a new header: 24 to 1100 bytes, a multiple of 4. ``data`` has at least 2 bytes."""
    body = data[:MAX_BYTES]
    body += bytes(max(HEADER_BYTES - len(body), -len(body) % 4))
    lifetime = error_lifetime_s(result) if lifetime_s is None else lifetime_s
    reserved = body[12:24] if result in UNPARSED else b""
    head = _RESPONSE.pack(
        VERSION, RESPONSE | body[1], 0, result, min(lifetime, 0xFFFFFFFF), epoch_s & 0xFFFFFFFF, reserved
    )
    return head + body[HEADER_BYTES:]


def parse_response(data: bytes) -> Response:
    """The message of a server's datagram, without the options of an error, which are the request's. Raises
    WireError."""
    if len(data) < HEADER_BYTES or len(data) > MAX_BYTES or len(data) % 4:
        raise WireError("length")
    version, opcode, _, code, lifetime_s, epoch_s, _ = _RESPONSE.unpack_from(data)
    result = _result(code)
    if not opcode & RESPONSE or (version != VERSION and result is not ResultCode.UNSUPP_VERSION):
        raise WireError("no-response")
    opcode &= ~RESPONSE
    if opcode not in LEAST or (opcode == Opcode.MAP and len(data) < LEAST[Opcode.MAP]):
        if result is ResultCode.SUCCESS:
            raise WireError("no-response")
        return Response(result, lifetime_s, epoch_s, version=version)
    options = data[LEAST[Opcode(opcode)] :] if result is ResultCode.SUCCESS else b""
    return Response(
        result,
        lifetime_s,
        epoch_s,
        _map_data(data) if opcode == Opcode.MAP else None,
        parse_options(options, Opcode(opcode)),
        version,
    )


def _map_data(data: bytes) -> MapData:
    nonce, protocol, _, internal, external, address = _MAP.unpack_from(data, HEADER_BYTES)
    return MapData(nonce, protocol, internal, external, unpack_address(address))


def _map_bytes(data: MapData | None) -> bytes:
    if data is None:
        return b""
    address = pack_address(data.external_address)
    return _MAP.pack(data.nonce, data.protocol, b"", data.internal_port, data.external_port, address)


def _bounded(message: bytes) -> bytes:
    if len(message) > MAX_BYTES:
        raise ValueError(f"a PCP message has at most {MAX_BYTES} bytes")
    return message


def _result(code: int) -> ResultCode:
    try:
        return ResultCode(code)
    except ValueError:
        raise WireError("result") from None


__all__ = [
    "MAX_BYTES",
    "PcpError",
    "build_error",
    "build_request",
    "build_response",
    "parse_request",
    "parse_response",
]
