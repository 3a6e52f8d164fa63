"""PCP from the client's side (RFC 6887): builds requests, parses answers and announcements. Sans-I/O."""

from collections.abc import Callable, Iterator, Sequence

from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Endpoint, IPAddress, Via
from upnp_gw.protocols.client_times import Uniform, pcp_waits
from upnp_gw.protocols.epoch_watch import EpochWatch
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp.codec import build_request, parse_response
from upnp_gw.protocols.pcp.messages import ANY_IPV4, ANY_IPV6, MapData, Request, Response, ResultCode

REASONS = {
    ResultCode.UNSUPP_VERSION: "the gateway supports another version of PCP",
    ResultCode.NOT_AUTHORIZED: "the gateway does not allow it",
    ResultCode.UNSUPP_OPCODE: "the gateway makes no mappings over PCP",
    ResultCode.NETWORK_FAILURE: "the gateway has no external address now",
    ResultCode.NO_RESOURCES: "the gateway has no free port or no resources now",
    ResultCode.UNSUPP_PROTOCOL: "the gateway does not support this transport",
    ResultCode.USER_EX_QUOTA: "this host has as many mappings as the gateway allows",
    ResultCode.CANNOT_PROVIDE_EXTERNAL: "the gateway cannot provide this external port",
    ResultCode.ADDRESS_MISMATCH: "there is another NAT between this host and the gateway",
}


class PcpDialogue:
    """``client``: the address of this host towards the gateway; ``nonce``: the 12 bytes that identify the
    mapping."""

    via = Via.PCP

    def __init__(self, client: IPAddress, nonce: Callable[[RequestedMapping], bytes]) -> None:
        self._client = client
        self._nonce = nonce
        self._epoch = EpochWatch()

    def waits(self, uniform: Uniform) -> Iterator[float]:
        return pcp_waits(uniform)

    def requests(self, request: RequestedMapping, lease: MappingLease | None, lifetime_s: int) -> Sequence[bytes]:
        """The datagrams to send: a single MAP. A renewal suggests the granted address and port (section 11.2.1)."""
        any_address = ANY_IPV4 if self._client.version == 4 else ANY_IPV6
        address, port = any_address, request.external_port
        if lease is not None and lease.external.address.version == self._client.version:
            address, port = lease.external.address, lease.external.port
        if lifetime_s == 0:
            address, port = any_address, 0
        data = MapData(self._nonce(request), request.transport.number, request.port, port, address)
        return (build_request(Request(lifetime_s, self._client, data)),)

    def read(self, step: int, data: bytes, request: RequestedMapping, now: float) -> MappingLease | bool:
        """Parses a datagram. False: it is no answer to this request. Raises RequestRefused and NoAnswer."""
        response = self._parse(data)
        if response is None or not self._answers(response, request):
            return False
        self._epoch.state_lost(response.epoch_s, now)
        if response.result is not ResultCode.SUCCESS or response.map is None:
            reason = REASONS.get(response.result, "the gateway does not understand the request")
            raise RequestRefused(self.via, reason, response.result.name, response.lifetime_s)
        external = Endpoint(response.map.external_address, response.map.external_port)
        return MappingLease(
            self.via, request.transport, external, Endpoint(self._client, request.port), response.lifetime_s
        )

    def announces_change(self, data: bytes, lease: MappingLease, request: RequestedMapping, now: float) -> bool:
        """True if an announcement or a mapping update says that the lease is lost or has changed (section 14)."""
        try:
            response = self._parse(data)
        except NoAnswer:
            return False
        if response is None:
            return False
        state_lost = self._epoch.state_lost(response.epoch_s, now)
        if response.map is None:
            return state_lost
        if not self._answers(response, request):
            return False
        external = Endpoint(response.map.external_address, response.map.external_port)
        return state_lost or response.result is not ResultCode.SUCCESS or external != lease.external

    @staticmethod
    def _parse(data: bytes) -> Response | None:
        if data[:1] == bytes([natpmp.VERSION]):
            try:
                natpmp.parse_response(data)
            except WireError:
                return None
            raise NoAnswer("the gateway supports only NAT-PMP")
        try:
            return parse_response(data)
        except WireError:
            return None

    def _answers(self, response: Response, request: RequestedMapping) -> bool:
        """True for our nonce, transport and internal port, and for an error that cannot carry them."""
        data = response.map
        if data is None:
            return response.result not in (ResultCode.SUCCESS,)
        expected = (self._nonce(request), request.transport.number, request.port)
        return (data.nonce, data.protocol, data.internal_port) == expected
