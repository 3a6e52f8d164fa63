"""Counts events by kind, and logs each kind at most once a minute: no client can fill the log. At level debug every
event is logged."""

import logging
from collections import Counter
from collections.abc import Callable

from upnp_gw.model.mapping import Instant

LOG_INTERVAL_S = 60.0
"""Seconds from one line of a kind to the next."""


class LoggedCounter:
    """``counts``: the number of times that each kind was noted. A kind is a short, fixed word of our own."""

    def __init__(self, log: logging.Logger, clock: Callable[[], Instant]) -> None:
        self.counts: Counter[str] = Counter()
        self._log = log
        self._clock = clock
        self._next_line_at: dict[str, float] = {}

    def note(self, kind: str, message: str, *arguments: object, level: int = logging.INFO) -> None:
        """Counts one event. ``message`` and its arguments are words of our own and addresses."""
        self.counts[kind] += 1
        now = self._clock().boot
        if now >= self._next_line_at.get(kind, now):
            self._next_line_at[kind] = now + LOG_INTERVAL_S
            count = self.counts[kind]
            self._log.log(level, f"{message} ({count} so far)" if count > 1 else message, *arguments)
        else:
            self._log.debug(message, *arguments)
