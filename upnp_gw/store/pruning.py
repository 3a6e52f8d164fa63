"""Deletes old decisions, in portions, after the commits that made them too many. No request waits for it.

A decision stays as long as a mapping names it, whatever its age.
"""

import sqlite3
from dataclasses import dataclass

from upnp_gw.model.mapping import DAY_S, Instant
from upnp_gw.store import policy_rows, shared_parts
from upnp_gw.store.shared_parts import SEGMENT, SharedParts

CLOCK_SET = 1_735_689_600.0
"""Wall-clock seconds. A clock before this was never set: a router without a clock chip starts in 1970."""
PORTION = 256
"""Decisions that one portion looks at: less than a millisecond of the store's thread."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The bounds of the audit log. Decisions beyond either of them are deleted, see ``Pruning``."""

    decisions: int = 100_000
    seconds: float = 90 * DAY_S

    @property
    def most_over(self) -> int:
        """So many decisions beyond the bound, the oldest are deleted: one in a hundred, at most 64."""
        return max(1, min(64, self.decisions // 100))

    @property
    def pass_s(self) -> float:
        """Seconds between two passes over the whole log, which find what has become too old: at most an hour."""
        return max(1.0, min(3600.0, self.seconds / 100))


KEEP = Retention()


class Pruning:
    """The progress of deleting old decisions. A pass looks at all decisions, at the start and then once an hour.
    Between two passes only the number of decisions counts."""

    def __init__(self, keep: Retention) -> None:
        self.keep = keep
        self.newest = 0
        """The highest number of a decision that was written since the start."""
        self._now = Instant(0.0, 0.0)
        self._done = 0
        """All decisions up to this number have been looked at."""
        self._deleted = False
        """Decisions of the segment at ``_done`` have been deleted."""
        self._passing = False
        self._next_pass = float("-inf")
        """CLOCK_BOOTTIME seconds."""
        self._queued = False

    def wrote(self, newest: int, now: Instant) -> None:
        """Call it after each commit. ``newest``: the highest number of a decision; 0: none was written."""
        self.newest = max(self.newest, newest)
        self._now = now
        if now.boot >= self._next_pass:
            self._next_pass = now.boot + self.keep.pass_s
            self._passing, self._done = True, 0

    @property
    def due(self) -> bool:
        """True: there is a portion to do."""
        return self._passing or self._bound - self._done >= self.keep.most_over

    def queue(self) -> bool:
        """True: a portion is due, and none is in the queue of the store's thread: the caller puts one there. Else
        each batch of a pass would put one there, and other work of that thread would wait for all of them."""
        if self._queued or not self.due:
            return False
        self._queued = True  # two threads may get here at once: a second portion in the queue costs nothing
        return True

    def begin(self) -> bool:
        """The portion in the queue has its turn. False: it is not due any more."""
        self._queued = False
        return self.due

    @property
    def _bound(self) -> int:
        return self.newest - self.keep.decisions

    def portion(self, db: sqlite3.Connection, parts: SharedParts) -> None:
        """Looks at the next decisions, in the open transaction."""
        limit = PORTION if self._passing else min(PORTION, self._bound - self._done)
        last = self.newest if self._passing else self._bound
        rows = db.execute(
            "SELECT d.number, d.at, m.decision FROM decisions d LEFT JOIN mappings m ON m.id = d.mapping"
            " WHERE d.number > ? AND d.number <= ? ORDER BY d.number LIMIT ?",
            (self._done, last, limit),
        ).fetchall()
        too_old = self._now.wall - self.keep.seconds
        leave = [
            (number,)
            for number, at, named in rows
            # a decision from before the wall clock was set has no age
            if named != number and (number <= self._bound or CLOCK_SET <= at < too_old)
        ]
        db.executemany("DELETE FROM decisions WHERE number = ?", leave)
        at_end = len(rows) < limit
        begun, self._done = self._done, last if at_end else rows[-1][0]
        if leave:
            self._deleted = True
            policy_rows.prune_policies(db)
        if self._deleted and begun // SEGMENT != self._done // SEGMENT:
            self._deleted = False
            for segment in range(begun // SEGMENT, self._done // SEGMENT):
                shared_parts.delete_unused(db, segment)
            parts.forget()
            policy_rows.prune_unused(db)
        if self._passing and at_end:
            self._passing = False
            self._done = max(0, min(self._done, self._bound))
