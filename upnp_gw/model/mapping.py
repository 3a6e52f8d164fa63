"""The nouns of the gateway: transports, endpoints, port mappings, pinholes, leases.

Pure values. Times are on two clocks that always travel together as an ``Instant``: ``boot`` is
CLOCK_BOOTTIME seconds (leases, deadlines; it does not jump), ``wall`` is seconds since the epoch (what
people read). Nothing here reads a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, NewType

from upnp_gw.model.prefixes import inside

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

DAY_S = 86_400

MOST_FILTERS = 16
"""Elements of the kernel for one mapping's filters; more are too many (EXCESSIVE_REMOTE_PEERS)."""
UNIQUE_IDS = 65536
"""UniqueIDs of pinholes there can be; 0 is never given."""

DecisionId = NewType("DecisionId", str)
"""Names one answer of the gate, ``d`` and a number. Only the gateway makes one, from a decision."""


class Instant(NamedTuple):
    """One moment on both clocks, in seconds."""

    boot: float
    wall: float


class Transport(StrEnum):
    """The transports that can be mapped. ``str()`` is the lower-case name."""

    TCP = "tcp"
    UDP = "udp"

    @property
    def number(self) -> int:
        """The IANA protocol number: 6 or 17."""
        return 6 if self is Transport.TCP else 17

    @classmethod
    def of_number(cls, number: int) -> "Transport | None":
        """The transport of an IANA protocol number, None for any other protocol."""
        return {6: cls.TCP, 17: cls.UDP}.get(number)


class MappingKind(StrEnum):
    """An IPv4 port mapping (translated) or an IPv6 pinhole (external = internal)."""

    PORT_MAPPING = "port-mapping"
    PINHOLE = "pinhole"


class Via(StrEnum):
    """The way by which a request came."""

    IGD1 = "igd1"
    IGD2 = "igd2"
    NATPMP = "natpmp"
    PCP = "pcp"
    OPERATOR = "operator"

    @property
    def protocol(self) -> str:
        """The lease holder's protocol: the two faces of IGD are one (``igd``)."""
        return "igd" if self in (Via.IGD1, Via.IGD2) else self.value

    @property
    def datagram(self) -> bool:
        """True where nothing proves the source address: anybody on the LAN may have sent it (SR-26)."""
        return self in (Via.NATPMP, Via.PCP)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port, 1..65535."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


class MappingKey(NamedTuple):
    """What makes a mapping unique: no two rows of the ledger share one (IGD section 6.2).

    For a port mapping ``external_address`` is None (every external address) or one of several; for a
    pinhole it is the internal client's own IPv6 address, and ``external_port`` the internal port.
    """

    transport: Transport
    external_address: IPAddress | None
    external_port: int
    remote: IPNetwork | None
    """Who may connect: a host or a prefix; None: anyone."""
    remote_port: int = 0
    """From which of their ports; 0: any. Pinholes alone have one."""


class RemotePeers(NamedTuple):
    """Who may connect: the hosts of a prefix, from one of their ports (0: any). A PCP FILTER."""

    network: IPNetwork
    port: int = 0

    def within(self, granted: Sequence[IPNetwork]) -> tuple["RemotePeers", ...]:
        """The part of these remote hosts that is in one of these prefixes; all where there are no prefixes."""
        if not granted or any(inside(self.network, net) for net in granted):
            return (self,)
        return tuple(RemotePeers(net, self.port) for net in granted if inside(net, self.network))


@dataclass(frozen=True, slots=True)
class Hold:
    """One protocol's lease on a mapping. The mapping lives until the last of its holds ends."""

    via: Via
    until: float
    """BOOTTIME seconds at which this hold ends. Every hold ends."""
    asked_s: int | None
    """The lifetime that was asked for, seconds; None: as long as possible (IGD lease 0)."""
    nonce: bytes | None = None
    """The PCP mapping nonce, 12 bytes (RFC 6887 section 11.1)."""
    epoch: int = 0
    """The number of the epoch in which the nonce was last seen: after a new epoch it may change once."""
    filters: tuple[RemotePeers, ...] = ()
    """The PCP FILTERs in force, as they were asked for (RFC 6887 section 13.3); empty: anyone."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """One row of the ledger: a port mapping or a pinhole, and the decision that allowed it."""

    id: str
    """``m`` and digits: the only text of ours that reaches the kernel, as the element's comment."""
    key: MappingKey
    internal: Endpoint
    device: str
    """Who holds it: the MAC address of the internal client, or its address where no MAC is known."""
    description: str
    """As the control point sent it, up to 256 characters, unescaped. Never shown as it is."""
    enabled: bool
    """False: IGD NewEnabled 0, listed but in no kernel map."""
    parked: bool
    """True: its device is absent; in no kernel map, the external port stays reserved."""
    holds: tuple[Hold, ...]
    """At most one for each protocol."""
    granted_at: float
    """Wall-clock seconds of the first grant."""
    decision: DecisionId
    """The decision in force: a renewal or a new check replaces it."""
    rule: str
    """The grant that was charged, or ``operator``."""
    recheck_at: float
    """BOOTTIME seconds at which the gateway decides again; the kernel's timeout follows it (design section 8)."""
    filters: tuple[IPNetwork, ...] = ()
    """Who may connect by the grant's ``remote``, where the key names no remote host; empty: anyone."""
    delegated: bool = False
    """Asked for by one device for another one's address, by a grant with ``for``."""
    permanent: bool = False
    """Made by the operator with --permanent: the gateway renews its hold for ever."""
    grant_ends_at: float | None = None
    """BOOTTIME seconds at which the grant or its hours end, and the gateway decides at once; None: they do not."""

    @property
    def kind(self) -> MappingKind:
        return MappingKind.PINHOLE if self.internal.address.version == 6 else MappingKind.PORT_MAPPING

    @property
    def unique_id(self) -> int:
        """What WANIPv6FirewallControl calls a pinhole, 1..65535: the end of the id's number, so it outlives a
        restart. The ledger gives no two pinholes at a time the same one."""
        return int(self.id[1:]) % UNIQUE_IDS

    @property
    def remotes(self) -> tuple[IPNetwork | None, ...]:
        """Who may connect: the key's remote host, else the PCP FILTERs, else the grant's, else anyone (None)."""
        if self.key.remote is not None:
            return (self.key.remote,)
        filtered = dict.fromkeys(peers.network for peers in self.filters_in_force)
        return tuple(filtered) or self.filters or (None,)

    @property
    def filters_in_force(self) -> tuple[RemotePeers, ...]:
        """The part of the PCP FILTERs that the grant allows; empty: no FILTER was asked for."""
        return tuple(dict.fromkeys(peers for one in self.asked_filters for peers in one.within(self.filters)))

    @property
    def asked_filters(self) -> tuple[RemotePeers, ...]:
        """The PCP FILTERs that count, as they were asked for. A lease that was asked for over TCP, or by the
        operator, lets anyone connect: anybody on the LAN can send a FILTER in a device's name (SR-26)."""
        if not all(hold.via.datagram for hold in self.holds):
            return ()
        return tuple(peers for hold in self.holds for peers in hold.filters)

    @property
    def until(self) -> float:
        """BOOTTIME seconds at which the last hold ends."""
        return max(hold.until for hold in self.holds)

    @property
    def active(self) -> bool:
        """True where the mapping is in the kernel."""
        return self.enabled and not self.parked

    def hold_of(self, protocol: str) -> Hold | None:
        """The hold of this protocol (``Via.protocol``), if it has one."""
        return next((hold for hold in self.holds if hold.via.protocol == protocol), None)

    def with_hold(self, hold: Hold) -> "Mapping":
        """This mapping with the hold put in the place of the same protocol's."""
        others = tuple(h for h in self.holds if h.via.protocol != hold.via.protocol)
        return replace(self, holds=(*others, hold))


@dataclass(frozen=True, slots=True)
class Usage:
    """What the kernel's counters say of one mapping since it was granted."""

    connections: int = 0
    bytes: int = 0
    packets: int = 0
    last_used: float | None = None
    """Wall-clock seconds of the poll that last saw a change."""
