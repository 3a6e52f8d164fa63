"""The requests for ports and their use over weeks, for ``suggest`` and ``stale``. Observations, no conclusions.

Memory is bounded under any input from LAN or internet: rows, ports of a device, days, remote hosts. A device that
requests a thousand ports loses its own oldest unused rows. Rows with traffic are dropped last.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from upnp_gw.ledger.bounded_rows import BoundedRows
from upnp_gw.model.mapping import DAY_S, IPAddress, Transport

KEEP_S = 180 * DAY_S
"""Seconds after the last request, use or sight until a row is dropped."""
MOST_ROWS = 8192
MOST_PORTS = 128
"""Rows of one device."""
MOST_DEVICES = 4096
MOST_RULES = 4096
MOST_DAYS = 64
"""The newest days of use are kept."""
MOST_REMOTES = 16
MOST_EXTERNALS = 8
BURST_S = 600.0


@lru_cache(maxsize=64)
def shared_vias(vias: tuple[str, ...]) -> tuple[str, ...]:
    """One object for equal values: 8,192 rows have a few different ones."""
    return vias


class EvidenceKey(NamedTuple):
    """An internal port of a device, for one transport and address family."""

    device: str
    """The requester: a MAC address, or an IP address if none is known."""
    transport: Transport
    family: int
    """IP version."""
    port: int
    """The internal port."""


@dataclass(slots=True)
class Evidence:
    """One row. Times are wall-clock seconds, days are proleptic ordinals of the gateway's local date."""

    opening: EvidenceKey
    first_asked: float
    last_asked: float
    requests: int = 0
    refused: int = 0
    """Denied, left to the operator, or not possible."""
    ungranted: int = 0
    """Allowed only in observe mode: ``would-deny``."""
    renewals: int = 0
    """Requests for a mapping that existed already."""
    granted_s: float = 0.0
    """Seconds during which it was open."""
    connections: int = 0
    bytes: int = 0
    last_used: float | None = None
    days: tuple[int, ...] = ()
    """Days of traffic in both directions, oldest first."""
    remotes: frozenset[IPAddress] = frozenset()
    more_remotes: bool = False
    """There were more than ``MOST_REMOTES``, or unknown ones."""
    externals: tuple[int, ...] = ()
    """External ports that it had, in order."""
    vias: tuple[str, ...] = ()
    """The protocols of its requests, in order."""
    peak: int = 0
    """The most mappings to it at a time."""
    delegated: bool = False
    """Requested for another host."""

    def asked_over(self, via: str) -> None:
        """Adds the protocol of a request."""
        if via not in self.vias:
            self.vias = shared_vias(tuple(sorted((*self.vias, via))))

    def had_external(self, port: int) -> None:
        """Adds an external port, up to ``MOST_EXTERNALS``."""
        if port not in self.externals and len(self.externals) < MOST_EXTERNALS:
            self.externals = tuple(sorted((*self.externals, port)))

    @property
    def touched(self) -> float:
        """Wall-clock seconds of the last request or use."""
        return max(self.last_asked, self.last_used or 0.0)

    @property
    def worth(self) -> tuple[bool, float]:
        """The lowest is dropped first: unused rows, then the oldest."""
        return bool(self.days), self.touched


@dataclass(slots=True)
class DeviceEvidence:
    """Evidence about one device, over all its ports."""

    device: str
    first_seen: float
    last_seen: float
    peak: int = 0
    """The most mappings at a time."""
    incidents: int = 0
    last_incident: float | None = None

    @property
    def worth(self) -> tuple[bool, float]:
        """Devices with an incident are dropped last, so that many new addresses cannot displace them."""
        return bool(self.incidents), self.last_seen


@dataclass(slots=True)
class RuleEvidence:
    """Evidence about one grant, by its name."""

    rule: str
    since: float
    """The time when it was first in force."""
    last_in_force: float
    matched: int = 0
    last_matched: float | None = None
    last_used: float | None = None

    @property
    def worth(self) -> tuple[bool, float]:
        """The rule that was in force least recently is dropped first."""
        return True, self.last_in_force


@dataclass(slots=True)
class Changes:
    """Changes that are not on disk yet: rows to write, and keys of rows to delete."""

    openings: list[Evidence] = field(default_factory=list)
    devices: list[DeviceEvidence] = field(default_factory=list)
    rules: list[RuleEvidence] = field(default_factory=list)
    gone: list[EvidenceKey] = field(default_factory=list)
    gone_devices: list[str] = field(default_factory=list)
    gone_rules: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any((self.openings, self.devices, self.rules, self.gone, self.gone_devices, self.gone_rules))


class EvidenceTable:
    """All evidence. ``evidence_collector`` fills it, the store keeps it over restarts."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self.keep_s = keep_s
        """As ``KEEP_S``."""
        self.openings: BoundedRows[EvidenceKey, Evidence] = BoundedRows(
            MOST_ROWS, lambda row: row.worth, self._unlink
        )
        self.devices: BoundedRows[str, DeviceEvidence] = BoundedRows(MOST_DEVICES, lambda row: row.worth)
        self.rules: BoundedRows[str, RuleEvidence] = BoundedRows(MOST_RULES, lambda row: row.worth)
        self._ports: dict[str, dict[EvidenceKey, None]] = {}
        self._bursts: dict[str, deque[tuple[float, int]]] = {}

    def load(
        self,
        openings: Iterable[Evidence],
        devices: Iterable[DeviceEvidence],
        rules: Iterable[RuleEvidence],
        now: Callable[[str], str] = lambda device: device,
    ) -> None:
        """Adds the stored evidence. Call it first. ``now``: stored device -> its present identifier. Of two rows
        for one opening the newer one stays; of two as new, the one that has the present identifier already."""
        for row in sorted(openings, key=lambda row: (row.touched, now(row.opening.device) == row.opening.device)):
            old, row.opening = row.opening, row.opening._replace(device=now(row.opening.device))
            self.openings[row.opening] = row
            self._ports.setdefault(row.opening.device, {})[row.opening] = None
            self.openings.renamed(old, row.opening)
        for device in sorted(devices, key=lambda row: (row.last_seen, now(row.device) == row.device)):
            before, device.device = device.device, now(device.device)
            self.devices[device.device] = device
            self.devices.renamed(before, device.device)
        self.rules.update({row.rule: row for row in rules})

    # -- observations

    def row(self, opening: EvidenceKey, wall: float) -> Evidence:
        """The row of a requested opening."""
        known = self.openings.get(opening)
        if known is not None:
            opening = known.opening  # one object for equal keys: ``changed`` holds the key of each row for a minute
        else:
            own = self._ports.setdefault(opening.device, {})
            if len(own) >= MOST_PORTS:
                self.openings.drop(self.openings.least_worth(own, MOST_PORTS // 8, opening))
            self._ports.setdefault(opening.device, {})[opening] = None
        return self.openings.row(opening, lambda: Evidence(opening, wall, wall))

    def used(self, opening: EvidenceKey, wall: float, connections: int, volume: int) -> None:
        """Adds connections and bytes. An opening without a row was never requested: it is ignored."""
        row = self.openings.get(opening)
        if row is None:
            return
        self.openings.changed[row.opening] = None
        row.connections += max(0, connections)
        row.bytes += max(0, volume)
        row.last_used = wall

    def talked(self, opening: EvidenceKey, day: int, remotes: Iterable[IPAddress] | None) -> None:
        """Adds a day of traffic in both directions, with its remote hosts; None: they are unknown."""
        row = self.openings.get(opening)
        if row is None:
            return
        self.openings.changed[row.opening] = None
        if day not in row.days:
            row.days = tuple(sorted({*row.days, day}))[-MOST_DAYS:]
        together = row.remotes.union(remotes or ())
        if remotes is None or len(together) > MOST_REMOTES:
            row.more_remotes = True
        else:
            row.remotes = together

    def stood(self, opening: EvidenceKey, seconds: float, at_a_time: int) -> None:
        """It was open for these seconds, through ``at_a_time`` mappings."""
        row = self.openings.get(opening)
        if row is not None:
            self.openings.changed[row.opening] = None
            row.granted_s += seconds
            row.peak = max(row.peak, at_a_time)

    def seen(self, device: str, wall: float, held: int = 0) -> DeviceEvidence:
        """A device was present, with ``held`` mappings."""
        row = self.devices.row(device, lambda: DeviceEvidence(device, wall, wall))
        row.last_seen = max(row.last_seen, wall)
        row.peak = max(row.peak, held)
        return row

    def incident(self, device: str, began: float) -> None:
        """Adds an incident of this device. A repeated call for the same incident changes nothing."""
        row = self.devices.get(device) or self.seen(device, began)
        if row.last_incident is None or began > row.last_incident:
            self.devices.changed[device] = None
            row.incidents += 1
            row.last_incident = began

    def ungranted(self, device: str, port: int, wall: float, most: int) -> None:
        """A request that only observe mode allowed. ``most`` distinct ports in ten minutes count as an incident."""
        recent = self._bursts.setdefault(device, deque(maxlen=most * 4))
        recent.append((wall, port))
        while recent[0][0] <= wall - BURST_S:
            recent.popleft()
        if len({port for _, port in recent}) >= most:
            recent.clear()
            self.incident(device, wall)
        if len(self._bursts) > MOST_DEVICES:
            self._bursts.pop(next(iter(self._bursts)))

    def in_force(self, rule: str, wall: float) -> RuleEvidence:
        """A grant of this name is in force."""
        row = self.rules.row(rule, lambda: RuleEvidence(rule, wall, wall))
        row.last_in_force = wall
        return row

    # -- keeping

    def prune(self, wall: float) -> None:
        """Drops rows that are older than ``keep_s``."""
        since = wall - self.keep_s
        self.openings.drop([key for key, row in self.openings.items() if row.touched < since])
        self.devices.drop([key for key, row in self.devices.items() if row.last_seen < since])
        self.rules.drop([key for key, row in self.rules.items() if row.last_in_force < since])

    def forget(self, devices: Collection[str] | None) -> None:
        """Drops all rows of these devices; None: all rows, those of rules too."""
        self.openings.drop([key for key in self.openings if devices is None or key.device in devices])
        self.devices.drop([key for key in self.devices if devices is None or key in devices])
        for device in [device for device in self._bursts if devices is None or device in devices]:
            del self._bursts[device]
        if devices is None:
            self.rules.drop(list(self.rules))

    def pop_changes(self) -> Changes:
        """The changes since the last call, for the store."""
        openings, removed = self.openings.pop_changes()
        devices, gone_devices = self.devices.pop_changes()
        rules, gone_rules = self.rules.pop_changes()
        return Changes(openings, devices, rules, removed, gone_devices, gone_rules)

    def put_back(self, changes: Changes) -> None:
        """Call it if the store could not write the changes: the next ``pop_changes`` has them again."""
        self.openings.put_back((row.opening for row in changes.openings), changes.gone)
        self.devices.put_back((row.device for row in changes.devices), changes.gone_devices)
        self.rules.put_back((row.rule for row in changes.rules), changes.gone_rules)

    def _unlink(self, opening: EvidenceKey) -> None:
        own = self._ports[opening.device]
        del own[opening]
        if not own:
            del self._ports[opening.device]
