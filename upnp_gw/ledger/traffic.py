"""The traffic of ports over the last two days, coarse and bounded, for the charts of the page. Pure.

A port is one of ``evidence.EvidenceKey``, so its traffic goes on over renewals, new mapping ids and restarts. Only
slots with traffic are kept.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from upnp_gw.ledger.evidence import EvidenceKey

SLOT_S = 900
"""Seconds of a slot."""
SLOTS = 192
"""Slots that are kept: two days."""
MOST_PORTS = 1024
"""Ports with traffic that are kept; the ones without traffic for the longest time are dropped."""

Slot = tuple[EvidenceKey, int]
"""A port, and the number of the slot: wall-clock seconds by ``SLOT_S``."""


def slot_of(wall: float) -> int:
    return int(wall // SLOT_S)


@dataclass(frozen=True, slots=True)
class TrafficChanges:
    """Slots to write with their bytes, ports to delete, and the oldest slot that stays."""

    slots: list[tuple[EvidenceKey, int, int]]
    gone: list[EvidenceKey]
    oldest: int


@dataclass(slots=True)
class TrafficHistory:
    """Bytes by port and slot."""

    _ports: dict[EvidenceKey, dict[int, int]] = field(default_factory=dict)
    """The port with the newest traffic is the last one."""
    _changed: set[Slot] = field(default_factory=set)
    _gone: set[EvidenceKey] = field(default_factory=set)

    def load(
        self,
        rows: Iterable[tuple[EvidenceKey, int, int]],
        wall: float,
        now: Callable[[str], str] = lambda device: device,
    ) -> None:
        """``rows``: port, slot and bytes, by slot. ``now``: stored device -> its present identifier. The bytes of
        two rows that have one identifier now are added up."""
        oldest = slot_of(wall) - SLOTS + 1
        for stored, slot, count in rows:
            port = stored._replace(device=now(stored.device))
            if slot < oldest:
                continue
            slots = self._ports.setdefault(port, {})
            slots[slot] = slots.get(slot, 0) + count
            if port != stored:
                self._gone.add(stored)
                self._changed.add((port, slot))
        self._gone -= self._ports.keys()

    def add(self, port: EvidenceKey, wall: float, count: int) -> None:
        """Adds bytes that were counted just now."""
        slot = slot_of(wall)
        slots = self._ports.pop(port, None) or {}
        self._ports[port] = slots
        slots[slot] = slots.get(slot, 0) + count
        self._changed.add((port, slot))
        self._gone.discard(port)
        while len(slots) > SLOTS:
            del slots[min(slots)]
        while len(self._ports) > MOST_PORTS:
            self._drop(next(iter(self._ports)))

    def of(self, port: EvidenceKey, wall: float) -> list[int]:
        """Bytes in each of the last ``SLOTS`` slots, oldest first. The last one is not over yet."""
        slots, last = self._ports.get(port, {}), slot_of(wall)
        return [slots.get(slot, 0) for slot in range(last - SLOTS + 1, last + 1)]

    def forget(self, devices: Collection[str] | None) -> None:
        """Drops the ports of these devices; None: all."""
        for port in [port for port in self._ports if devices is None or port.device in devices]:
            self._drop(port)
            self._changed -= {slot for slot in self._changed if slot[0] == port}

    def pop_changes(self, wall: float) -> TrafficChanges | None:
        """The changes since the last call; None: there are none. Drops slots and ports that are too old."""
        oldest = slot_of(wall) - SLOTS + 1
        for port, slots in list(self._ports.items()):
            for slot in [slot for slot in slots if slot < oldest]:
                del slots[slot]
            if not slots:
                self._drop(port)
        if not self._changed and not self._gone:
            return None
        changed = [(port, slot, self._ports[port][slot]) for port, slot in self._changed if self._has(port, slot)]
        changes = TrafficChanges(sorted(changed), sorted(self._gone), oldest)
        self._changed.clear()
        self._gone.clear()
        return changes

    def put_back(self, changes: TrafficChanges) -> None:
        """After an error of the store: the next changes have these too."""
        self._changed |= {(port, slot) for port, slot, _ in changes.slots}
        self._gone |= set(changes.gone) - self._ports.keys()

    def _has(self, port: EvidenceKey, slot: int) -> bool:
        return slot in self._ports.get(port, {})

    def _drop(self, port: EvidenceKey) -> None:
        del self._ports[port]
        self._gone.add(port)
