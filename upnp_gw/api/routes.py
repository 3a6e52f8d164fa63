"""The routes of the API. The server, the command line and docs/api.json are made from them."""

from collections.abc import Mapping as Table
from dataclasses import dataclass

import msgspec

from upnp_gw.api.backup import BackupQuery, Erase, Erased
from upnp_gw.api.decisions import Decision, DecisionFilter, Explained, Trial
from upnp_gw.api.devices import (
    Allow,
    Approve,
    Approved,
    Block,
    Blocked,
    Deny,
    Device,
    Incident,
    KnownDevice,
    NameDevice,
    Preview,
    Question,
    Released,
    Revoked,
    Written,
)
from upnp_gw.api.evidence import AskSuggestion, Evidence, Stale, StaleFilter, Suggestion
from upnp_gw.api.kernel_proof import KernelProof
from upnp_gw.api.leases import TakenOver, TakeOver
from upnp_gw.api.mappings import Added, AddMapping, Mapping, Traffic
from upnp_gw.api.measurements import Measurements
from upnp_gw.api.policy import PolicyText, Reloaded
from upnp_gw.api.status import Check, Event, EventFilter, Status


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the API."""

    method: str
    path: str
    summary: str
    answer: object
    """The type of the 200 body."""
    body: type | None = None
    query: type | None = None
    stream: bool = False
    """The answer is a stream of JSON lines of this type."""
    media: str = ""
    """The answer is a file of this media type; empty: JSON."""
    local: bool = False
    """Only at the control socket: a token of the page gives no right to it."""


ROUTES: Table[str, Route] = {
    "mappings": Route("GET", "/v1/mappings", "List all mappings, oldest first", list[Mapping]),
    "mapping": Route("GET", "/v1/mappings/{id}", "Show one mapping", Mapping),
    "traffic": Route("GET", "/v1/mappings/{id}/traffic", "Show the traffic of a mapping over time", Traffic),
    "add": Route("POST", "/v1/mappings", "Open a port as the operator", Added, body=AddMapping),
    "delete": Route("DELETE", "/v1/mappings/{id}", "Close a mapping and end its flows; returns it", Mapping),
    "take_over": Route(
        "POST",
        "/v1/leases",
        "Take over leases of another gateway, each as its client's request",
        TakenOver,
        body=TakeOver,
        local=True,
    ),
    "status": Route("GET", "/v1/status", "Show the state of the gateway", Status),
    "decisions": Route(
        "GET", "/v1/decisions", "List decisions, newest first", list[Decision], query=DecisionFilter
    ),
    "devices": Route("GET", "/v1/devices", "List devices that asked or have mappings", list[Device]),
    "known": Route(
        "GET", "/v1/devices/{device}", "Show a device and its rules, by name, MAC or IP address", KnownDevice
    ),
    "name": Route("PUT", "/v1/devices/{device}/name", "Give a device a name", Written, body=NameDevice),
    "allow": Route("POST", "/v1/devices/{device}/allow", "Let a device open its own ports", Written, body=Allow),
    "block": Route("POST", "/v1/devices/{device}/block", "Refuse every request of a device", Blocked, body=Block),
    "release": Route(
        "POST",
        "/v1/devices/{device}/release",
        "End the incident and the block of a device",
        Released,
        query=Preview,
    ),
    "revoke": Route(
        "POST", "/v1/devices/{device}/revoke", "End mappings, flows and questions of a device", Revoked
    ),
    "retract": Route("DELETE", "/v1/rules/{rule}", "Remove a rule that a command wrote", Written, query=Preview),
    "queue": Route("GET", "/v1/queue", "List requests that wait for an answer", list[Question]),
    "approve": Route(
        "POST", "/v1/queue/{number}/approve", "Approve a request and open its ports", Approved, body=Approve
    ),
    "deny": Route("POST", "/v1/queue/{number}/deny", "Deny a request", Written, body=Deny),
    "incidents": Route("GET", "/v1/incidents", "List open incidents, oldest first", list[Incident]),
    "explain": Route("GET", "/v1/decisions/{id}", "Explain a decision: every rule, and the facts", Explained),
    "trial": Route("POST", "/v1/try", "Show the answer to a request; change nothing", Explained, body=Trial),
    "policy": Route("GET", "/v1/policy", "Show the policy in force, as its files were loaded", PolicyText),
    "reload": Route("POST", "/v1/reload", "Load the policy files again, all or nothing", Reloaded),
    "prove_kernel": Route(
        "GET", "/v1/policy/kernel", "Prove that only mappings let packets in, or name one", KernelProof
    ),
    "evidence": Route("GET", "/v1/evidence", "List requested ports and their traffic", list[Evidence]),
    "suggest": Route(
        "POST",
        "/v1/policy/suggest",
        "Propose a policy from recorded traffic; change nothing",
        Suggestion,
        body=AskSuggestion,
    ),
    "stale": Route("GET", "/v1/stale", "List unused rules, mappings and devices", list[Stale], query=StaleFilter),
    "backup": Route(
        "GET",
        "/v1/backup",
        "Get the state in one file, for upnp-gw restore",
        bytes,
        query=BackupQuery,
        media="application/x-tar",
        local=True,
    ),
    "erase": Route(
        "POST",
        "/v1/erase",
        "Erase what is kept of a device, or all history",
        Erased,
        body=Erase,
        local=True,
    ),
    "doctor": Route("GET", "/v1/doctor", "Check the machine for problems", list[Check]),
    "measurements": Route("GET", "/v1/measurements", "Show counts and times since the start", Measurements),
    "events": Route("GET", "/v1/events", "Stream events as they happen", Event, query=EventFilter, stream=True),
}
"""Operation -> its route. The control server calls the method of this name, of ``upnp_gw.control.server.Operator``
or of another part that the daemon gives it. Arguments: the names in the path, then the body or the query."""


def encode(value: object) -> bytes:
    """The JSON of any body of the API."""
    return msgspec.json.encode(value)
