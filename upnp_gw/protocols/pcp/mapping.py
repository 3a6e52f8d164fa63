"""Makes a request to the gateway of a MAP request, and a MAP response of its reply (RFC 6887 section 11).

Mistakes in the message itself are found here. Whether a mapping is allowed and possible is decided by the gateway.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from upnp_gw.model.mapping import Endpoint, IPAddress, Mapping, MappingKind, Transport, Via
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
from upnp_gw.protocols.pcp.codec import build_error, build_response
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV4,
    ANY_IPV6,
    LONG_S,
    SHORT_S,
    Description,
    MapData,
    Option,
    PcpFilter,
    PreferFailure,
    Request,
    Response,
    ResultCode,
    ThirdParty,
    UnknownOption,
    error_lifetime_s,
)
from upnp_gw.protocols.pcp.options import PcpError
from upnp_gw.protocols.pending import PendingReply

DESCRIPTION_CHARS = 256
"""Most characters of a DESCRIPTION. A longer one is cut, and the answer holds the cut one."""

RESULTS = {
    Refusal.NOT_AUTHORIZED: ResultCode.NOT_AUTHORIZED,
    Refusal.ASK: ResultCode.NOT_AUTHORIZED,
    Refusal.RATE: ResultCode.NO_RESOURCES,
    Refusal.QUOTA: ResultCode.USER_EX_QUOTA,
    Refusal.CONFLICT: ResultCode.NO_RESOURCES,
    Refusal.CONFLICT_OTHER: ResultCode.NO_RESOURCES,
    Refusal.TABLE_FULL: ResultCode.NO_RESOURCES,
    Refusal.NO_PORT: ResultCode.NO_RESOURCES,
    Refusal.SAME_PORT: ResultCode.CANNOT_PROVIDE_EXTERNAL,
    Refusal.NO_SUCH: ResultCode.NOT_AUTHORIZED,
    Refusal.BAD_NONCE: ResultCode.NOT_AUTHORIZED,
    Refusal.TOO_MANY_FILTERS: ResultCode.EXCESSIVE_REMOTE_PEERS,
    Refusal.NO_EXTERNAL_ADDRESS: ResultCode.NETWORK_FAILURE,
    Refusal.UNSUPPORTED: ResultCode.UNSUPP_PROTOCOL,
    Refusal.ABSENT: ResultCode.NETWORK_FAILURE,
    Refusal.GATEWAY_ABOVE: ResultCode.NETWORK_FAILURE,
    Refusal.BACKEND: ResultCode.NO_RESOURCES,
}
"""Refusal -> result. Complete."""
PREFER_FAILURE_RESULTS = dict.fromkeys(
    (Refusal.CONFLICT, Refusal.CONFLICT_OTHER, Refusal.NO_PORT), ResultCode.CANNOT_PROVIDE_EXTERNAL
)
"""Results only for a client with PREFER_FAILURE."""
THIRD_PARTY_RESULTS = {Refusal.NOT_AUTHORIZED: ResultCode.UNSUPP_OPTION}
"""Without a grant with ``for``, THIRD_PARTY is not supported (section 13.1)."""
ERROR_LIFETIMES = {Refusal.ASK: SHORT_S}
"""Error lifetimes that differ from those of the result: a request that waits for the operator is worth a retry
soon."""


@dataclass(frozen=True, slots=True)
class _MapFields:
    """The parts of a MAP request."""

    data: MapData
    lifetime_s: int
    internal: IPAddress
    options: tuple[Option, ...]
    third_party: ThirdParty | None
    prefer_failure: bool
    filters: tuple[PcpFilter, ...]
    description: Description | None


def start_reply(
    message: Request,
    source: Source,
    external_of: Callable[[IPAddress], IPAddress | None],
    least_s: int,
    data: bytes,
    epoch_s: int,
) -> PendingReply | bytes:
    """The request to the gateway, or the answer if none is needed. Raises PcpError.

    ``data``: the datagram of the message; ``external_of``: LAN host -> its address outside; ``least_s``: the
    shortest lifetime, seconds.
    """
    assert message.map is not None, "a MAP has its data"
    fields = _map_fields(message, message.map, source)
    transport = Transport.of_number(fields.data.protocol)
    if fields.lifetime_s == 0:
        if transport is None or fields.data.internal_port == 0:  # such a mapping cannot exist: a delete succeeds
            return _success(fields, 0, epoch_s, fields.data)
        port, nonce = fields.data.internal_port, fields.data.nonce
        release = ReleaseRequest(Via.PCP, source, transport, fields.internal, port, nonce)
        return PendingReply(release, _reply_builder(fields, data))
    if transport is None or fields.data.internal_port == 0:
        raise PcpError(ResultCode.UNSUPP_PROTOCOL, "unsupported-protocol")
    external = external_of(fields.internal)
    if fields.prefer_failure and not _is_available(fields, external):
        raise PcpError(ResultCode.CANNOT_PROVIDE_EXTERNAL, "external-not-ours")
    insists = fields.prefer_failure and fields.data.external_address == external
    return PendingReply(_request(fields, transport, source, least_s), _reply_builder(fields, data), insists)


def _map_fields(message: Request, data: MapData, source: Source) -> _MapFields:
    third = next((o for o in message.options if isinstance(o, ThirdParty)), None)
    fields = _MapFields(
        data,
        message.lifetime_s,
        third.address if third is not None else source.address,
        tuple(o for o in message.options if not isinstance(o, UnknownOption)),
        third,
        any(isinstance(o, PreferFailure) for o in message.options),
        tuple(o for o in message.options if isinstance(o, PcpFilter)),
        next((o for o in message.options if isinstance(o, Description)), None),
    )
    for wrong, result, reason in _CHECKS:
        if wrong(fields, source):
            raise PcpError(result, reason)
    return fields


_CHECKS: tuple[tuple[Callable[[_MapFields, Source], bool], ResultCode, str], ...] = (
    (
        lambda fields, _: fields.prefer_failure and (fields.data.external_port == 0 or fields.lifetime_s == 0),
        ResultCode.MALFORMED_OPTION,
        "prefer-failure-of-nothing",
    ),
    (
        lambda fields, _: bool(fields.filters) and fields.lifetime_s == 0,
        ResultCode.MALFORMED_OPTION,
        "filter-of-nothing",
    ),
    (
        lambda fields, _: any(
            not option.clears and option.address.version != fields.internal.version for option in fields.filters
        ),
        ResultCode.MALFORMED_OPTION,
        "filter-family",
    ),
    (
        lambda fields, source: fields.third_party is not None and fields.internal == source.address,
        ResultCode.MALFORMED_REQUEST,
        "third-party-is-sender",
    ),
    (
        lambda fields, _: fields.data.protocol == 0 and fields.data.internal_port != 0,
        ResultCode.MALFORMED_REQUEST,
        "port-without-protocol",
    ),
)
"""(check, result, word for the counters): the first check that is true decides."""


def _is_available(fields: _MapFields, external: IPAddress | None) -> bool:
    """True where the mapping can have the suggested address, and a pinhole the suggested port: its own."""
    if external == fields.internal and fields.data.external_port != fields.data.internal_port:
        return False
    return external is None or fields.data.external_address in (ANY_IPV4, ANY_IPV6, external)


def _request(fields: _MapFields, transport: Transport, source: Source, least_s: int) -> MapRequest:
    clears = [place for place, peer_filter in enumerate(fields.filters) if peer_filter.clears]
    added = fields.filters[clears[-1] + 1 :] if clears else fields.filters
    return MapRequest(
        via=Via.PCP,
        source=source,
        transport=transport,
        internal=Endpoint(fields.internal, fields.data.internal_port),
        external_port=fields.data.external_port,
        choice=PortChoice.EXACT if fields.prefer_failure else PortChoice.SUGGESTED,
        lifetime_s=max(fields.lifetime_s, least_s),
        description=fields.description.text[:DESCRIPTION_CHARS] if fields.description else "",
        nonce=fields.data.nonce,
        keep_description=fields.description is None,
        clear_filters=bool(clears),
        filters=tuple(peer_filter.peers for peer_filter in added),
        suggested_address=_suggested(fields.data.external_address),
    )


def _suggested(address: IPAddress) -> IPAddress | None:
    return None if address in (ANY_IPV4, ANY_IPV6) else address


def _reply_builder(fields: _MapFields, data: bytes) -> Callable[[Reply, int], bytes]:
    def answer(reply: Reply, epoch_s: int) -> bytes:
        match reply:
            case Removed():
                return _success(fields, 0, epoch_s, fields.data)  # erratum 3621: with the suggested values
            case Refused():
                result, lifetime_s = _refusal(fields, reply)
                return build_error(data, result, epoch_s, lifetime_s)
            case Granted(mapping, lifetime_s, external):
                if external is None:
                    return build_error(data, ResultCode.NETWORK_FAILURE, epoch_s)
                assigned = replace(fields.data, external_port=mapping.outside_port, external_address=external)
                return _success(fields, lifetime_s, epoch_s, assigned, mapping)

    return answer


def _success(
    fields: _MapFields, lifetime_s: int, epoch_s: int, data: MapData, mapping: Mapping | None = None
) -> bytes:
    """A success with the processed options only: some clients read no more than 60 bytes."""
    options = tuple(o for o in fields.options if not isinstance(o, Description) or _stored(o, mapping))
    shown = tuple(
        Description(mapping.description) if mapping and isinstance(o, Description) else o
        for option in options
        for o in _in_force(option, mapping)
    )
    return build_response(Response(ResultCode.SUCCESS, lifetime_s, epoch_s, data, shown))


def _stored(option: Description, mapping: Mapping | None) -> bool:
    return mapping is not None and mapping.description == option.text[:DESCRIPTION_CHARS]


def _in_force(option: Option, mapping: Mapping | None) -> tuple[Option, ...]:
    """The option; for a FILTER the part that the grant allows and that is in force."""
    if mapping is None or not isinstance(option, PcpFilter) or option.clears:
        return (option,)
    peers = option.peers.within(mapping.filters)
    return (option,) if peers == (option.peers,) else tuple(map(PcpFilter.of, peers))


def _refusal(fields: _MapFields, refused: Refused) -> tuple[ResultCode, int]:
    """(result, error lifetime in seconds)"""
    result = RESULTS[refused.refusal]
    if fields.prefer_failure:
        result = PREFER_FAILURE_RESULTS.get(refused.refusal, result)
    if fields.third_party is not None:
        result = THIRD_PARTY_RESULTS.get(refused.refusal, result)
    lifetime_s = refused.retry_s or ERROR_LIFETIMES.get(refused.refusal) or error_lifetime_s(result)
    return result, lifetime_s


def build_update(mapping: Mapping, lifetime_s: int, epoch_s: int, external: IPAddress | None) -> bytes | None:
    """A mapping update: an unsolicited MAP response (section 14.2). None: the mapping has no PCP lease, or no
    external address. ``external``: that of port mappings."""
    data = _data_of(mapping, external)
    if data is None or data.external_address == ANY_IPV4:
        return None
    filters = tuple(PcpFilter.of(peers) for peers in mapping.filters_in_force)
    options: tuple[Option, ...] = (*_third_party_of(mapping), *filters)
    return build_response(Response(ResultCode.SUCCESS, lifetime_s, epoch_s, data, options))


def build_loss(mapping: Mapping, result: ResultCode, epoch_s: int, external: IPAddress | None) -> bytes | None:
    """An unsolicited MAP error: the mapping has ended, with the reason. None: the mapping has no PCP lease."""
    data = _data_of(mapping, external)
    if data is None:
        return None
    lifetime_s = LONG_S if result is ResultCode.NOT_AUTHORIZED else SHORT_S
    return build_response(Response(result, lifetime_s, epoch_s, data, _third_party_of(mapping)))


def _third_party_of(mapping: Mapping) -> tuple[ThirdParty, ...]:
    return (ThirdParty(mapping.internal.address),) if mapping.delegated else ()


def _data_of(mapping: Mapping, external: IPAddress | None) -> MapData | None:
    hold = mapping.hold_of(Via.PCP.protocol)
    if hold is None or hold.nonce is None:
        return None
    key, internal, above = mapping.key, mapping.internal, mapping.above
    if above is not None and above.external is not None:
        external = above.external.address
    elif mapping.kind is MappingKind.PINHOLE:
        external = internal.address
    return MapData(hold.nonce, key.transport.number, internal.port, mapping.outside_port, external or ANY_IPV4)
