"""The contract between the gateway and the packet filter.

A feature is a field of ``Forward`` or a new ``Change``, never a fifth method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from upnp_gw.model.address_ranges import AddressRanges
from upnp_gw.model.mapping import (
    MOST_FILTERS,
    NO_SCREEN,
    DecisionId,
    Endpoint,
    IPAddress,
    IPNetwork,
    MappingKind,
    Screen,
    Transport,
    kind_of,
)
from upnp_gw.model.network import Network

TABLE = "inet upnp_gw"
"""Our table. Nothing else in the kernel's nftables is ours."""
FAMILY, NAME = TABLE.split()
MOST_FOR_REMOTES = 32768
"""The most forwards for single remote hosts and prefixes. The kernel allocates the buckets of its maps for all of
them at once."""


def most_for_remotes(size: int) -> int:
    """The most forwards for remote hosts and prefixes with ``size`` mappings. They are counted apart from the other
    forwards, so FILTERs cannot use up the room of mappings without a remote host."""
    return max(size, min(MOST_FILTERS * size, MOST_FOR_REMOTES))


HostLists = Mapping[str, AddressRanges]
"""Lists of remote hosts by their id (``gate.remote.Hosts``)."""


class FirewallMode(StrEnum):
    """ALONGSIDE: only our table. ROUTER: also masquerade, a stateful forward and input chain, forwarding."""

    ALONGSIDE = "alongside"
    ROUTER = "router"


@dataclass(frozen=True, slots=True)
class FirewallSettings:
    """The settings of the table. After a change, call ``open`` again."""

    mode: FirewallMode
    network: Network
    size: int = 1024
    """The most mappings in the table; the next one is refused (SR-5). FILTERs have room of their own."""
    hairpin: str = "all"
    """``all``: a mapped port is reachable from every LAN; ``same``: only from the client's own LAN."""
    allow_other_forward: bool = False
    """ROUTER: start even if another table filters on the forward hook."""
    http_port: int = 0
    """TCP port of our HTTP server, where new connections of each LAN host are limited; 0: no limit."""
    anycast: bool = False
    """Requests from the LAN to the anycast addresses of PCP come to us (RFC 7723)."""
    announcements: bool = False
    """ROUTER: announcements of a gateway above, which it sends to multicast groups, come in from the WAN."""
    hosts: HostLists = field(default_factory=dict)
    """The remote hosts that screens may name. ``open`` forgets those of before; ``UpdateHosts`` brings these."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The kernel's form of one active mapping. Only a decision of the gate makes one."""

    id: str
    """The mapping's id: the element's comment, ``[a-z0-9-]{1,32}``."""
    decision: DecisionId
    transport: Transport
    external_address: IPAddress | None
    """None: every external address; for a pinhole it equals ``internal.address``."""
    external_port: int
    remote: IPNetwork | None
    internal: Endpoint
    timeout_s: float
    """Seconds until the kernel removes it by itself, > 0 (rounded up, at least 1 s)."""
    keep_source_port: bool = True
    """Packets from the internal endpoint leave with this external port. False for a second mapping to it."""
    remote_port: int = 0
    """The port that the remote host must connect from (a PCP FILTER's); 0: any."""
    screen: Screen = NO_SCREEN
    """The remote hosts that may connect, by lists. Only without a remote host."""

    @property
    def kind(self) -> MappingKind:
        return kind_of(self.external_address, self.external_port, self.internal)


@dataclass(frozen=True, slots=True)
class Open:
    """Put a forward into the maps, or renew its timeout; idempotent.

    A forward with the same id that differs in more than decision and timeout is closed in the same transaction; if
    it led to another internal endpoint, its flows are cut afterwards. Flows from before the external port was
    translated are cut too.
    """

    forward: Forward


@dataclass(frozen=True, slots=True)
class Close:
    """Take a forward out of the maps, if the kernel has not removed it already. Its flows go on until Cut."""

    forward: Forward


@dataclass(frozen=True, slots=True)
class Cut:
    """End the flows of a closed forward: its endpoint enters ``cut`` for 120 s, its conntrack entries are deleted.

    Flows that another open forward lets in, or this one in its present form, go on.
    """

    forward: Forward


@dataclass(frozen=True, slots=True)
class Refill:
    """Empty every map and fill it with exactly these, in one transaction (restart, repair)."""

    forwards: tuple[Forward, ...]


@dataclass(frozen=True, slots=True)
class UpdateNetwork:
    """The links or addresses changed: renew the sets of our own interfaces and addresses, keep the mappings."""

    network: Network


@dataclass(frozen=True, slots=True)
class UpdateHosts:
    """The remote hosts that screens may name are these from now on. It comes before the forwards that name them."""

    hosts: HostLists


Change = Open | Close | Cut | Refill | UpdateNetwork | UpdateHosts


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since the forward was opened; a refresh does not reset them."""

    connections: int = 0
    bytes: int = 0
    packets: int = 0

    def plus(self, increase: "Counters") -> "Counters":
        return Counters(
            self.connections + increase.connections, self.bytes + increase.bytes, self.packets + increase.packets
        )

    def minus(self, before: "Counters") -> "Counters":
        """The increase since ``before``."""
        return Counters(
            self.connections - before.connections, self.bytes - before.bytes, self.packets - before.packets
        )


class Exchange(NamedTuple):
    """Evidence that an internal endpoint answered a remote host."""

    ago_s: float
    """Seconds since the first answer of its latest flow."""
    remotes: frozenset[IPAddress]
    """The remote hosts that it answered recently, as far as they are known."""


Exchanges = Mapping[tuple[Transport, Endpoint], Exchange]


@dataclass(frozen=True, slots=True)
class OverShare:
    """A LAN host that sent more than its share to one of our own ports. Equality ignores the count."""

    interface: str
    mac: str
    """Lower case, separated by colons."""
    port: int
    """One of our ports: UDP 5351 or 1900, or the HTTP port (new TCP connections)."""
    packets: int = field(compare=False)
    """Packets dropped; the count restarts after a minute without drops."""

    @property
    def target(self) -> str:
        return f"UDP port {self.port}" if self.port in (5351, 1900) else f"TCP port {self.port}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The contents of the maps at one moment: forward id -> seconds left, and its counters."""

    left_s: Mapping[str, float]
    counters: Mapping[str, Counters]
    remotes: Mapping[str, frozenset[IPAddress]] | None = None
    """The remote hosts with answered flows through each forward now; None: not read, or not readable."""
    over_share: tuple[OverShare, ...] = ()
    """The LAN hosts whose packets to our own ports were dropped in the last minute."""
    exchanges: Exchanges = field(default_factory=dict)
    """Only read with ``remotes``: the internal endpoints that answered through a forward in the last two minutes.
    Includes short exchanges and forwards that have been closed since."""


@dataclass(frozen=True, slots=True)
class Growth:
    """The increase of the counters since the last call of ``read_growth``. Idle forwards are not in it."""

    counters: Mapping[str, Counters]
    """Forward id -> the increase of its counters, also through elements that a refresh has replaced meanwhile."""
    remotes: Mapping[str, frozenset[IPAddress]] | None = None
    """As in ``Reading``, only for forwards with an increase since the last call with ``remotes``."""
    over_share: tuple[OverShare, ...] = ()
    exchanges: Exchanges = field(default_factory=dict)


class Firewall(Protocol):
    """Five methods. Only the writer calls ``open``, ``apply`` and ``close``, one after the other."""

    async def open(self, settings: FirewallSettings, on_foreign_change: Callable[[str], None]) -> None:
        """Install the whole table. Mappings that a previous run left in the maps stay, so that leases survive a
        restart. May be called again with other settings.

        ``on_foreign_change(what)`` is called on the event loop when another program removes or changes our table.
        Raises FirewallError with a sentence for the operator.
        """
        ...

    async def apply(self, changes: Sequence[Change], then: Callable[[], None] | None = None) -> None:
        """Make all changes in one transaction, or none and raise FirewallError.

        ``then`` is more work for the thread that made the transaction, right after it. An implementation without a
        thread leaves it to the caller. It must not raise.
        """
        ...

    async def read(self, remotes: bool = False) -> Reading:
        """Read the maps. Costs O(mappings), and nothing opens meanwhile: for tests.

        ``remotes``: also read the remote hosts of each forward. That walks over every flow of the gateway.
        """
        ...

    async def read_growth(self, remotes: bool = False, at_stop: bool = False) -> Growth:
        """Read the increase of the counters. ``apply`` may be called meanwhile. The event loop stays free, but
        the kernel walks over every mapping: for timers.

        Every increase is in one answer, never in two. An element that a change moves during the walk may be in the
        next answer. ``remotes``: as for ``read``. ``at_stop``: no request waits any more, so the reading makes no
        pauses for one.
        """
        ...

    async def close(self, flush: bool = False) -> None:
        """Stop. Leases go on in the kernel. ``flush``: remove every mapping and its flows (SR-3), but not the
        table, masquerade and drops."""
        ...


__all__ = [
    "Change",
    "Close",
    "Counters",
    "Cut",
    "Exchange",
    "Exchanges",
    "Firewall",
    "FirewallMode",
    "FirewallSettings",
    "Forward",
    "Growth",
    "HostLists",
    "Open",
    "OverShare",
    "Reading",
    "Refill",
    "UpdateHosts",
    "UpdateNetwork",
]
