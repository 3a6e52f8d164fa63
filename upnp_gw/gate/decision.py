"""What the gate is told (``Facts``) and what it answers (``Verdict``). Values that are stored and explained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from upnp_gw.model.mapping import DecisionId, IPAddress, IPNetwork
from upnp_gw.model.network import GatewayPorts, Network
from upnp_gw.model.request import Refusal


@dataclass(frozen=True, slots=True)
class HeldMappings:
    """What is held before this request, reservations of the same batch among it; the request's own mapping
    (a refresh) is not counted."""

    total: int = 0
    """Mappings of all devices, each address of a device by itself."""
    by_device: int = 0
    """Mappings of this device: an external port to an internal port counts once, over all its addresses."""
    by_grant: Mapping[str, int] = field(default_factory=dict)
    """Grant name -> mappings of this device charged to it, counted in the same way."""
    elements: int = 0
    """Elements of the kernel that this device's mappings take."""
    on_port: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """The external ports over which this device has the request's internal port on another address -> the grants
    that each is charged to. On one of them the request counts no more than what is counted already."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that ``decide`` may know beside the request. Gathered by the gateway, stored with the decision."""

    device: str
    """The requester: its MAC address and LAN (``upnp_gw.model.device``), its address where no MAC is known, or
    ``operator``."""
    mac: str | None
    """The requester's neighbour entry; None: not known."""
    address: IPAddress
    target_device: str
    """The same for the internal client, which may be another host or another address of the requester."""
    target_mac: str | None
    network: Network
    gateway_ports: GatewayPorts
    minute_of_day: int
    """The gateway's local time, 0..1439."""
    today: int
    """The gateway's local date as a proleptic ordinal (``date.toordinal``)."""
    lan: str = ""
    """The requester's LAN interface; empty: unknown, or the requester is the operator."""
    target_lan: str = ""
    """The internal client's LAN interface; empty: unknown."""
    main_lan: str = ""
    """The gateway's first LAN. A device that the policy names without a LAN is on it."""
    second_of_minute: float = 0.0
    """The seconds of the local time, 0 <= s < 60."""
    clock_change_s: float | None = None
    """Seconds until the local clock is set forward or back (summer time); None: not within a day."""
    wall: float = 0.0
    """Wall-clock seconds, for rules with an end."""
    held: HeldMappings = field(default_factory=HeldMappings)
    changes_last_minute: int = 0
    int_ports_today: frozenset[int] = frozenset()
    """Distinct internal ports that this device was granted today, or asked for over TCP beyond its room."""
    dhcp_name: str | None = None
    lease_agrees: bool = False
    """The DHCP lease, the neighbour's MAC and the address agree (``assure = "lease"``)."""
    frozen: bool = False
    """An incident is open for this device."""
    quarantined: bool = False
    """The requester or the internal client has an open incident of a kind that ends its mappings."""
    restoring: bool = False
    """A stored mapping is decided again at start: quota, rate and incident do not run, absence is no denial."""
    renewing: bool = False
    """The gateway decides again about what stands: rate and incident do not run."""
    standing: bool = False
    """The requester refreshes a mapping of its own, and nothing more becomes reachable. A frozen device may
    do that, and the port is not counted among the day's distinct ports."""


class Outcome(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


class External(StrEnum):
    """How the external port is chosen where the protocol lets the gateway choose (a grant's ``ext``)."""

    SAME = "same"
    SAME_OR_ANY = "same-or-any"
    ANY = "any"


FAULT = "the gateway could not decide this request"
"""The last reason of a denial that comes from a fault of ours: no evidence against the device."""

PortRanges = tuple[tuple[int, int], ...]
"""Inclusive ranges, sorted, not overlapping."""


@dataclass(frozen=True, slots=True)
class Clamps:
    """The obligations of the charged grant and the limits. The ledger keeps to them."""

    max_ttl_s: int
    """The longest lease that PCP and NAT-PMP are told; over IGD: how often the gateway decides again."""
    max_hold_s: int
    """The longest that an IGD mapping lives without being asked for again."""
    external_ports: PortRanges
    """The external ports permitted."""
    external: External = External.SAME_OR_ANY
    remote: tuple[IPNetwork, ...] = ()
    """Who may connect; empty: anyone. A request's own remote host is inside it, or was refused."""
    ends_in_s: float | None = None
    """Seconds until the grant or its hours end and the gate must decide again; None: never."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of ``decide``: pure, without an id."""

    outcome: Outcome
    rule: str | None
    """The grant that was charged or the forbid that matched; None: the floor, a limit, or no grant at all."""
    refusal: Refusal | None
    """Set exactly where the outcome is not ALLOW."""
    reasons: tuple[str, ...]
    """The trace, in order: floor, forbids, grants, clamps. Never empty; the last one is the one shown."""
    clamps: Clamps | None
    """Set exactly where the outcome is ALLOW."""
    policy: str
    """Hash of the policy that decided, 12 hex digits."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A decision that allows. The ledger plans a mapping from nothing else."""

    id: DecisionId
    verdict: Verdict
    clamps: Clamps
    rule: str
