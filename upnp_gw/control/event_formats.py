"""The two forms of the event stream: a JSON object a line, and server-sent events (WHATWG HTML, section 9.2)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from upnp_gw import api

HEARTBEAT_S = 15.0
"""Seconds without an event after which a server-sent stream has a comment: a proxy ends a silent connection."""
WRITE_S = 60.0
"""Seconds that one write may take. A reader that takes nothing for so long loses its connection."""
RETRY_MS = 2000
"""Milliseconds until a browser connects again."""

Write = Callable[[bytes], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class EventFormat:
    """One form of the stream."""

    media: str
    encode: Callable[[api.Event], bytes]
    heartbeat: bytes
    """Empty: none."""

    async def send(self, stream: AsyncIterator[api.Event], write: Write) -> None:
        """Writes all events of a stream. Raises ConnectionError, and TimeoutError if the reader reads nothing."""
        upcoming = asyncio.ensure_future(anext(stream, None))
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=HEARTBEAT_S if self.heartbeat else None)
                if not done:
                    await _within(write(self.heartbeat))
                    continue
                event = upcoming.result()
                if event is None:
                    return
                await _within(write(self.encode(event)))
                upcoming = asyncio.ensure_future(anext(stream, None))
        finally:
            upcoming.cancel()


async def _within(writing: Awaitable[object]) -> None:
    async with asyncio.timeout(WRITE_S):
        await writing


def _line(event: api.Event) -> bytes:
    return api.encode(event) + b"\n"


def _server_sent(event: api.Event) -> bytes:
    """JSON has no line break outside of an escape, so ``data`` is one line."""
    retry = b"retry: %d\n" % RETRY_MS if event.event == "hello" else b""
    number = b"id: %b\n" % event.id.encode() if event.id is not None else b""
    return retry + number + b"event: %b\ndata: %b\n\n" % (event.event.encode(), api.encode(event))


JSON_LINES = EventFormat("application/x-ndjson", _line, b"")
SERVER_SENT = EventFormat("text/event-stream", _server_sent, b": nothing happened\n\n")
