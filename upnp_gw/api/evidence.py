"""Evidence of what is used, a policy proposed from it, and what nobody needs any more."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api.values import Count, FieldError, Port, address
from upnp_gw.model.mapping import MappingKind, Transport


class Evidence(Struct, frozen=True, kw_only=True):
    """What an internal port of a device was used for."""

    device: str
    device_name: str | None
    transport: Transport
    kind: MappingKind
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
            raise FieldError("device", "accepted: with listeners either device or host")
        if self.host is not None:
            address("host", self.host)


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
