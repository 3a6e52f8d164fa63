"""Refusals for asking too often, told together: a device that floods the gateway does not flood the audit log.

The first such refusal of a device is a decision like any other; those that follow within a minute are counted on
it and name it, so that an answer always has a decision to look up. Pure, bounded, with the time passed in.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace

from upnp_gw.ledger.records import DecisionRecord
from upnp_gw.model import DecisionId, Instant

WINDOW_S = 60.0
MOST = 4096
"""Devices that are counted at once; the one that began first is written down before its minute is over."""


@dataclass(slots=True)
class _Flood:
    began: float
    record: DecisionRecord
    count: int = 1


class Floods:
    """Keyed by device."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Flood] = OrderedDict()
        self._over: list[_Flood] = []

    def __bool__(self) -> bool:
        """True while somebody is counted."""
        return bool(self._open or self._over)

    def again(self, device: str, now: Instant) -> DecisionId | None:
        """Counts one more refusal of this device; the decision it is counted on, None where it is the first."""
        flood = self._open.get(device)
        if flood is None or now.boot - flood.began >= WINDOW_S:
            return None
        flood.count += 1
        return flood.record.id

    def begin(self, record: DecisionRecord, now: Instant) -> None:
        """The first refusal of a device for a minute; the caller writes it down."""
        if (before := self._open.pop(record.device, None)) is not None:
            self._over.append(before)
        self._open[record.device] = _Flood(now.boot, record)
        if len(self._open) > MOST:
            self._over.append(self._open.popitem(last=False)[1])

    def over(self, now: Instant | None = None) -> list[DecisionRecord]:
        """The records with more than one refusal whose minute is over (no ``now``: all), with their counts; they
        are forgotten here."""
        while self._open:
            device, flood = next(iter(self._open.items()))
            if now is not None and now.boot - flood.began < WINDOW_S:
                break
            self._over.append(self._open.pop(device))
        told, self._over = self._over, []
        return [replace(flood.record, count=flood.count) for flood in told if flood.count > 1]
