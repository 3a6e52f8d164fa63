"""The input of the gate (``Facts``) and its answer (``Verdict``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from upnp_gw.model.mapping import NO_SCREEN, DecisionId, IPAddress, IPNetwork, Screen
from upnp_gw.model.network import GatewayPorts, Network
from upnp_gw.model.request import Refusal


@dataclass(frozen=True, slots=True)
class HeldMappings:
    """The mappings before this request, with those of earlier requests of the same batch. A refresh does not count
    the mapping that it refreshes."""

    total: int = 0
    """Mappings of all devices. A port counts once for each address of a device."""
    by_device: int = 0
    """Mappings of this device. A pair of external and internal port counts once over all its addresses."""
    by_grant: Mapping[str, int] = field(default_factory=dict)
    """Grant name -> mappings of this device under it, counted in the same way."""
    elements: int = 0
    """Elements of the kernel's tables that this device's mappings use."""
    on_port: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """External ports that lead to the same internal port on another address of this device -> their grants. A
    request for one of these ports is already counted."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that ``decide`` knows besides the request. Stored with the decision."""

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
    """Distinct internal ports that this device was granted today, or that a quota refused it over TCP."""
    dhcp_name: str | None = None
    lease_agrees: bool = False
    """The DHCP lease, the neighbour's MAC and the address agree (``assure = "lease"``)."""
    frozen: bool = False
    """An incident is open for this device."""
    quarantined: bool = False
    """The requester or the internal client has an open incident of a kind that ends its mappings."""
    restoring: bool = False
    """A stored mapping is decided again at the start. Quotas, rate and incidents do not apply, and an absent host
    is not denied."""
    renewing: bool = False
    """The gateway decides again about an existing mapping: rate and incidents do not apply."""
    standing: bool = False
    """The requester refreshes its own mapping, and nothing more becomes reachable. A frozen device may do that, and
    the port does not count among the distinct ports of the day."""
    stale_sets: frozenset[str] = frozenset()
    """The address lists of the policy that are out of date."""


class Outcome(StrEnum):
    """The answer of the gate. ASK: refused now, and the operator is asked."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


class External(StrEnum):
    """The choice of the external port where the protocol leaves it to the gateway (a grant's ``ext``)."""

    SAME = "same"
    SAME_OR_ANY = "same-or-any"
    ANY = "any"


FAULT = "the gateway could not decide this request"
"""The last reason of a denial because of an error in the gateway: no evidence against the device."""

PortRanges = tuple[tuple[int, int], ...]
"""Inclusive ranges, sorted, not overlapping."""


@dataclass(frozen=True, slots=True)
class Clamps:
    """The limits on a granted mapping, from its grant and from [limits]."""

    max_ttl_s: int
    """The longest lease over PCP and NAT-PMP. Over IGD: how often the gateway decides again."""
    max_hold_s: int
    """The longest that an IGD mapping lives without a new request."""
    external_ports: PortRanges
    """The external ports permitted."""
    external: External = External.SAME_OR_ANY
    remote: tuple[IPNetwork, ...] = ()
    """The remote hosts that may connect; empty: any. The remote host of the request is inside."""
    screen: Screen = NO_SCREEN
    """Lists of remote hosts that may and may not connect, where the request names none. Then ``remote`` is
    empty."""
    ends_in_s: float | None = None
    """Seconds until the grant or its hours end and the gate must decide again; None: never."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of ``decide``."""

    outcome: Outcome
    rule: str | None
    """The grant that allowed or the forbid that denied; None: the floor, a limit, or no grant."""
    refusal: Refusal | None
    """Set exactly where the outcome is not ALLOW."""
    reasons: tuple[str, ...]
    """The trace in order: floor, limits, forbids, grants, clamps. Never empty; clients and lists show the last
    one."""
    clamps: Clamps | None
    """Set exactly where the outcome is ALLOW."""
    policy: str
    """``Policy.digest`` of the policy that decided."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A decision that allows. The ledger plans a mapping only from one of these."""

    id: DecisionId
    verdict: Verdict
    clamps: Clamps
    rule: str
