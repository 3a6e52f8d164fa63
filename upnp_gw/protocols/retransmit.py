"""The times at which announcements and mapping updates are repeated (RFC 6887 section 14).

NAT-PMP uses the same schedule: ten times, after 250 ms and then twice as long each time (RFC 6886 section 3.2.1).
"""

from dataclasses import dataclass, field

ANNOUNCEMENTS = 10
UPDATES = 3
FIRST_GAP_S = 0.25


@dataclass(slots=True)
class Series:
    """``count`` messages: the first at once, the next after 250 ms, then each gap twice the last.

    A gap begins when a message was really sent, so a late message does not shorten the next gap.
    """

    count: int
    _left: int = field(default=0, init=False)
    _gap: float = field(default=FIRST_GAP_S, init=False)
    _at: float | None = field(default=None, init=False)

    def begin(self, now: float) -> None:
        """Starts the series, or starts it again."""
        self._left, self._gap, self._at = self.count, FIRST_GAP_S, now

    def stop(self) -> None:
        """Ends the series; the rest is not sent."""
        self._left, self._at = 0, None

    def next_deadline(self) -> float | None:
        """BOOTTIME seconds of the next message; None: there is none."""
        return self._at

    def take_due(self, now: float) -> bool:
        """True where a message is due; sets the time of the next one."""
        if self._at is None or now < self._at:
            return False
        self._left -= 1
        self._at = now + self._gap if self._left else None
        self._gap *= 2
        return True
