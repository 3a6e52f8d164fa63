"""The emulator's time: it stands still or runs on, and a test moves it forward."""

import asyncio
import time
from contextlib import suppress

from upnp_gw.model.mapping import Instant


class MovableClock:
    """The time of leases and epochs. A frozen one changes by ``move_to`` alone; it never goes back."""

    def __init__(self, frozen: bool = False) -> None:
        self._frozen_at = Instant(time.monotonic(), time.time()) if frozen else None
        self._ahead_s = 0.0
        self._moved = asyncio.Event()

    def __call__(self) -> Instant:
        at = self._frozen_at or Instant(time.monotonic(), time.time())
        return Instant(at.boot + self._ahead_s, at.wall + self._ahead_s)

    def monotonic(self) -> float:
        """Seconds."""
        return self().boot

    def running(self) -> Instant:
        """The time of the servers, which runs on in a frozen clock too: the pauses between datagrams are real."""
        return Instant(time.monotonic() + self._ahead_s, time.time() + self._ahead_s)

    def move_to(self, moment: float) -> None:
        """Moves it so that ``monotonic`` is at least this."""
        self._ahead_s += max(0.0, moment - self.monotonic())
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds, which pass by themselves or by ``move_to``."""
        until = self.running().boot + seconds
        while (left_s := until - self.running().boot) > 0:
            moved = self._moved
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await moved.wait()
