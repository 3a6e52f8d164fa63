"""Requests to the gateway and its replies, the same for every protocol.

A codec makes a ``ChangeRequest``, and ``Gateway.handle`` answers it with a ``Reply``. Reads do not pass the gate:
they go through ``View``, which shows each control point what it may see.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """The sender of a request, from the socket, not from the message."""

    address: IPAddress
    """The source address of the packet or connection; link-local IPv6 without its zone."""
    interface: str
    """The LAN interface that the request arrived on; empty for the operator."""


class PortChoice(StrEnum):
    """EXACT: this external port or a conflict (AddPortMapping). SUGGESTED: the gateway may choose another."""

    EXACT = "exact"
    SUGGESTED = "suggested"


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Opens a port or renews a lease: AddPortMapping, AddAnyPortMapping, AddPinhole, NAT-PMP, PCP MAP."""

    via: Via
    source: Source
    transport: Transport
    internal: Endpoint
    external_port: int
    """1..65535; 0 with SUGGESTED: any."""
    choice: PortChoice
    lifetime_s: int | None
    """Requested seconds, > 0; None: as long as possible."""
    remote: IPNetwork | None = None
    external_address: IPAddress | None = None
    """One of several external addresses, None: the gateway's choice; the internal client's own for a pinhole."""
    enabled: bool = True
    description: str = ""
    nonce: bytes | None = None
    permanent: bool = False
    """Only for the operator: the gateway renews the mapping without end."""
    keep_description: bool = False
    """True: the request has no description, so a refresh keeps the old one."""
    clear_filters: bool = False
    """PCP: removes the existing filters before it adds ``filters``."""
    filters: tuple[RemotePeers, ...] = ()
    """PCP FILTERs to add."""
    remote_port: int = 0
    """AddPinhole: the source port of the remote host; 0: any."""
    standing_only: bool = False
    """UpdatePinhole: refuses the request if the pinhole does not exist."""
    suggested_address: IPAddress | None = None
    """PCP: the suggested external address, which the gateway above is told; None: any."""

    @property
    def pinhole(self) -> bool:
        """True where nothing is translated: IPv6, and IPv4 on a LAN without NAT (``without_nat``)."""
        client, external = self.internal.address, self.external_address
        # None first: ipaddress compares it by an exception, and each request asks this twenty times
        return client.version == 6 or (external is not None and external == client)

    @property
    def needs_nat(self) -> bool:
        """True for an exact external port that is not the internal one."""
        return self.choice is PortChoice.EXACT and self.external_port != self.internal.port

    def without_nat(self) -> "MapRequest":
        """The request for a host that has its own address outside. A suggested port becomes the internal one; an
        exact other one stays, and is refused (``Refusal.SAME_PORT``)."""
        exact = self.choice is PortChoice.EXACT
        port = self.external_port if exact else self.internal.port
        return replace(self, external_address=self.internal.address, external_port=port)


@dataclass(frozen=True, slots=True)
class UnmapRequest:
    """Deletes one mapping by its key (DeletePortMapping) or, for the operator, by its id."""

    via: Via
    source: Source
    key: MappingKey | None = None
    mapping_id: str | None = None


@dataclass(frozen=True, slots=True)
class UnmapPortRequest:
    """DeletePortMapping with an empty NewProtocol: deletes the requester's TCP and UDP mappings of one external
    port. nat-port-mapper (libp2p) deletes its mappings like this."""

    via: Via
    source: Source
    port: int
    """The external port, 1..65535."""
    remote: IPNetwork | None = None


@dataclass(frozen=True, slots=True)
class UnmapRangeRequest:
    """DeletePortMappingRange: deletes all mappings of one transport with start <= external port <= end,
    atomically."""

    via: Via
    source: Source
    transport: Transport
    start: int
    end: int
    everyone: bool = False
    """NewManage: includes mappings of other devices, where visibility is ``all``."""


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """NAT-PMP and PCP: ends the requester's lease on an internal endpoint. Succeeds too if there is none."""

    via: Via
    source: Source
    transport: Transport
    address: IPAddress
    """The internal client."""
    port: int
    """The internal port; 0: every port (NAT-PMP only)."""
    nonce: bytes | None = None


ChangeRequest = MapRequest | UnmapRequest | UnmapPortRequest | UnmapRangeRequest | ReleaseRequest


class Refusal(StrEnum):
    """The reason of a refusal. Each codec has a complete table from these to its own error codes."""

    NOT_AUTHORIZED = "not-authorized"
    """The gate denied it: floor, forbid, no grant, frozen device, ports per day."""
    ASK = "ask"
    """Refused for now: the operator is asked."""
    RATE = "rate"
    """Too many change requests from this device in the last minute."""
    QUOTA = "quota"
    """The device, or the device under this grant, is at its limit of mappings."""
    CONFLICT = "conflict"
    """The external port is mapped to another device, or flows of its last mapping are still being ended."""
    CONFLICT_OTHER = "conflict-other"
    """The gateway itself or a static rule uses the external port."""
    TABLE_FULL = "table-full"
    """The gateway is at its limit of mappings."""
    NO_PORT = "no-port"
    """No permitted external port is free."""
    SAME_PORT = "same-port-only"
    """Without NAT, the external port can only be the internal one."""
    NO_SUCH = "no-such-mapping"
    BAD_NONCE = "bad-nonce"
    """PCP: the mapping was made with another nonce."""
    TOO_MANY_FILTERS = "too-many-filters"
    """PCP: more FILTERs than ``MOST_FILTERS``."""
    NO_EXTERNAL_ADDRESS = "no-external-address"
    """The WAN has no address, or only a private one and the configuration refuses those."""
    UNSUPPORTED = "unsupported"
    """Valid, but not supported by this gateway."""
    ABSENT = "requester-absent"
    """No host answers at the requester's address now, or another device does. Nothing was decided."""
    GATEWAY_ABOVE = "gateway-above"
    """The gateway above does not answer, or its lease was lost."""
    BACKEND = "backend-failed"
    """The kernel or the disk failed. Nothing changed."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The mapping as it is now."""

    mapping: Mapping
    lifetime_s: int
    """Seconds until this client's hold ends, for the reply."""
    external_address: IPAddress | None
    """The address for remote hosts: that of the WAN, or of the pinhole; None: there is none."""
    refreshed: bool
    """True where the mapping existed before this request."""
    crosses: tuple[str, ...] = ()
    """Sentences about invariants of the policy that the operator's own mapping crosses."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The deleted mappings, oldest first."""

    mappings: tuple[Mapping, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """No mapping, or no change: the protocols turn it into their own error codes."""

    refusal: Refusal
    reason: str
    """A sentence that is safe to send to the control point: it has no text of clients or exceptions."""
    decision: DecisionId | None
    retry_s: int = 0
    """Seconds after which a new request may succeed (PCP error lifetime); 0: not known."""
    holder: Mapping | None = None
    """The mapping that uses the port; set only in replies to the operator."""


Reply = Granted | Removed | Refused


@dataclass(frozen=True, slots=True)
class WanStatus:
    """The WAN link as one control point sees it, for status actions and events."""

    interface: str
    up: bool
    """PhysicalLinkStatus: the link is up."""
    connected: bool
    """ConnectionStatus: the link is up, and with NAT has an IPv4 address."""
    uptime_s: int
    """Seconds since the link has an IPv4 address; 0: it has none."""
    external_address: IPAddress | None
    """The primary external IPv4 address, without NAT the control point's own; None: not known, shown as an empty
    string."""
    nat: bool = True
    """NATEnabled: the gateway translates the control point."""


@dataclass(frozen=True, slots=True)
class Ipv6Firewall:
    """The IPv6 firewall, for WANIPv6FirewallControl."""

    enabled: bool = True
    """FirewallEnabled: unsolicited packets from the internet are dropped."""
    pinholes: bool = True
    """InboundPinholeAllowed: pinholes let packets through."""


class View(Protocol):
    """The queries of a control point. Synchronous, from memory, O(1) or O(answer)."""

    def find(self, source: Source, key: MappingKey) -> Mapping | Refused | None:
        """The mapping with this key; Refused: it belongs to another device; None: there is none.

        An IGD key (``external_address`` None) also finds a mapping on the primary external address, and without NAT
        the control point's own pinhole, or the only one of its device (``ledger.igd_key``).
        """
        ...

    def at(self, source: Source, index: int) -> Mapping | None:
        """The mapping with this index (0..) among those that this control point may see, oldest first; None: past
        the end."""
        ...

    def count(self, source: Source) -> int:
        """The number of IPv4 mappings that this control point may see (PortMappingNumberOfEntries)."""
        ...

    def in_range(
        self, source: Source, transport: Transport, start: int, end: int, everyone: bool, limit: int
    ) -> Sequence[Mapping]:
        """The mappings with start <= external port <= end that this control point may see, by port; at most
        ``limit`` of them, 0: all."""
        ...

    def pinhole(self, source: Source, unique_id: int) -> Mapping | Refused | None:
        """The IPv6 pinhole with this UniqueID; Refused: it belongs to another device; None: there is none."""
        ...

    def packets(self, mapping: Mapping) -> int:
        """Packets from the internet through a pinhole, at the last reading of the counters."""
        ...

    def ipv6_firewall(self) -> Ipv6Firewall: ...

    def idle_timeout_s(self, transport: Transport) -> int:
        """Seconds after which an idle flow that a LAN host began is forgotten (GetOutboundPinholeTimeout)."""
        ...

    def left_s(self, mapping: Mapping, via: Via) -> int:
        """The remaining lease, seconds, >= 1; 0 only for a permanent mapping of the operator.

        IGD version 2 shows at most 604800, version 1 the real remaining time (docs/decisions/0003).
        """
        ...

    def lefts_s(self, mappings: Sequence[Mapping], via: Via) -> Sequence[int]:
        """``left_s`` of each of them, at one moment."""
        ...

    def system_update_id(self) -> int:
        """WANIPConnection:2 SystemUpdateID, ui4."""
        ...

    def wan(self, source: Source) -> WanStatus: ...

    def wan_counters(self) -> tuple[int, int, int, int]:
        """(bytes sent, bytes received, packets sent, packets received) of the WAN interface, not wrapped."""
        ...

    def wan_speed(self) -> int:
        """The bit rate of the WAN link, bit/s, at most 2**32 - 1; 100 Mbit/s where the driver has none."""
        ...
