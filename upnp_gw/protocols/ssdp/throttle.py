"""How much may be drawn by searching (SR-11): bytes out, for each source and for all sources together.

A search of 100 bytes with ``ssdp:all`` draws one complete answer of about 9 KiB, and its source address may be
forged. So what leaves is bounded in absolute terms: three such answers at once, then one in two seconds for one
source, and for all of them together what 30 hosts may draw at once.
"""

from collections import OrderedDict
from dataclasses import dataclass

from upnp_gw.model import IPAddress


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket's size and refill."""

    burst: float
    """Bytes that may leave at once."""
    per_s: float
    """Bytes a second in the long run."""


@dataclass(slots=True)
class Bucket:
    rate: Rate
    level: float
    at: float

    def fill(self, now: float) -> float:
        self.level = min(self.rate.burst, self.level + max(0.0, now - self.at) * self.rate.per_s)
        self.at = now
        return self.level


SOURCE = Rate(burst=36 * 1024, per_s=4 * 1024)
TOTAL = Rate(burst=256 * 1024, per_s=32 * 1024)
SOURCES_MAX = 1024


class Throttle:
    """The buckets of one socket. Bounded: the source longest unheard of is forgotten first."""

    def __init__(self, source: Rate = SOURCE, total: Rate = TOTAL, sources_max: int = SOURCES_MAX) -> None:
        self._rate = source
        self._max = sources_max
        self._total = Bucket(total, total.burst, 0.0)
        self._sources: OrderedDict[IPAddress, Bucket] = OrderedDict()

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)

    def level(self, source: IPAddress, now: float) -> float:
        """How many bytes may go to this source now."""
        return min(self._bucket(source, now).fill(now), self._total.fill(now))

    def spend(self, source: IPAddress, count: int, now: float) -> bool:
        """Takes ``count`` bytes, or nothing at all and False."""
        if count > self.level(source, now):
            return False
        self._sources[source].level -= count
        self._total.level -= count
        return True

    def _bucket(self, source: IPAddress, now: float) -> Bucket:
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = Bucket(self._rate, self._rate.burst, now)
            if len(self._sources) > self._max:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        return bucket
