"""NAT-PMP from the client's side (RFC 6886): builds requests, parses answers and announcements. Sans-I/O."""

from collections.abc import Iterator, Sequence

from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.protocols.client_times import Uniform, natpmp_waits
from upnp_gw.protocols.epoch_watch import EpochWatch
from upnp_gw.protocols.natpmp.codec import (
    NO_ADDRESS,
    AddressRequest,
    AddressResponse,
    MappingRequest,
    MappingResponse,
    NatPmpResult,
    Response,
    VersionResponse,
    build_request,
    parse_response,
)
from upnp_gw.protocols.pcp.messages import VERSION as PCP_VERSION

REASONS = {
    NatPmpResult.REFUSED: "the gateway does not allow it",
    NatPmpResult.NETWORK_FAILURE: "the gateway has no external address now",
    NatPmpResult.OUT_OF_RESOURCES: "the gateway has no free port or no resources now",
    NatPmpResult.UNSUPPORTED_OPCODE: "the gateway does not understand the request",
}


class NatPmpDialogue:
    """``client``: the address of this host towards the gateway."""

    via = Via.NATPMP

    def __init__(self, client: IPAddress) -> None:
        self._client = client
        self._external = NO_ADDRESS
        self._epoch = EpochWatch()

    def waits(self, uniform: Uniform) -> Iterator[float]:
        return natpmp_waits()

    def requests(self, request: RequestedMapping, lease: MappingLease | None, lifetime_s: int) -> Sequence[bytes]:
        """The datagrams to send, one after the other. The external address is requested first, except for a release
        (section 3.4)."""
        if lifetime_s == 0:
            return (build_request(MappingRequest(request.transport, request.port, 0, 0)),)
        port = lease.external.port if lease is not None else request.external_port
        mapping = MappingRequest(request.transport, request.port, port, lifetime_s)
        return build_request(AddressRequest()), build_request(mapping)

    def read(self, step: int, data: bytes, request: RequestedMapping, now: float) -> MappingLease | bool:
        """Parses a datagram. True: request number ``step`` is answered; False: it is no answer to it. Raises
        RequestRefused and NoAnswer."""
        if data[:1] == bytes([PCP_VERSION]) and data[3:4] == bytes([NatPmpResult.UNSUPPORTED_VERSION]):
            raise NoAnswer("the gateway supports only PCP")  # it says so in PCP (RFC 6887 appendix A)
        response = self._parse(data)
        match response:
            case VersionResponse():
                raise NoAnswer("the gateway supports another version of NAT-PMP")
            case AddressResponse(result, epoch_s, address) if step == 0:
                self._check(result)
                self._epoch.state_lost(epoch_s, now, jump_is_loss=False)
                self._external = address
                return True
            case MappingResponse(result, transport, epoch_s, port) if (transport, port) == (
                request.transport,
                request.port,
            ):
                self._check(result)
                self._epoch.state_lost(epoch_s, now, jump_is_loss=False)
                external = Endpoint(self._external, response.external_port)
                internal = Endpoint(self._client, request.port)
                return MappingLease(self.via, request.transport, external, internal, response.lifetime_s)
        return False

    def announces_change(self, data: bytes, lease: MappingLease, request: RequestedMapping, now: float) -> bool:
        """True if an announcement says that the mappings are lost or the external address is new (section
        3.2.1)."""
        response = self._parse(data)
        if not isinstance(response, AddressResponse) or response.result is not NatPmpResult.SUCCESS:
            return False
        state_lost = self._epoch.state_lost(response.epoch_s, now, jump_is_loss=False)
        return state_lost or response.address != lease.external.address

    def _check(self, result: NatPmpResult) -> None:
        if result is not NatPmpResult.SUCCESS:
            raise RequestRefused(
                self.via, REASONS.get(result, "the gateway does not understand the request"), result.name
            )

    @staticmethod
    def _parse(data: bytes) -> Response | None:
        try:
            return parse_response(data)
        except WireError:
            return None
