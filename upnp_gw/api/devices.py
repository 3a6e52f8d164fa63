"""Devices, names and rules for them, the queue, and incidents."""

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api.decisions import Holder
from upnp_gw.api.mappings import Mapping
from upnp_gw.api.values import Count, For, Port, ranges_of
from upnp_gw.model.mapping import Transport, Via


class Device(Struct, frozen=True, kw_only=True):
    """A device that has asked for a port or holds a mapping."""

    device: str
    name: str | None
    addresses: list[str]
    first_seen: datetime
    last_seen: datetime
    holds: Count
    """Its mappings, also parked ones."""
    granted: Count
    """Requests granted since it was first seen."""
    refused: Count
    last_refusal: str | None = None
    """The reason of the last refusal."""
    frozen: bool = False
    """It has an open incident."""
    dhcp_name: str | None = None
    """The name that it gives in DHCP; not verified."""


class DeviceRule(Struct, frozen=True, kw_only=True):
    """A grant or forbid of the policy that can match requests of one device."""

    kind: Literal["grant", "forbid"]
    name: str
    everyone: bool
    """It is for every device, not for this one by name."""
    transports: list[Transport]
    families: list[Literal["ip4", "ip6"]]
    internal_ports: list[int | str]
    """Ports and ranges; empty: every port."""
    external_ports: list[int | str]
    """empty: a grant: from 1024 up, and the internal one; a forbid: every port."""
    remote_hosts: list[str]
    """Prefixes and ``@lists`` that may connect, or that a forbid keeps out; empty: any remote host."""
    never_hosts: list[str] = []
    """Of these hosts, those that it is not about."""
    zone: str | None = None
    zone_from: str | None = None
    """A forbid: the requester's zone."""
    zone_for: str | None = None
    """A forbid: the internal client's zone."""
    via: list[Via] = []
    """A forbid: protocols of the request; empty: any."""
    hours: str | None = None
    """``mon-fri 08:00-22:00``, local time."""
    approval: bool = False
    """Each request waits for an approval."""
    max_mappings: Count | None = None
    max_lease_s: Count | None = None
    ends_at: datetime | None = None
    review_by: date | None = None
    owner: str = ""
    reason: str = ""
    written: bool = False
    """A command wrote it, and ``retract`` removes it."""


class KnownDevice(Struct, frozen=True, kw_only=True):
    """A device as the policy sees it, whether it has asked or not."""

    device: str
    """Its identifier; of several MAC addresses the first one."""
    name: str | None
    suggested: str
    """The name that a command would give it; its own name if it has one."""
    rules: list[DeviceRule]
    """Forbids, then grants, each in the order in which they are looked at."""
    default: Literal["deny", "ask"]
    """The answer where no grant matches."""


class NameDevice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gives a device a name."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]
    preview: bool = False
    """Show the rules that would be written, and change nothing."""


class Allow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lets a device open ports of its own."""

    ports: Annotated[list[int | str], Meta(min_length=1)] | None = None
    """Internal ports and ranges; null: every port from 1024 up."""
    transports: Annotated[list[Transport], Meta(min_length=1)] | None = None
    """null: TCP and UDP."""
    for_s: For | None = None
    """null: until it is retracted, with a review date."""
    preview: bool = False
    """Show the rules that would be written, and change nothing."""

    def __post_init__(self) -> None:
        ranges_of("ports", self.ports or [])

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The internal port ranges; empty: every port from 1024 up."""
        return ranges_of("ports", self.ports or [])


class Block(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    for_s: For | None = None
    """null: until it is released."""
    preview: bool = False
    """Show the rules that would be written, and change nothing."""


class Approve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    for_s: For | None = None
    """null: ``approve_for`` of the grant, else 30 days."""
    preview: bool = False
    """Show the rules that would be written, and change nothing."""


class Deny(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    remember: bool = False
    """Write a forbid, so that the operator is not asked again; else the next request asks again."""
    for_s: For | None = None
    """With ``remember``; null: until it is retracted."""
    preview: bool = False
    """Show the rules that would be written, and change nothing."""


class Preview(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of an operation that removes rules."""

    preview: bool = False
    """Show the rules that would be removed, and change nothing."""


class Written(Struct, frozen=True, kw_only=True):
    """Rules that a command wrote to or removed from the machine-owned file. The change is in force."""

    toml: str
    """The rules that were added or removed; empty: none."""
    file: str
    policy: str
    """The hash of the policy now in force."""
    closed: list[Mapping] = []
    """The mappings that ended, as they were; their flows have ended too."""


class Blocked(Written, frozen=True, kw_only=True):
    questions: Count
    """The number of dropped questions."""
    left: list[Mapping]
    """The mappings to the device that the operator added. They stay open until the operator deletes them."""


class Approved(Written, frozen=True, kw_only=True):
    opened: Mapping | None
    """The requested mapping; it is open."""
    why_not: str | None
    """The reason why the mapping is not open yet."""
    holder: Holder | None = None
    """The mapping that has the requested port."""


class RemoteHost(Struct, frozen=True, kw_only=True):
    """Remote hosts that a request names: an address or a prefix, and a source port."""

    host: str
    """An address and a prefix length: ``203.0.113.7/32``."""
    port: Annotated[int, Meta(ge=0, le=65535)]
    """The source port of the remote host; 0: any."""


class Question(Struct, frozen=True, kw_only=True):
    """A request of a device that waits for the operator's answer. Until then it is refused.

    The number stands for exactly the rule of an approval. If the device asks for more, the question gets a new one.
    """

    number: int
    earlier: list[int]
    """Earlier numbers of this question, the newest first. They can no longer be approved or denied."""
    device: str
    device_name: str | None
    address: str
    """The source address of the newest request."""
    via: Via
    """The protocol of the newest request. NAT-PMP and PCP do not prove the sender."""
    family: Literal["ip4", "ip6"]
    """ip4: a port mapping, or a pinhole without NAT; ip6: a pinhole."""
    transport: Transport
    internal_client: str
    internal_port: Port
    external_ports: list[int | str]
    """The external ports requested, single or ranges (1024-65535); empty: over IPv6, the internal one."""
    remote_hosts: list[RemoteHost]
    """The remote hosts that could connect; empty: any remote host."""
    lease_s: Count
    """The longest lease requested, in seconds, at most ``max_hold``."""
    description: str
    rule: str | None
    """The grant that needs an approval; null: no grant covers it."""
    first_asked: datetime
    last_asked: datetime
    times: int
    decision: str
    toml: str
    """The rule that an approval without a time would write now."""


def questions_wait(count: int) -> str:
    """``1 question waits: upnp-gw queue``."""
    return f"{'1 question waits' if count == 1 else f'{count} questions wait'}: upnp-gw queue"


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
    """The incidents that ended."""
    removed: str
    """The block that was removed, as TOML; empty: there was none."""
    closed: list[Mapping] = []
    """The mappings that ended, as they were."""


class Revoked(Struct, frozen=True, kw_only=True):
    mappings: list[Mapping]
    """The mappings that ended, as they were; their flows have ended too."""
    questions: Count
    """The number of dropped questions."""
