"""The control API: types of its JSON bodies, and its routes.

The server, the command line and docs/api.json are made from these. Times are RFC 3339 in UTC, durations whole
seconds. ``description`` and device names are as the client sent them: escape them before you print them
(``upnp_gw.text.escape``).

    values     ports, counts, times and their errors
    mappings   ``list``, ``show``, ``add``, ``delete``
    decisions  ``log``, ``explain``, ``try``
    devices    ``devices`` and the commands that change rules, ``queue``, ``approve``, ``deny``
    policy     ``policy show``, ``reload``; kernel_proof: ``policy prove --kernel``
    evidence   ``evidence``, ``policy suggest``, ``stale``
    backup     ``backup``, ``erase``
    leases     ``import``: leases of another gateway
    measurements  counts and times, for Prometheus
    reading    bodies and queries; problems: their error messages
    status     ``status``, ``doctor``, the event stream, ``Problem``; above: the gateway above
    routes     method, path, body, query and answer of each operation
"""

from upnp_gw.api.above import Above, GatewayAbove
from upnp_gw.api.backup import BackupQuery, Erase, Erased
from upnp_gw.api.decisions import Decision, DecisionFilter, Explained, Holder, Rule, Trial
from upnp_gw.api.devices import (
    Allow,
    Approve,
    Approved,
    Block,
    Blocked,
    Deny,
    Device,
    DeviceRule,
    Incident,
    KnownDevice,
    NameDevice,
    Preview,
    Question,
    Released,
    RemoteHost,
    Revoked,
    Written,
    questions_wait,
)
from upnp_gw.api.evidence import AskSuggestion, Evidence, Listener, Stale, StaleFilter, Suggestion
from upnp_gw.api.kernel_proof import KernelFinding, KernelProof, LetThrough
from upnp_gw.api.leases import MOST_LEASES, ForeignLease, TakenLease, TakenOver, TakeOver
from upnp_gw.api.mappings import Added, AddMapping, Mapping, Traffic
from upnp_gw.api.measurements import DeviceTraffic, Histogram, Measurements, Process, RequestCount
from upnp_gw.api.policy import AddressList, PolicyText, Reloaded, RevokedMapping
from upnp_gw.api.problems import Vocabulary, problem_of
from upnp_gw.api.reading import read_body, read_query
from upnp_gw.api.routes import ROUTES, Route, encode
from upnp_gw.api.status import (
    Check,
    Event,
    EventFilter,
    LanState,
    MappingCount,
    PolicyState,
    Problem,
    Status,
    WanState,
)
from upnp_gw.api.values import MAX_LEASE_S, Count, FieldError, For, Port, moment

__all__ = [
    "MAX_LEASE_S",
    "MOST_LEASES",
    "ROUTES",
    "Above",
    "AddMapping",
    "Added",
    "AddressList",
    "Allow",
    "Approve",
    "Approved",
    "AskSuggestion",
    "BackupQuery",
    "Block",
    "Blocked",
    "Check",
    "Count",
    "Decision",
    "DecisionFilter",
    "Deny",
    "Device",
    "DeviceRule",
    "DeviceTraffic",
    "Erase",
    "Erased",
    "Event",
    "EventFilter",
    "Evidence",
    "Explained",
    "FieldError",
    "For",
    "ForeignLease",
    "GatewayAbove",
    "Histogram",
    "Holder",
    "Incident",
    "KernelFinding",
    "KernelProof",
    "KnownDevice",
    "LanState",
    "LetThrough",
    "Listener",
    "Mapping",
    "MappingCount",
    "Measurements",
    "NameDevice",
    "PolicyState",
    "PolicyText",
    "Port",
    "Preview",
    "Problem",
    "Process",
    "Question",
    "Released",
    "Reloaded",
    "RemoteHost",
    "RequestCount",
    "Revoked",
    "RevokedMapping",
    "Route",
    "Rule",
    "Stale",
    "StaleFilter",
    "Status",
    "Suggestion",
    "TakeOver",
    "TakenLease",
    "TakenOver",
    "Traffic",
    "Trial",
    "Vocabulary",
    "WanState",
    "Written",
    "encode",
    "moment",
    "problem_of",
    "questions_wait",
    "read_body",
    "read_query",
]
