"""Refusals for asking too often, told together: a device that floods the gateway does not flood the audit log.

The first such refusal of a device is a decision like any other; those that follow within a minute are counted on
it and name it, so that an answer always has a decision to look up. Pure, bounded, with the time passed in.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from msgspec import structs

from upnp_gw.model.mapping import DecisionId, Instant
from upnp_gw.model.records import DecisionRecord

WINDOW_S = 60.0
MOST = 4096
"""Devices that are counted at once; the one that began first is written down before its minute is over."""


Undo = list[Callable[[], None]]
"""What takes back the operation that a count belongs to, newest last."""


@dataclass(slots=True)
class _Flood:
    began: float
    record: DecisionRecord
    count: int = 1

    def add(self, more: int) -> None:
        self.count += more


class RefusalCounter:
    """Keyed by device. ``undo`` is told how to count again what an operation that was undone had counted."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Flood] = OrderedDict()
        self._over: list[_Flood] = []

    def __bool__(self) -> bool:
        """True while somebody is counted."""
        return bool(self._open or self._over)

    def again(self, device: str, now: Instant, undo: Undo) -> DecisionId | None:
        """Counts one more refusal of this device; the decision it is counted on, None where it is the first."""
        flood = self._open.get(device)
        if flood is None or now.boot - flood.began >= WINDOW_S:
            return None
        flood.add(1)
        undo.append(partial(flood.add, -1))
        return flood.record.id

    def begin(self, record: DecisionRecord, now: Instant, undo: Undo) -> None:
        """The first refusal of a device for a minute; the caller writes it down."""
        if (before := self._open.pop(record.device, None)) is not None:
            self._over.append(before)
        begun = self._open[record.device] = _Flood(now.boot, record)
        undo.append(partial(self._forget, begun))
        if len(self._open) > MOST:
            self._over.append(self._open.popitem(last=False)[1])

    def over(self, now: Instant | None, undo: Undo) -> list[DecisionRecord]:
        """The records with more than one refusal whose minute is over (``now`` None: all), with their counts; they
        are forgotten here."""
        while self._open:
            device, flood = next(iter(self._open.items()))
            if now is not None and now.boot - flood.began < WINDOW_S:
                break
            self._over.append(self._open.pop(device))
        told, self._over = self._over, []
        if told:
            undo.append(partial(self._again_over, told))
        return [structs.replace(flood.record, count=flood.count) for flood in told if flood.count > 1]

    def _forget(self, flood: _Flood) -> None:
        """Its record was not written."""
        if self._open.get(flood.record.device) is flood:
            del self._open[flood.record.device]
        elif flood in self._over:
            self._over.remove(flood)

    def _again_over(self, told: list[_Flood]) -> None:
        self._over = [*told, *self._over]
