"""Limits for HTTP clients: connections, seconds and bytes (SR-23)."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

from upnp_gw.model.mapping import Instant
from upnp_gw.protocols.rate_limit import Rate, Throttle
from upnp_gw.servers.logged_counter import LoggedCounter

WASTED = Rate(burst=200, per_s=20)
"""Connections of one host that end without a useful answer: half a request, a malformed one, one too many, one
whose client closed its side before the answer. A host that has used this up is refused before a byte of its
connection is read."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Names with ``_s`` are seconds; ``head`` and ``received`` are bytes; the rest are connections."""

    head: int = 8 * 1024
    received: int = 32 * 1024
    """Most bytes of one request on the wire: a head, a body of 16 KiB, and 8 KiB for chunk sizes, extensions and
    trailers. A longer request is refused, or the connection is cut if no body is being read."""
    head_s: float = 5.0
    """From the connection, or the last answer, to a complete head. So this ends idle connections too."""
    body_s: float = 5.0
    backend_s: float = 25.0
    """For the reply of the gateway. After that the action has failed (IGD-089)."""
    answer_s: float = 30.0
    """For everything between head and the last byte of the answer."""
    per_host: int = 4
    waiting_per_host: int = 8
    """Connections of a host over ``per_host`` that wait, unread, until one of its own ends. Home Assistant opens
    four at once, and the next four before the first are closed."""
    total: int = 64
    wasted: Rate = WASTED


class HttpRefusals(LoggedCounter):
    """Counts refused requests and connections by reason."""

    def refuse(self, reason: str, client: object) -> None:
        """``client``: an IP address, or None if it is not known."""
        self.note(reason, "HTTP: refused a request of %s: %s", client or "?", reason)


class AdmittedConnection(Protocol):
    """A connection, as ``Admission`` uses it."""

    def begin(self) -> None:
        """Called once, when the connection is admitted."""

    def cut(self) -> None:
        """Ends the connection at once."""

    def finish(self) -> None:
        """Ends the connection, after the answer that is being made."""


@dataclass(slots=True)
class _Host:
    admitted: int = 0
    waiting: deque[AdmittedConnection] = field(default_factory=deque)


class Admission:
    """Admits connections, makes them wait, or refuses them."""

    def __init__(self, limits: HttpLimits, now: Callable[[], Instant]) -> None:
        self._limits = limits
        self._now = now
        self._wasted = Throttle[Hashable](limits.wasted)
        self._hosts: dict[Hashable, _Host] = {}
        self._all: set[AdmittedConnection] = set()
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def admit(self, host: Hashable, connection: AdmittedConnection) -> str | None:
        """The reason for a refusal. None: ``connection.begin()`` was called, or will be when there is room."""
        if self._closed:
            return "stopped"
        if self._wasted.level(host, self._now().boot) < 1:
            return "wasted-connections"
        entry = self._hosts.get(host) or _Host()
        if len(self._all) >= self._limits.total or len(entry.waiting) >= self._limits.waiting_per_host:
            self.waste(host)
            return "too-many-connections"
        self._hosts[host] = entry
        self._all.add(connection)
        self._empty.clear()
        if entry.admitted >= self._limits.per_host:
            entry.waiting.append(connection)
        else:
            entry.admitted += 1
            connection.begin()
        return None

    def waste(self, host: Hashable) -> None:
        """Counts a connection of this host that had no useful answer."""
        self._wasted.spend(host, 1, self._now().boot)

    def leave(self, host: Hashable, connection: AdmittedConnection) -> None:
        if connection not in self._all:
            return
        self._all.discard(connection)
        entry = self._hosts[host]
        if connection in entry.waiting:
            entry.waiting.remove(connection)
        elif entry.waiting and not self._closed:
            entry.waiting.popleft().begin()
        else:
            entry.admitted -= 1
        if not entry.admitted and not entry.waiting:
            del self._hosts[host]
        if not self._all:
            self._empty.set()

    def crowded(self, host: Hashable) -> bool:
        """True if connections of this host wait. Then a served one is closed after its answer."""
        entry = self._hosts.get(host)
        return entry is not None and bool(entry.waiting)

    def close(self) -> None:
        """The server stops: admits no more, cuts the connections that wait, and has the others finish."""
        self._closed = True
        waiting = {connection for entry in self._hosts.values() for connection in entry.waiting}
        for connection in list(self._all):
            if connection in waiting:
                connection.cut()
            else:
                connection.finish()

    async def ended(self, seconds: float) -> None:
        """Returns when the last connection has ended. Cuts those that are there after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._all):
                connection.cut()
            await self._empty.wait()

    def __len__(self) -> int:
        return len(self._all)
