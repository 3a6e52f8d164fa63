"""Decisions: ``log``, ``explain`` and ``try``."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upnp_gw.api.values import MAX_LEASE_S, FieldError, Port, address, prefix
from upnp_gw.model.mapping import IPNetwork, Transport, Via
from upnp_gw.model.records import DecisionFields


class Holder(Struct, frozen=True, kw_only=True):
    """The mapping that has the requested port."""

    mapping: str
    """Its id."""
    device: str
    device_name: str | None
    internal_client: str
    internal_port: Port
    description: str
    """As the client of that mapping sent it."""


class Decision(DecisionFields, frozen=True, kw_only=True):
    """One answer of the gate, as it was recorded."""

    at: datetime
    device_name: str | None = None
    holder: Holder | None = None
    """busy: the mapping that has the port; null: there is none, or an older version wrote the record."""


class DecisionFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of /v1/decisions. The newest come first."""

    device: str | None = None
    """The name, MAC address (``MAC@LAN`` if the gateway serves several LANs) or IP address of a device."""
    verdict: Literal["allow", "deny", "ask", "busy"] | None = None
    via: Via | None = None
    since: datetime | None = None
    until: datetime | None = None
    rule: str | None = None
    """The grant or forbid that decided."""
    port: Port | None = None
    """The external or the internal one."""
    before: Annotated[str, Meta(pattern="^d[0-9]{1,18}$")] | None = None
    """The id of a decision; only older ones are returned: the next page."""
    unchanged: bool = True
    """false: leave out decisions with ``unchanged``."""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 100


class Rule(Struct, frozen=True, kw_only=True):
    """The effect of one forbid or grant on a request."""

    name: str
    effect: Literal["none", "denies", "narrows", "full", "covers", "charged"]
    """narrows: takes external ports from the choice of the gateway; full: covers the request, but has no room or is
    outside its hours; covers: has room, but another grant was charged."""
    why: str
    """The conditions that do not hold; if all hold: those conditions, or the room that is left."""
    concerns: bool
    """The rule is for this device; its other conditions do not count here."""


class Explained(Struct, frozen=True, kw_only=True):
    """The trace of a decision or of a trial."""

    verdict: Literal["allow", "deny", "ask", "busy"]
    refusal: str | None
    rule: str | None
    reasons: list[str]
    """The steps in order: floor, limits, forbids, grants, clamp; the last one is the answer in one sentence."""
    forbids: list[Rule]
    grants: list[Rule]
    names: list[str]
    """The names of the device in the policy; empty with a ``note``, like the rules."""
    lease_s: int | None
    """allow: the granted lease in seconds."""
    policy: str
    """The hash of the policy that decided."""
    facts: dict[str, Any]
    decision: Decision | None = None
    """null: a trial."""
    holder: Holder | None = None
    """busy: the mapping that has the port."""
    note: str | None = None
    """The reason why there is no trace of the rules, such as an old policy that is not kept.

    ``reasons`` are as recorded all the same.
    """
    superseded: bool = False
    """The policy that decided is no longer in force."""


class Trial(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to try. Either ``device`` or ``address`` names the device that asks."""

    device: str | None = None
    """A name of the policy or a MAC address."""
    address: str | None = None
    via: Via = Via.IGD1
    transport: Transport
    internal_port: Port
    external_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """null: the internal port; over NAT-PMP and PCP the gateway may choose another one."""
    lease_s: Annotated[int, Meta(ge=1, le=MAX_LEASE_S)] | None = None
    """null: as long as possible."""
    internal_client: str | None = None
    """null: the device that asks."""
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
