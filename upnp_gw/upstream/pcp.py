"""PCP towards the gateway above (RFC 6887, RFC 7648): requests as bytes, answers as outcomes. Pure.

Our own address is the client of every request (CAS-004). A pinhole is another host's, so it needs THIRD_PARTY.
"""

from dataclasses import dataclass, replace

from upnp_gw.model.above import AboveKey, AboveRequest
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.codec import build_request, parse_response
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV4,
    ANY_IPV6,
    MapData,
    Option,
    PreferFailure,
    Request,
    Response,
    ResultCode,
    ThirdParty,
)
from upnp_gw.upstream.outcome import NO_ADDRESS, Denial, Lease, NotServed, Outcome

DENIALS = {
    ResultCode.NOT_AUTHORIZED: Denial(Refusal.NOT_AUTHORIZED, "it does not allow it"),
    ResultCode.NETWORK_FAILURE: NO_ADDRESS,
    ResultCode.NO_RESOURCES: Denial(Refusal.TABLE_FULL, "it has no free port or no resources"),
    ResultCode.UNSUPP_PROTOCOL: Denial(Refusal.UNSUPPORTED, "it does not support this transport"),
    ResultCode.USER_EX_QUOTA: Denial(Refusal.QUOTA, "this gateway has as many mappings there as it allows"),
    ResultCode.CANNOT_PROVIDE_EXTERNAL: Denial(Refusal.CONFLICT, "the external port is in use"),
    ResultCode.ADDRESS_MISMATCH: Denial(
        Refusal.NO_EXTERNAL_ADDRESS, "there is another NAT before it", everything=True
    ),
    ResultCode.EXCESSIVE_REMOTE_PEERS: Denial(Refusal.UNSUPPORTED, "it does not understand the request"),
}
"""Result -> refusal and our words for it. Any other result: the protocol is not served."""
NOT_SERVED = {
    ResultCode.UNSUPP_VERSION: "it supports another version of PCP",
    ResultCode.UNSUPP_OPCODE: "it makes no mappings over PCP",
}
NO_OPTION = frozenset({ResultCode.UNSUPP_OPTION, ResultCode.MALFORMED_OPTION})
ONLY_NATPMP = "it supports only NAT-PMP"


@dataclass(frozen=True, slots=True)
class PcpAnswer:
    """An answer to one request of ours."""

    outcome: Outcome
    epoch_s: int | None
    """None: the server speaks another version."""
    without_option: bool = False
    """True: it refused an option. Without PREFER_FAILURE it may grant."""


def build_map(request: AboveRequest, client: IPAddress, lifetime_s: int, prefer_failure: bool = True) -> bytes:
    """A MAP; with lifetime 0 a delete. ``client``: our WAN address. With PREFER_FAILURE any external address will
    do: after a change of the address above the port is what counts (RFC 6970 section 5.10)."""
    options: list[Option] = []
    if request.internal.address != client:
        options.append(ThirdParty(request.internal.address))
    any_address = ANY_IPV4 if request.internal.address.version == 4 else ANY_IPV6
    port, address = request.wanted_port, any_address
    if lifetime_s == 0:
        port = 0
    elif request.exact and prefer_failure:
        options.append(PreferFailure())
    elif request.external is not None and request.external.address.version == any_address.version:
        address = request.external.address
    data = MapData(request.nonce, request.transport.number, request.internal.port, port, address)
    return build_request(Request(lifetime_s, client, data, tuple(options)))


def build_announce(client: IPAddress) -> bytes:
    """An ANNOUNCE request: it changes nothing, and its answer has the epoch."""
    return build_request(Request(0, client))


def read_announce(data: bytes) -> PcpAnswer | None:
    """The answer to an ANNOUNCE, errors among them: a server that answers speaks PCP. None: it is none."""
    if is_natpmp_refusal(data):
        return PcpAnswer(NotServed(ONLY_NATPMP), None)
    response = _parse(data)
    if response is None or response.map is not None:
        return None
    if response.result is ResultCode.UNSUPP_VERSION:
        return PcpAnswer(NotServed(NOT_SERVED[response.result]), None)
    return PcpAnswer(Denial(Refusal.UNSUPPORTED, "", response.lifetime_s), response.epoch_s)


def read_map(data: bytes, request: AboveRequest, delete: bool = False) -> PcpAnswer | None:
    """The answer to ``build_map``; None: it answers something else (CAS-023). A lifetime of 0 answers a delete
    alone: a late answer to one does not end a new request."""
    if is_natpmp_refusal(data):
        return PcpAnswer(NotServed(ONLY_NATPMP), None)
    response = _parse(data)
    if response is None:
        return None
    if response.result is ResultCode.UNSUPP_VERSION:
        return PcpAnswer(NotServed(NOT_SERVED[response.result]), None)
    if response.map is None or not _answers(response.map, request):
        return None
    if response.result is ResultCode.SUCCESS and delete is not (response.lifetime_s == 0):
        return None
    return PcpAnswer(_outcome(response, response.map), response.epoch_s, response.result in NO_OPTION)


def read_update(data: bytes, client: IPAddress) -> tuple[AboveKey, bytes, Outcome, int] | int | None:
    """An unsolicited response to ``client`` (RFC 6887 section 14): (key, nonce, outcome, epoch) of a mapping
    update, the epoch of an ANNOUNCE. None: it is neither."""
    response = _parse(data)
    if response is None:
        return None
    if response.map is None:
        return response.epoch_s if response.result is ResultCode.SUCCESS else None
    transport = Transport.of_number(response.map.protocol)
    if transport is None or response.map.internal_port == 0:
        return None
    third = next((option.address for option in response.options if isinstance(option, ThirdParty)), None)
    key = AboveKey(transport, Endpoint(third or client, response.map.internal_port))
    return key, response.map.nonce, _outcome(response, response.map), response.epoch_s


def is_natpmp_refusal(data: bytes) -> bool:
    """True for ``unsupported version`` of a server that has only NAT-PMP (RFC 6887 appendix A)."""
    if data[:1] != bytes([natpmp.VERSION]):
        return False
    try:
        return isinstance(natpmp.parse_response(data), natpmp.VersionResponse)
    except WireError:
        return False


def _parse(data: bytes) -> Response | None:
    try:
        return parse_response(data)
    except WireError:
        return None


def _answers(data: MapData, request: AboveRequest) -> bool:
    expected = (request.nonce, request.transport.number, request.internal.port)
    return (data.nonce, data.protocol, data.internal_port) == expected


def _outcome(response: Response, data: MapData) -> Outcome:
    if response.result is ResultCode.SUCCESS:
        return Lease(Endpoint(data.external_address, data.external_port), response.lifetime_s)
    if response.result in NO_OPTION:
        return NotServed("it does not support an option that this mapping needs", always=False)
    if response.result not in DENIALS:
        return NotServed(NOT_SERVED.get(response.result, "it does not understand the request"))
    return replace(DENIALS[response.result], retry_s=response.lifetime_s)
