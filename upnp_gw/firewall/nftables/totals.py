"""Counts of each forward over all elements that it has had, and the part of them that is reported."""

import threading
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from upnp_gw.firewall.base import Counters

Pair = tuple[int, int]
"""Packets and bytes."""
ZERO: Pair = (0, 0)
Increases = list[tuple[str, Pair]]
"""Forward ids and increases."""


def _plus(one: Pair, other: Pair) -> Pair:
    return one[0] + other[0], one[1] + other[1]


@dataclass(slots=True)
class Tally:
    """The counts of the elements of one kind, by forward id. Idle forwards have no entry."""

    replaced: dict[str, Pair] = field(default_factory=dict)
    """Counts of elements that refreshes have replaced."""
    reported: dict[str, Pair] = field(default_factory=dict)
    """The total that has been reported."""

    def grow(self, forward_id: str, count: Pair) -> Pair:
        """The increase since the last report, for this count of the present element."""
        packets, volume = _plus(count, self.replaced.get(forward_id, ZERO))
        before = self.reported.get(forward_id, ZERO)
        if packets <= before[0] and volume <= before[1]:
            return ZERO
        self.reported[forward_id] = packets, volume
        return max(0, packets - before[0]), max(0, volume - before[1])

    def replace(self, forward_id: str, count: Pair) -> None:
        """The element with this count has been replaced by a new one."""
        if count != ZERO:
            self.replaced[forward_id] = _plus(count, self.replaced.get(forward_id, ZERO))

    def forget(self, forward_id: str) -> None:
        """The forward was closed, or opened anew."""
        self.replaced.pop(forward_id, None)
        self.reported.pop(forward_id, None)

    def keep(self, present: Container[str]) -> None:
        for counts in (self.replaced, self.reported):
            for gone in [forward_id for forward_id in counts if forward_id not in present]:
                del counts[gone]


@dataclass(slots=True)
class Totals:
    """The counts of all forwards, and the reported part. Any thread may call it.

    A change replaces elements while a reading walks over them. ``begin`` marks the forwards of a change before
    their counts are read, ``end`` adds these counts after it. A reading that began before the end ignores the
    elements of marked forwards: it cannot know whether it saw the old or the new one. The next reading has their
    increase.
    """

    opened: Tally = field(default_factory=Tally)
    """First packets of flows."""
    volume: Tally = field(default_factory=Tally)
    """Further packets."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _changing: frozenset[str] = frozenset()
    """The forwards of the change that is under way."""
    _marked: set[str] = field(default_factory=set)
    """The forwards that the present reading ignores."""
    _replaced: set[str] = field(default_factory=set)
    """Forwards with a replaced element since the last reading. The present one may be idle."""
    _all_changing: bool = False
    _all_marked: bool = False

    def begin(self, forward_ids: Iterable[str], refilled: bool = False) -> None:
        """Before a change. ``refilled``: it replaces every element."""
        with self._lock:
            self._changing, self._all_changing = frozenset(forward_ids), refilled
            self._marked |= self._changing
            self._all_marked |= refilled

    def end(self, opened: dict[str, Pair], volume: dict[str, Pair], forgotten: Iterable[str]) -> None:
        """After a change: the counts of replaced elements, and the forwards that were closed or opened anew."""
        with self._lock:
            for forward_id in forgotten:
                self.opened.forget(forward_id)
                self.volume.forget(forward_id)
            for tally, counts in ((self.opened, opened), (self.volume, volume)):
                for forward_id, count in counts.items():
                    tally.replace(forward_id, count)
                self._replaced.update(counts)
            self._changing, self._all_changing = frozenset(), False

    def total(self, forward_id: str, opened: Pair, volume: Pair) -> Counters:
        """The counters of a forward whose elements have these counts."""
        with self._lock:
            first = _plus(opened, self.opened.replaced.get(forward_id, ZERO))
            further = _plus(volume, self.volume.replaced.get(forward_id, ZERO))
        packets, size = _plus(first, further)
        return Counters(first[0], size, packets)

    def failed(self) -> None:
        """The change did not happen."""
        with self._lock:
            self._changing, self._all_changing = frozenset(), False

    def keep(self, present: Container[str]) -> None:
        """Forgets the forwards that are not present."""
        with self._lock:
            self.opened.keep(present)
            self.volume.keep(present)

    def begin_reading(self) -> list[str]:
        """A reading begins. Returns the forwards whose replaced elements are to be counted first."""
        with self._lock:
            self._marked, self._all_marked = set(self._changing), self._all_changing
            replaced = list(self._replaced)
            self._replaced.clear()
            return replaced

    def count_replaced(self, tally: Tally, forward_ids: Iterable[str]) -> Increases:
        """The increases by replaced elements alone."""
        with self._lock:
            return [(one, grown) for one in forward_ids if (grown := tally.grow(one, ZERO)) != ZERO]

    def count(self, tally: Tally, seen: Iterable[tuple[str, Pair]]) -> Increases:
        """The increases by these elements."""
        with self._lock:
            if self._all_marked:
                return []
            return [
                (one, grown)
                for one, count in seen
                if one not in self._marked and (grown := tally.grow(one, count)) != ZERO
            ]
