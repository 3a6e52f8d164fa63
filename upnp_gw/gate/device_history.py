"""The history that the gate keeps of each device: changes in the last minute, ports of today, refusals, incidents.

Pure; the time is an argument. Memory is bounded: ``MOST_DEVICES`` devices of a few kilobytes each. The device that
was silent for longest is forgotten first.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from upnp_gw.gate.decision import FAULT, Outcome, Verdict
from upnp_gw.gate.device_entry import DatagramClaims, DeviceEntry, entry_body, entry_of
from upnp_gw.gate.schema import Limits, OnIncident
from upnp_gw.model.mapping import DAY_S, Instant, IPAddress
from upnp_gw.model.request import MapRequest, Refusal

MOST_DEVICES = 4096
MOST_INCIDENTS = 1024
MOST_PORTS_A_DAY = 1024
"""No grant's ``max_ports_per_day`` is larger, so a set of this size still refuses the next port."""
MINUTE_S = 60.0
EVIDENCE_S = 600.0
FREEZE_S = float(DAY_S)
TCP_EVIDENCE = frozenset({"igd"})
"""Protocols whose TCP handshake proves the sender. A datagram can have a forged address (SR-26), and a refusal of
the operator is no evidence against a device."""


Counts = tuple[IPAddress | None, int, frozenset[int], int, str | None, frozenset[int]]
"""Of a ``DeviceEntry``: address, day, ports, granted, last_refusal, and the ports of its datagrams."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A device was refused many distinct internal ports: it may be infected."""

    device: str
    began: Instant
    ends: float
    """BOOTTIME seconds at which it ends by itself."""
    ports: tuple[int, ...]
    """The distinct internal ports that were refused, sorted."""
    action: OnIncident

    @property
    def quarantines(self) -> bool:
        """True if the device's mappings end."""
        return self.action is OnIncident.QUARANTINE

    @property
    def freezes(self) -> bool:
        """True if the device can open nothing new."""
        return self.action is not OnIncident.LOG


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """One line of ``upnp-gw devices``."""

    device: str
    address: IPAddress | None
    """The address it last asked from."""
    first_seen: float
    """Wall-clock seconds."""
    last_seen: float
    granted: int
    refused: Mapping[Refusal, int]
    last_refusal: str | None
    """The reason of its last refusal."""
    incident: Incident | None


class HasLimits(Protocol):
    """A policy, or the one in force at the moment."""

    @property
    def limits(self) -> Limits: ...


class DeviceHistory:
    """Keyed by device (``Facts.device``). The limits are read from ``in_force`` at each call."""

    def __init__(self, in_force: HasLimits) -> None:
        self._in_force = in_force
        self._entries: OrderedDict[str, DeviceEntry] = OrderedDict()
        self._incidents: OrderedDict[str, Incident] = OrderedDict()
        self._changed: set[str] = set()
        self._counted: set[str] = set()
        """Devices whose ports of today have changed."""
        self._changed_incidents: set[str] = set()

    def count_change(self, device: str, now: Instant, datagram: bool = False) -> bool:
        """Counts one change request (not a read), allowed or not. True: the first one of this device."""
        first = device not in self._entries
        entry = self._entry(device, now)
        changes = entry.claims.changes if datagram else entry.changes
        changes.append(now.boot)
        while len(changes) > self._in_force.limits.requests_per_minute or changes[0] <= now.boot - MINUTE_S:
            changes.popleft()
        return first

    def changes_last_minute(self, device: str, now: Instant, datagram: bool = False) -> int:
        """The number of changes; at most ``requests_per_minute``."""
        entry = self._entries.get(device)
        if entry is None:
            return 0
        changes = entry.claims.changes if datagram else entry.changes
        while changes and changes[0] <= now.boot - MINUTE_S:
            changes.popleft()
        return len(changes)

    def count_grant(self, device: str, int_port: int, now: Instant, today: int, datagram: bool = False) -> bool:
        """Counts an internal port that was granted, refreshes too. ``today``: ``Facts.today``. True: it is the
        first grant of this device."""
        entry = self._entry(device, now)
        entry.granted += 1
        self._count_port(device, int_port, today, datagram)
        return entry.granted == 1

    def int_ports_today(self, device: str, today: int, datagram: bool = False) -> frozenset[int]:
        """Ports over TCP count for a datagram too, but not the reverse."""
        entry = self._entries.get(device)
        if entry is None or entry.day != today:
            return frozenset()
        return entry.ports | entry.claims.ports if datagram else entry.ports

    def count_refusal(
        self, device: str, request: MapRequest, verdict: Verdict, now: Instant, today: int
    ) -> Incident | None:
        """Counts a refusal. The answer is the incident that it began, if it began one.

        Only a denial by policy over TCP is evidence: not ask, quota, rate, a conflict or an error of the gateway. A
        quota refusal counts as a port of today, so that a device that keeps asking for new ports is stopped too.
        """
        entry = self._entry(device, now)
        entry.address = request.source.address
        if verdict.outcome is Outcome.ALLOW or verdict.refusal is None:
            return None
        entry.refused[verdict.refusal] += 1
        entry.last_refusal = verdict.reasons[-1]
        if request.via.protocol not in TCP_EVIDENCE:
            return None
        if verdict.refusal is Refusal.QUOTA:
            self._count_port(device, request.internal.port, today)
        if verdict.refusal is not Refusal.NOT_AUTHORIZED or FAULT in verdict.reasons:
            return None
        return self._evidence(device, entry, request.internal.port, now)

    def frozen(self, device: str, now: Instant) -> bool:
        """True while an incident that freezes is open for this device."""
        incident = self._incident(device, now)
        return incident is not None and incident.freezes

    def quarantined(self, device: str, now: Instant) -> bool:
        """True while an incident with the action quarantine is open for this device."""
        incident = self._incident(device, now)
        return incident is not None and incident.quarantines

    def release(self, device: str) -> Incident | None:
        """Ends the incident of this device and forgets its evidence. The answer is the incident."""
        entry = self._entries.get(device)
        if entry is not None:
            entry.evidence.clear()
        self._changed_incidents.add(device)
        return self._incidents.pop(device, None)

    def forget(self, devices: Iterable[str]) -> None:
        """Forgets these devices: their counts and their last address. An open incident stays until it ends."""
        for device in devices:
            if device in self._entries:
                self._forget(device)

    def forget_silent(self, since: float) -> None:
        """Forgets devices without a change request since then, wall-clock seconds. If the clock was set back, a
        device is forgotten later."""
        while self._entries:
            device, entry = next(iter(self._entries.items()))
            if entry.last_seen >= since:
                return
            self._forget(device)

    def forget_all(self) -> None:
        """The same for every device."""
        self.forget(list(self._entries))

    def withdraw_incident(self, incident: Incident) -> None:
        """Removes an incident whose operation was undone."""
        if self._incidents.get(incident.device) is incident:
            del self._incidents[incident.device]
            self._changed_incidents.add(incident.device)

    def undo_for(self, device: str) -> Callable[[], None]:
        """A function that restores the present counts of a device, for an operation that is undone. The change
        request itself stays counted."""
        entry = self._entries.get(device)
        if entry is None:
            return partial(self._forget, device)
        counts = entry.address, entry.day, entry.ports, entry.granted, entry.last_refusal, entry.claims.ports
        return partial(self._put_back, device, counts, entry.refused.copy(), entry.evidence.copy())

    def _forget(self, device: str) -> None:
        self._changed.add(device)
        self._entries.pop(device, None)

    def _put_back(self, device: str, counts: Counts, refused: Counter[Refusal], evidence: dict[int, float]) -> None:
        self._changed.add(device)
        entry = self._entries.get(device)
        if entry is not None:
            entry.address, entry.day, entry.ports, entry.granted, entry.last_refusal, entry.claims.ports = counts
            entry.refused, entry.evidence = refused, evidence

    def add_incident(self, incident: Incident) -> None:
        """Adds an incident that was open when the gateway stopped."""
        self._incidents[incident.device] = incident

    # -- over a restart

    def changed_devices(self, counted: bool = False) -> dict[str, dict[str, Any] | None]:
        """Devices that changed since the last call: device -> plain values; None: forgotten.

        ``counted``: only devices whose ports of today changed, which must survive a crash.
        """
        devices = self._counted if counted else self._changed
        bodies = {d: entry_body(d, e) if (e := self._entries.get(d)) else None for d in sorted(devices)}
        self._changed -= bodies.keys()
        self._counted.clear()
        return bodies

    def changed_incidents(self, now: Instant) -> dict[str, dict[str, Any] | None]:
        """Incidents that changed since the last call: device -> plain values; None: ended."""
        bodies = {
            d: _incident_body(i, now) if (i := self._incident(d, now)) else None
            for d in sorted(self._changed_incidents)
        }
        self._changed_incidents.clear()
        return bodies

    def requeue(self, devices: Iterable[str], incidents: Iterable[str]) -> None:
        """The store could not write these: the next call gives them again."""
        self._changed.update(devices)
        self._changed_incidents.update(incidents)

    def restore(
        self, devices: Iterable[Mapping[str, Any]], incidents: Iterable[Mapping[str, Any]], now: Instant
    ) -> None:
        """Loads stored devices and incidents. An incident ends by the wall clock, at most ``FREEZE_S`` from now."""
        for body in sorted(devices, key=lambda body: float(body["last_seen"]))[-MOST_DEVICES:]:
            self._entries[body["device"]] = entry_of(body)
        for body in incidents:
            left_s = min(body["ends"] - now.wall, FREEZE_S)
            began = Instant(now.boot + left_s - FREEZE_S, body["began"])
            if left_s > 0:
                action = OnIncident(body["action"])
                self.add_incident(Incident(body["device"], began, now.boot + left_s, tuple(body["ports"]), action))
            else:
                self._changed_incidents.add(body["device"])

    def incidents(self, now: Instant) -> tuple[Incident, ...]:
        """The open incidents, oldest first."""
        for device in tuple(self._incidents):
            self._incident(device, now)
        return tuple(self._incidents.values())

    def devices(self, now: Instant) -> tuple[DeviceSummary, ...]:
        """All devices; the one heard of last is at the end."""
        return tuple(
            DeviceSummary(
                d,
                e.address,
                e.first_seen,
                e.last_seen,
                e.granted,
                dict(e.refused),
                e.last_refusal,
                self._incident(d, now),
            )
            for d, e in self._entries.items()
        )

    def _entry(self, device: str, now: Instant) -> DeviceEntry:
        entry = self._entries.get(device)
        if entry is None:
            entry = self._entries[device] = DeviceEntry(now.wall, now.wall)
            if len(self._entries) > MOST_DEVICES:
                self._changed.add(self._entries.popitem(last=False)[0])
        self._changed.add(device)
        entry.last_seen = now.wall
        self._entries.move_to_end(device)
        return entry

    def _count_port(self, device: str, port: int, today: int, datagram: bool = False) -> None:
        entry = self._entries[device]
        if entry.day != today:
            entry.day, entry.ports, entry.claims.ports = today, frozenset(), frozenset()
        counted: DeviceEntry | DatagramClaims = entry.claims if datagram else entry
        if port not in counted.ports and len(counted.ports) < MOST_PORTS_A_DAY:
            counted.ports |= {port}
            self._counted.add(device)

    def _evidence(self, device: str, entry: DeviceEntry, port: int, now: Instant) -> Incident | None:
        if self._incident(device, now) is not None:
            return None
        entry.evidence[port] = now.boot
        if len(entry.evidence) < self._in_force.limits.incident_after:
            return None
        entry.evidence = {p: at for p, at in entry.evidence.items() if at > now.boot - EVIDENCE_S}
        if len(entry.evidence) < self._in_force.limits.incident_after:
            return None
        ports = tuple(sorted(entry.evidence))
        entry.evidence = {}
        incident = Incident(device, now, now.boot + FREEZE_S, ports, self._in_force.limits.on_incident)
        self._incidents[device] = incident
        self._changed_incidents.add(device)
        if len(self._incidents) > MOST_INCIDENTS:
            self._changed_incidents.add(self._incidents.popitem(last=False)[0])
        return incident

    def _incident(self, device: str, now: Instant) -> Incident | None:
        incident = self._incidents.get(device)
        if incident is not None and incident.ends <= now.boot:
            del self._incidents[device]
            self._changed_incidents.add(device)
            return None
        return incident


def _incident_body(incident: Incident, now: Instant) -> dict[str, Any]:
    return {
        "device": incident.device,
        "began": incident.began.wall,
        "ends": now.wall + incident.ends - now.boot,
        "ports": list(incident.ports),
        "action": incident.action.value,
    }
