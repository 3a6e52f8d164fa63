"""Bounds what a client may hold of the page: connections, time until a request is there, and their number.

aiohttp bounds the size of a head and of a body, and not the time that they take.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

MOST = 128
"""Connections in all."""
MOST_OF_HOST = 24
"""Connections of one address. A browser opens six, and one for each live page more."""
REQUEST_S = 15.0
"""Seconds until a whole request has come, with its body; for the first one with the handshake of TLS."""
TAKEN_S = 30.0
"""Seconds in which a client takes what is sent to it. The kernel keeps some of it for the client beside that."""


class Connections:
    """Counts the connections of one listener. ``guarded`` makes the factory of its protocols."""

    def __init__(
        self,
        most: int = MOST,
        most_of_host: int = MOST_OF_HOST,
        request_s: float = REQUEST_S,
        taken_s: float = TAKEN_S,
    ) -> None:
        self.most = most
        self.most_of_host = most_of_host
        self.request_s = request_s
        self.taken_s = taken_s
        self.refused = 0
        self._by_host: Counter[str] = Counter()
        self._guards: dict[object, Guard] = {}

    @property
    def open(self) -> int:
        return self._by_host.total()

    def guarded(self, make: Callable[[], Any]) -> Callable[[], "Guard"]:
        return lambda: Guard(self, make())

    @contextmanager
    def answering(self, protocol: object) -> Iterator[None]:
        """A whole request has come: the connection may stay while it is answered. ``protocol``:
        ``request.protocol``."""
        guard = self._guards.get(protocol)
        if guard is None:
            yield
            return
        guard.begin_answer()
        try:
            yield
        finally:
            guard.end_answer()

    def enter(self, guard: "Guard") -> bool:
        """False: there are too many."""
        if self.open >= self.most or self._by_host[guard.host] >= self.most_of_host:
            self.refused += 1
            return False
        self._by_host[guard.host] += 1
        self._guards[guard.protocol] = guard
        return True

    def leave(self, guard: "Guard") -> None:
        if self._guards.pop(guard.protocol, None) is not None:
            self._by_host[guard.host] -= 1
            if self._by_host[guard.host] <= 0:
                del self._by_host[guard.host]


class Guard(asyncio.Protocol):
    """Passes everything to aiohttp's protocol, and ends a connection whose request does not come, or whose answer
    nobody takes."""

    def __init__(self, connections: Connections, protocol: Any) -> None:
        self.protocol = protocol
        self.host = ""
        self._connections = connections
        self._entered = False
        self._deadline: asyncio.TimerHandle | None = None
        self._answering = False
        self._taken: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.host = str(peer[0]) if peer else ""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._entered = self._connections.enter(self)
        if not self._entered:
            self._abort()
            return
        self._transport.set_write_buffer_limits(high=0)  # pause_writing: something waits for the client
        self._arm()
        self.protocol.connection_made(transport)

    def begin_answer(self) -> None:
        self._answering = True
        self._disarm()

    def end_answer(self) -> None:
        self._answering = False

    def data_received(self, data: bytes) -> None:
        if self._entered:
            if self._deadline is None and not self._answering:
                self._arm()
            self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return bool(self.protocol.eof_received()) if self._entered else False

    def connection_lost(self, error: BaseException | None) -> None:
        self._disarm()
        self._end_taken()
        if self._entered:
            self._connections.leave(self)
            self.protocol.connection_lost(error)

    def pause_writing(self) -> None:
        if self._entered:
            self._end_taken()
            self._taken = asyncio.get_running_loop().call_later(self._connections.taken_s, self._abort)
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self._end_taken()
        if self._entered:
            self.protocol.resume_writing()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._connections.request_s, self._abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_taken(self) -> None:
        if self._taken is not None:
            self._taken.cancel()
            self._taken = None

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
