"""The ends of leases, the next check of a mapping, and the remaining lease. All in BOOTTIME seconds.

Over NAT-PMP and PCP the client gets the clamped lifetime and renews. Over IGD it cannot see a clamp, and many
clients request 0 or a week once and never renew. Such a mapping lives up to ``max_hold``. The gateway decides again
at least every hour, and the kernel's timeout ends soon after that time.
"""

import heapq
from collections.abc import Sequence
from dataclasses import replace

from upnp_gw.gate.decision import Clamps
from upnp_gw.ledger.reachable import with_holds
from upnp_gw.model.mapping import Hold, Instant, Mapping, Via, last_end

RECHECK_S = 3600
"""The longest time that a mapping is open without a new decision."""
END_GRACE_S = 2
"""The kernel's timeout is this much later than the end of the lease: the gateway ends it first, with its events."""
RENEWAL_GRACE_S = 30
"""The kernel's timeout is this much later than the next check: time for a presence check and one more try."""
SHOWN_MAX_S = 604800
"""The highest PortMappingLeaseDuration of WANIPConnection:2 (IGD-021, deviation IGD-128)."""


def with_recheck(mapping: Mapping, clamps: Clamps, now: Instant) -> Mapping:
    """The mapping after a decision now: with the times of the next check and of the grant's end."""
    return replace(
        mapping, recheck_at=recheck_at(mapping.holds, clamps, now), grant_ends_at=grant_ends_at(clamps, now)
    )


def recheck_at(holds: Sequence[Hold], clamps: Clamps, now: Instant) -> float:
    """The next check: within RECHECK_S, and no later than the end of the grant or of the last hold."""
    ends_in_s = clamps.max_ttl_s if clamps.ends_in_s is None else clamps.ends_in_s
    return min(last_end(holds), now.boot + min(clamps.max_ttl_s, RECHECK_S, ends_in_s))


def grant_ends_at(clamps: Clamps, now: Instant) -> float | None:
    """BOOTTIME seconds at which the grant or its hours end; None: never."""
    return None if clamps.ends_in_s is None else now.boot + clamps.ends_in_s


def with_renewal(mapping: Mapping, clamps: Clamps, now: Instant) -> Mapping:
    """The mapping after a check that allowed it again. The hold of a permanent mapping starts again."""
    if mapping.permanent:
        mapping = mapping.with_hold(Hold(Via.OPERATOR, now.boot + clamps.max_hold_s, None))
    return with_recheck(mapping, clamps, now)


def kernel_timeout_s(mapping: Mapping, now: Instant) -> float:
    """Seconds (>= 1) until the kernel's own timeout, with grace except at the end of a grant."""
    last = mapping.until <= mapping.recheck_at
    end = mapping.until + END_GRACE_S if last else mapping.recheck_at + RENEWAL_GRACE_S
    if mapping.grant_ends_at is not None:
        end = min(end, mapping.grant_ends_at)
    return max(1.0, end - now.boot)


def next_check(mapping: Mapping) -> float:
    """The time when the writer has to check this row: a hold ends, or the gate has to decide again.

    A parked or disabled row is in no map: only the end of a hold matters.
    """
    holds = mapping.holds
    first_end = holds[0].until if len(holds) == 1 else min(hold.until for hold in holds)
    if mapping.above is not None and mapping.above.waits:
        return min(first_end, mapping.above.until)
    return min(first_end, mapping.recheck_at) if mapping.active else first_end


def grant_has_ended(mapping: Mapping, now: Instant) -> bool:
    """True if the grant that allowed it, or the grant's hours, have ended: the gate decides again at once."""
    return mapping.active and mapping.grant_ends_at is not None and mapping.grant_ends_at <= now.boot


def without_expired_holds(mapping: Mapping, now: Instant) -> Mapping | None:
    """The mapping without the holds that have ended; None if none is left, or if it has waited long enough for the
    gateway above."""
    if mapping.above is not None and mapping.above.waits and mapping.above.until <= now.boot:
        return None
    live = tuple(hold for hold in mapping.holds if hold.until > now.boot)
    if live == mapping.holds:
        return mapping
    return with_holds(mapping, live) if live else None


def left_s(mapping: Mapping, via: Via, now: Instant) -> int:
    """The remaining lease in the terms of this protocol, >= 1 second; 0 for a permanent mapping of the operator."""
    hold = mapping.hold_of(via.protocol)
    if hold is None and mapping.permanent:
        return 0
    left = max(1, round((hold.until if hold else mapping.until) - now.boot))
    return min(left, SHOWN_MAX_S) if via is Via.IGD2 else left


FEW = 256
"""Due rows that are popped one by one."""


class Deadlines:
    """The rows by the time of their next check. O(log n); outdated entries are dropped when they become due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}

    def set(self, mapping_id: str, due: float | None) -> None:
        """``due``: the next check of the row; None: none."""
        if due is None:
            self._due.pop(mapping_id, None)
        elif self._due.get(mapping_id) != due:
            self._due[mapping_id] = due
            heapq.heappush(self._heap, (due, mapping_id))
        if len(self._heap) > 64 + 2 * len(self._due):
            self._heap = [(at, i) for i, at in self._due.items()]
            heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The time of the first check; None: there is none."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[str]:
        """Removes and returns the ids of the rows that are due."""
        due_ids: list[str] = []
        while (at := self.next()) is not None and at <= now:
            if len(due_ids) == FEW:
                return due_ids + self._pop_many(now)
            _, mapping_id = heapq.heappop(self._heap)
            del self._due[mapping_id]
            due_ids.append(mapping_id)
        return due_ids

    def _pop_many(self, now: float) -> list[str]:
        """``pop_due`` for thousands, as after a suspend: one walk over all is faster than popping each."""
        entries = sorted(entry for entry in self._heap if entry[0] <= now)
        self._heap = [entry for entry in self._heap if entry[0] > now]
        heapq.heapify(self._heap)
        due_ids = []
        for at, mapping_id in entries:
            if self._due.get(mapping_id) == at:
                del self._due[mapping_id]
                due_ids.append(mapping_id)
        return due_ids
