"""Traffic of requested ports, a policy proposed from it, and unused rules."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from upnp_gw.api.values import Count, FieldError, Port, address
from upnp_gw.model.mapping import MappingKind, Transport


class Evidence(Struct, frozen=True, kw_only=True):
    """Requests for an internal port of a device, and its traffic."""

    device: str
    device_name: str | None
    transport: Transport
    kind: MappingKind
    """The kind of mapping that a request for it gets now."""
    family: Literal["ip4", "ip6"]
    internal_port: Port
    requests: Count
    refused: Count
    """Verdicts deny, ask and busy."""
    ungranted: Count
    """Allowed only because ``mode`` was ``observe``."""
    renewals: Count
    granted_s: Count
    """Seconds that the port was open."""
    connections: Count
    bytes: Count
    days: Count
    """Days with traffic in both directions."""
    remotes: list[str]
    """Remote hosts that are known, at most 16."""
    more_remotes: bool
    first_asked: datetime
    last_asked: datetime
    last_used: datetime | None


class Listener(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A listening port of a host, from a scan on it."""

    transport: Transport
    port: Port
    program: Annotated[str, Meta(max_length=40)] = ""


class AskSuggestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Proposes a policy from recorded traffic, or from the listening ports of a host."""

    min_days: Annotated[int, Meta(ge=1, le=60)] = 3
    """A port gets a grant if it had traffic on so many days."""
    listeners: Annotated[list[Listener], Meta(max_length=200)] | None = None
    """null: use recorded traffic."""
    device: str | None = None
    """With ``listeners``: the host, by its name in the policy."""
    host: str | None = None
    """With ``listeners``: the host, by its address."""

    def __post_init__(self) -> None:
        if self.listeners is not None and (self.device is None) == (self.host is None):
            raise FieldError("device", "accepted: with listeners either device or host")
        if self.host is not None:
            address("host", self.host)


class Suggestion(Struct, frozen=True, kw_only=True):
    """A proposed policy file. It loads, and its tests pass."""

    toml: str
    grants: Count
    tests: Count
    notes: list[str]
    """The rules that were left out, with the reasons: the comments at the end of the file."""


class StaleFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of /v1/stale."""

    days: Annotated[int, Meta(ge=1, le=180)] = 30


class Stale(Struct, frozen=True, kw_only=True):
    """An unused grant, mapping or device, or an overdue review."""

    kind: Literal["grant-unmatched", "grant-unused", "device-gone", "review-overdue", "mapping-idle"]
    about: str
    """The name of a grant or device, or the id of a mapping."""
    finding: str
    """One sentence."""
    since: datetime | None
