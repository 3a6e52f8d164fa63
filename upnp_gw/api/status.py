"""The state of the gateway, findings of the doctor, events, and problems."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from upnp_gw.api.above import GatewayAbove
from upnp_gw.api.decisions import Decision, Holder
from upnp_gw.api.devices import Incident, Question
from upnp_gw.api.mappings import Mapping
from upnp_gw.api.values import Count, Port


class WanState(Struct, frozen=True, kw_only=True):
    interface: str
    up: bool
    external_addresses: list[str]
    """The primary one first."""
    advertised: str | None = None
    """The address that clients get instead of the primary one: that of ``[wan] advertise``, or the one that the
    gateway above has told."""
    address_kind: Literal["public", "private", "shared", "none"]
    """private: RFC 1918; shared: 100.64.0.0/10 (RFC 6598). The internet reaches neither."""
    connected_s: Count
    """Seconds since it got its address; 0: it has none."""


class LanState(Struct, frozen=True, kw_only=True):
    interface: str
    up: bool
    addresses: list[str]
    """With prefix length."""
    nat: bool = True
    """False: outside, each IPv4 host has its own address, and a mapping is a pinhole."""


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
    """Includes contested mappings, and those without a lease at the gateway above."""
    disabled: Count
    limit: Count
    """The limit of the policy (``total_mappings``)."""


class Status(Struct, frozen=True, kw_only=True):
    """The state of the gateway."""

    version: str
    pid: int
    started_at: datetime
    uptime_s: Count
    firewall: Literal["alongside", "router"]
    backend: Literal["nftables", "memory"]
    library: str = ""
    """The loader of libnftables: the Python bindings of the distribution, or our own."""
    wan: WanState
    lan: list[LanState]
    locations: list[str]
    """The URLs of the descriptions that are announced."""
    mappings: MappingCount
    policy: PolicyState
    healed: Count = 0
    """The number of times that another program removed our table and it was installed again."""
    warnings: list[str] = []
    """Such as a private external address, no policy file, an open incident."""
    counters: dict[str, int] = {}
    """Requests answered and dropped, by kind."""
    questions: Count = 0
    """Questions that wait for an answer."""
    detected: list[str] = []
    """Interfaces that were detected, and why."""
    above: GatewayAbove | None = None
    """null: no gateway above is asked (``[upstream] when``)."""


class Check(Struct, frozen=True, kw_only=True):
    """One finding of the doctor."""

    name: str
    outcome: Literal["ok", "warn", "fail"]
    finding: str
    """One sentence."""
    remedy: str | None = None
    """A command to type, a line to add or another step; null: nothing to do."""
    commands: list[str] = []
    """The commands of ``remedy`` that fix it as they stand, to run as root in this order; empty: a person has to
    decide."""
    lasting: bool = False
    """True: the effect of ``commands`` outlasts a boot and a reload of the other firewall."""
    guide: str | None = None
    """The page of the documentation about it, from the root of the source: docs/guides/docker.md."""
    caution: str | None = None
    """A reason not to run ``commands`` without a look: they take something from another program; null: none."""


class EventFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of /v1/events."""

    page_port: Port | None = None
    """The page for people reads the stream. Until it ends, the ``presentationURL`` leads to this TCP port."""


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the event stream. The first is ``hello``: the stream has every event after it."""

    event: Literal[
        "hello",
        "added",
        "changed",
        "removed",
        "wan",
        "lan",
        "decided",
        "incident",
        "question",
        "new-device",
        "first-mapping",
        "double-nat",
        "policy",
        "policy-refused",
        "healed",
        "dropped",
    ]
    """new-device: a device asked for the first time; first-mapping: it got its first mapping; double-nat: the
    internet does not reach the external address; dropped: the reader is too slow, and the stream ends."""
    at: datetime
    id: str | None = None
    """Its place in the stream, for ``Last-Event-ID``; hello: that of the last event before; dropped: none."""
    mapping: Mapping | None = None
    """added, changed, first-mapping: as it is; removed: as it was."""
    why: str | None = None
    """policy: its hash; removed: deleted, expired, revoked, policy, device-moved, prefix-gone, nat-changed,
    quarantine, displaced; incident: the device and the refused ports; question: its number, and the number of
    questions; healed: the state of the table before; double-nat, policy-refused, dropped: a sentence; hello: events
    were missed since ``Last-Event-ID``."""
    decision: Decision | None = None
    question: Question | None = None
    incident: Incident | None = None
    device: str | None = None
    """new-device"""
    device_name: str | None = None
    address: str | None = None
    """new-device: the source of its request; double-nat: the external address."""


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer whose status is not 2xx."""

    error: str
    """A fixed code: ``invalid``, ``not-found``, or a value of ``upnp_gw.model.request.Refusal``."""
    message: str
    """One sentence."""
    field: str | None = None
    """invalid: the field or query parameter with the error."""
    decision: str | None = None
    """Refused by the gate: the decision, for ``upnp-gw explain``."""
    holder: Holder | None = None
    """The mapping that has the requested port."""
