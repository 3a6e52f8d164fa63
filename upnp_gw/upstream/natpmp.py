"""NAT-PMP towards the gateway above (RFC 6886): requests as bytes, answers as outcomes. Pure.

It has no nonce and no exact ports: an answer is known by transport and internal port, and a port that nobody asked
for is deleted again.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from upnp_gw.model.above import AboveRequest
from upnp_gw.model.errors import WireError
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.natpmp.codec import (
    AddressRequest,
    AddressResponse,
    MappingRequest,
    MappingResponse,
    NatPmpResult,
    build_request,
    parse_response,
)
from upnp_gw.protocols.pcp.messages import VERSION as PCP_VERSION
from upnp_gw.upstream.outcome import NO_ADDRESS, Denial, NotServed

ADDRESS = build_request(AddressRequest())
DENIALS = {
    NatPmpResult.REFUSED: Denial(Refusal.NOT_AUTHORIZED, "it does not allow it"),
    NatPmpResult.NETWORK_FAILURE: NO_ADDRESS,
    NatPmpResult.OUT_OF_RESOURCES: Denial(Refusal.TABLE_FULL, "it has no free port or no resources"),
}
"""Result -> refusal and our words for it. Any other error: the protocol is not served."""


@dataclass(frozen=True, slots=True)
class ToldAddress:
    """The external address of the gateway above."""

    address: IPv4Address
    epoch_s: int


@dataclass(frozen=True, slots=True)
class GrantedPort:
    """An answer to a mapping request; all 0 after a delete."""

    external_port: int
    lifetime_s: int
    epoch_s: int


Failure = Denial | NotServed
Mapped = GrantedPort | Failure


def build_mapping(request: AboveRequest, lifetime_s: int) -> bytes:
    """A mapping request; with lifetime 0 a delete (section 3.4: external port 0)."""
    port = request.wanted_port if lifetime_s else 0
    return build_request(MappingRequest(request.transport, request.internal.port, port, lifetime_s))


def read_address(data: bytes) -> ToldAddress | Failure | None:
    """The answer to ``ADDRESS``, and the same as an announcement (section 3.2.1); None: it is something else."""
    if is_pcp_refusal(data):
        return NotServed("it supports only PCP")
    try:
        response = parse_response(data)
    except WireError:
        return None
    if not isinstance(response, AddressResponse):
        return None
    return _failure(response.result) or ToldAddress(response.address, response.epoch_s)


def read_mapping(data: bytes, request: AboveRequest, delete: bool = False) -> Mapped | None:
    """The answer to ``build_mapping``; None: it answers something else. A lifetime of 0 answers deletes alone."""
    if is_pcp_refusal(data):
        return NotServed("it supports only PCP")
    try:
        response = parse_response(data)
    except WireError:
        return None
    if not isinstance(response, MappingResponse):
        return None
    if (response.transport, response.internal_port) != (request.transport, request.internal.port):
        return None
    if failure := _failure(response.result):
        return failure
    if delete is not (response.lifetime_s == 0):
        return None
    return GrantedPort(response.external_port, response.lifetime_s, response.epoch_s)


def is_pcp_refusal(data: bytes) -> bool:
    """True for ``unsupported version`` of a server that has only PCP (RFC 6887 appendix A)."""
    return data[:1] == bytes([PCP_VERSION]) and data[3:4] == bytes([NatPmpResult.UNSUPPORTED_VERSION])


def _failure(result: NatPmpResult) -> Failure | None:
    if result is NatPmpResult.SUCCESS:
        return None
    if result in DENIALS:
        return DENIALS[result]
    return NotServed("it does not understand the request")
