"""Flows of ended mappings that are not cut yet. Until then their external ports are kept for their last holder.

Some clients renew by delete and add. So the flows of a deleted mapping go on for 5 s, and are not cut if the same
mapping comes back; those of an expired mapping for 60 s. Flows that the operator or the policy revoked are cut at
once.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from upnp_gw.firewall.base import Forward
from upnp_gw.model.mapping import (
    DecisionId,
    Endpoint,
    IPAddress,
    Mapping,
    MappingKey,
    MappingKind,
    Transport,
    kind_of,
)

Place = tuple[Transport, int, IPAddress | None]
"""An external port of the gateway (None), or of a host: a pinhole takes none of the gateway's."""
GRACE_S = {"deleted": 5.0, "expired": 60.0}
"""The reason why a mapping ended -> seconds until its flows are cut. For any other reason: at once."""


@dataclass(frozen=True, slots=True)
class PendingCut:
    """One ended mapping whose flows are not cut yet. It has a row in the store, so that a crash forgets none."""

    number: int
    device: str
    mapping: str
    decision: DecisionId
    key: MappingKey
    internal: Endpoint
    due: float
    """BOOTTIME seconds."""

    def forward(self) -> Forward:
        """The forward whose flows are to be cut."""
        return Forward(
            self.mapping,
            self.decision,
            self.key.transport,
            self.key.external_address,
            self.key.external_port,
            self.key.remote,
            self.internal,
            timeout_s=1,
            remote_port=self.key.remote_port,
        )


def cut_of(number: int, mapping: Mapping, why: str, now: float) -> PendingCut:
    """The cut after the end of a mapping. ``why`` as in ``events.TableChanged.removed``."""
    due = now + GRACE_S.get(why, 0.0)
    return PendingCut(number, mapping.device, mapping.id, mapping.decision, mapping.key, mapping.internal, due)


class PendingCuts:
    """All pending cuts, by external port; those of pinholes by the host's."""

    def __init__(self, pending: Iterable[PendingCut] = ()) -> None:
        self._pending: dict[int, PendingCut] = {}
        self._by_place: dict[Place, set[int]] = {}
        self._by_time: list[tuple[float, int]] = []
        """A heap of times and numbers. Outdated entries are dropped when they are due."""
        for cut in pending:
            self.add(cut)

    def add(self, cut: PendingCut) -> None:
        """Adds a cut by its number."""
        self._put(cut)
        self._by_place.setdefault(_place(cut), set()).add(cut.number)

    def drop(self, number: int) -> None:
        """Removes a cut that was made or is not needed."""
        cut = self._pending.pop(number, None)
        if cut is not None:
            place = _place(cut)
            self._by_place[place].discard(number)
            if not self._by_place[place]:
                del self._by_place[place]

    def expedite(self, device: str, now: float) -> None:
        """The flows of this device's ended mappings are cut at once."""
        for cut in [c for c in self._pending.values() if c.device == device]:
            self._put(replace(cut, due=min(cut.due, now)))

    def postpone(self, cuts: Iterable[PendingCut], due: float) -> None:
        """Sets the next try, at this BOOTTIME second."""
        for cut in cuts:
            self._put(replace(cut, due=due))

    def kept_for(self, transport: Transport, port: int) -> str | None:
        """The device that a freed external port is kept for; None: it is kept for nobody."""
        numbers = self._by_place.get((transport, port, None))
        return self._pending[min(numbers)].device if numbers else None

    def unneeded_after(self, mapping: Mapping) -> list[PendingCut]:
        """The cuts that are not needed after this put: the same device has the same key and internal endpoint."""
        cuts = [self._pending[number] for number in self._by_place.get(_place(mapping), ())]
        return [
            cut
            for cut in cuts
            if cut.mapping != mapping.id
            and (cut.device, cut.key, cut.internal) == (mapping.device, mapping.key, mapping.internal)
        ]

    def due(self, now: float, most: int | None = None) -> list[PendingCut]:
        """The cuts that are due, at most so many, by number. They stay until they are dropped or postponed."""
        found: dict[int, PendingCut] = {}
        while (at := self.next()) is not None and at <= now and (most is None or len(found) < most):
            _, number = heapq.heappop(self._by_time)
            found[number] = self._pending[number]
        for cut in found.values():
            heapq.heappush(self._by_time, (cut.due, cut.number))
        return [found[number] for number in sorted(found)]

    def next(self) -> float | None:
        """BOOTTIME seconds of the next cut; None: there is none."""
        while self._by_time:
            due, number = self._by_time[0]
            cut = self._pending.get(number)
            if cut is not None and cut.due == due:
                return due
            heapq.heappop(self._by_time)
        return None

    def _put(self, cut: PendingCut) -> None:
        before = self._pending.get(cut.number)
        self._pending[cut.number] = cut
        if before is None or before.due != cut.due:
            heapq.heappush(self._by_time, (cut.due, cut.number))
        if len(self._by_time) > 64 + 2 * len(self._pending):
            self._by_time = [(each.due, each.number) for each in self._pending.values()]
            heapq.heapify(self._by_time)

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[PendingCut]:
        return iter(list(self._pending.values()))


def _place(row: PendingCut | Mapping) -> Place:
    """The external port that a mapping has, or had."""
    key, internal = row.key, row.internal
    pinhole = kind_of(key.external_address, key.external_port, internal) is MappingKind.PINHOLE
    return key.transport, key.external_port, internal.address if pinhole else None
