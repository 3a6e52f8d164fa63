"""The events as watchers of the control socket get them: numbered, each watcher with a bounded queue.

The last events are kept, so that a watcher whose connection broke goes on where it was (``Last-Event-ID``). An
event is converted to the API's type once for all watchers, and not at all while nobody watches.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from msgspec import structs

from upnp_gw import api
from upnp_gw.control.serialize import Serializer, shown_events
from upnp_gw.ledger.events import Event, Events

KEPT = 256
"""Events that a watcher can get later. A change of many mappings is one of them."""
MOST_WAITING = 1000
"""Events that wait for a watcher. A slower watcher gets these, then ``dropped``, and its stream ends."""
TOO_SLOW = f"the reader is too slow: {MOST_WAITING} events waited for it"
MISSED = "events since Last-Event-ID are not known any more: read the lists again"


class _Watcher:
    """The queue of one watcher."""

    def __init__(self) -> None:
        self._waiting: deque[api.Event] = deque()
        self._wake = asyncio.Event()
        self.dropped = False

    def add(self, event: api.Event) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.dropped = True
        elif not self.dropped:
            self._waiting.append(event)
        self._wake.set()

    async def drain(self, last: Callable[[], api.Event]) -> AsyncIterator[api.Event]:
        """``last``: the event that ends the stream of a slow watcher."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self.dropped:
                yield last()
                return
            self._wake.clear()
            await self._wake.wait()


class EventStreams:
    """Subscribes to the events of the daemon, for as long as it runs."""

    def __init__(self, events: Events, serializer: Serializer, run: str) -> None:
        """``run``: tells this run of the daemon from others, in the ids of events."""
        self._serializer = serializer
        self._run = run
        self._number = 0
        """Of the last event."""
        self._kept: deque[tuple[int, float, Event]] = deque(maxlen=KEPT)
        """(number of the first event that it is shown as, wall-clock seconds, event)"""
        self._watchers: set[_Watcher] = set()
        events.subscribe(self._on_event)

    @asynccontextmanager
    async def watch(self, after: str | None = None) -> AsyncIterator[AsyncIterator[api.Event]]:
        """A stream that begins with ``hello``, and has every event from then on. ``after``: the id of the last
        event that the watcher knows; the stream then also has the events since."""
        watcher = _Watcher()
        known = self._number_of(after)
        why = MISSED if after is not None and known is None else None
        watcher.add(self._own("hello", why, self._number if known is None else known))
        for first, wall, event in self._kept if known is not None else ():
            for shown in self._shown(first, wall, event, known):
                watcher.add(shown)
        self._watchers.add(watcher)
        try:
            yield watcher.drain(lambda: self._own("dropped", TOO_SLOW, None))
        finally:
            self._watchers.discard(watcher)

    def _on_event(self, event: Event) -> None:
        count = shown_events(event)
        if not count:
            return
        first, wall = self._number + 1, self._serializer.wall()
        self._number += count
        self._kept.append((first, wall, event))
        if self._watchers:
            for shown in self._shown(first, wall, event, 0):
                for watcher in self._watchers:
                    watcher.add(shown)

    def _shown(self, first: int, wall: float, event: Event, after: int | None) -> Iterator[api.Event]:
        """The events of the API with their ids, those with a number above ``after``."""
        if first + shown_events(event) - 1 <= (after or 0):
            return
        for number, shown in enumerate(self._serializer.events(event, wall), first):
            if number > (after or 0):
                yield structs.replace(shown, id=self._id(number))

    def _own(self, kind: str, why: str | None, number: int | None) -> api.Event:
        at = api.moment(self._serializer.wall())
        return api.Event(event=kind, at=at, why=why, id=None if number is None else self._id(number))  # type: ignore[arg-type]

    def _id(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _number_of(self, text: str | None) -> int | None:
        """The number of an id of this run whose later events are all kept; None: it is none."""
        run, _, digits = (text or "").rpartition("-")
        if run != self._run or not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            return None
        number = int(digits)
        oldest = self._kept[0][0] if self._kept else self._number + 1
        return number if oldest - 1 <= number <= self._number else None
