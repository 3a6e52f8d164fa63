"""The messages that wait for one target, in memory: bounded, in order, tried again, and not too many at once."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify.counts import NotifyCounts
from upnp_gw.notify.delivery import ATTEMPTS, Answer, wait_s
from upnp_gw.notify.messages import Message, left_out

log = logging.getLogger(__name__)

MOST_WAITING = 100
"""Messages. The oldest one is left out for a new one."""
BURST = 20
WINDOW_S = 600.0
"""At most ``BURST`` messages in so many seconds; those above are counted, and one message tells how many."""

NEVER = datetime.fromtimestamp(0, UTC)

Send = Callable[[Message], Awaitable[Answer]]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Outbox:
    """``put`` returns at once. ``run`` delivers until it is cancelled."""

    number: int
    target: NotifyTarget
    send: Send
    counts: NotifyCounts
    clock: Callable[[], float]
    """Monotonic seconds."""
    random: Random
    sleep: Sleep = asyncio.sleep
    _waiting: deque[Message] = field(default_factory=deque)
    _recent: deque[float] = field(default_factory=deque)
    """Times of the last messages, at most ``BURST``."""
    _left_out: int = 0
    """Messages above the limit that nobody was told of."""
    _last_left_out: datetime = NEVER
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.counts.waiting[self.number] = 0

    def put(self, message: Message) -> None:
        """Queues a message that this target wants."""
        if message.event not in (*self.target.events, "test"):
            return
        now = self.clock()
        while self._recent and now - self._recent[0] >= WINDOW_S:
            self._recent.popleft()
        if len(self._recent) >= BURST:
            self._leave_out(message)
        else:
            if not self._waiting:
                self._tell_left_out()
            self._recent.append(now)
            self._add(message)
        self._wake.set()

    def _add(self, message: Message) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._leave_out(self._waiting.popleft())
        self._waiting.append(message)
        self.counts.waiting[self.number] = len(self._waiting)

    def _leave_out(self, message: Message) -> None:
        self.counts.messages[self.number, "left-out"] += 1
        self._left_out += 1
        self._last_left_out = message.at

    async def run(self) -> None:
        while True:
            await self._wait()
            message = self._waiting.popleft()
            await self._deliver(message)
            self.counts.waiting[self.number] = len(self._waiting)

    async def _wait(self) -> None:
        """Returns when a message waits. If some were left out, one waits when the time is over."""
        while not self._waiting:
            self._wake.clear()
            left_s = max(0.0, self._window_left()) if self._left_out else None
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                self._tell_left_out()

    def _tell_left_out(self) -> None:
        if self._left_out:
            self._waiting.append(left_out(self._left_out, self._last_left_out))
            self._left_out = 0

    def _window_left(self) -> float:
        """Seconds until another message may be put."""
        return WINDOW_S - (self.clock() - self._recent[0]) if len(self._recent) >= BURST else 0.0

    async def _deliver(self, message: Message) -> None:
        """Tries until it is sent, cannot be, or was tried ``ATTEMPTS`` times."""
        for attempt in range(1, ATTEMPTS + 1):
            answer = await self.send(message)
            if answer.sent:
                self.counts.messages[self.number, "sent"] += 1
                return
            if not answer.again or attempt == ATTEMPTS:
                break
            pause = wait_s(attempt, answer, self.random)
            log.info("notify %s: %s; next try in %.0f s", self.target.shown, answer.sentence, pause)
            await self.sleep(pause)
        self.counts.messages[self.number, "failed"] += 1
        log.warning("notify %s: %s is not delivered: %s", self.target.shown, message.event, answer.sentence)
