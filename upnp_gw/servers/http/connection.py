"""One TCP connection, and aiohttp's protocol behind it.

aiohttp has no deadline for the head of a request and no limit on connections. ``Connection`` adds both.
"""

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError

from upnp_gw.model.request import Source
from upnp_gw.servers.http.limits import Admission, HttpLimits, HttpRefusals

log = logging.getLogger(__name__)

INT = struct.Struct("i")
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection and discards its send queue (socket(7))."""


class RequestTooLong(Exception):
    """A request has more bytes on the wire than ``HttpLimits.received``."""


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """The parts of the server that each connection uses."""

    server: web.Server
    limits: HttpLimits
    admission: Admission
    refusals: HttpRefusals
    identify: Callable[[tuple[object, ...], str], Source | None]
    """Peer name, interface -> source; None: such an address may not come in on this interface (SR-1)."""
    share_of: Callable[[Source], Hashable]
    """``LanContext.share_of``."""
    error: Callable[[int], web.Response]


class Connection(asyncio.Protocol):
    """One connection within the limits. Nothing is read before it is admitted, and it ends when a deadline passes.

    aiohttp's own protocol is made on admission: a rejected connection costs no parser and no task.
    """

    __slots__ = (
        "_admitted",
        "_body",
        "_context",
        "_early",
        "_interface",
        "_link",
        "_loop",
        "_received",
        "_served",
        "_timer",
        "_useful",
        "share",
        "source",
    )

    def __init__(self, context: ConnectionContext, interface: str, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._interface = interface
        self._loop = loop
        self._link: asyncio.Transport | None = None
        self._served: AdmittedConnection | None = None
        self.share: Hashable = None
        """The host whose limits this connection counts towards, as it was known at the admission."""
        self._timer: asyncio.TimerHandle | None = None
        self._early = b""
        self._received = 0
        self._admitted = self._useful = False
        self._body: StreamReader | None = None
        self.source: Source | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its type
        self._link.set_write_buffer_limits(high=0)  # an answer is written when the kernel has the last byte of it
        peer = transport.get_extra_info("peername")
        self.source = self._context.identify(peer, self._interface) if peer else None
        if self.source is None:
            self._refuse("not-on-the-lan", peer[0] if peer else None)
            return
        host = self._context.share_of(self.source)
        reason = self._context.admission.admit(host, self)
        if reason is not None:
            self._refuse(reason, self.source.address)
            return
        self.share, self._admitted = host, True
        if self._served is None:
            self.await_head()

    def begin(self) -> None:
        """Hands the connection to aiohttp, with the bytes received so far."""
        assert self._link is not None
        self._served = AdmittedConnection(self._context, self, self._loop)
        self.await_head()
        self._served.connection_made(self._link)
        if self._early:
            early, self._early = self._early, b""
            self._served.data_received(early)
            self._link.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._context.limits.received:
            self._request_too_long()
        elif self._served is not None:
            self._served.data_received(data)
        elif self._link is not None and not self._link.is_closing():
            self._early += data
            self._link.pause_reading()

    def eof_received(self) -> None:
        if self._served is not None:
            self._served.eof_received()

    def pause_writing(self) -> None:
        if self._served is not None:
            self._served.pause_writing()

    def resume_writing(self) -> None:
        if self._served is not None:
            self._served.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        self._link = None
        if self._served is not None:
            self._served.connection_lost(exc)
            self._served = None  # each names the other
        if self._admitted:
            self._context.admission.leave(self.share, self)
            if not self._useful:
                self._context.admission.waste(self.share)

    @contextmanager
    def reading(self, body: StreamReader) -> Iterator[None]:
        """Makes reading this body raise RequestTooLong if the request has too many bytes."""
        self._body = body
        try:
            yield
        finally:
            self._body = None

    def answered(self, status: int) -> None:
        """Notes the status of an answer; 0: the kernel did not take it. After 200, or 500 (a UPnP error), the
        connection does not count as wasted."""
        self._useful = self._useful or status in (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR)
        self.await_head()

    def await_head(self) -> None:
        """Starts the deadline for the next complete head."""
        self._stop_timer()
        self._received = len(self._early)
        self._timer = self._loop.call_later(self._context.limits.head_s, self._expired)

    def head_complete(self) -> None:
        """Stops the deadline for the head: from here the request has its own deadlines."""
        self._stop_timer()

    def cut(self) -> None:
        """Ends the connection at once, and discards bytes that the client has not acknowledged."""
        if self._link is None:
            return
        link = self._link.get_extra_info("socket")
        (unacknowledged,) = INT.unpack(fcntl.ioctl(link.fileno(), termios.TIOCOUTQ, bytes(INT.size)))
        if unacknowledged:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._link.abort()

    @property
    def closed(self) -> bool:
        return self._link is None

    def _expired(self) -> None:
        self._timer = None
        if self._received:  # idle connections end this way too; half a head is an attack or a fault
            self._context.refusals.refuse("head-deadline", self.source and self.source.address)
        self.cut()

    def _request_too_long(self) -> None:
        """Ends the connection of a request with too many bytes."""
        if self._body is None:
            self._refuse("too-much-data", self.source and self.source.address)
        elif self._body.exception() is None:
            self._body.set_exception(RequestTooLong())
            self._body.feed_eof()

    def _refuse(self, reason: str, client: object) -> None:
        self._context.refusals.refuse(reason, client)
        self.cut()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AdmittedConnection(web.RequestHandler):
    """aiohttp's protocol of a connection that was admitted."""

    __slots__ = ("_closing", "_context", "connection")

    def __init__(self, context: ConnectionContext, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            context.server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is its way to say: no access log
            keepalive_timeout=context.limits.head_s,
            lingering_time=1.0,
            max_line_size=context.limits.head,
            max_field_size=context.limits.head,
            auto_decompress=False,
        )
        self._context = context
        self._closing = False
        self.connection = connection

    def close(self) -> None:
        """Accepts no more requests: the server stops."""
        self._closing = True
        super().close()

    async def start(self) -> None:
        """The task of this connection. It does nothing if the connection is closed already: aiohttp would raise.
        Nor does it if ``close`` came before the task ran: aiohttp would wait for a request, and ignore it."""
        if not self.connection.closed and not self._closing:
            await super().start()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers a request that aiohttp cannot parse. aiohttp's own answer would quote the client's bytes."""
        if isinstance(exc, BadHttpMethod):
            status, reason = HTTPStatus.NOT_IMPLEMENTED, "unknown-method"
        elif isinstance(exc, HttpProcessingError):
            status, reason = HTTPStatus.BAD_REQUEST, "bad-http"
        else:
            reason = "defect"
            log.error("HTTP: a request failed", exc_info=exc)
        source = self.connection.source
        self._context.refusals.refuse(reason, source and source.address)
        return self._context.error(status)
