"""From a NAT-PMP mapping request to a request of the gateway, and from its reply to a response (RFC 6886)."""

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
from upnp_gw.protocols.natpmp.codec import MappingRequest, MappingResponse, Result, build_response
from upnp_gw.protocols.pending import Question

RESULTS = {
    Refusal.NOT_AUTHORIZED: Result.REFUSED,
    Refusal.ASK: Result.REFUSED,
    Refusal.RATE: Result.OUT_OF_RESOURCES,
    Refusal.QUOTA: Result.OUT_OF_RESOURCES,
    Refusal.CONFLICT: Result.OUT_OF_RESOURCES,
    Refusal.CONFLICT_OTHER: Result.OUT_OF_RESOURCES,
    Refusal.TABLE_FULL: Result.OUT_OF_RESOURCES,
    Refusal.NO_PORT: Result.OUT_OF_RESOURCES,
    Refusal.NO_SUCH: Result.REFUSED,
    Refusal.BAD_NONCE: Result.REFUSED,
    Refusal.TOO_MANY_FILTERS: Result.REFUSED,
    Refusal.NO_EXTERNAL_ADDRESS: Result.NETWORK_FAILURE,
    Refusal.UNSUPPORTED: Result.REFUSED,
    Refusal.ABSENT: Result.NETWORK_FAILURE,
    Refusal.BACKEND: Result.OUT_OF_RESOURCES,
}
"""Complete: a refusal without a row is a defect."""


def ask(message: MappingRequest, source: Source) -> Question | Result:
    """The question, or the result where none is needed. The internal client is the sender, always."""
    if message.lifetime_s == 0:
        release = ReleaseRequest(Via.NATPMP, source, message.transport, source.address, message.internal_port)
        return Question(release, lambda reply, epoch_s: _answer(message, reply, epoch_s))
    if message.internal_port == 0:
        return Result.REFUSED
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
    return Question(request, lambda reply, epoch_s: _answer(message, reply, epoch_s))


def refuse(message: MappingRequest, result: Result, epoch_s: int) -> bytes:
    return build_response(MappingResponse(result, message.transport, epoch_s, message.internal_port))


def _answer(message: MappingRequest, reply: Reply, epoch_s: int) -> bytes:
    match reply:
        case Refused(refusal):
            return refuse(message, RESULTS[refusal], epoch_s)
        case Removed():
            return refuse(message, Result.SUCCESS, epoch_s)
        case Granted(mapping, lifetime_s):
            granted = MappingResponse(
                Result.SUCCESS,
                message.transport,
                epoch_s,
                message.internal_port,
                mapping.key.external_port,
                min(lifetime_s, message.lifetime_s),
            )
            return build_response(granted)
