"""The ways of the API: the server, the schema in docs/api.json and the command line are made from them."""

from collections.abc import Mapping as Table
from dataclasses import dataclass

import msgspec

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
    NameDevice,
    Question,
    Released,
    Revoked,
    Written,
)
from upnp_gw.api.evidence import AskSuggestion, Evidence, Stale, StaleFilter, Suggestion
from upnp_gw.api.mappings import AddMapping, Mapping
from upnp_gw.api.policy import PolicyText, Reloaded
from upnp_gw.api.status import Check, Event, Status


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
    "block": Route("POST", "/v1/devices/{device}/block", "Forbid a device everything", Blocked, body=Block),
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
the query: of ``upnp_gw.control.server.Operator``, or of another part that the daemon gives the control server."""


def encode(value: object) -> bytes:
    """The JSON of any body of the API."""
    return msgspec.json.encode(value)
