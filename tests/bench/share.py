"""The limits of one host at upnp-gw: the load stays below them, so no dropped packet counts as a slow answer.

These limits are measured as well (``one_host``): they are part of the truth, only not of a latency.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from upnp_gw.lab import Host


@dataclass(frozen=True, slots=True)
class Allowance:
    """A token bucket, a little smaller than the gateway's own."""

    burst: float
    per_s: float


CONNECTIONS = Allowance(450, 180)
"""Of 500, and 200 a second: the kernel drops further SYNs of a host (decision 30)."""
CHANGES = Allowance(5_500, 95)
"""Of 6,000 in any minute: the most that ``requests_per_minute`` of a policy may be."""
NEW_DATAGRAMS = Allowance(60, 7.5)
"""Of 64, and 8 a second: requests for a new mapping on UDP port 5351."""
RENEWAL_DATAGRAMS = Allowance(120, 7.5)
"""Of 128, and 8 a second: renewals and deletions there."""
ALL_NEW_DATAGRAMS = Allowance(480, 120)
"""Of 512, and 128 a second: new mappings on UDP port 5351, of all hosts together."""
ALL_RENEWAL_DATAGRAMS = Allowance(1_000, 480)
"""Of 1,024, and 512 a second."""
TOTALS = {NEW_DATAGRAMS: ALL_NEW_DATAGRAMS, RENEWAL_DATAGRAMS: ALL_RENEWAL_DATAGRAMS}
NAMES = {
    "connections": CONNECTIONS,
    "changes": CHANGES,
    "new_datagrams": NEW_DATAGRAMS,
    "standing_datagrams": RENEWAL_DATAGRAMS,
}


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


@dataclass(slots=True)
class Shares:
    """The share that each host has left at one gateway. ``limited`` False: a gateway without such limits."""

    limited: bool = True
    _buckets: dict[tuple[Host | None, Allowance], _Bucket] = field(default_factory=dict)

    def spend(self, host: Host, **counts: int) -> None:
        """Waits until the host has all of it left, and takes it. Names: those of ``NAMES``."""
        if not self.limited:
            return
        for name, count in counts.items():
            self._take(host, NAMES[name], count)
            if total := TOTALS.get(NAMES[name]):
                self._take(None, total, count)

    def richest(self, hosts: Sequence[Host], number: int) -> list[Host]:
        """The hosts that may do most now."""

        def left(host: Host) -> float:
            return sum(self._level(host, allowance) / allowance.burst for allowance in NAMES.values())

        return sorted(hosts, key=left, reverse=True)[:number]

    def _take(self, host: Host | None, allowance: Allowance, count: int) -> None:
        while (missing := min(count, allowance.burst) - self._level(host, allowance)) > 0:
            time.sleep(missing / allowance.per_s)
        self._buckets[host, allowance].level -= count

    def _level(self, host: Host | None, allowance: Allowance) -> float:
        now = time.monotonic()
        bucket = self._buckets.setdefault((host, allowance), _Bucket(allowance.burst, now))
        bucket.level = min(allowance.burst, bucket.level + (now - bucket.at) * allowance.per_s)
        bucket.at = now
        return bucket.level
