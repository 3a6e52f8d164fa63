"""Counts refusals for too many requests: a device that floods the gateway does not flood the audit log.

A device's first such refusal is a decision like any other. Refusals in the minute after it raise its count and
carry its number, so the decision of every reply can be looked up. Pure, bounded; the time is passed in.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from msgspec import structs

from upnp_gw.model.mapping import DecisionId, Instant
from upnp_gw.model.records import DecisionRecord

WINDOW_S = 60.0
"""Seconds that refusals are added to the first one."""
MOST = 4096
"""The most devices counted at once. Above it, the oldest count is recorded before its minute is over."""


Undo = list[Callable[[], None]]
"""The steps that undo the operation of a count, newest last."""


@dataclass(slots=True)
class _Flood:
    began: float
    record: DecisionRecord
    count: int = 1

    def add(self, more: int) -> None:
        self.count += more


class RefusalCounter:
    """The counts by device. Each change appends to ``undo`` the step that reverses it."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Flood] = OrderedDict()
        self._over: list[_Flood] = []

    def __bool__(self) -> bool:
        """True if there are counts."""
        return bool(self._open or self._over)

    def again(self, device: str, now: Instant, undo: Undo) -> DecisionId | None:
        """Counts one more refusal of this device. Returns the decision with the count; None: it is the first."""
        flood = self._open.get(device)
        if flood is None or now.boot - flood.began >= WINDOW_S:
            return None
        flood.add(1)
        undo.append(partial(flood.add, -1))
        return flood.record.id

    def begin(self, record: DecisionRecord, now: Instant, undo: Undo) -> None:
        """Begins a count with a device's first refusal. The caller records the decision."""
        if (before := self._open.pop(record.device, None)) is not None:
            self._over.append(before)
        begun = self._open[record.device] = _Flood(now.boot, record)
        undo.append(partial(self._forget, begun))
        if len(self._open) > MOST:
            self._over.append(self._open.popitem(last=False)[1])

    def over(self, now: Instant | None, undo: Undo) -> list[DecisionRecord]:
        """Removes the counts whose minute is over (``now`` None: all). Returns the records of those above one: a
        single refusal has been recorded already."""
        while self._open:
            device, flood = next(iter(self._open.items()))
            if now is not None and now.boot - flood.began < WINDOW_S:
                break
            self._over.append(self._open.pop(device))
        ended, self._over = self._over, []
        if ended:
            undo.append(partial(self._again_over, ended))
        return [structs.replace(flood.record, count=flood.count) for flood in ended if flood.count > 1]

    def _forget(self, flood: _Flood) -> None:
        """Undoes ``begin``: the record was not written."""
        if self._open.get(flood.record.device) is flood:
            del self._open[flood.record.device]
        elif flood in self._over:
            self._over.remove(flood)

    def _again_over(self, ended: list[_Flood]) -> None:
        self._over = [*ended, *self._over]
