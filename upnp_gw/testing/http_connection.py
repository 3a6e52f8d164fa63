"""HTTP connections of the emulator: each request is noted, and answered as the test asks."""

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from upnp_gw.model.request import Source
from upnp_gw.protocols.http.answer import CONTINUE
from upnp_gw.protocols.http.head import Head
from upnp_gw.protocols.igd.soap import (
    CONTENT_TYPE,
    Call,
    SoapError,
    build_fault,
    build_response,
    parse_call,
)
from upnp_gw.servers.http.answers import Answer
from upnp_gw.servers.http.connection import Connection, ConnectionContext, Service
from upnp_gw.servers.http.framing import BadRequest
from upnp_gw.servers.http.routes import ControlUrl
from upnp_gw.servers.http.transport import RESET
from upnp_gw.testing.answers import ERRORS, Answers, AskedAnswer
from upnp_gw.testing.journal import Journal, Request
from upnp_gw.testing.wire_faults import End, Sent, WireFault, disturbed

ERROR_CODE = re.compile(rb"<errorCode>(\d+)</errorCode>")
SILENT_S = 60.0
"""Longer than the gateway's own limit for an answer, which ends the connection."""

NoteRequest = Callable[[str, str, dict[str, str], Source], Request]
"""Protocol, action, arguments, source -> the noted request."""


class NotedConnection(Connection):
    """One connection, whose requests are in the journal."""

    __slots__ = ("_fault", "_journal", "_received", "_request")

    def __init__(
        self,
        journal: Journal,
        answers: Answers,
        context: ConnectionContext,
        interface: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._journal = journal
        self._received = b""
        """Since the last answer."""
        self._request: Request | None = None
        """The one that is being answered."""
        self._fault: WireFault | None = None
        """What becomes of the next answer."""
        service = NotedService(context.service, answers, self._note, self._disturb)
        super().__init__(replace(context, service=service), interface, loop)

    def received(self, data: bytes) -> None:
        self._received += data
        super().received(data)

    def send(self, data: bytes) -> None:
        if data == CONTINUE:
            super().send(data)
            return
        sent = Sent(data) if self._fault is None else disturbed(self._fault, data)
        if self._request is not None:
            self._request.answers.append(sent.data)
            found = ERROR_CODE.search(data)
            self._request.error = int(found[1]) if found else None
        self._fault, self._request, self._received = None, None, b""
        super().send(sent.data)
        self._end_after(sent.end)

    def _end_after(self, end: End) -> None:
        if self._link is None or end is End.AS_USUAL:
            return
        if end is End.RESET:
            self._link.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._link.abort()
        else:
            self._link.close()

    def _disturb(self, fault: WireFault | None) -> None:
        self._fault = fault

    def _note(self, protocol: str, action: str, arguments: dict[str, str], source: Source) -> Request:
        client = str(source.address)
        if self._request is None:
            self._request = self._journal.add(protocol, action, arguments, client, self._received)
        return self._request


class NotedService:
    """The service of one connection: notes, then asks the gateway's own, unless a rule answers."""

    def __init__(
        self, served: Service, answers: Answers, note: NoteRequest, disturb: Callable[[WireFault | None], None]
    ) -> None:
        """``disturb`` says what becomes of the next answer."""
        self._served = served
        self._answers = answers
        self._note = note
        self._disturb = disturb

    def respond(self, head: Head, connection: Connection, source: Source) -> Answer | ControlUrl:
        answer = self._served.respond(head, connection, source)
        if isinstance(answer, Answer):
            self._note("http", head.method, {"path": head.path, **dict(head.headers.pairs)}, source)
        return answer

    def call(
        self, url: ControlUrl, head: Head, body: bytes, source: Source
    ) -> Answer | Coroutine[Any, Any, Answer]:
        try:
            call = parse_call(head.headers, body)
        except SoapError:
            self._note(url.igd_version, "", {}, source)
            return self._served.call(url, head, body, source)
        request = self._note(url.igd_version, call.action, dict(call.arguments), source)
        asked = self._answers.take(request)
        if asked is None:
            return self._served.call(url, head, body, source)
        return self._answered(asked, call, url, lambda: self._served.call(url, head, body, source))

    def error(self, status: int) -> Answer:
        return self._served.error(status)

    def refused(self, error: BadRequest, source: Source) -> Answer:
        self._note("http", "", {}, source)
        return self._served.refused(error, source)

    async def _answered(
        self,
        asked: AskedAnswer,
        call: Call,
        url: ControlUrl,
        serve: Callable[[], Answer | Coroutine[Any, Any, Answer]],
    ) -> Answer:
        answer = None if asked.own else self._made(asked, call, url)
        if asked.own or asked.after:
            served = serve()
            own = served if isinstance(served, Answer) else await served
            answer = answer or own
        assert answer is not None
        await self._answers.delay(SILENT_S if asked.silent else asked.delay_s)
        self._disturb(asked.wire)
        return answer

    def _made(self, asked: AskedAnswer, call: Call, url: ControlUrl) -> Answer:
        if asked.error is None:
            body = build_response(call.response_urn(url.service), call.action, (asked.values or {}).items())
        else:
            body = build_fault(asked.error, ERRORS.get(asked.error, ""))
        status = 500 if asked.error is not None else 200
        fields = {**self._served.error(status).fields, "CONTENT-TYPE": CONTENT_TYPE, "EXT": ""}
        return Answer(status, fields, body)
