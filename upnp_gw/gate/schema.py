"""The policy as ``decide`` reads it: frozen, typed, independent of the order in the file. ``load`` makes it from
TOML.

Durations are in seconds, ports are ``PortRanges``. Every condition is a finite set: ports, addresses, devices, days
and minutes. No field holds a client's own words: a policy cannot match on a description (SR-30).
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Generic, TypeVar

from upnp_gw.gate.decision import External, Outcome, PortRanges
from upnp_gw.gate.hours import NO_HOLIDAYS, Calendar, Hours
from upnp_gw.gate.invariant import Invariant
from upnp_gw.gate.portset import UNPRIVILEGED
from upnp_gw.gate.remote import AddressSet, Hosts, RemoteHosts
from upnp_gw.model.mapping import DAY_S, IPAddress, IPNetwork, Transport, Via

ANYONE = "*"
"""In ``who``: every device, named or not."""

ANYWHERE = "*"
"""In a device's ``lan``: every LAN."""

OPERATOR_RULE = "operator"
OBSERVE_RULE = "observe"
KEPT_RULE = "kept"
"""A mapping that a new policy does not allow any more, left until its lease ends (``[gate] on_reload``)."""
RESERVED_RULES = frozenset({OPERATOR_RULE, OBSERVE_RULE, KEPT_RULE})
"""Rule names of verdicts without a grant. No grant or forbid may have one of them."""


class Mode(StrEnum):
    """OBSERVE: a request without a grant is allowed and marked; the floor, forbids and limits still apply."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class Assurance(StrEnum):
    """The evidence for a device: its address; its neighbour entry's MAC address; or these and its DHCP lease."""

    IP = "ip"
    MAC = "mac"
    LEASE = "lease"


class OnIncident(StrEnum):
    """The effect of an incident. FREEZE: the device opens nothing new. QUARANTINE: its mappings end too."""

    FREEZE = "freeze"
    QUARANTINE = "quarantine"
    LOG = "log"


class Family(StrEnum):
    """IP4: port mappings, and pinholes without NAT. IP6: pinholes."""

    IP4 = "ip4"
    IP6 = "ip6"


BOTH_FAMILIES = frozenset(Family)
BOTH_TRANSPORTS = frozenset(Transport)


ELEMENTS_EACH = 4
"""An IPv4 address, and the stable, the temporary and the deprecated IPv6 address of a host (RFC 8981)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The ``[limits]``: they apply to every grant."""

    total_mappings: int = 1024
    """Also the size of the nft maps."""
    per_device: int = 32
    """A pair of external and internal port counts once over all addresses of a device."""
    requests_per_minute: int = 60
    """Change requests of one device; reads do not count."""
    max_ttl_s: int = DAY_S
    max_hold_s: int = 30 * DAY_S
    incident_after: int = 12
    """Distinct internal ports refused to one device in 10 minutes."""
    on_incident: OnIncident = OnIncident.FREEZE
    elements_per_device: int = 32 * ELEMENTS_EACH
    """Elements of the kernel's tables for one device: one for each address that it maps a port on, times the remote
    hosts or prefixes that may connect. Default: ELEMENTS_EACH times ``per_device``."""


@dataclass(frozen=True, slots=True)
class Device:
    """A named device. A host is this device only if all these facts agree."""

    name: str
    macs: frozenset[str] = frozenset()
    addresses: frozenset[IPAddress] = frozenset()
    lans: frozenset[str] = frozenset()
    """Its possible LAN interfaces, or ``*``; empty: for a MAC address the gateway's first LAN."""
    dhcp_name: str | None = None
    assure: Assurance = Assurance.MAC


@dataclass(frozen=True, slots=True)
class Zone:
    """A named set of prefixes of the policy."""

    name: str
    prefixes: tuple[IPNetwork, ...]
    spans: tuple[tuple[int, int, int], ...] = field(init=False, compare=False, repr=False)
    """(version, first, last) of each prefix, for speed."""
    scopes: frozenset[str] = field(init=False, compare=False, repr=False)
    """Kinds of address among its prefixes (``scope_of``)."""

    def __post_init__(self) -> None:
        ends = ((net.version, int(net.network_address), int(net.broadcast_address)) for net in self.prefixes)
        object.__setattr__(self, "spans", tuple(ends))
        object.__setattr__(self, "scopes", frozenset(scope_of(net.network_address) for net in self.prefixes))

    def has(self, address: IPAddress) -> bool:
        """True if the address is in one of the prefixes."""
        number, family = int(address), address.version
        for version, first, last in self.spans:  # noqa: SIM110 - any() costs a generator in every decision
            if version == family and first <= number <= last:
                return True
        return False

    def has_lan(self, spans: Iterable[tuple[int, int, int]]) -> bool:
        """True where all these prefixes, (version, first, last), are in the zone; False where there are none."""
        inside = [
            any(version == family and low <= first and last <= high for family, low, high in self.spans)
            for version, first, last in spans
        ]
        return bool(inside) and all(inside)

    def has_kind_of(self, address: IPAddress) -> bool:
        """True where the zone has prefixes of this kind of address, so that an address outside them is outside the
        zone. False for a link-local address, which is in no zone."""
        return scope_of(address) in self.scopes and not address.is_link_local


def scope_of(address: IPAddress) -> str:
    """``ip4``, ``ip6``, or ``local``: unique local IPv6 (RFC 4193). A host has several of them at a time."""
    if address.version == 4:
        return "ip4"
    return "local" if int(address) >> 121 == 0xFC >> 1 else "ip6"


@dataclass(frozen=True, slots=True)
class Forbid:
    """Denies matching requests; no grant overrides it. A missing condition matches everything."""

    name: str
    devices: frozenset[str] | None = None
    """Device names, groups resolved; None: everyone."""
    zone: str | None = None
    """The requester or the internal client is in it."""
    zone_from: str | None = None
    """The requester is in it."""
    zone_for: str | None = None
    """The internal client is in it."""
    families: frozenset[Family] = BOTH_FAMILIES
    transports: frozenset[Transport] = BOTH_TRANSPORTS
    int_ports: PortRanges | None = None
    ext_ports: PortRanges | None = None
    vias: frozenset[Via] | None = None
    """The protocols of the request; None: any."""
    remote: RemoteHosts | None = None
    """It denies only these remote hosts: a request that names one, else they are taken away; None: everybody."""
    hours: Hours | None = None
    until: float | None = None
    """Wall-clock seconds at which it ends; None: never."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Allows matching requests, within its quotas and limits."""

    name: str
    devices: frozenset[str] | None
    """Device names, groups resolved; None: any device, named or not (``who = "*"``)."""
    zone: str | None = None
    targets: tuple[IPNetwork, ...] = ()
    """``for``: the internal clients; empty: only the requester itself."""
    families: frozenset[Family] = BOTH_FAMILIES
    """Default: those of ``for`` and ``remote``, else both."""
    transports: frozenset[Transport] = BOTH_TRANSPORTS
    int_ports: PortRanges = UNPRIVILEGED
    ext_ports: PortRanges | None = None
    """None: 1024-65535, and a port below 1024 only where it equals the internal port."""
    external: External = External.SAME_OR_ANY
    max_mappings: int | None = None
    max_ports_per_day: int | None = None
    """Distinct internal ports of one device in a day."""
    max_ttl_s: int | None = None
    max_hold_s: int | None = None
    remote: RemoteHosts | None = None
    """The remote hosts that may connect; None: any."""
    remote_ports: PortRanges | None = None
    """The request must name ports of the remote hosts, all of them among these; None: it need not."""
    hours: Hours | None = None
    approve: bool = False
    approve_for_s: int | None = None
    """The longest duration of an approval, and its default."""
    until: float | None = None
    """Wall-clock seconds from which on it grants nothing, and its mappings end; None: it stays."""
    owner: str = ""
    reason: str = ""
    review_by: date | None = None

    @property
    def rank(self) -> tuple[bool, str]:
        """The order in which grants are charged: one that needs no approval first, then by name."""
        return self.approve, self.name


class Want(StrEnum):
    """The answer that a test expects. BUSY: the policy allows it, and no permitted external port is free."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Case:
    """One ``[[test]]`` of the policy file."""

    name: str
    key: str
    """Its place in the file: ``test[3]``."""
    device: str | None
    address: IPAddress | None
    mac: str | None
    lan: str | None
    """None: the first LAN of the gateway, or one that the policy names for the device."""
    zone: str | None
    nat: bool | None
    """True: the LAN has NAT for IPv4. None: it has, unless the internal client has a public address."""
    via: Via
    transport: Transport
    family: Family
    int_port: int
    ext_port: int | None
    target: IPAddress | None
    remote: IPNetwork | None
    remote_port: int
    """0: any."""
    ttl_s: int | None
    minute_of_day: int
    today: int
    """The day, as of ``date.toordinal``."""
    dated: bool
    """The test names the date."""
    holds: int
    """Mappings that the device already has; they count under every grant."""
    frozen: bool
    """An incident is open for the device."""
    busy: PortRanges
    """External ports that another device has."""
    stale: frozenset[str]
    """Address lists that are out of date."""
    want: Want
    want_ttl_s: int | None
    want_rule: str | None
    want_ext: PortRanges | None
    """The external ports of which it gets one."""
    want_remote: RemoteHosts | None
    """The remote hosts that may connect."""


Rule = TypeVar("Rule", Forbid, Grant)


@dataclass(frozen=True, slots=True)
class DeviceRules(Generic[Rule]):
    """The forbids or grants that can match one device, found by internal port in O(log n)."""

    every: tuple[Rule, ...] = ()
    starts: tuple[int, ...] = (0,)
    """The internal ports where the set of rules changes."""
    pieces: tuple[tuple[Rule, ...], ...] = ((),)
    """The rules from each start on, in order."""

    def at(self, int_port: int) -> tuple[Rule, ...]:
        """The rules whose internal ports include this one."""
        return self.pieces[bisect_right(self.starts, int_port) - 1]


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. Only ``load`` makes one, after it has checked it and run its tests."""

    default: Outcome
    """DENY or ASK: the answer if no grant matches."""
    mode: Mode
    limits: Limits
    devices: Mapping[str, Device]
    groups: Mapping[str, frozenset[str]]
    zones: Mapping[str, Zone]
    forbids: tuple[Forbid, ...]
    """Sorted by name."""
    grants: tuple[Grant, ...]
    """Sorted by rank."""
    sets: Mapping[str, AddressSet] = field(default_factory=dict)
    calendar: Calendar = NO_HOLIDAYS
    cases: tuple[Case, ...] = ()
    invariants: tuple[Invariant, ...] = ()
    digest: str = ""
    """12 hex digits over everything that can change a verdict: not the order of the file, its comments, tests or
    invariants."""
    by_mac: Mapping[str, tuple[Device, ...]] = field(default_factory=dict, compare=False, repr=False)
    by_address: Mapping[IPAddress, tuple[Device, ...]] = field(default_factory=dict, compare=False, repr=False)
    grants_of: Mapping[str, DeviceRules[Grant]] = field(default_factory=dict, compare=False, repr=False)
    """Device name -> the grants that can match it, those for everyone included, by rank."""
    grants_of_anyone: DeviceRules[Grant] = field(default=DeviceRules(), compare=False, repr=False)
    forbids_of: Mapping[str, DeviceRules[Forbid]] = field(default_factory=dict, compare=False, repr=False)
    forbids_of_anyone: DeviceRules[Forbid] = field(default=DeviceRules(), compare=False, repr=False)
    screened: Mapping[str, Hosts] = field(default_factory=dict, compare=False, repr=False)
    """Id -> hosts that a screen can name."""

    def grant(self, name: str | None) -> Grant | None:
        """The grant of this name; None: there is none."""
        return None if name is None else next((grant for grant in self.grants if grant.name == name), None)
