"""What is asked of the gateway and what it answers, in one set of words for every protocol.

Codecs build a ``ChangeRequest``, ``Gateway.handle`` answers it with a ``Reply``. Reads do not pass the gate;
they go through ``View``, which shows each control point what it may see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from upnp_gw.model.mapping import (
    DecisionId,
    Endpoint,
    IPAddress,
    IPNetwork,
    Mapping,
    MappingKey,
    RemotePeers,
    Transport,
    Via,
)


@dataclass(frozen=True, slots=True)
class Source:
    """Who sent a request, as the socket saw it, never as the message says."""

    address: IPAddress
    """The source address of the packet or connection; link-local IPv6 without its zone."""
    interface: str
    """The LAN interface it came in on; empty for the operator."""


class PortChoice(StrEnum):
    """EXACT: this external port or a conflict (AddPortMapping). SUGGESTED: the gateway may choose another."""

    EXACT = "exact"
    SUGGESTED = "suggested"


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Open a port, or renew what is open: AddPortMapping, AddAnyPortMapping, AddPinhole, NAT-PMP, PCP MAP."""

    via: Via
    source: Source
    transport: Transport
    internal: Endpoint
    external_port: int
    """1..65535; 0 with SUGGESTED: any."""
    choice: PortChoice
    lifetime_s: int | None
    """Seconds asked for, > 0; None: as long as possible."""
    remote: IPNetwork | None = None
    external_address: IPAddress | None = None
    """One of several external addresses, None: the gateway's choice."""
    enabled: bool = True
    description: str = ""
    nonce: bytes | None = None
    permanent: bool = False
    """Only the operator's: renewed by the gateway without end."""
    keep_description: bool = False
    """The protocol says nothing about the description: a refresh leaves it as it is."""
    clear_filters: bool = False
    """PCP: the filters that stand go before ``filters`` are added."""
    filters: tuple[RemotePeers, ...] = ()
    """PCP FILTERs, added to those that stand."""
    remote_port: int = 0
    """AddPinhole: the port that the remote host connects from; 0: any."""
    standing_only: bool = False
    """UpdatePinhole: what no longer stands is not made again."""


@dataclass(frozen=True, slots=True)
class UnmapRequest:
    """Close one mapping by its key (DeletePortMapping) or, for the operator, by its id."""

    via: Via
    source: Source
    key: MappingKey | None = None
    mapping_id: str | None = None


@dataclass(frozen=True, slots=True)
class UnmapPortRequest:
    """DeletePortMapping with an empty NewProtocol: what the requester itself holds on one external port, over TCP
    and over UDP. nat-port-mapper (libp2p) ends its mappings so."""

    via: Via
    source: Source
    port: int
    """The external port, 1..65535."""
    remote: IPNetwork | None = None


@dataclass(frozen=True, slots=True)
class UnmapRangeRequest:
    """DeletePortMappingRange: all of one transport with start <= external port <= end, atomically."""

    via: Via
    source: Source
    transport: Transport
    start: int
    end: int
    everyone: bool = False
    """NewManage: only with visibility ``all`` does it reach other devices' mappings."""


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """NAT-PMP and PCP: end the requester's lease on an internal endpoint; where there is none, as wished."""

    via: Via
    source: Source
    transport: Transport
    address: IPAddress
    """The internal client."""
    port: int
    """Its port; 0, over NAT-PMP alone: every port."""
    nonce: bytes | None = None


ChangeRequest = MapRequest | UnmapRequest | UnmapPortRequest | UnmapRangeRequest | ReleaseRequest


class Refusal(StrEnum):
    """Why not. Each codec has one table from these to its own error codes; a missing row is a defect."""

    NOT_AUTHORIZED = "not-authorized"
    """The gate said no: floor, forbid, no grant, frozen device, quota of a grant."""
    ASK = "ask"
    """Refused for now: a question waits for the operator."""
    RATE = "rate"
    """Too many changes from this device in the last minute."""
    QUOTA = "quota"
    """This device, or its grant, holds as many mappings as it may."""
    CONFLICT = "conflict"
    """The external port is another device's mapping, or still being cut."""
    CONFLICT_OTHER = "conflict-other"
    """The external port is the gateway's own, or a static rule's."""
    TABLE_FULL = "table-full"
    """The whole gateway holds as many mappings as it may."""
    NO_PORT = "no-port"
    """No permitted external port is free."""
    NO_SUCH = "no-such-mapping"
    BAD_NONCE = "bad-nonce"
    """PCP: the mapping was made with another nonce."""
    TOO_MANY_FILTERS = "too-many-filters"
    """PCP: more FILTERs than the kernel is given for one mapping."""
    NO_EXTERNAL_ADDRESS = "no-external-address"
    """The WAN has no address, or none that may be used (a private one, with the switch to refuse it)."""
    UNSUPPORTED = "unsupported"
    """Well understood, but not offered here."""
    ABSENT = "requester-absent"
    """Nobody answers for the requester's address now, or another device does: nothing was decided."""
    BACKEND = "backend-failed"
    """The kernel or the disk did not take it; nothing changed."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The mapping as it now is."""

    mapping: Mapping
    lifetime_s: int
    """What this protocol's client is told: seconds until its hold ends."""
    external_address: IPAddress | None
    """Where the internet finds it: the WAN address, or the pinhole's own; None where there is none."""
    refreshed: bool
    """True where it stood before this request."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a delete took away, oldest first."""

    mappings: tuple[Mapping, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    refusal: Refusal
    reason: str
    """One plain sentence, safe to show to the control point: no text of a client, no exception."""
    decision: DecisionId | None
    retry_s: int = 0
    """When asking again makes sense, seconds; 0: nothing is known. (PCP error lifetimes.)"""
    holder: Mapping | None = None
    """The mapping that is in the way; set in answers to the operator alone."""


Reply = Granted | Removed | Refused


@dataclass(frozen=True, slots=True)
class WanStatus:
    """The WAN link as the status actions and events show it."""

    interface: str
    up: bool
    """The link is up (PhysicalLinkStatus)."""
    connected: bool
    """It has an IPv4 address (ConnectionStatus)."""
    uptime_s: int
    """Seconds since it became connected, 0 when it is not."""
    external_address: IPAddress | None
    """The primary external IPv4 address; None: unknown, shown as an empty string."""


@dataclass(frozen=True, slots=True)
class Ipv6Firewall:
    """What stands between the internet and the LAN's IPv6 addresses (WANIPv6FirewallControl)."""

    enabled: bool = True
    """Unsolicited packets from the internet are dropped."""
    pinholes: bool = True
    """A pinhole lets them through all the same."""


class View(Protocol):
    """What a control point may read. Synchronous, in memory, O(1) or O(answer)."""

    def find(self, source: Source, key: MappingKey) -> Mapping | Refused | None:
        """The mapping of this exact key; Refused where it is another device's; None where there is none.

        An IGD key (external_address None) also finds a mapping on the primary external address.
        """
        ...

    def at(self, source: Source, index: int) -> Mapping | None:
        """The index-th mapping (0..) visible to this control point, oldest first; None past the end."""
        ...

    def count(self, source: Source) -> int:
        """How many IPv4 port mappings this control point may see (PortMappingNumberOfEntries)."""
        ...

    def in_range(
        self, source: Source, transport: Transport, start: int, end: int, everyone: bool, limit: int
    ) -> Sequence[Mapping]:
        """The visible mappings with start <= external port <= end, by port; at most ``limit``, 0: all."""
        ...

    def pinhole(self, source: Source, unique_id: int) -> Mapping | Refused | None:
        """The pinhole of this UniqueID; Refused where it is another device's; None where there is none."""
        ...

    def packets(self, mapping: Mapping) -> int:
        """Packets from the internet that went through a pinhole, as far as they were read."""
        ...

    def ipv6_firewall(self) -> Ipv6Firewall: ...

    def idle_timeout_s(self, transport: Transport) -> int:
        """After how many silent seconds the gateway forgets what a LAN host opened by sending."""
        ...

    def left_s(self, mapping: Mapping, via: Via) -> int:
        """The remaining lease as this face shows it, seconds, >= 1; 0 only for an operator's permanent one.

        Version 2 shows min(remaining, 604800), version 1 the real remaining time (design section 8).
        """
        ...

    def system_update_id(self) -> int:
        """WANIPConnection:2 SystemUpdateID, ui4."""
        ...

    def wan(self) -> WanStatus: ...

    def wan_counters(self) -> tuple[int, int, int, int]:
        """Bytes sent, bytes received, packets sent, packets received of the WAN interface, not wrapped."""
        ...

    def wan_speed(self) -> int:
        """The WAN link's bit rate, bit/s, at most 2**32 - 1; 100 Mbit/s where the driver tells none."""
        ...
