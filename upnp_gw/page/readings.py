"""The daemon's answers, read once for all open pages: ten of them ask it no more than one."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from upnp_gw import api
from upnp_gw.control_client import ControlClient

T = TypeVar("T")

DAY_REFUSALS = 500
"""Refusals of the last day that are counted; beyond that there are "more than"."""

FRESH_S = 1.0
"""Seconds for which an answer of the daemon is shown again."""
SLOW_S = 300.0
"""Likewise for the doctor, whose checks take seconds."""


class Reading(Generic[T]):
    """One answer, kept for a time. Readers that come while it is read wait for it."""

    def __init__(self, read: Callable[[], Awaitable[T]], fresh_s: float, clock: Callable[[], float]) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._until = float("-inf")
        self._changes = 0

    @property
    def last(self) -> T | None:
        """The last answer, whatever its age; None: there is none yet."""
        return self._value

    @property
    def due(self) -> bool:
        return self._clock() >= self._until

    def forget(self) -> None:
        """The next reader asks the daemon: an answer that is on its way is from before the change, too."""
        self._until = float("-inf")
        self._changes += 1

    async def __call__(self) -> T:
        """Raises what ``ControlClient`` raises."""
        async with self._lock:
            if self._value is None or self.due:
                started, changes = self._clock(), self._changes
                self._value = await self._read()
                if changes == self._changes:
                    self._until = started + self._fresh_s
            return self._value


class Readings:
    """The lists that most pages show."""

    def __init__(self, client: ControlClient, clock: Callable[[], float] = time.monotonic) -> None:
        self.status = Reading[api.Status](client.status, FRESH_S, clock)
        self.mappings = Reading[list[api.Mapping]](client.mappings, FRESH_S, clock)
        self.devices = Reading[list[api.Device]](client.devices, FRESH_S, clock)
        self.questions = Reading[list[api.Question]](client.questions, FRESH_S, clock)
        self.incidents = Reading[list[api.Incident]](client.incidents, FRESH_S, clock)
        self.refused = Reading[list[api.Decision]](lambda: refused_of_day(client), FRESH_S, clock)
        self.doctor = Reading[list[api.Check]](client.doctor, SLOW_S, clock)

    def forget(self) -> None:
        """After a change: the next page shows the new state."""
        for reading in (self.status, self.mappings, self.devices, self.questions, self.incidents, self.refused):
            reading.forget()


async def refused_of_day(client: ControlClient) -> list[api.Decision]:
    since = datetime.now(UTC) - timedelta(days=1)
    return await client.decisions(verdict="deny", since=since.isoformat(), limit=DAY_REFUSALS, unchanged=False)
