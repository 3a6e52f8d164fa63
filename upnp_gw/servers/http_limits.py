"""Guards one TCP connection before aiohttp sees it: who may connect, how many at once, how long, how much (SR-23).

aiohttp has no deadline for a request's head and no cap on connections. ``Connection`` is its protocol with both.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from upnp_gw.model import Instant
from upnp_gw.request import Source

log = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
"""At most one line of each reason in this time."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client can make the server spend. Times in seconds, sizes in bytes."""

    head: int = 8 * 1024
    received: int = 256 * 1024
    """For one request, whatever it is: then the connection is cut."""
    head_s: float = 5.0
    """From the connection, or the answer before, to a complete head; so this also ends idle keep-alive."""
    body_s: float = 5.0
    backend_s: float = 25.0
    """For the gateway's reply; then the action failed (IGD-089)."""
    answer_s: float = 30.0
    """For everything between head and the last byte of the answer."""
    per_host: int = 4
    waiting_per_host: int = 8
    """Connections of a host over its share that wait, unread, for one of its own to end: Home Assistant asks
    four things at once and the next four before the first connections are closed."""
    total: int = 64


@dataclass(slots=True)
class Refusals:
    """Counts by reason, and one log line a minute of each. Reasons are short, fixed words of our own."""

    now: Callable[[], Instant]
    counts: Counter[str] = field(default_factory=Counter)
    _logged_at: dict[str, float] = field(default_factory=dict)

    def note(self, reason: str, who: object) -> None:
        self.counts[reason] += 1
        moment = self.now().boot
        if moment - self._logged_at.get(reason, -LOG_INTERVAL_S) >= LOG_INTERVAL_S:
            self._logged_at[reason] = moment
            log.info("refused a request of %s: %s (%d so far)", who, reason, self.counts[reason])


@dataclass(slots=True)
class _Host:
    inside: int = 0
    waiting: deque["Connection"] = field(default_factory=deque)


class Admission:
    """Which connections are served now, which wait, which are turned away."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._hosts: dict[Hashable, _Host] = {}
        self._all: set[Connection] = set()

    def knock(self, host: Hashable, connection: "Connection") -> bool:
        """False: turned away. Otherwise ``connection.begin()`` was called, or will be when there is room."""
        entry = self._hosts.get(host) or _Host()
        if len(self._all) >= self._limits.total or len(entry.waiting) >= self._limits.waiting_per_host:
            return False
        self._hosts[host] = entry
        self._all.add(connection)
        if entry.inside >= self._limits.per_host:
            entry.waiting.append(connection)
        else:
            entry.inside += 1
            connection.begin()
        return True

    def leave(self, host: Hashable, connection: "Connection") -> None:
        if connection not in self._all:
            return
        self._all.discard(connection)
        entry = self._hosts[host]
        if connection in entry.waiting:
            entry.waiting.remove(connection)
        elif entry.waiting:
            entry.waiting.popleft().begin()
        else:
            entry.inside -= 1
        if not entry.inside:
            del self._hosts[host]

    def crowded(self, host: Hashable) -> bool:
        """True where connections of this host wait: the one in hand is then closed after its answer."""
        entry = self._hosts.get(host)
        return entry is not None and bool(entry.waiting)

    def turn_out_waiting(self) -> None:
        """The server stops: whoever was not begun will not be."""
        for entry in list(self._hosts.values()):
            for connection in list(entry.waiting):
                connection.cut()

    def __len__(self) -> int:
        return len(self._all)


@dataclass(frozen=True, slots=True)
class Door:
    """What a listener hands to each of its connections."""

    server: web.Server
    limits: HttpLimits
    admission: Admission
    refusals: Refusals
    identify: Callable[[tuple[object, ...]], Source | None]
    """Peer name -> source; None where such an address may not come in here (SR-1)."""
    host_of: Callable[[Source], Hashable]
    """Who shares the limits of one host."""
    error: Callable[[int], web.Response]


class Connection(web.RequestHandler):
    """aiohttp's protocol behind the limits. Silent until it is admitted, cut when a deadline passes."""

    __slots__ = ("_door", "_early", "_host", "_link", "_received", "_timer", "begun", "source")

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            door.server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is its way to say: no access log
            keepalive_timeout=door.limits.head_s,
            lingering_time=1.0,
            max_line_size=door.limits.head,
            max_field_size=door.limits.head,
            auto_decompress=False,
        )
        self._door = door
        self._link: asyncio.Transport | None = None
        self._host: Hashable = None
        self._timer: asyncio.TimerHandle | None = None
        self._early = b""
        self._received = 0
        self.begun = False
        self.source: Source | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its type
        peer = transport.get_extra_info("peername")
        self.source = self._door.identify(peer) if peer else None
        if self.source is None:
            self._refuse("not-on-the-lan", peer[0] if peer else "?")
            return
        self._host = self._door.host_of(self.source)
        self.await_head()
        if not self._door.admission.knock(self._host, self):
            self._refuse("too-many-connections", self.source.address)

    def begin(self) -> None:
        """There is room: aiohttp takes over, with what has come in meanwhile."""
        assert self._link is not None
        self.begun = True
        self.await_head()
        super().connection_made(self._link)
        if self._early:
            early, self._early = self._early, b""
            super().data_received(early)
            self._link.resume_reading()

    async def start(self) -> None:
        """aiohttp's task of this connection: whoever is gone before it runs leaves nothing to serve, and aiohttp
        would raise for want of its server."""
        if self._link is not None:
            await super().start()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._door.limits.received:
            self._refuse("too-much-data", self.source and self.source.address)
        elif self.begun:
            super().data_received(data)
        elif self._link is not None and not self._link.is_closing():
            self._early += data
            self._link.pause_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        if self.begun:
            super().connection_lost(exc)
        self._door.admission.leave(self._host, self)
        self._link = None

    def await_head(self) -> None:
        """From now on a complete head must come within the deadline."""
        self._stop_timer()
        self._received = len(self._early)
        self._timer = asyncio.get_running_loop().call_later(self._door.limits.head_s, self._expired)

    def head_complete(self) -> None:
        """A request is in hand: its own deadlines hold."""
        self._stop_timer()

    def cut(self) -> None:
        """Ends the connection at once."""
        if self._link is not None:
            self._link.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what aiohttp could not parse, without its text: that quotes the client's bytes."""
        if isinstance(exc, BadHttpMethod):
            status, reason = HTTPStatus.NOT_IMPLEMENTED, "unknown-method"
        elif isinstance(exc, HttpProcessingError):
            status, reason = HTTPStatus.BAD_REQUEST, "bad-http"
        else:
            reason = "defect"
            log.error("a request could not be answered", exc_info=exc)
        self._door.refusals.note(reason, self.source and self.source.address)
        return self._door.error(status)

    def _expired(self) -> None:
        self._timer = None
        if self._received:  # silence is how every kept connection ends, half a head is an attack or a fault
            self._door.refusals.note("head-deadline", self.source and self.source.address)
        self.cut()

    def _refuse(self, reason: str, who: object) -> None:
        self._door.refusals.note(reason, who)
        self.cut()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
