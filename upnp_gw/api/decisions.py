"""What was decided, why, and what would be: the log, ``explain`` and ``try``."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upnp_gw.api.values import MAX_LEASE_S, FieldError, Port, address, prefix
from upnp_gw.model.mapping import IPNetwork, Transport, Via
from upnp_gw.model.records import DecisionFields


class Holder(Struct, frozen=True, kw_only=True):
    """The mapping that is in the way of another one."""

    mapping: str
    """Its id."""
    device: str
    device_name: str | None
    internal_client: str
    internal_port: Port
    description: str
    """What the holder's client sent."""


class Decision(DecisionFields, frozen=True, kw_only=True):
    """One answer of the gate, as it was recorded."""

    at: datetime
    device_name: str | None = None
    holder: Holder | None = None
    """busy: the mapping in the way; null: there is none, or an older version wrote the record."""


class DecisionFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of /v1/decisions. The newest come first."""

    device: str | None = None
    """The name, MAC address (``MAC@LAN`` if the gateway serves several LANs) or IP address of a device."""
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
    unchanged: bool = True
    """false: without the decisions that say ``unchanged``."""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


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
    holder: Holder | None = None
    """busy: the mapping that is in the way."""
    note: str | None = None
    """Why the rules cannot be told any more: the policy of then is not kept, say. ``reasons`` are as they were."""
    superseded: bool = False
    """The policy that it was decided by is not the one in force."""


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
    remote_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """The source port of the remote host; 0: any."""

    def __post_init__(self) -> None:
        if (self.device is None) == (self.address is None):
            raise FieldError("device", "accepted: either device or address")
        for field in ("address", "internal_client"):
            if (text := getattr(self, field)) is not None:
                address(field, text)
        if self.remote_host is not None:
            prefix("remote_host", self.remote_host)

    @property
    def remote(self) -> IPNetwork | None:
        return None if self.remote_host is None else prefix("remote_host", self.remote_host)
