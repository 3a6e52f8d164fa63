"""Token buckets: a rate limit for each source, and one for all sources together (SR-5, SR-11, SR-22)."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Rate:
    """The size and refill rate of a token bucket, in bytes, datagrams or other units."""

    burst: float
    """The most at once."""
    per_s: float
    """Units a second in the long run."""


@dataclass(slots=True)
class Bucket:
    """A token bucket. ``level``: what it had at ``at``, BOOTTIME seconds."""

    rate: Rate
    level: float
    at: float

    def fill(self, now: float) -> float:
        """Refills the bucket up to ``now``, and returns its level."""
        self.level = min(self.rate.burst, self.level + max(0.0, now - self.at) * self.rate.per_s)
        self.at = now
        return self.level


UNBOUNDED = Rate(inf, 0.0)
SOURCES_MAX = 1024


class Throttle(Generic[Key]):
    """The buckets of one rate limit. Bounded: the source that was silent for longest is forgotten first."""

    def __init__(self, source: Rate, total: Rate = UNBOUNDED, sources_max: int = SOURCES_MAX) -> None:
        self._rate = source
        self._max = sources_max
        self._total = Bucket(total, total.burst, 0.0)
        self._sources: OrderedDict[Key, Bucket] = OrderedDict()

    def __len__(self) -> int:
        """The number of remembered sources."""
        return len(self._sources)

    def level(self, source: Key, now: float) -> float:
        """The amount that this source may use now."""
        return min(self._bucket(source, now).fill(now), self._total.fill(now))

    def spend(self, source: Key, count: int, now: float) -> bool:
        """Uses ``count``. False: there is not enough, and nothing was used."""
        if count > self.level(source, now):
            return False
        self._sources[source].level -= count
        self._total.level -= count
        return True

    def _bucket(self, source: Key, now: float) -> Bucket:
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = Bucket(self._rate, self._rate.burst, now)
            if len(self._sources) > self._max:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return bucket
