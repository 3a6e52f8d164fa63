"""A timer of the event loop for the earliest of several deadlines."""

import asyncio
from collections.abc import Callable

from upnp_gw.model.mapping import Instant


class DeadlineTimer:
    """Calls back at the earliest deadline. On the event loop."""

    def __init__(self, clock: Callable[[], Instant], callback: Callable[[], None]) -> None:
        self._clock = clock
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self.deadline: float | None = None
        """The earliest one, BOOTTIME seconds; None: there is none."""

    def set(self, *deadlines: float | None) -> None:
        """Replaces the deadlines: BOOTTIME seconds; None: none. A past one calls back on the loop's next turn."""
        self.cancel()
        earliest = min((at for at in deadlines if at is not None), default=None)
        if earliest is not None:
            self.deadline = earliest
            wait_s = max(0.0, earliest - self._clock().boot)
            self._handle = asyncio.get_running_loop().call_later(wait_s, self._over)

    def run_due(self) -> None:
        """Calls back now if the deadline is over: after the clock was moved, which the event loop does not see."""
        if self.deadline is not None and self.deadline <= self._clock().boot:
            self._over()

    def cancel(self) -> None:
        """Nothing is called any more until ``set``."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = self.deadline = None

    def _over(self) -> None:
        self.cancel()
        self._callback()
