"""HTTP connections of the emulator: each request is noted, and answered as the test asks."""

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from weakref import WeakSet

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
from upnp_gw.protocols.igd_services import SERVICES, IgdVersion
from upnp_gw.servers.http.answers import Answer
from upnp_gw.servers.http.connection import Connection, ConnectionContext, Service
from upnp_gw.servers.http.framing import BadRequest
from upnp_gw.servers.http.routes import ControlUrl
from upnp_gw.system.send_queue import RESET
from upnp_gw.testing.fault import End, Fault, Sent
from upnp_gw.testing.journal import Journal, Request
from upnp_gw.testing.outcomes import ERRORS
from upnp_gw.testing.rules import Rules, Struck

ERROR_CODE = re.compile(rb"<errorCode>(\d+)</errorCode>")
BLANK = b"\r\n\r\n"
SILENT_S = 60.0
"""Longer than the gateway's own limit for an answer, which ends the connection."""

NoteRequest = Callable[[str, str, dict[str, str], Source], Request]
"""Protocol, action, arguments, source -> the noted request."""
Serve = Callable[[], Answer | Coroutine[Any, Any, Answer]]


@dataclass(frozen=True, slots=True)
class LateAnswer(ControlUrl):
    """The answer to a document or a subscription that comes late, in the place of a control URL: the connection
    waits for ``NotedService.call``."""

    answer: Answer
    struck: Struck


class NotedConnection(Connection):
    """One connection, whose requests are in the journal."""

    __slots__ = ("__weakref__", "_answered", "_faults", "_journal", "_received", "_request")

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        connections: "WeakSet[NotedConnection]",
        context: ConnectionContext,
        interface: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._journal = journal
        self._received = b""
        """Since the last answer."""
        self._answered = False
        self._request: Request | None = None
        """The one that is being answered."""
        self._faults: tuple[Fault, ...] = ()
        """Those of the next answer."""
        service = NotedService(context.service, rules, self._note, self._disturb)
        super().__init__(replace(context, service=service), interface, loop)
        connections.add(self)

    def time_passed(self, seconds: float) -> None:
        """The emulator's clock was moved: an idle connection ends so much sooner. A request that is on its way is
        answered as usual: the test could not know of it."""
        if self._timer is not None and self._answered and not self._received:
            self.set_deadline(max(0.0, self._deadline - seconds - self._loop.time()))

    def received(self, data: bytes) -> None:
        self._received += data
        super().received(data)

    def send(self, data: bytes) -> None:
        if data == CONTINUE:
            super().send(data)
            return
        sent = self._disturbed(data)
        if self._request is not None:
            found = ERROR_CODE.search(data)
            self._journal.answered(self._request, sent.data, int(found[1]) if found else None)
        self._faults, self._request, self._received = (), None, b""
        self._answered = True
        super().send(sent.data)
        self._end_after(sent.end)

    def _disturbed(self, data: bytes) -> Sent:
        """The bytes after every fault. The end of the last one that has an end counts."""
        end = End.AS_USUAL
        for fault in self._faults:
            head, blank, body = data.partition(BLANK)
            sent = fault.write_http(head + blank, body, self._request)
            data, end = sent.data, end if sent.end is End.AS_USUAL else sent.end
        return Sent(data, end)

    def _end_after(self, end: End) -> None:
        if self._link is None or end is End.AS_USUAL:
            return
        if end is End.RESET:
            self._link.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._link.abort()
        else:
            self._link.close()

    def _disturb(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults

    def _note(self, protocol: str, action: str, arguments: dict[str, str], source: Source) -> Request:
        client = str(source.address)
        if self._request is None:
            self._request = self._journal.add(protocol, action, arguments, client, self._received)
        return self._request


class NotedService:
    """The service of one connection: notes, then asks the gateway's own, unless a fault strikes before."""

    def __init__(
        self, served: Service, rules: Rules, note: NoteRequest, disturb: Callable[[tuple[Fault, ...]], None]
    ) -> None:
        """``disturb`` is given the faults of the next answer."""
        self._served = served
        self._rules = rules
        self._note = note
        self._disturb = disturb
        self._path = ""
        """Of the request that is read, as the client sent it."""

    def respond(self, head: Head, connection: Connection, source: Source) -> Answer | ControlUrl:
        self._path = head.path
        for fault in self._rules.lasting:
            head = fault.read_head(head)
        if head.method == "POST":
            return self._served.respond(head, connection, source)
        request = self._note("http", head.method, {"path": self._path, **dict(head.headers.pairs)}, source)
        request.path = self._path
        struck = self._rules.take(request)
        if struck is None:
            return self._served.respond(head, connection, source)
        code, _ = struck.outcome
        if code is not None or struck.before:
            answer = self._served.error(code or HTTPStatus.INTERNAL_SERVER_ERROR)
        if not struck.before:
            served = self._served.respond(head, connection, source)
            if isinstance(served, ControlUrl):
                return served
            answer = answer if code is not None else served
        if struck.delay_s or struck.silent:
            return _late(answer, struck)
        self._disturb(struck.faults)
        return answer

    def call(
        self, url: ControlUrl, head: Head, body: bytes, source: Source
    ) -> Answer | Coroutine[Any, Any, Answer]:
        if isinstance(url, LateAnswer):
            return self._late(url)
        try:
            call = parse_call(head.headers, body)
        except SoapError:
            self._note(url.igd_version, "", {}, source)
            return self._served.call(url, head, body, source)
        request = self._note(url.igd_version, call.action, dict(call.arguments), source)
        request.path = self._path
        struck = self._rules.take(request)
        if struck is None:
            return self._served.call(url, head, body, source)
        for fault in struck.faults:
            head, body = fault.read_call(head, body, request)
        return self._answered(struck, call, url, lambda: self._served.call(url, head, body, source))

    def error(self, status: int) -> Answer:
        return self._served.error(status)

    def refused(self, error: BadRequest, source: Source) -> Answer:
        self._note("http", "", {}, source)
        return self._served.refused(error, source)

    async def _answered(self, struck: Struck, call: Call, url: ControlUrl, serve: Serve) -> Answer:
        answer = self._made(struck, call, url) if struck.before or not struck.own else None
        if not struck.before:
            served = serve()
            own = served if isinstance(served, Answer) else await served
            answer = answer or own
        assert answer is not None
        await self._wait(struck)
        return answer

    async def _late(self, late: LateAnswer) -> Answer:
        await self._wait(late.struck)
        return late.answer

    async def _wait(self, struck: Struck) -> None:
        await self._rules.delay(SILENT_S if struck.silent else struck.delay_s)
        self._disturb(struck.faults)

    def _made(self, struck: Struck, call: Call, url: ControlUrl) -> Answer:
        code, values = struck.outcome
        if code is None and values is not None:
            body = build_response(call.response_urn(url.service), call.action, values.items())
        else:
            code = code or 501
            body = build_fault(code, ERRORS.get(code, ""))
        status = HTTPStatus.OK if code is None else HTTPStatus.INTERNAL_SERVER_ERROR
        fields = {**self._served.error(status).fields, "CONTENT-TYPE": CONTENT_TYPE, "EXT": ""}
        return Answer(status, fields, body)


def _late(answer: Answer, struck: Struck) -> LateAnswer:
    service = SERVICES[IgdVersion.IGD1][0]
    return LateAnswer(IgdVersion.IGD1, service, answer, struck)
