"""UDP port 5351: NAT-PMP and PCP on one socket, distinguished by the first byte (docs/spec/pcp.md section 0.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.request import Source
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.natpmp import mapping as natpmp_mapping
from upnp_gw.protocols.pcp import codec, mapping
from upnp_gw.protocols.pcp.messages import Opcode, Response, ResultCode
from upnp_gw.protocols.pcp.options import PcpError
from upnp_gw.protocols.pending import PendingReply

PORT = 5351
"""The port of requests, and the source port of everything that the gateway sends."""
CLIENT_PORT = 5350
"""The destination port of announcements."""
RESPONSE = 0x80

ExternalOf = Callable[[IPAddress], IPAddress | None]
"""LAN host -> the address at which the internet reaches it: the gateway's primary external address, or without NAT
its own; None: there is none now."""


@dataclass(frozen=True, slots=True)
class Port5351:
    """Answers datagrams of both protocols. It has no state except which protocols are on."""

    natpmp: ServiceMode = ServiceMode.ON
    pcp: ServiceMode = ServiceMode.ON
    pcp_least_s: int = 120
    """The shortest PCP lifetime, seconds (RFC 6887 section 15)."""

    def receive(self, data: bytes, source: Source, external_of: ExternalOf, epoch_s: int) -> PendingReply | bytes:
        """The answer to a datagram, or a request to the gateway that comes first.

        Raises WireError for a datagram that gets no answer.
        """
        if len(data) < 2:
            raise WireError("short")
        if data[1] & RESPONSE:
            raise WireError("response")
        # without PCP every version is NAT-PMP's: clients that begin with PCP fall back on its "unsupported version"
        four = source.address.version == 4
        if (
            four
            and self.natpmp is not ServiceMode.OFF
            and (data[0] == natpmp.VERSION or self.pcp is ServiceMode.OFF)
        ):
            return self._natpmp(data, source, external_of, epoch_s)
        if self.pcp is ServiceMode.OFF:
            raise WireError("switched-off")
        try:
            return self._pcp(data, source, external_of, epoch_s)
        except PcpError as error:
            return codec.build_error(data, error.result, epoch_s)

    def announcements(self, version: int, external: IPv4Address | None, epoch_s: int) -> tuple[bytes, ...]:
        """The multicast announcements of both protocols over this IP version (RFC 6886 section 3.2.1, RFC 6887
        section 14.1.3). NAT-PMP cannot announce that there is no address. ``external``: the one that every host of
        the LAN has; None: there is none, or there is no NAT and each host has its own."""
        datagrams: list[bytes] = []
        if version == 4 and external is not None and self.natpmp is ServiceMode.ON:
            response = natpmp.AddressResponse(natpmp.NatPmpResult.SUCCESS, epoch_s, external)
            datagrams.append(natpmp.build_response(response))
        if self.pcp is not ServiceMode.OFF:
            datagrams.append(codec.build_response(Response(ResultCode.SUCCESS, 0, epoch_s)))
        return tuple(datagrams)

    def serves(self, version: int) -> bool:
        """True where at least one of the protocols is served over this IP version."""
        return self.pcp is not ServiceMode.OFF or (version == 4 and self.natpmp is not ServiceMode.OFF)

    def _natpmp(self, data: bytes, source: Source, external_of: ExternalOf, epoch_s: int) -> PendingReply | bytes:
        if data[0] != natpmp.VERSION:
            return natpmp.build_response(natpmp.VersionResponse(epoch_s))
        message = natpmp.parse_request(data)
        if isinstance(message, natpmp.UnknownRequest):
            return natpmp.build_unsupported_opcode(message, epoch_s)
        refused = self.natpmp is ServiceMode.REFUSE
        if isinstance(message, natpmp.AddressRequest):
            external = external_of(source.address)
            result = natpmp.NatPmpResult.SUCCESS if external is not None else natpmp.NatPmpResult.NETWORK_FAILURE
            shown = natpmp.NatPmpResult.REFUSED if refused else result
            own = external if isinstance(external, IPv4Address) else natpmp.NO_ADDRESS
            return natpmp.build_response(natpmp.AddressResponse(shown, epoch_s, own))
        reply = natpmp.NatPmpResult.REFUSED if refused else natpmp_mapping.start_reply(message, source)
        if isinstance(reply, PendingReply):
            return reply
        return natpmp_mapping.refuse(message, reply, epoch_s)

    def _pcp(self, data: bytes, source: Source, external_of: ExternalOf, epoch_s: int) -> PendingReply | bytes:
        served = frozenset(Opcode) if self.pcp is ServiceMode.ON else frozenset({Opcode.ANNOUNCE})
        message = codec.parse_request(data, source.address, served)
        if message.opcode is Opcode.ANNOUNCE:
            return codec.build_response(Response(ResultCode.SUCCESS, 0, epoch_s))
        return mapping.start_reply(message, source, external_of, self.pcp_least_s, data, epoch_s)
