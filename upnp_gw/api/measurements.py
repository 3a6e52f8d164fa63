"""Counts and times of the daemon since its start, for programs that record them (Prometheus)."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from upnp_gw.api.values import Count
from upnp_gw.model.mapping import Via

Verdict = Literal["allow", "deny", "ask", "busy", "none"]


class Histogram(Struct, frozen=True, kw_only=True):
    """Counts of durations, by bucket."""

    bounds_s: list[float]
    """The upper bounds of the buckets in seconds; a time that is equal to its bound is in the bucket."""
    counts: list[Count]
    """By bucket, not added up. One more than the bounds: the last is for longer times."""
    sum_s: float
    """All times together, in seconds."""


class RequestCount(Struct, frozen=True, kw_only=True):
    """Requests for a change that came over one protocol and got one verdict."""

    via: Via
    verdict: Verdict
    """allow; deny: by the policy or a limit; ask: the operator is asked; busy: the port or the address is not
    available; none: nothing was decided, such as for an unknown mapping."""
    count: Count


class DeviceTraffic(Struct, frozen=True, kw_only=True):
    """The mappings of one device and their traffic."""

    device: str
    device_name: str | None
    mappings: Count
    """Its mappings now, also parked ones."""
    bytes: Count
    """Bytes through its mappings since the start, through ended ones too."""
    connections: Count


class Process(Struct, frozen=True, kw_only=True):
    """The daemon as the system sees it."""

    cpu_s: float
    """Processor time of all its threads, in seconds."""
    resident_bytes: Count
    open_files: Count


class Measurements(Struct, frozen=True, kw_only=True):
    """Everything but ``..._open``, ``..._waiting`` and ``mappings`` counts since the start of the daemon."""

    version: str
    started_at: datetime
    process: Process
    requests: list[RequestCount]
    request_time: dict[str, Histogram]
    """Protocol -> from a request's arrival to its reply, with the kernel and the store."""
    decision_time: Histogram
    """The facts, the verdict and the plan of a request."""
    kernel_time: Histogram
    """Changes of the kernel's table, each for a batch of requests."""
    store_time: Histogram
    """Commits of the store, each for a batch of requests."""
    refusals: dict[str, Count]
    """Reason -> count. The reasons are those of ``Problem.error``."""
    healed: Count
    """Another program removed our table, and it was installed again."""
    incidents: Count
    incidents_open: Count
    questions: Count
    """Questions to the operator."""
    questions_waiting: Count
    policies_refused: Count
    """Reloads of policy files with a mistake."""
    mappings: dict[str, Count]
    """State -> mappings now: active, parked, disabled. Those without a lease at the gateway above are parked."""
    mappings_limit: Count
    devices: list[DeviceTraffic]
    """The devices with a mapping, and those whose mappings had traffic; at most 1024 without a mapping."""
    other_devices_bytes: Count
    """Traffic of devices that are not listed any more."""
    other_devices_connections: Count
    servers: dict[str, Count]
    """Messages of clients by kind, as in ``Status.counters``."""
    wan_up: bool
    address_kind: Literal["public", "private", "shared", "none"]
    """Of the external IPv4 address, as in ``WanState``."""
    above_answers: bool | None = None
    """The gateway above answers; null: none is asked, or it was not asked yet."""
