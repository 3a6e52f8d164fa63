"""Counts and times of this run, for ``GET /v1/measurements``: requests, refusals, the kernel, the store, devices.

Everything only grows until the daemon stops. A request costs a few additions here; nothing is written down. Times
are integers of nanoseconds (``time.perf_counter_ns``). Memory is bounded.
"""

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TypeVar

from upnp_gw.ledger.events import Event, IncidentBegan, PolicyRefused, QuestionAsked
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import Refusal, Refused, Reply

T = TypeVar("T")
BOUNDS_NS = tuple(
    factor * unit
    for unit in (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
    for factor in (1, 2, 5)
)
"""The upper bounds of the buckets: 10, 20, 50 microseconds and so on to 5 seconds; each belongs to its bucket."""
MOST_DEVICES = 1024
"""Devices whose traffic is counted apart. The one that was idle for longest then counts among the others."""
DENIED = frozenset({Refusal.NOT_AUTHORIZED, Refusal.RATE, Refusal.QUOTA, Refusal.TABLE_FULL})


class Histogram:
    """Counts of durations, by bucket."""

    __slots__ = ("counts", "sum_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        """By bucket, not added up; the last one: longer than every bound."""
        self.sum_ns = 0

    def add(self, ns: int) -> None:
        self.counts[bisect_left(BOUNDS_NS, ns)] += 1
        self.sum_ns += ns

    async def of(self, work: Awaitable[T]) -> T:
        """Waits for the work and adds its time, unless it raises."""
        began = perf_counter_ns()
        result = await work
        self.add(perf_counter_ns() - began)
        return result


class ProtocolCounts:
    """The requests of one protocol."""

    __slots__ = ("time", "verdicts")

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        """See ``verdict_of``."""
        self.time = Histogram()
        """From a request's arrival in the gateway to its reply, with the kernel and the store."""


@dataclass(slots=True)
class Traffic:
    """Traffic of mappings, as the kernel counts it."""

    bytes: int = 0
    connections: int = 0

    def add(self, size: int, connections: int) -> None:
        self.bytes += size
        self.connections += connections


@dataclass(slots=True)
class Measurements:
    """One object for the engine; its parts add to it on the event loop."""

    protocols: dict[Via, ProtocolCounts] = field(default_factory=lambda: {via: ProtocolCounts() for via in Via})
    refusals: Counter[Refusal] = field(default_factory=Counter)
    decision_time: Histogram = field(default_factory=Histogram)
    """The facts, the verdict and the plan of one request, without any waiting."""
    kernel_time: Histogram = field(default_factory=Histogram)
    """One transaction of the kernel, for a batch of requests."""
    store_time: Histogram = field(default_factory=Histogram)
    incidents: int = 0
    questions: int = 0
    policies_refused: int = 0
    devices: OrderedDict[str, Traffic] = field(default_factory=OrderedDict)
    """Device -> the traffic of its mappings, ended ones too; the one used last is at the end."""
    other_devices: Traffic = field(default_factory=Traffic)

    def answered(self, via: Via, reply: Reply, ns: int) -> None:
        """Counts a reply. ``ns``: nanoseconds since the request came."""
        counts = self.protocols[via]  # one look-up: the hash of an enumeration's member is slow
        counts.verdicts[verdict_of(reply)] += 1
        counts.time.add(ns)
        if isinstance(reply, Refused):
            self.refusals[reply.refusal] += 1

    def used(self, device: str, size: int, connections: int) -> None:
        """Adds traffic of a device's mapping. ``size``: bytes."""
        traffic = self.devices.get(device)
        if traffic is None:
            traffic = self.devices[device] = Traffic()
            if len(self.devices) > MOST_DEVICES:
                _, idle = self.devices.popitem(last=False)
                self.other_devices.add(idle.bytes, idle.connections)
        self.devices.move_to_end(device)
        traffic.add(size, connections)

    def on_event(self, event: Event) -> None:
        """A listener of ``ledger.events.Events``."""
        match event:
            case IncidentBegan():
                self.incidents += 1
            case QuestionAsked():
                self.questions += 1
            case PolicyRefused():
                self.policies_refused += 1


def verdict_of(reply: Reply) -> str:
    """The verdict of a reply, for counting.

    ``allow``; ``deny``: by the policy or a limit; ``ask``: the operator is asked; ``busy``: it may have a mapping,
    and the port or the address is not available; ``none``: nothing was decided, such as for an unknown mapping.
    """
    if not isinstance(reply, Refused):
        return "allow"
    if reply.decision is None:
        return "none"
    if reply.refusal in DENIED:
        return "deny"
    return "ask" if reply.refusal is Refusal.ASK else "busy"
