"""The control API: the words of the JSON that goes over the operator's unix socket.

Every body of it is a Struct here, every way of it a row of ``ROUTES``; the server, the schema in docs/api.json and
the command line are made from them. Times are RFC 3339 in UTC, durations whole seconds. Client text
(``description``, device names) is what the client sent: whoever shows it escapes it (``upnp_gw.text.escape``).

    values     what the others are made of
    mappings   ``list``, ``show``, ``add``, ``delete``
    decisions  ``log``, ``explain``, ``try``
    people     ``devices``, ``name``, ``allow``, ``block``, ``release``, ``revoke``; the queue and its answers
    policy     ``policy show``, ``reload``
    advice     ``policy suggest``, ``stale``
    problems   what is wrong with a body or a query
    status     ``status``, ``doctor``, the stream of events, what went wrong
    routes     which way takes what and answers what
"""

from upnp_gw.api.decisions import Decision, DecisionFilter, Explained, Holder, Rule, Trial
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
    RemoteHost,
    Revoked,
    Written,
    questions_wait,
)
from upnp_gw.api.evidence import AskSuggestion, Evidence, Listener, Stale, StaleFilter, Suggestion
from upnp_gw.api.mappings import AddMapping, Mapping
from upnp_gw.api.policy import PolicyText, Reloaded, RevokedMapping
from upnp_gw.api.problems import problem_of
from upnp_gw.api.routes import ROUTES, Route, encode
from upnp_gw.api.status import Check, Event, LanState, MappingCount, PolicyState, Problem, Status, WanState
from upnp_gw.api.values import MAX_LEASE_S, Count, FieldError, For, Port, moment

__all__ = [
    "MAX_LEASE_S",
    "ROUTES",
    "AddMapping",
    "Allow",
    "Approve",
    "Approved",
    "AskSuggestion",
    "Block",
    "Blocked",
    "Check",
    "Count",
    "Decision",
    "DecisionFilter",
    "Deny",
    "Device",
    "Event",
    "Evidence",
    "Explained",
    "FieldError",
    "For",
    "Holder",
    "Incident",
    "LanState",
    "Listener",
    "Mapping",
    "MappingCount",
    "NameDevice",
    "PolicyState",
    "PolicyText",
    "Port",
    "Problem",
    "Question",
    "Released",
    "Reloaded",
    "RemoteHost",
    "Revoked",
    "RevokedMapping",
    "Route",
    "Rule",
    "Stale",
    "StaleFilter",
    "Status",
    "Suggestion",
    "Trial",
    "WanState",
    "Written",
    "encode",
    "moment",
    "problem_of",
    "questions_wait",
]
