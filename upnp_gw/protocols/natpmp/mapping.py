"""Makes a request to the gateway of a NAT-PMP mapping request, and a response of its reply (RFC 6886)."""

from upnp_gw.model.mapping import Endpoint, Via
from upnp_gw.model.request import (
    Granted,
    MapRequest,
    PortChoice,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
    Source,
)
from upnp_gw.protocols.natpmp.codec import MappingRequest, MappingResponse, NatPmpResult, build_response
from upnp_gw.protocols.pending import PendingReply

RESULTS = {
    Refusal.NOT_AUTHORIZED: NatPmpResult.REFUSED,
    Refusal.ASK: NatPmpResult.REFUSED,
    Refusal.RATE: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.QUOTA: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.CONFLICT: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.CONFLICT_OTHER: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.TABLE_FULL: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.NO_PORT: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.SAME_PORT: NatPmpResult.OUT_OF_RESOURCES,
    Refusal.NO_SUCH: NatPmpResult.REFUSED,
    Refusal.BAD_NONCE: NatPmpResult.REFUSED,
    Refusal.TOO_MANY_FILTERS: NatPmpResult.REFUSED,
    Refusal.NO_EXTERNAL_ADDRESS: NatPmpResult.NETWORK_FAILURE,
    Refusal.UNSUPPORTED: NatPmpResult.REFUSED,
    Refusal.ABSENT: NatPmpResult.NETWORK_FAILURE,
    Refusal.GATEWAY_ABOVE: NatPmpResult.NETWORK_FAILURE,
    Refusal.BACKEND: NatPmpResult.OUT_OF_RESOURCES,
}
"""Refusal -> result. Complete."""


def start_reply(message: MappingRequest, source: Source) -> PendingReply | NatPmpResult:
    """The request to the gateway, or the result if none is needed. The internal client is always the sender."""
    if message.lifetime_s == 0:
        release = ReleaseRequest(Via.NATPMP, source, message.transport, source.address, message.internal_port)
        return PendingReply(release, lambda reply, epoch_s: _answer(message, reply, epoch_s))
    if message.internal_port == 0:
        return NatPmpResult.REFUSED
    request = MapRequest(
        via=Via.NATPMP,
        source=source,
        transport=message.transport,
        internal=Endpoint(source.address, message.internal_port),
        external_port=message.external_port,
        choice=PortChoice.SUGGESTED,
        lifetime_s=message.lifetime_s,
        keep_description=True,
    )
    return PendingReply(request, lambda reply, epoch_s: _answer(message, reply, epoch_s))


def refuse(message: MappingRequest, result: NatPmpResult, epoch_s: int) -> bytes:
    """An answer without a mapping, or to a delete: external port and lifetime 0 (PMP-009, PMP-035)."""
    return build_response(MappingResponse(result, message.transport, epoch_s, message.internal_port))


def _answer(message: MappingRequest, reply: Reply, epoch_s: int) -> bytes:
    match reply:
        case Refused(refusal):
            return refuse(message, RESULTS[refusal], epoch_s)
        case Removed():
            return refuse(message, NatPmpResult.SUCCESS, epoch_s)
        case Granted(mapping, lifetime_s):
            granted = MappingResponse(
                NatPmpResult.SUCCESS,
                message.transport,
                epoch_s,
                message.internal_port,
                mapping.outside_port,
                min(lifetime_s, message.lifetime_s),
            )
            return build_response(granted)
