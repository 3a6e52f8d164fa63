"""The control API: the words of the JSON that goes over the operator's unix socket.

Every body of it is a Struct here, every way of it a row of ``ROUTES``; the server, the schema in docs/api.json and
the command line are made from them. Times are RFC 3339 in UTC, durations whole seconds. Client text
(``description``, device names) is what the client sent: whoever shows it escapes it (``upnp_gw.terminal``).
"""

from collections.abc import Mapping as Table
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from upnp_gw.model import IPAddress, IPNetwork, Kind, Transport, Via

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0)]

MAX_LEASE_S = 366 * 86400
"""The longest that an operator may ask for without ``permanent``; the policy's limits clamp it further."""


def moment(wall: float) -> datetime:
    """Wall-clock seconds as the API tells them: UTC, whole seconds."""
    return datetime.fromtimestamp(int(wall), UTC)


class FieldError(ValueError):
    """A body that fits the types but not the meaning; names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Mapping(Struct, frozen=True, kw_only=True):
    """A port mapping or pinhole as it is now."""

    id: str
    kind: Kind
    transport: Transport
    external_address: str | None
    """Where the internet finds it: one of our external addresses, or the pinhole's own; null: none now."""
    external_port: Port
    internal_client: str
    internal_port: Port
    remote_host: str | None
    """An address or a prefix; null: anyone."""
    via: Via
    """The way by which it was first asked for."""
    device: str
    """The MAC address of its holder, its address where no MAC is known, ``operator``."""
    description: str
    granted_at: datetime
    expires_at: datetime | None
    """When its last lease ends; null: permanent, renewed by the gateway."""
    lease_left_s: Count | None
    """Seconds to ``expires_at``, rounded up; null: permanent."""
    connections: Count
    bytes: Count
    """Both ways, since the grant."""
    last_used: datetime | None
    rule: str
    """The grant that was charged, or ``operator``."""
    decision: str
    state: Literal["active", "parked", "disabled"]
    """parked: its device is away, the port stays reserved; disabled: asked for with NewEnabled 0."""
    shared: bool = False
    """Another mapping leads to the same internal endpoint: bytes are of both."""
    device_name: str | None = None
    vias: list[Via] = []
    """The ways by which it is held: each protocol has its own lease on it."""
    remote_port: int | None = None
    """The port that the remote host connects from (pinholes alone); null: any."""


class AddMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator asks for. An IPv6 internal client makes a pinhole."""

    transport: Transport
    external_port: Port
    internal_client: str
    internal_port: Port | None = None
    """null: the external port."""
    external_address: str | None = None
    """One of several external addresses; null: all of them."""
    remote_host: str | None = None
    """An address or a prefix; null: anyone."""
    lease_s: Annotated[int, Meta(ge=1, le=MAX_LEASE_S)] | None = None
    """null: as long as the limits allow."""
    permanent: bool = False
    """Renewed by the gateway until it is deleted; excludes ``lease_s``."""
    description: Annotated[str, Meta(max_length=256)] = ""

    def __post_init__(self) -> None:
        client, remote, external = self.client, self.remote, self.external
        if client.version == 6 and self.internal_port not in (None, self.external_port):
            raise FieldError("internal_port", "a pinhole is not translated: leave it out or name the external port")
        if remote is not None and remote.version != client.version:
            raise FieldError("remote_host", f"an IPv{client.version} address or prefix, like internal_client")
        if external is not None and (client.version == 6 or external.version == 6):
            raise FieldError("external_address", "an IPv4 address, and only for a port mapping")
        if self.permanent and self.lease_s is not None:
            raise FieldError("lease_s", "either lease_s or permanent")

    @property
    def client(self) -> IPAddress:
        return _address("internal_client", self.internal_client)

    @property
    def external(self) -> IPAddress | None:
        return None if self.external_address is None else _address("external_address", self.external_address)

    @property
    def remote(self) -> IPNetwork | None:
        if self.remote_host is None:
            return None
        return _prefix("remote_host", self.remote_host)

    @property
    def target_port(self) -> int:
        """The internal port, 1..65535."""
        return self.external_port if self.internal_port is None else self.internal_port


def _prefix(field: str, text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError:
        raise FieldError(field, "an address or a prefix such as 203.0.113.0/24") from None


def _address(field: str, text: str) -> IPAddress:
    try:
        address = ip_address(text)
    except ValueError:
        raise FieldError(field, "an IPv4 or IPv6 address such as 192.168.1.23") from None
    if getattr(address, "scope_id", None):
        raise FieldError(field, "an address without a zone")
    return address


class Decision(Struct, frozen=True, kw_only=True):
    """One answer of the gate, as it was recorded."""

    id: str
    at: datetime
    verdict: Literal["allow", "deny", "ask", "busy"]
    action: str
    """What was decided: ``map``, ``renew``, ``restore``, ``unmap``."""
    via: Via
    device: str
    address: str
    """The source address of the request."""
    transport: Transport | None
    external_port: int | None
    """As asked for; 0: any."""
    internal_client: str | None
    internal_port: int | None
    remote_host: str | None
    lease_s: int | None
    """Seconds asked for; null: as long as possible."""
    description: str
    refusal: str | None
    """Why not: a word of ``upnp_gw.request.Refusal``; null where it was allowed."""
    rule: str | None
    """The grant that was charged or the forbid that matched."""
    reasons: list[str]
    """The trace, in order; the last one is the answer in one sentence."""
    mapping: str | None = None
    """The id of the mapping that it made or renewed."""
    policy: str = ""
    """The hash of the policy that decided."""
    choice: Literal["exact", "suggested"] | None = None
    """Whether the gateway might choose another external port."""
    granted_s: int | None = None
    """allow: the seconds that the lease lives by the rule's clamps."""
    count: Count = 1
    """How many requests were refused like this one for asking too often, within a minute."""
    facts: dict[str, Any] = {}
    """What the gate knew beside the request: enough to decide it again."""
    device_name: str | None = None


class Device(Struct, frozen=True, kw_only=True):
    """Somebody who asked, or holds something."""

    device: str
    name: str | None
    addresses: list[str]
    first_seen: datetime
    last_seen: datetime
    holds: Count
    """Mappings it holds now, parked ones too."""
    granted: Count
    """Requests granted since it was first seen."""
    refused: Count
    last_refusal: str | None = None
    """The reason of the last refusal."""
    frozen: bool = False
    """An incident is open for it."""
    dhcp_name: str | None = None
    """What it calls itself in DHCP: its own word."""


def _ranges(field: str, ports: list[int | str]) -> tuple[tuple[int, int], ...]:
    """``[443, "1024-2048"]`` -> inclusive ranges."""
    found = []
    for port in ports:
        low, _, high = str(port).partition("-")
        bounds = [
            int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0 for text in (low, high or low)
        ]
        if not 1 <= bounds[0] <= bounds[1] <= 65535:
            raise FieldError(field, "ports 1 to 65535, or ranges such as 1024-2048")
        found.append((bounds[0], bounds[1]))
    return tuple(found)


For = Annotated[int, Meta(ge=60, le=MAX_LEASE_S)]
"""How long a rule lasts, seconds."""


class NameDevice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name for a device: letters, digits, dots, dashes and underscores, a letter or digit first."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]


class Allow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device may open."""

    ports: list[int | str] = []
    """Internal ports and ranges; empty: every port from 1024 up."""
    transports: list[Transport] = []
    """Empty: both."""
    for_s: For | None = None
    """null: until it is taken back, with a date of review."""

    def __post_init__(self) -> None:
        _ranges("ports", self.ports)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        return _ranges("ports", self.ports)


class Block(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    for_s: For | None = None
    """null: until it is released."""


class Approve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    for_s: For | None = None
    """null: as long as the grant that waits says (``approve_for``), else 30 days."""


class Deny(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    remember: bool = False
    """Write a forbid, so that it is not asked again; else the next request asks again."""
    for_s: For | None = None
    """With ``remember``; null: until it is taken back."""


class Written(Struct, frozen=True, kw_only=True):
    """What a command wrote to the machine-owned file; it is in force."""

    toml: str
    """What was added or taken out; empty: nothing."""
    file: str
    policy: str
    """The hash of the policy now in force."""


class Approved(Written, frozen=True, kw_only=True):
    opened: Mapping | None
    """What was asked for, open now."""
    why_not: str | None
    """Why it could not be opened at once."""


class Question(Struct, frozen=True, kw_only=True):
    """What a device asked for and nobody has answered. Silence means no."""

    number: int
    device: str
    device_name: str | None
    address: str
    """The source address of the newest request."""
    via: Via
    transport: Transport
    internal_client: str
    internal_port: Port
    external_port: int
    """0: any."""
    remote_host: str | None
    lease_s: int | None
    description: str
    rule: str | None
    """The grant that needs an approval; null: no grant covers it."""
    first_asked: datetime
    last_asked: datetime
    times: int
    decision: str
    toml: str
    """What a yes would write now."""


class Incident(Struct, frozen=True, kw_only=True):
    """A device was refused many distinct ports: it may be infected."""

    device: str
    device_name: str | None
    began_at: datetime
    ends_at: datetime
    ports: list[int]
    action: Literal["freeze", "quarantine", "log"]


class Released(Struct, frozen=True, kw_only=True):
    incidents: list[Incident]
    """Those that ended."""
    removed: str
    """The block that was taken back, as TOML; empty: there was none."""


class Revoked(Struct, frozen=True, kw_only=True):
    mappings: list[Mapping]
    """What was closed, as it was; its flows are ended."""
    questions: Count
    """How many pending ones were dropped."""


class Rule(Struct, frozen=True, kw_only=True):
    """What one forbid or grant did to a request."""

    name: str
    effect: Literal["none", "denies", "narrows", "full", "covers", "charged"]
    """narrows: takes external ports from the gateway's choice; full: covers it, but has no room or hours now;
    covers: and has room, but another one was charged."""
    why: str
    """Every condition that does not hold; or what does, or the room that is left."""
    concerns: bool
    """It is for this device, whatever its other conditions say."""


class Explained(Struct, frozen=True, kw_only=True):
    """The whole trace of a decision, or of a trial."""

    verdict: Literal["allow", "deny", "ask", "busy"]
    refusal: str | None
    rule: str | None
    reasons: list[str]
    """The steps in order: floor, limits, forbids, grants, clamp; the last one is the answer in one sentence."""
    forbids: list[Rule]
    grants: list[Rule]
    names: list[str]
    """The names that the policy has for the requester; empty with a ``note``, like the rules."""
    lease_s: int | None
    """allow: the seconds that the lease lives."""
    policy: str
    """The hash of the policy that it was decided by."""
    facts: dict[str, Any]
    decision: Decision | None = None
    """null: a trial."""
    note: str | None = None
    """Why the rules cannot be told any more: the policy has changed since, for one. ``reasons`` are as they were."""


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that is only tried. Either ``device`` or ``address`` says who asks."""

    device: str | None = None
    """A name of the policy or a MAC address."""
    address: str | None = None
    via: Via = Via.IGD1
    transport: Transport
    internal_port: Port
    external_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """null: the internal one; over NAT-PMP and PCP the gateway may choose another."""
    lease_s: Annotated[int, Meta(ge=1, le=MAX_LEASE_S)] | None = None
    """null: as long as possible."""
    internal_client: str | None = None
    """null: the requester itself."""
    remote_host: str | None = None

    def __post_init__(self) -> None:
        if (self.device is None) == (self.address is None):
            raise FieldError("device", "either device or address")
        for field in ("address", "internal_client"):
            if (text := getattr(self, field)) is not None:
                _address(field, text)
        if self.remote_host is not None:
            _prefix("remote_host", self.remote_host)

    @property
    def remote(self) -> IPNetwork | None:
        return None if self.remote_host is None else _prefix("remote_host", self.remote_host)


class PolicyText(Struct, frozen=True, kw_only=True):
    """The policy in force."""

    source: str
    """The file, or ``built-in home policy``."""
    hash: str
    since: datetime
    text: str
    """The TOML as it was when it was loaded."""
    approved_file: str
    approved: str
    """The machine-owned file's, which the operator's commands write; empty: there is none."""
    warnings: list[str]
    problem: str | None
    """Why the files as they are now are not in force; null: they were when they were last looked at."""


class FallenMapping(Struct, frozen=True, kw_only=True):
    """A mapping that the new policy does not allow any more."""

    mapping: str
    device: str
    device_name: str | None
    transport: Transport
    external_port: Port
    internal_client: str
    internal_port: Port
    reason: str
    decision: str
    kept: bool
    """It stands until its lease ends (``[gate] on_reload = "keep"``); false: it has ended."""


class Reloaded(Struct, frozen=True, kw_only=True):
    """A policy came into force."""

    before: str
    """The hash of the policy until now."""
    hash: str
    standing: Count
    """Mappings that stand."""
    fallen: list[FallenMapping]
    warnings: list[str]


class WanState(Struct, frozen=True, kw_only=True):
    interface: str
    up: bool
    external_addresses: list[str]
    """The primary one first."""
    address_kind: Literal["public", "private", "shared", "none"]
    """private: RFC 1918; shared: 100.64.0.0/10 (RFC 6598). Neither is reached from the internet."""
    connected_s: Count
    """Seconds since it has an address; 0: it has none."""


class LanState(Struct, frozen=True, kw_only=True):
    interface: str
    up: bool
    addresses: list[str]
    """With prefix length."""


class PolicyState(Struct, frozen=True, kw_only=True):
    source: str
    """The file, or ``built-in home policy``."""
    hash: str
    grants: Count
    default: Literal["deny", "ask"]
    mode: Literal["enforce", "observe"] = "enforce"


class MappingCount(Struct, frozen=True, kw_only=True):
    active: Count
    parked: Count
    disabled: Count
    limit: Count
    """How many the gateway holds at most."""


class Status(Struct, frozen=True, kw_only=True):
    """The gateway in one page."""

    version: str
    pid: int
    started_at: datetime
    uptime_s: Count
    firewall: Literal["alongside", "router"]
    backend: Literal["nftables", "memory"]
    wan: WanState
    lan: list[LanState]
    locations: list[str]
    """The URLs of the descriptions that are announced."""
    mappings: MappingCount
    policy: PolicyState
    healed: Count = 0
    """How often somebody else removed our table and it was installed again."""
    warnings: list[str] = []
    """What the operator should know: a private external address, no policy file, an open incident."""
    counters: dict[str, int] = {}
    """Requests answered and dropped, by kind."""
    detected: list[str] = []
    """What was chosen without being configured, and why."""


class Check(Struct, frozen=True, kw_only=True):
    """One finding of the doctor."""

    name: str
    outcome: Literal["ok", "warn", "fail"]
    finding: str
    """One sentence."""
    remedy: str | None = None
    """What to do or the line to add; null: nothing to do."""


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the event stream. ``hello`` is the first: what happens after it is not missed."""

    event: Literal["hello", "added", "changed", "removed", "wan", "lan", "decided", "incident", "policy", "healed"]
    at: datetime
    mapping: Mapping | None = None
    """added, changed: as it is now; removed: as it was."""
    why: str | None = None
    """policy: its hash; removed: deleted, expired, revoked, policy, device-moved, prefix-gone, quarantine,
    displaced; incident: who and what was refused; healed: what was found."""
    decision: Decision | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer that is not 2xx."""

    error: str
    """A fixed word: ``invalid``, ``not-found``, or a word of ``upnp_gw.request.Refusal``."""
    message: str
    """One sentence for people."""
    field: str | None = None
    """invalid: the field or query parameter at fault."""
    decision: str | None = None
    """Refused by the gate: the decision to look up in the log."""


class DecisionFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of /v1/decisions. The newest come first."""

    device: str | None = None
    """A device (MAC address or address) or its name."""
    verdict: Literal["allow", "deny", "ask", "busy"] | None = None
    via: Via | None = None
    since: datetime | None = None
    until: datetime | None = None
    rule: str | None = None
    """The grant or forbid that answered."""
    port: Port | None = None
    """The external or the internal one."""
    before: Annotated[str, Meta(pattern="^d[0-9]{1,18}$")] | None = None
    """A decision; those before it: the next page."""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


class Evidence(Struct, frozen=True, kw_only=True):
    """What an internal port of a device was used for."""

    device: str
    device_name: str | None
    transport: Transport
    kind: Kind
    internal_port: Port
    requests: Count
    refused: Count
    """Denied, asked for, or busy."""
    ungranted: Count
    """Allowed only because the gateway observed (would-deny)."""
    renewals: Count
    granted_s: Count
    """Seconds that it stood open."""
    connections: Count
    bytes: Count
    days: Count
    """Days on which somebody and the device talked through it."""
    remotes: list[str]
    """Who, where it is known; at most 16."""
    more_remotes: bool
    first_asked: datetime
    last_asked: datetime
    last_used: datetime | None


class Listener(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port that listens on a host, by a scan there."""

    transport: Transport
    port: Port
    program: Annotated[str, Meta(max_length=40)] = ""


class AskSuggestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to propose a policy from: the evidence, or what listens on one host."""

    min_days: Annotated[int, Meta(ge=1, le=60)] = 3
    """Days of traffic that make a need."""
    listeners: Annotated[list[Listener], Meta(max_length=200)] | None = None
    """null: the evidence."""
    device: str | None = None
    """listeners: whose they are, by its name in the policy."""
    host: str | None = None
    """listeners: or by its address."""

    def __post_init__(self) -> None:
        if self.listeners is not None and (self.device is None) == (self.host is None):
            raise FieldError("device", "listeners need either device or host")
        if self.host is not None:
            _address("host", self.host)


class Suggestion(Struct, frozen=True, kw_only=True):
    """A policy file that is proposed. It loads and passes its tests."""

    toml: str
    grants: Count
    tests: Count
    notes: list[str]
    """What is not in it, and why: the comments at its end."""


class StaleFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of /v1/stale."""

    days: Annotated[int, Meta(ge=1, le=180)] = 30


class Stale(Struct, frozen=True, kw_only=True):
    """Something that nobody needs any more."""

    kind: Literal["grant-unmatched", "grant-unused", "device-gone", "review-overdue", "mapping-idle"]
    about: str
    """A grant or a device by its name, a mapping by its id."""
    finding: str
    """One sentence."""
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Route:
    """One way of the API: what it takes and what it answers."""

    method: str
    path: str
    summary: str
    answer: object
    """The type of the 200 body."""
    body: type | None = None
    query: type | None = None
    stream: bool = False
    """The answer is a stream of JSON lines of that type."""


ROUTES: Table[str, Route] = {
    "mappings": Route("GET", "/v1/mappings", "Every mapping, oldest first", list[Mapping]),
    "mapping": Route("GET", "/v1/mappings/{id}", "One mapping", Mapping),
    "add": Route("POST", "/v1/mappings", "Open a port as the operator", Mapping, body=AddMapping),
    "delete": Route("DELETE", "/v1/mappings/{id}", "Close it and end its flows at once; answers it", Mapping),
    "status": Route("GET", "/v1/status", "The gateway in one page", Status),
    "decisions": Route("GET", "/v1/decisions", "What was decided", list[Decision], query=DecisionFilter),
    "devices": Route("GET", "/v1/devices", "Who asked for or holds something", list[Device]),
    "name": Route("PUT", "/v1/devices/{device}/name", "Give a device a name", Written, body=NameDevice),
    "allow": Route("POST", "/v1/devices/{device}/allow", "Write a grant for a device", Written, body=Allow),
    "block": Route("POST", "/v1/devices/{device}/block", "Forbid a device everything", Written, body=Block),
    "release": Route("POST", "/v1/devices/{device}/release", "End its incident and its block", Released),
    "revoke": Route("POST", "/v1/devices/{device}/revoke", "End its mappings, flows and questions", Revoked),
    "retract": Route("DELETE", "/v1/rules/{rule}", "Take a rule back that a command wrote", Written),
    "queue": Route("GET", "/v1/queue", "What devices asked for and nobody answered", list[Question]),
    "approve": Route("POST", "/v1/queue/{number}/approve", "Say yes, and open it at once", Approved, body=Approve),
    "deny": Route("POST", "/v1/queue/{number}/deny", "Say no", Written, body=Deny),
    "incidents": Route("GET", "/v1/incidents", "Open incidents, oldest first", list[Incident]),
    "explain": Route("GET", "/v1/decisions/{id}", "Why it was answered so: every rule, and the facts", Explained),
    "trial": Route("POST", "/v1/try", "What would be answered; changes nothing", Explained, body=Trial),
    "policy": Route("GET", "/v1/policy", "The policy in force, as its files were when it was loaded", PolicyText),
    "reload": Route("POST", "/v1/reload", "Load the policy files again, all of it or nothing", Reloaded),
    "evidence": Route("GET", "/v1/evidence", "What devices' ports were used for", list[Evidence]),
    "suggest": Route(
        "POST",
        "/v1/policy/suggest",
        "Propose a policy from evidence; writes nothing",
        Suggestion,
        body=AskSuggestion,
    ),
    "stale": Route("GET", "/v1/stale", "What nobody needs any more", list[Stale], query=StaleFilter),
    "doctor": Route("GET", "/v1/doctor", "What could be wrong, and what to do", list[Check]),
    "events": Route("GET", "/v1/events", "What happens, as it happens", Event, stream=True),
}
"""Operation -> its way. An operation is a method of that name, called with the names in the path, then the body or
the query: of ``upnp_gw.servers.control.Operator``, or of another part that the daemon gives the control server."""


def encode(value: object) -> bytes:
    """The JSON of any body of the API."""
    return msgspec.json.encode(value)
