"""A gateway that is spoken to over NAT-PMP and PCP: datagrams in, datagrams out, no socket."""

from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.house import CONSOLE_IP, House
from upnp_gw.errors import WireError
from upnp_gw.model import Endpoint, IPAddress, Mapping, Transport
from upnp_gw.protocols import natpmp
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import ANY_IPV4, ANY_IPV6, MapData, Option, Request, Response
from upnp_gw.protocols.portcontrol import PortControl
from upnp_gw.protocols.question import Question
from upnp_gw.request import Source

NONCE, OTHER_NONCE = b"n" * 12, b"o" * 12
TCP, UDP = Transport.TCP, Transport.UDP
CONSOLE_IP6 = "2001:db8:77::10"


@dataclass(slots=True)
class Line:
    """Port 5351 of a house."""

    house: House
    dialogue: PortControl = field(default_factory=PortControl)

    @property
    def epoch_s(self) -> int:
        return self.house.view.epoch_s()

    async def say(self, data: bytes, client: str = CONSOLE_IP) -> bytes | None:
        """What comes back; None: nothing."""
        source = Source(ip_address(client), "lan0")
        external = next(iter(self.house.around.network.external), None)
        try:
            found = self.dialogue.receive(data, source, external, self.epoch_s)
        except WireError:
            return None
        if isinstance(found, Question):
            reply = await self.house.gateway.handle(found.request)
            return found.answer(reply, self.epoch_s)
        return found

    async def address(self, client: str = CONSOLE_IP) -> natpmp.AddressResponse:
        answer = natpmp.parse_response(await self.said(b"\0\0", client))
        assert isinstance(answer, natpmp.AddressResponse)
        return answer

    async def said(self, data: bytes, client: str = CONSOLE_IP) -> bytes:
        answer = await self.say(data, client)
        assert answer is not None, "no answer"
        return answer

    async def natpmp(
        self,
        internal: int,
        suggested: int = 0,
        lifetime: int = 7200,
        transport: Transport = TCP,
        client: str = CONSOLE_IP,
    ) -> natpmp.MappingResponse:
        """One mapping request of a NAT-PMP client; every answer has 16 bytes and the internal port."""
        asked = natpmp.build_request(natpmp.MappingRequest(transport, internal, suggested, lifetime))
        raw = await self.said(asked, client)
        answer = natpmp.parse_response(raw)
        assert isinstance(answer, natpmp.MappingResponse)
        assert len(raw) == 16
        assert (answer.transport, answer.internal_port, answer.epoch_s) == (transport, internal, self.epoch_s)
        return answer

    async def map(
        self,
        internal: int,
        suggested: int = 0,
        lifetime: int = 3600,
        *options: Option,
        protocol: int = 6,
        nonce: bytes = NONCE,
        client: str = CONSOLE_IP,
        address: IPAddress | None = None,
    ) -> Response:
        """One MAP of a PCP client. An error is the request with a new head, a success names the same mapping."""
        own = ip_address(client)
        any_address = ANY_IPV4 if own.version == 4 else ANY_IPV6
        data = MapData(nonce, protocol, internal, suggested, address if address is not None else any_address)
        asked = codec.build_request(Request(lifetime, own, data, options))
        raw = await self.said(asked, client)
        answer = codec.parse_response(raw)
        assert answer.map is not None
        assert answer.epoch_s == self.epoch_s
        if answer.result:
            assert raw[24:] == asked[24:]
        else:
            assert (answer.map.nonce, answer.map.protocol, answer.map.internal_port) == (nonce, protocol, internal)
            assert raw[12:24] == bytes(12)
        return answer

    def standing(self, internal: int, transport: Transport = TCP, client: str = CONSOLE_IP) -> list[Mapping]:
        """The ledger's rows to this internal endpoint."""
        return self.house.operations.ledger.table.to_internal(transport, Endpoint(ip_address(client), internal))
