"""The requests of one connection, one after the other: head, body, answer.

The service (``server.HttpServer``) decides what is answered. A request that waits for nothing is answered within
the call that brings its last byte: no task, no timer of its own, one write.
"""

import asyncio
import enum
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from upnp_gw.model.request import Source
from upnp_gw.protocols.http.answer import CONTINUE, build_answer
from upnp_gw.protocols.http.body import BodyReader
from upnp_gw.protocols.http.head import HTTP_1_0, Head, HeadReader, MalformedRequest
from upnp_gw.protocols.igd.soap import BODY_MAX
from upnp_gw.servers.http.answers import Answer, DateField
from upnp_gw.servers.http.framing import BadRequest, wants_continue
from upnp_gw.servers.http.routes import ControlUrl
from upnp_gw.servers.http.transport import LimitedConnection, TransportContext

log = logging.getLogger(__name__)

LINGER_S = 1.0
"""Seconds for the rest of a request that nobody reads. The kernel resets a connection closed with unread bytes,
and the reset can overtake the answer."""


class Service(Protocol):
    """Makes the answers. ``respond`` and ``call`` raise BadRequest."""

    def respond(self, head: Head, connection: "Connection", source: Source) -> Answer | ControlUrl:
        """The answer to a request whose body is not read. A ControlUrl: read the body, then use ``call``."""
        ...

    def call(
        self, url: ControlUrl, head: Head, body: bytes, source: Source
    ) -> Answer | Coroutine[Any, Any, Answer]: ...

    def error(self, status: int) -> Answer:
        """A bare status. The connection ends after it."""
        ...

    def refused(self, error: BadRequest, source: Source) -> Answer:
        """Counts the refusal and makes its answer."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """The parts of the server that each connection uses."""

    transport: TransportContext
    service: Service
    date: DateField


class State(enum.Enum):
    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWERING = enum.auto()
    """The service's coroutine runs."""
    WRITING = enum.auto()
    """The kernel has not taken the whole answer."""
    SKIPPING = enum.auto()
    """Answered. The rest of the body is dropped, then the next request is read."""
    ENDING = enum.auto()
    """The last answer is written. What still comes is dropped."""


ANSWERED = frozenset({State.WRITING, State.SKIPPING, State.ENDING})


class Connection(LimitedConnection):
    """One connection of a LAN host. It ends when a deadline passes or a request is too long."""

    __slots__ = (
        "_answer_by",
        "_blocked",
        "_body",
        "_buffer",
        "_context",
        "_finishing",
        "_head",
        "_keep",
        "_reader",
        "_sent",
        "_state",
        "_task",
        "_unreadable",
        "_url",
        "_wire",
    )

    def __init__(self, context: ConnectionContext, interface: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(context.transport, interface, loop)
        self._context = context
        self._reader = HeadReader()
        self._state = State.HEAD
        self._buffer = b""
        self._wire = 0
        """Bytes of the request that is read, and of those behind it."""
        self._head: Head | None = None
        self._url: ControlUrl | None = None
        self._body: BodyReader | None = None
        self._answer_by = 0.0
        self._sent: Answer | None = None
        self._keep = self._blocked = self._finishing = self._unreadable = False
        self._task: asyncio.Task[None] | None = None

    @property
    def local_address(self) -> str:
        """The gateway's address on this connection."""
        name = self._link.get_extra_info("sockname") if self._link is not None else None
        return str(name[0]) if name else ""

    def begun(self) -> None:
        self._state = State.HEAD

    def received(self, data: bytes) -> None:
        self._wire += len(data)
        if self._state is State.ENDING:
            if self._wire > self._limits_context.limits.received:
                self.cut()
            return
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def unfinished(self) -> bool:
        if self._state in (State.HEAD, State.SKIPPING):
            return bool(self._buffer)  # the next request, which ``_advance`` will read
        return self._state in (State.ANSWERING, State.WRITING)

    def expired(self) -> None:
        match self._state:
            case State.HEAD:
                self.head_expired(self._reader.begun or bool(self._buffer))
            case State.BODY:
                self._reject(BadRequest(HTTPStatus.REQUEST_TIMEOUT, "body-deadline"))
            case State.ANSWERING | State.WRITING:
                self.refuse("answer-deadline")
            case State.SKIPPING | State.ENDING:
                self._close()

    def finish(self) -> None:
        if self._state in (State.ANSWERING, State.WRITING):
            self._finishing = True
        else:
            self._close()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        if self._state is State.WRITING:
            self._written()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._state, self._buffer = State.ENDING, b""
        self._sent = self._head = self._body = None

    # -- reading ------------------------------------------------------------

    def _advance(self) -> None:
        """Reads on, as far as one request, and limits its bytes."""
        if self._link is None or self._link.is_closing():
            return
        try:
            self._read()
        except MalformedRequest as error:
            self._malformed(error)
        except BadRequest as error:
            self._reject(error)
        except Exception as error:  # a defect of ours must not end the connection without an answer
            self._defect(error)
        if self._wire > self._limits_context.limits.received and self._state is not State.ENDING:
            self._too_long()
        elif self.half_closed and not self.unfinished():
            self._close()

    def _read(self) -> None:
        if self._state in (State.BODY, State.SKIPPING):
            self._read_body()
        elif self._state is State.HEAD and self._buffer:
            self._read_head()
            if self._url is not None:
                self._read_body()
                if self._state in (State.BODY,):  # no "is": mypy does not see that it changes
                    self.set_deadline(self._limits_context.limits.body_s)

    def _read_head(self) -> None:
        context = self._limits_context
        most = context.limits.received
        head, rest = self._reader.feed(self._buffer[:most])
        self._buffer = rest + self._buffer[most:]
        if head is None:
            return
        context.refusals.counts["requests"] += 1
        self._head = head
        self._answer_by = self._loop.time() + context.limits.answer_s
        self._body = BodyReader(head, BODY_MAX) if head.length or head.chunked else None
        assert self.source is not None
        answer = self._context.service.respond(head, self, self.source)
        if isinstance(answer, Answer):
            self._answer(answer)
            return
        self._url = answer
        self._state = State.BODY
        if wants_continue(head):
            self.send(CONTINUE)

    def _read_body(self) -> None:
        body = self._body
        if body is not None:
            if self._wire > self._limits_context.limits.received:
                self._too_long()
                return
            self._buffer = body.feed(self._buffer)
            if body.too_large and self._state is State.BODY:
                raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large")
            if not body.done:
                return
        if self._state is State.SKIPPING:
            self._next()
            return
        assert self._head is not None
        assert self._url is not None
        assert self.source is not None
        content = body.content if body is not None else b""
        served = self._context.service.call(self._url, self._head, content, self.source)
        if isinstance(served, Answer):
            self._answer(served)
        else:
            self._state = State.ANSWERING
            self.set_deadline(self._answer_by - self._loop.time())
            self._task = self._loop.create_task(self._wait(served))

    async def _wait(self, served: Coroutine[Any, Any, Answer]) -> None:
        try:
            answer = await served
            if self._state is State.ANSWERING:
                self._answer(answer)
        except BadRequest as error:
            self._reject(error)
        except Exception as error:
            self._defect(error)
        finally:
            self._task = None

    def _too_long(self) -> None:
        if self._state is State.BODY:
            self._reject(BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-much-data"))
        else:
            self.refuse("too-much-data")

    # -- answering ------------------------------------------------------------

    def _answer(self, answer: Answer) -> None:
        head, link = self._head, self._link
        if head is None or link is None or link.is_closing() or self._state in ANSWERED:
            return
        last = self._finishing or (self.half_closed and not self._buffer)
        crowded = self._limits_context.admission.crowded(self.share)
        self._keep = head.keep_alive and not (answer.close or crowded or last or "upgrade" in head.headers)
        self._sent = answer
        date, head_only = self._context.date.now(), head.method == "HEAD"
        self._state = State.WRITING
        self.send(
            build_answer(head.version, answer.status, answer.fields, answer.body, date, self._keep, head_only)
        )
        if self._state is not State.WRITING:
            return  # the write failed, and ended the connection
        if self._blocked:
            self.set_deadline(self._answer_by - self._loop.time())
        else:
            self._written()

    def _written(self) -> None:
        answer = self._sent
        assert answer is not None
        self._sent = None
        if answer.status in (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR):
            self.useful()
        if answer.written is not None:
            answer.written()
        unread = self._unreadable or (self._body is not None and not self._body.done)
        if not self._keep:
            self._end(unread)
        elif unread:
            self._state = State.SKIPPING
            self.set_deadline(LINGER_S)
            if self._buffer:
                self._loop.call_soon(self._advance)
        else:
            self._next()

    def _next(self) -> None:
        self._head = self._body = self._url = None
        if self._finishing or (self.half_closed and not self._buffer):
            self._close()
            return
        self._state = State.HEAD
        self._wire = len(self._buffer)
        self.set_deadline(self._limits_context.limits.head_s)
        if self._buffer:
            self._loop.call_soon(self._advance)

    def _end(self, unread: bool) -> None:
        self._state = State.ENDING
        self._buffer = b""
        if not unread or self.half_closed:
            self._close()
            return
        self.end_writing()
        self.set_deadline(LINGER_S)

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()

    def _reject(self, error: BadRequest) -> None:
        assert self.source is not None
        self._answer(self._context.service.refused(error, self.source))

    def _malformed(self, error: MalformedRequest) -> None:
        """Answers bytes that are not HTTP. Their version is not known, so it is the lower one."""
        assert self.source is not None
        if self._state is State.SKIPPING:
            self._limits_context.refusals.refuse(error.reason, self.source.address)
            self._close()
            return
        self._head, self._body = Head("", HTTP_1_0, "", None), None
        self._unreadable = True
        self._answer_by = self._loop.time() + self._limits_context.limits.answer_s
        self._reject(BadRequest(error.status, error.reason))

    def _defect(self, error: Exception) -> None:
        log.error("HTTP: a request failed", exc_info=error)
        assert self.source is not None
        self._limits_context.refusals.refuse("defect", self.source.address)
        if self._state in ANSWERED:
            self.cut()
            return
        self._answer(self._context.service.error(HTTPStatus.INTERNAL_SERVER_ERROR))
