"""The messages of PCP (RFC 6887) and the numbers in them. Values only; ``codec`` knows their bytes."""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_network

from upnp_gw.model.mapping import IPAddress, RemotePeers

VERSION = 2
ANY_IPV4, ANY_IPV6 = IPv4Address(0), IPv6Address(0)
"""A suggested external address that means any."""
NONCE_BYTES = 12
FOREVER_S = 0xFFFFFFFF
"""The lifetime of a mapping that the administrator made (section 15)."""
MAPPED_BITS = 96
"""Added to an IPv4 prefix length: PCP counts in 128-bit addresses."""


class Opcode(IntEnum):
    """The opcodes that the gateway serves. PEER is not supported (docs/spec/pcp.md, Q8)."""

    ANNOUNCE = 0
    MAP = 1


class ResultCode(IntEnum):
    """Section 7.4."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


LONG_S, SHORT_S = 1800, 30
"""Suggested error lifetimes, seconds (section 7.4)."""
SHORT = frozenset(
    {
        ResultCode.NETWORK_FAILURE,
        ResultCode.NO_RESOURCES,
        ResultCode.USER_EX_QUOTA,
        ResultCode.CANNOT_PROVIDE_EXTERNAL,
    }
)


def error_lifetime_s(result: ResultCode) -> int:
    """Seconds for which a client should expect the same error, where nothing better is known."""
    return SHORT_S if result in SHORT else LONG_S


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """The mapping is for this host, not for the sender (section 13.1)."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class PreferFailure:
    """The suggested port and address, or nothing (section 13.2)."""


@dataclass(frozen=True, slots=True)
class PcpFilter:
    """FILTER: remote hosts that may connect (section 13.3)."""

    prefix_length: int
    """Of 128-bit addresses, 0..128; 0 removes all filters so far."""
    port: int
    """The remote peer's port; 0: any."""
    address: IPAddress

    @property
    def clears(self) -> bool:
        """True for prefix length 0, which removes all earlier filters (erratum 3891)."""
        return self.prefix_length == 0

    @property
    def peers(self) -> RemotePeers:
        """The remote hosts that may connect, without host bits."""
        four = self.address.version == 4
        length = self.prefix_length - (MAPPED_BITS if four else 0)
        return RemotePeers(ip_network((self.address, length), strict=False), self.port)

    @classmethod
    def of(cls, peers: RemotePeers) -> "PcpFilter":
        """The option for these remote hosts."""
        net = peers.network
        return cls(net.prefixlen + (MAPPED_BITS if net.version == 4 else 0), peers.port, net.network_address)


@dataclass(frozen=True, slots=True)
class Description:
    """DESCRIPTION: the purpose of the mapping (RFC 7220), UTF-8."""

    text: str


@dataclass(frozen=True, slots=True)
class UnknownOption:
    """An option that the gateway does not know, or whose content it must ignore (RFC 7220)."""

    code: int
    data: bytes


Option = ThirdParty | PreferFailure | PcpFilter | Description | UnknownOption


@dataclass(frozen=True, slots=True)
class MapData:
    """The data of the MAP opcode, in a request and in a response (section 11.1)."""

    nonce: bytes
    """12 opaque bytes."""
    protocol: int
    """The IANA number; 0: all."""
    internal_port: int
    """0: all."""
    external_port: int
    """Suggested (0: any) or assigned."""
    external_address: IPAddress


@dataclass(frozen=True, slots=True)
class Request:
    """An ANNOUNCE (``map`` is None) or a MAP."""

    lifetime_s: int
    client: IPAddress
    """The client's address as the client sees it. The gateway uses the source address of the datagram."""
    map: MapData | None = None
    options: tuple[Option, ...] = ()

    @property
    def opcode(self) -> Opcode:
        """MAP if the request has MAP data, else ANNOUNCE."""
        return Opcode.ANNOUNCE if self.map is None else Opcode.MAP


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to an ANNOUNCE or a MAP; unsolicited, a restart announcement or a mapping update."""

    result: ResultCode
    lifetime_s: int
    """Of the mapping, or of the error."""
    epoch_s: int
    map: MapData | None = None
    options: tuple[Option, ...] = ()
    version: int = VERSION
    """Other than 2 only with UNSUPP_VERSION: the nearest version that the server supports."""

    @property
    def opcode(self) -> Opcode:
        """The opcode of the answered request."""
        return Opcode.ANNOUNCE if self.map is None else Opcode.MAP
