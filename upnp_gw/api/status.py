"""The gateway in one page, its findings, and what happens as it happens."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from upnp_gw.api.decisions import Decision, Holder
from upnp_gw.api.mappings import Mapping
from upnp_gw.api.values import Count


class WanState(Struct, frozen=True, kw_only=True):
    interface: str
    up: bool
    external_addresses: list[str]
    """The primary one first."""
    advertised: str | None = None
    """The address that clients get instead of the primary one (``[wan] advertise``)."""
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
    """Includes contested mappings."""
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
    library: str = ""
    """The way the nftables backend loads libnftables: the distribution's Python bindings or our own loader."""
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
    questions: Count = 0
    """How many questions wait for the operator's answer."""
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

    event: Literal[
        "hello", "added", "changed", "removed", "wan", "lan", "decided", "incident", "question", "policy", "healed"
    ]
    at: datetime
    mapping: Mapping | None = None
    """added, changed: as it is now; removed: as it was."""
    why: str | None = None
    """policy: its hash; removed: deleted, expired, revoked, policy, device-moved, prefix-gone, quarantine,
    displaced; incident: who and what was refused; question: its number, and how many questions wait; healed: what
    was found."""
    decision: Decision | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer that is not 2xx."""

    error: str
    """A fixed word: ``invalid``, ``not-found``, or a word of ``upnp_gw.model.request.Refusal``."""
    message: str
    """One sentence for people."""
    field: str | None = None
    """invalid: the field or query parameter at fault."""
    decision: str | None = None
    """Refused by the gate: the decision to look up in the log."""
    holder: Holder | None = None
    """The mapping that is in the way."""
