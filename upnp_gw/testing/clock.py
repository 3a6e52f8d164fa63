"""The emulator's time: it runs on as the machine's does, and can be moved forward."""

import asyncio
import time

from upnp_gw.model.mapping import Instant


class MovableClock:
    """Both clocks of the gateway, together. They never go back."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> Instant:
        return Instant(self.monotonic(), time.time() + self._ahead_s)

    def monotonic(self) -> float:
        """Seconds, for the gateway's leases and for the event loop."""
        return time.monotonic() + self._ahead_s

    def move_to(self, moment: float) -> None:
        """Moves both clocks so that ``monotonic`` is at least this."""
        self._ahead_s += max(0.0, moment - self.monotonic())


class MovableLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers run by a ``MovableClock``. A timer that the clock was moved over fires at once."""

    def __init__(self, clock: MovableClock) -> None:
        self._movable = clock
        super().__init__()

    def time(self) -> float:
        return self._movable.monotonic()
