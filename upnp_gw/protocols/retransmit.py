"""When what is sent unasked is sent: the series of announcements and of mapping updates (RFC 6887 section 14).

The same ten times, 250 ms and then double, serve NAT-PMP (RFC 6886 section 3.2.1).
"""

from dataclasses import dataclass, field

ANNOUNCEMENTS = 10
UPDATES = 3
FIRST_GAP_S = 0.25


@dataclass(slots=True)
class Series:
    """``count`` sendings; the first at once, the next after 250 ms, then each gap twice the last.

    A gap is counted from when a message was really sent, so that a late one makes the next no closer.
    """

    count: int
    _left: int = field(default=0, init=False)
    _gap: float = field(default=FIRST_GAP_S, init=False)
    _at: float | None = field(default=None, init=False)

    def begin(self, now: float) -> None:
        """From the start; what was under way ends."""
        self._left, self._gap, self._at = self.count, FIRST_GAP_S, now

    def stop(self) -> None:
        self._left, self._at = 0, None

    def next_deadline(self) -> float | None:
        """BOOTTIME seconds of the next sending, None where there is none."""
        return self._at

    def take_due(self, now: float) -> bool:
        """True where it is time to send once; the next one's time is set."""
        if self._at is None or now < self._at:
            return False
        self._left -= 1
        self._at = now + self._gap if self._left else None
        self._gap *= 2
        return True
