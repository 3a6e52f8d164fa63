"""One TCP connection within its limits: admission, one deadline at a time, and its end.

``Connection`` (``connection.py``) reads requests from it and writes answers.
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from upnp_gw.model.request import Source
from upnp_gw.servers.http.limits import Admission, HttpLimits, HttpRefusals
from upnp_gw.system.send_queue import RESET, unacknowledged

CLOCK_STEP_S = 0.002
"""uvloop's clock has milliseconds: a timer can fire this much before its deadline."""


@dataclass(frozen=True, slots=True)
class TransportContext:
    """The parts of the server that each connection's limits need."""

    limits: HttpLimits
    admission: Admission
    refusals: HttpRefusals
    identify: Callable[[tuple[object, ...], str], Source | None]
    """Peer name, interface -> source; None: such an address may not come in on this interface (SR-1)."""
    share_of: Callable[[Source], Hashable]
    """``LanContext.share_of``."""


class LimitedConnection(asyncio.Protocol, ABC):
    """Nothing is read before the connection is admitted, and it ends when a deadline passes.

    A rejected connection costs no parser. One deadline is in force at a time, and one timer serves all of them: a
    later deadline lets it run, and sets it again when it fires.
    """

    __slots__ = (
        "_admitted",
        "_deadline",
        "_early",
        "_interface",
        "_limits_context",
        "_link",
        "_loop",
        "_running",
        "_timer",
        "_timer_at",
        "_useful",
        "half_closed",
        "share",
        "source",
    )

    def __init__(self, context: TransportContext, interface: str, loop: asyncio.AbstractEventLoop) -> None:
        self._limits_context = context
        self._interface = interface
        self._loop = loop
        self._link: asyncio.Transport | None = None
        self.share: Hashable = None
        """The host whose limits this connection counts towards, as it was known at the admission."""
        self.source: Source | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = 0.0
        self._early = b""
        self._admitted = self._running = self._useful = False
        self.half_closed = False
        """The client has closed its side, so nothing more comes. It may still read."""

    # -- what a subclass does ----------------------------------------

    @abstractmethod
    def begun(self) -> None:
        """The connection is admitted. ``received`` gets the first bytes after this."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """The next bytes of the client."""

    @abstractmethod
    def unfinished(self) -> bool:
        """True: there is an answer to write, from the bytes received so far."""

    @abstractmethod
    def expired(self) -> None:
        """The deadline has passed while the connection is admitted."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the connection, after the answer that is being made."""

    # -- callbacks of the transport and of the admission ----------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its type
        self._link.set_write_buffer_limits(high=0)  # an answer is written when the kernel has the last byte of it
        context = self._limits_context
        peer = transport.get_extra_info("peername")
        self.source = context.identify(peer, self._interface) if peer else None
        if self.source is None:
            self.refuse("not-on-the-lan", peer[0] if peer else None)
            return
        host = context.share_of(self.source)
        reason = context.admission.admit(host, self)
        if reason is not None:
            self.refuse(reason)
            return
        self.share, self._admitted = host, True
        if not self._running:
            self.set_deadline(context.limits.head_s)

    def begin(self) -> None:
        """Reads from the connection, with the bytes received so far."""
        assert self._link is not None
        self._running = True
        self.set_deadline(self._limits_context.limits.head_s)
        self.begun()
        if self._early:
            early, self._early = self._early, b""
            self._link.resume_reading()
            self.received(early)

    def data_received(self, data: bytes) -> None:
        if self._running:
            self.received(data)
        elif self._link is not None and not self._link.is_closing():
            self._early += data
            self._link.pause_reading()
            if len(self._early) > self._limits_context.limits.received:
                self.refuse("too-much-data")

    def eof_received(self) -> bool:
        """False ends the connection. A client that closes its side after its request (``nc -N``) reads the answer.

        One that is gone looks the same. So the connection counts as wasted, and keeps its place until it ends.
        """
        self.half_closed = True
        return self._running and self.unfinished()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._link = None
        if self._admitted:
            self._limits_context.admission.leave(self.share, self)
            if not self._useful:
                self._limits_context.admission.waste(self.share)

    # -- for the subclass ----------------------------------------

    def refuse(self, reason: str, client: object = None) -> None:
        """Counts the refusal and ends the connection at once."""
        self._limits_context.refusals.refuse(reason, self.source.address if self.source else client)
        self.cut()

    def useful(self) -> None:
        """The connection had a useful answer: it does not count as wasted."""
        self._useful = self._useful or not self.half_closed

    def send(self, data: bytes) -> None:
        """Writes to the client. A write that fails ends the connection."""
        if self._link is not None:
            self._link.write(data)

    def end_writing(self) -> None:
        """Closes our side of the connection."""
        if self._link is not None:
            with suppress(OSError):  # asyncio's, if the client is gone
                self._link.write_eof()

    def cut(self) -> None:
        """Ends the connection at once, and discards bytes that the client has not acknowledged."""
        if self._link is None:
            return
        link = self._link.get_extra_info("socket")
        if unacknowledged(link):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._link.abort()

    def set_deadline(self, seconds: float) -> None:
        """Replaces the deadline: ``expired`` is called after so many seconds."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._set_timer(seconds)
        elif self._timer_at > self._deadline:
            self._timer.cancel()
            self._set_timer(seconds)

    def head_expired(self, begun: bool) -> None:
        """Ends a connection without a complete head. Idle ones end this way too; half a head is an attack or a
        fault."""
        if begun:
            self.refuse("head-deadline")
        else:
            self.cut()

    def _set_timer(self, seconds: float) -> None:
        self._timer_at = self._deadline
        self._timer = self._loop.call_later(seconds, self._fired)

    def _fired(self) -> None:
        self._timer = None
        left = self._deadline - self._loop.time()
        if left > CLOCK_STEP_S:
            self._set_timer(left)
        elif self._running:
            self.expired()
        else:
            self.head_expired(bool(self._early))
