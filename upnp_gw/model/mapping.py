"""Transports, endpoints, port mappings, pinholes, leases.

An ``Instant`` has the time of two clocks: ``boot`` is seconds of CLOCK_BOOTTIME, which does not jump (leases,
deadlines), ``wall`` is seconds since the epoch (shown to people). Nothing here reads a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, NewType

from upnp_gw.model.prefixes import inside

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

DAY_S = 86_400

MOST_FILTERS = 16
"""Most elements of the kernel's tables for the filters of one mapping; more are EXCESSIVE_REMOTE_PEERS."""
UNIQUE_IDS = 65536
"""Number of UniqueIDs of pinholes; 0 is never used."""

DecisionId = NewType("DecisionId", str)
"""The id of one decision of the gate: ``d`` and a number."""


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
    """A port mapping is translated (IPv4). The external address and port of a pinhole are the internal ones (IPv6,
    and IPv4 on a LAN without NAT)."""

    PORT_MAPPING = "port-mapping"
    PINHOLE = "pinhole"


class Via(StrEnum):
    """The protocol, with its version, of a request."""

    protocol: str
    """The protocol of the lease: both versions of IGD are ``igd``."""
    datagram: bool
    """True where nothing proves the source address: any host of the LAN may have sent the request (SR-26)."""

    IGD1 = "igd1"
    IGD2 = "igd2"
    NATPMP = "natpmp"
    PCP = "pcp"
    OPERATOR = "operator"

    def __init__(self, word: str) -> None:
        self.protocol = word.rstrip("12")
        self.datagram = word in ("natpmp", "pcp")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port, 1..65535."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@lru_cache(maxsize=1024)
def shared_address(address: IPAddress) -> IPAddress:
    """One object for equal addresses, so that a thousand mappings of a host hold its address once."""
    return address


@lru_cache(maxsize=1024)
def shared_text(text: str) -> str:
    """One object for equal texts. ``sys.intern`` would keep a table of a megabyte for texts that come and go."""
    return text


def compact_endpoint(internal: Endpoint, external_port: int) -> Endpoint:
    """The internal endpoint of a mapping, made of objects that are there anyway."""
    port = external_port if internal.port == external_port else internal.port
    return Endpoint(shared_address(internal.address), port)


def kind_of(external_address: IPAddress | None, external_port: int, internal: Endpoint) -> MappingKind:
    """PINHOLE for an IPv6 internal client, and where external address and port are the internal ones."""
    if internal.address.version == 6:
        return MappingKind.PINHOLE
    # None first: ipaddress compares it by an exception
    if external_address is not None and (external_address, external_port) == (internal.address, internal.port):
        return MappingKind.PINHOLE
    return MappingKind.PORT_MAPPING


class MappingKey(NamedTuple):
    """The unique key of a mapping in the ledger (IGD section 6.2).

    ``external_address`` of a port mapping is None (every external address) or one of several. For a pinhole it is
    the address of the internal client, and ``external_port`` is the internal port.
    """

    transport: Transport
    external_address: IPAddress | None
    external_port: int
    remote: IPNetwork | None
    """The remote hosts that may connect: one host or a prefix; None: any."""
    remote_port: int = 0
    """The source port of the remote hosts; 0: any. Only pinholes have one."""


class Screen(NamedTuple):
    """Hosts of the policy that may and may not connect, each by its id (``gate.remote.Hosts``)."""

    only: tuple[str, ...] = ()
    """A remote host has to be one of each of these."""
    never: tuple[str, ...] = ()
    """It may be one of none of these."""

    @property
    def name(self) -> str:
        """Its name for the kernel; empty: everybody may connect."""
        return _screen_name(self) if self.only or self.never else ""


@lru_cache(maxsize=1024)
def _screen_name(screen: Screen) -> str:
    import hashlib  # not before the daemon has left out OpenSSL, which it would load: 6 MiB

    text = f"{' '.join(screen.only)} not {' '.join(screen.never)}"
    return f"s{hashlib.sha256(text.encode()).hexdigest()[:11]}"


NO_SCREEN = Screen()


class RemotePeers(NamedTuple):
    """Remote hosts that may connect: the hosts of a prefix, from one source port (0: any). A PCP FILTER."""

    network: IPNetwork
    port: int = 0

    def within(self, granted: Sequence[IPNetwork]) -> tuple["RemotePeers", ...]:
        """The part of these remote hosts inside the prefixes; all of them if there are no prefixes."""
        if not granted or any(inside(self.network, net) for net in granted):
            return (self,)
        return tuple(RemotePeers(net, self.port) for net in granted if inside(net, self.network))


@dataclass(frozen=True, slots=True)
class Hold:
    """One protocol's lease on a mapping. The mapping lives until the last of its holds ends."""

    via: Via
    until: float
    """BOOTTIME seconds at which this hold ends. Every hold ends."""
    requested_s: int | None
    """The requested lifetime, seconds; None: as long as possible (IGD lease 0)."""
    nonce: bytes | None = None
    """The PCP mapping nonce, 12 bytes (RFC 6887 section 11.1)."""
    epoch: int = 0
    """The epoch in which the nonce was last seen: in a new epoch it may change once."""
    filters: tuple[RemotePeers, ...] = ()
    """The PCP FILTERs of this lease as requested (RFC 6887 section 13.3); empty: anyone."""


@dataclass(frozen=True, slots=True)
class Above:
    """A mapping's lease at the gateway above. Until it answers for the first time, the mapping waits for it."""

    nonce: bytes
    """12 bytes: that of the PCP client, else random. It stays the same over renewals and restarts (CAS-006)."""
    until: float
    """BOOTTIME seconds at which the lease above ends, at the latest; of one that waits: the end of the wait."""
    via: Via | None = None
    """The protocol that granted it."""
    gateway: IPAddress | None = None
    external: Endpoint | None = None
    """The outermost endpoint, also of a lease that was lost; None: there was none yet."""
    problem: str = ""
    """Our sentence, why the lease is lost and the mapping not in the kernel; empty: it is not."""

    @property
    def granted(self) -> bool:
        """True while the gateway above lets traffic of this mapping through."""
        return self.external is not None and not self.problem

    @property
    def waits(self) -> bool:
        """True until the gateway above has answered for the first time."""
        return self.external is None and not self.problem


def last_end(holds: Sequence[Hold]) -> float:
    """BOOTTIME seconds at which the last of these holds ends."""
    return holds[0].until if len(holds) == 1 else max(hold.until for hold in holds)


@dataclass(frozen=True, slots=True)
class Mapping:
    """One row of the ledger: a port mapping or a pinhole, and the decision that allowed it."""

    id: str
    """``m`` and digits. The comment of its element in the kernel."""
    key: MappingKey
    internal: Endpoint
    device: str
    """The device that holds it (``upnp_gw.model.device``)."""
    description: str
    """As the control point sent it, up to 256 characters, unescaped. Always shown through ``text.escape.shown``."""
    enabled: bool
    """False: NewEnabled was 0; the mapping is listed, but not in the kernel."""
    parked: bool
    """True: its device does not answer; the mapping is not in the kernel, and its external port stays reserved."""
    holds: tuple[Hold, ...]
    """At most one for each protocol."""
    granted_at: float
    """Wall-clock seconds of the first grant."""
    decision: DecisionId
    """The latest decision that allowed it."""
    rule: str
    """The grant that allows it, or one of the rules of the gateway itself (``gate.schema.RESERVED_RULES``)."""
    recheck_at: float
    """BOOTTIME seconds at which the gateway decides again; the kernel's timeout ends a little later."""
    filters: tuple[IPNetwork, ...] = ()
    """The grant's ``remote`` where the key names no remote host; empty: anyone may connect."""
    screen: Screen = NO_SCREEN
    """Lists of the policy of which a remote host must, or must not, be one. With it there are no ``filters``."""
    delegated: bool = False
    """Requested by one device for the address of another, under a grant with ``for``."""
    permanent: bool = False
    """Made by the operator with ``--permanent``: the gateway renews it without end."""
    grant_ends_at: float | None = None
    """BOOTTIME seconds at which the grant or its hours end and the gateway decides again; None: never."""
    above: Above | None = None
    """The lease at the gateway above; None: none is needed."""

    @property
    def kind(self) -> MappingKind:
        """PINHOLE where the internal endpoint is the external one too, else PORT_MAPPING."""
        return kind_of(self.key.external_address, self.key.external_port, self.internal)

    @property
    def unique_id(self) -> int:
        """The UniqueID of an IPv6 pinhole (WANIPv6FirewallControl), 1..65535: made of the id, so it survives a
        restart. The ledger never has two IPv6 pinholes with the same one."""
        return int(self.id[1:]) % UNIQUE_IDS

    @property
    def remotes(self) -> tuple[IPNetwork | None, ...]:
        """The remote hosts that may connect: the key's, else the PCP FILTERs, else the grant's, else any (None)."""
        if self.key.remote is not None:
            return (self.key.remote,)
        filtered = dict.fromkeys(peers.network for peers in self.filters_in_force)
        return tuple(filtered) or self.filters or (None,)

    @property
    def filters_in_force(self) -> tuple[RemotePeers, ...]:
        """The part of the PCP FILTERs that the grant allows; empty: no FILTER was requested."""
        parts = (peers.within(self.filters) for peers in self.requested_filters)
        return tuple(dict.fromkeys(peers for part in parts for peers in part))

    @property
    def requested_filters(self) -> tuple[RemotePeers, ...]:
        """The PCP FILTERs as requested. Empty if a lease came over TCP or from the operator: any host of the LAN
        can forge a FILTER, which must not narrow such a lease (SR-26)."""
        if not all(hold.via.datagram for hold in self.holds):
            return ()
        return tuple(peers for hold in self.holds for peers in hold.filters)

    @property
    def until(self) -> float:
        """BOOTTIME seconds at which the last hold ends."""
        return last_end(self.holds)

    @property
    def active(self) -> bool:
        """True where the mapping is in the kernel."""
        return self.enabled and not self.parked and (self.above is None or self.above.granted)

    @property
    def serves(self) -> bool:
        """True where this gateway would let traffic through: enabled, and its device answers."""
        return self.enabled and not self.parked

    @property
    def waits(self) -> bool:
        """True where it waits for the first answer of the gateway above: no control point sees it yet."""
        return self.above is not None and self.above.waits

    @property
    def outside_port(self) -> int:
        """The external port that clients know: that of the gateway above, else the key's."""
        above = self.above
        return self.key.external_port if above is None or above.external is None else above.external.port

    def hold_of(self, protocol: str) -> Hold | None:
        """The hold of this protocol (``Via.protocol``); None: there is none."""
        for hold in self.holds:
            if hold.via.protocol == protocol:
                return hold
        return None

    def holds_with(self, hold: Hold) -> tuple[Hold, ...]:
        """Its holds with ``hold`` in place of the one of the same protocol."""
        return (*[h for h in self.holds if h.via.protocol != hold.via.protocol], hold)

    def with_hold(self, hold: Hold) -> "Mapping":
        """This mapping with ``hold`` in place of the hold of the same protocol."""
        return replace(self, holds=self.holds_with(hold))


@dataclass(frozen=True, slots=True)
class Usage:
    """The kernel's counters of one mapping since it was granted."""

    connections: int = 0
    bytes: int = 0
    packets: int = 0
    last_used: float | None = None
    """Wall-clock seconds of the last poll that saw a change."""
