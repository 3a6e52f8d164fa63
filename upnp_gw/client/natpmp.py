"""NAT-PMP from the client's side (RFC 6886): what to send, and what an answer means. Sans-I/O."""

from collections.abc import Iterator, Sequence

from upnp_gw.client.epoch import EpochWatch
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.schedule import Uniform, natpmp_waits
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
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
    NatPmpResult.REFUSED: "it is not allowed",
    NatPmpResult.NETWORK_FAILURE: "the gateway has no external address now",
    NatPmpResult.OUT_OF_RESOURCES: "the gateway has no port or no room for it now",
    NatPmpResult.UNSUPPORTED_OPCODE: "the request was not understood",
}


class NatPmpDialogue:
    """``client`` is our address towards the gateway."""

    via = Via.NATPMP

    def __init__(self, client: IPAddress) -> None:
        self._client = client
        self._external = NO_ADDRESS
        self._epoch = EpochWatch()

    def waits(self, uniform: Uniform) -> Iterator[float]:
        return natpmp_waits()

    def steps(self, requested: RequestedMapping, got: MappingLease | None, lifetime_s: int) -> Sequence[bytes]:
        """The external address is asked for first, as every client does; a delete needs none (section 3.4)."""
        if lifetime_s == 0:
            return (build_request(MappingRequest(requested.transport, requested.port, 0, 0)),)
        port = got.external.port if got is not None else requested.external_port
        mapping = MappingRequest(requested.transport, requested.port, port, lifetime_s)
        return build_request(AddressRequest()), build_request(mapping)

    def read(self, step: int, data: bytes, requested: RequestedMapping, now: float) -> MappingLease | bool:
        """What the datagram says; True: this step is done; False: it is no answer to it. Raises Refused, Silent."""
        if data[:1] == bytes([PCP_VERSION]) and data[3:4] == bytes([NatPmpResult.UNSUPPORTED_VERSION]):
            raise NoAnswer("the gateway speaks PCP alone")  # in PCP's own form (RFC 6887 appendix A)
        response = self._parse(data)
        match response:
            case VersionResponse():
                raise NoAnswer("the gateway speaks another version")
            case AddressResponse(result, epoch_s, address) if step == 0:
                self._check(result)
                self._epoch.lost(epoch_s, now, jump_is_loss=False)
                self._external = address
                return True
            case MappingResponse(result, transport, epoch_s, port) if (transport, port) == (
                requested.transport,
                requested.port,
            ):
                self._check(result)
                self._epoch.lost(epoch_s, now, jump_is_loss=False)
                external = Endpoint(self._external, response.external_port)
                internal = Endpoint(self._client, requested.port)
                return MappingLease(self.via, requested.transport, external, internal, response.lifetime_s)
        return False

    def unasked(self, data: bytes, got: MappingLease, requested: RequestedMapping, now: float) -> bool:
        """True where an announcement says that the mappings are gone or the address is another (section 3.2.1)."""
        response = self._parse(data)
        if not isinstance(response, AddressResponse) or response.result is not NatPmpResult.SUCCESS:
            return False
        lost = self._epoch.lost(response.epoch_s, now, jump_is_loss=False)
        return lost or response.address != got.external.address

    def _check(self, result: NatPmpResult) -> None:
        if result is not NatPmpResult.SUCCESS:
            raise RequestRefused(self.via, REASONS.get(result, "the request was not understood"), result.name)

    @staticmethod
    def _parse(data: bytes) -> Response | None:
        try:
            return parse_response(data)
        except WireError:
            return None
