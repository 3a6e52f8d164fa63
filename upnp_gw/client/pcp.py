"""PCP from the client's side (RFC 6887): what to send, and what an answer means. Sans-I/O."""

from collections.abc import Callable, Iterator, Sequence

from upnp_gw.client.epoch import EpochWatch
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.schedule import Uniform, pcp_waits
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.codec import build_request, parse_response
from upnp_gw.protocols.pcp.messages import ANY_IPV4, ANY_IPV6, MapData, Request, Response, ResultCode

REASONS = {
    ResultCode.UNSUPP_VERSION: "it speaks another version of PCP",
    ResultCode.NOT_AUTHORIZED: "it is not allowed",
    ResultCode.UNSUPP_OPCODE: "it makes no mappings over PCP",
    ResultCode.NETWORK_FAILURE: "the gateway has no external address now",
    ResultCode.NO_RESOURCES: "the gateway has no port or no room for it now",
    ResultCode.UNSUPP_PROTOCOL: "this transport is not supported",
    ResultCode.USER_EX_QUOTA: "this host holds as many mappings as it may",
    ResultCode.CANNOT_PROVIDE_EXTERNAL: "that external port is not to be had",
    ResultCode.ADDRESS_MISMATCH: "there is another NAT between this host and the gateway",
}


class PcpDialogue:
    """``client`` is our address towards the gateway; ``nonce`` gives the 12 bytes that a mapping is kept by."""

    via = Via.PCP

    def __init__(self, client: IPAddress, nonce: Callable[[RequestedMapping], bytes]) -> None:
        self._client = client
        self._nonce = nonce
        self._epoch = EpochWatch()

    def waits(self, uniform: Uniform) -> Iterator[float]:
        return pcp_waits(uniform)

    def steps(self, requested: RequestedMapping, got: MappingLease | None, lifetime_s: int) -> Sequence[bytes]:
        """The datagrams of one conversation: a single MAP. A renewal suggests what was granted (section 11.2.1)."""
        any_address = ANY_IPV4 if self._client.version == 4 else ANY_IPV6
        address, port = any_address, requested.external_port
        if got is not None and got.external.address.version == self._client.version:
            address, port = got.external.address, got.external.port
        if lifetime_s == 0:
            address, port = any_address, 0
        data = MapData(self._nonce(requested), requested.transport.number, requested.port, port, address)
        return (build_request(Request(lifetime_s, self._client, data)),)

    def read(self, step: int, data: bytes, requested: RequestedMapping, now: float) -> MappingLease | bool:
        """What the datagram says; False: it is no answer to this. Raises Refused and Silent."""
        response = self._parse(data)
        if response is None or not self._answers(response, requested):
            return False
        self._epoch.lost(response.epoch_s, now)
        if response.result is not ResultCode.SUCCESS or response.map is None:
            reason = REASONS.get(response.result, "the request was not understood")
            raise RequestRefused(self.via, reason, response.result.name, response.lifetime_s)
        external = Endpoint(response.map.external_address, response.map.external_port)
        return MappingLease(
            self.via, requested.transport, external, Endpoint(self._client, requested.port), response.lifetime_s
        )

    def unasked(self, data: bytes, got: MappingLease, requested: RequestedMapping, now: float) -> bool:
        """True where an announcement or a mapping update says that it is time to ask again (section 14)."""
        try:
            response = self._parse(data)
        except NoAnswer:
            return False
        if response is None:
            return False
        lost = self._epoch.lost(response.epoch_s, now)
        if response.map is None:
            return lost
        if not self._answers(response, requested):
            return False
        now_at = Endpoint(response.map.external_address, response.map.external_port)
        return lost or response.result is not ResultCode.SUCCESS or now_at != got.external

    @staticmethod
    def _parse(data: bytes) -> Response | None:
        if data[:1] == bytes([natpmp.VERSION]):
            try:
                natpmp.parse_response(data)
            except WireError:
                return None
            raise NoAnswer("the gateway speaks NAT-PMP alone")
        try:
            return parse_response(data)
        except WireError:
            return None

    def _answers(self, response: Response, requested: RequestedMapping) -> bool:
        """Nonce, protocol and internal port are ours; an error that could not carry them back counts too."""
        data = response.map
        if data is None:
            return response.result not in (ResultCode.SUCCESS,)
        wanted = (self._nonce(requested), requested.transport.number, requested.port)
        return (data.nonce, data.protocol, data.internal_port) == wanted
