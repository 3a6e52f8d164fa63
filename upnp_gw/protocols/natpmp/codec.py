"""NAT-PMP (RFC 6886): bytes <-> messages, requests and responses, for the gateway and for a client.

Each parser makes a message of any bytes or raises ``WireError``. Bytes beyond the length of a message are ignored.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Transport

VERSION = 0
RESPONSE = 0x80
"""Bit 7 of the second byte."""
ADDRESS = 0
TRANSPORTS = {1: Transport.UDP, 2: Transport.TCP}
"""Opcode of a mapping request -> transport."""
OPCODES = {transport: opcode for opcode, transport in TRANSPORTS.items()}
NO_ADDRESS = IPv4Address(0)

_MAP = struct.Struct("!BBHHHI")
_ADDRESS_RESPONSE = struct.Struct("!BBHI4s")
_MAP_RESPONSE = struct.Struct("!BBHIHHI")
_VERSION_RESPONSE = struct.Struct("!BBHI")


class NatPmpResult(IntEnum):
    """RFC 6886 section 3.5. No other value is sent: clients treat it as fatal."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    REFUSED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """Asks for the external address."""


@dataclass(frozen=True, slots=True)
class MappingRequest:
    """Requests a mapping, or with lifetime 0 its end; internal port 0 then means all ports of the transport."""

    transport: Transport
    internal_port: int
    external_port: int
    """Suggested; 0: any."""
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """An opcode from 3 to 127: the answer is the request itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class AddressResponse:
    """The answer to an address request, also used as the announcement."""

    result: NatPmpResult
    epoch_s: int
    address: IPv4Address = NO_ADDRESS


@dataclass(frozen=True, slots=True)
class MappingResponse:
    """The answer to a mapping request. ``external_port`` and ``lifetime_s`` are 0 after a delete and for an
    error."""

    result: NatPmpResult
    transport: Transport
    epoch_s: int
    internal_port: int
    external_port: int = 0
    lifetime_s: int = 0


@dataclass(frozen=True, slots=True)
class VersionResponse:
    """Unsupported version: a PCP client then uses NAT-PMP at once. 8 bytes (erratum 3618)."""

    epoch_s: int


Request = AddressRequest | MappingRequest | UnknownRequest
Response = AddressResponse | MappingResponse | VersionResponse


def parse_request(data: bytes) -> Request:
    """The message of a datagram of version 0. Raises WireError for a datagram that gets no answer."""
    if len(data) < 2:
        raise WireError("short")
    version, opcode = data[0], data[1]
    if opcode & RESPONSE:
        raise WireError("response")
    if version != VERSION:
        raise WireError("version")
    if opcode == ADDRESS:
        return AddressRequest()
    if opcode not in TRANSPORTS:
        return UnknownRequest(data)
    if len(data) < _MAP.size:
        raise WireError("short")
    _, _, _, internal, external, lifetime = _MAP.unpack_from(data)
    return MappingRequest(TRANSPORTS[opcode], internal, external, lifetime)


def build_request(request: AddressRequest | MappingRequest) -> bytes:
    """A client's datagram: 2 or 12 bytes."""
    if isinstance(request, AddressRequest):
        return bytes((VERSION, ADDRESS))
    opcode = OPCODES[request.transport]
    return _MAP.pack(VERSION, opcode, 0, request.internal_port, request.external_port, request.lifetime_s)


def build_response(response: Response) -> bytes:
    """Exactly 12, 16 or 8 bytes, also for an error: clients check the size before the result."""
    match response:
        case AddressResponse(result, epoch_s, address):
            shown = address if result is NatPmpResult.SUCCESS else NO_ADDRESS
            return _ADDRESS_RESPONSE.pack(VERSION, RESPONSE | ADDRESS, result, _u32(epoch_s), shown.packed)
        case MappingResponse(result, transport, epoch_s, internal, external, lifetime_s):
            opcode = RESPONSE | OPCODES[transport]
            return _MAP_RESPONSE.pack(VERSION, opcode, result, _u32(epoch_s), internal, external, lifetime_s)
        case VersionResponse(epoch_s):
            return _VERSION_RESPONSE.pack(VERSION, RESPONSE, NatPmpResult.UNSUPPORTED_VERSION, _u32(epoch_s))


def build_unsupported_opcode(request: UnknownRequest, epoch_s: int) -> bytes:
    """The request with bit 7 and the result set. A request that is too short for a result is extended to 8 bytes,
    with the epoch at the end (docs/spec/pcp.md section 1.8)."""
    code = NatPmpResult.UNSUPPORTED_OPCODE.to_bytes(2, "big")
    head = bytes((VERSION, RESPONSE | request.data[1])) + code
    if len(request.data) < 4:
        return head + _u32(epoch_s).to_bytes(4, "big")
    return head + request.data[4:]


def parse_response(data: bytes) -> Response:
    """A gateway's datagram. Raises WireError, also for the echo of an unsupported opcode."""
    if len(data) < _VERSION_RESPONSE.size:
        raise WireError("short")
    version, opcode, code, epoch_s = _VERSION_RESPONSE.unpack_from(data)
    if version != VERSION:
        raise WireError("no-response")
    result = _result(code)
    if result is NatPmpResult.UNSUPPORTED_VERSION:  # with opcode 0 as the RFC prints it, or 128 as the erratum says
        return VersionResponse(epoch_s)
    if not opcode & RESPONSE:
        raise WireError("no-response")
    if opcode == RESPONSE | ADDRESS and len(data) >= _ADDRESS_RESPONSE.size:
        address = IPv4Address(data[8:12]) if result is NatPmpResult.SUCCESS else NO_ADDRESS
        return AddressResponse(result, epoch_s, address)
    transport = TRANSPORTS.get(opcode & ~RESPONSE)
    if transport is None or len(data) < _MAP_RESPONSE.size:
        raise WireError("no-response")
    _, _, _, _, internal, external, lifetime = _MAP_RESPONSE.unpack_from(data)
    return MappingResponse(result, transport, epoch_s, internal, external, lifetime)


def _result(code: int) -> NatPmpResult:
    try:
        return NatPmpResult(code)
    except ValueError:
        raise WireError("result") from None


def _u32(number: int) -> int:
    """An epoch of more than 32 bits (136 years) starts again at 0, which looks to clients like a restart."""
    return number & 0xFFFFFFFF
