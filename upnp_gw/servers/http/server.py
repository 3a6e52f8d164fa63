"""The HTTP server of the LAN: descriptions, control, eventing.

A web page can make a browser on the LAN send requests (SR-9). So Host must be one of our own addresses, control and
eventing refuse requests with headers that only browsers send, and no answer has a CORS header.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from upnp_gw.model.network import Network
from upnp_gw.model.request import Source
from upnp_gw.protocols.http.head import Head, Headers
from upnp_gw.protocols.igd.layer3_forwarding import default_connection_service
from upnp_gw.protocols.igd.soap import CONTENT_TYPE
from upnp_gw.protocols.igd_services import IgdVersion, Service
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.http.answers import Answer, DateField
from upnp_gw.servers.http.connection import Connection, ConnectionContext
from upnp_gw.servers.http.control import Control, ControlAnswer, ControlBackend
from upnp_gw.servers.http.framing import BadRequest, check_body, check_framing
from upnp_gw.servers.http.host_header import HostCheck
from upnp_gw.servers.http.limits import Admission, HttpLimits, HttpRefusals
from upnp_gw.servers.http.listeners import HttpListeners, Listen, listen
from upnp_gw.servers.http.peers import Peers
from upnp_gw.servers.http.presentation import presentation
from upnp_gw.servers.http.routes import (
    METHODS,
    NEW_AGENT,
    OLD_AGENTS,
    ControlUrl,
    EventUrl,
    PresentationUrl,
    Resource,
    ServedDescriptions,
    ServedDocument,
    new_paths,
    old_paths,
    routes,
)
from upnp_gw.servers.http.transport import TransportContext

log = logging.getLogger(__name__)

STOP_S = 10.0
"""Seconds that ``stop`` waits for running requests."""


class EventReply(Protocol):
    """The answer to SUBSCRIBE or UNSUBSCRIBE; its body is empty."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def sid(self) -> str | None: ...


class Eventing(Protocol):
    """``gena_delivery.GenaDelivery``, as the server uses it."""

    def serve(
        self, method: str, igd_version: IgdVersion, service: Service, headers: Mapping[str, str], source: Source
    ) -> EventReply: ...

    def delivered(self, sid: str) -> None:
        """Call it when the answer with this SID was written: now the initial event may be sent (IGD-181)."""
        ...


class HttpServer:
    """Serves every LAN address. Use it on one event loop, between start and stop."""

    def __init__(
        self,
        descriptions: ServedDescriptions,
        lan: LanContext,
        backend: ControlBackend,
        eventing: Eventing,
        limits: HttpLimits | None = None,
        connection: Callable[[ConnectionContext, str, asyncio.AbstractEventLoop], Connection] = Connection,
        listen: Listen = listen,
        page_port: Callable[[], int] = lambda: 0,
    ) -> None:
        """``connection``, ``listen``: see ``servers.wire``. ``page_port``: that of the page for people; 0: it does
        not run."""
        self._page_port = page_port
        documents = descriptions.documents
        self._routes = routes(documents, descriptions.token)
        self._old_paths = old_paths(documents)
        self._new_paths = new_paths(documents)
        self._limits = limits or HttpLimits()
        default_connections = {
            version: default_connection_service(version, udns) for version, udns in descriptions.udns.items()
        }
        self._control = Control(descriptions.models, backend, default_connections, self._limits.backend_s)
        self._eventing = eventing
        self._lan = lan
        self._server_header = descriptions.server_header
        self._admission = Admission(self._limits, lan.clock)
        self._refusals = HttpRefusals(log, lan.clock)
        self._make_connection = connection
        self._listeners = HttpListeners(self._connection, listen)
        self._hosts = HostCheck()
        limits_of = TransportContext(
            self._limits,
            self._admission,
            self._refusals,
            identify=Peers(lan.network).identify,
            share_of=lan.share_of,
        )
        self._context = ConnectionContext(limits_of, self, DateField())

    @property
    def counts(self) -> Mapping[str, int]:
        """Refused requests and connections by reason, faults by code, and ``requests``: all requests."""
        return self._refusals.counts

    async def start(self, network: Network, port: int) -> int:
        """Listens on every LAN address. ``port`` 0: a free one. Returns the port. Raises OSError."""
        return await self._listeners.start(network, port)

    async def network_changed(self, network: Network) -> None:
        """Follows the LAN's addresses. A socket that cannot be opened is logged, and tried again at the next
        change."""
        for where, error in await self._listeners.follow(network):
            log.error("HTTP: cannot listen at %s, port %d: %s", where, self._listeners.port, error.strerror)

    async def stop(self) -> None:
        """Accepts no more connections, finishes running requests (STOP_S), closes the rest."""
        self._listeners.close()
        self._admission.close()
        await self._admission.ended(STOP_S)

    def _connection(self, interface: str) -> Connection:
        return self._make_connection(self._context, interface, asyncio.get_running_loop())

    # -- the service of the connections ----------------------------------------

    def respond(self, head: Head, connection: Connection, source: Source) -> Answer | ControlUrl:
        """The answer to a request for a document or an event URL; a control URL, whose answer ``call`` makes.
        Raises BadRequest."""
        resource = self._resource(head, connection)
        match resource:
            case ControlUrl():
                check_body(head)
                return resource
            case PresentationUrl():
                answer = presentation(connection.local_address, self._page_port())
                answer.fields = {"SERVER": self._server_header} | answer.fields
            case ServedDocument():
                answer = self._response(HTTPStatus.OK, resource.body, resource.content_type)
            case EventUrl():
                answer = self._subscription(head, resource, source)
        return self._completed(answer, head, resource, source)

    def call(
        self, url: ControlUrl, head: Head, body: bytes, source: Source
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """Answers an action, or returns the coroutine that does. Both raise BadRequest."""
        served = self._control.serve(url.igd_version, url.service, source, head.headers, body)
        if isinstance(served, ControlAnswer):
            return self._called(served, url, head, source)
        return self._called_later(served, url, head, source)

    def error(self, status: int, headers: Mapping[str, str] | None = None) -> Answer:
        """A bare status. The connection ends, because the next bytes may belong to the refused request."""
        return Answer(status, {"SERVER": self._server_header} | dict(headers or {}), close=True)

    def refused(self, error: BadRequest, source: Source) -> Answer:
        """Counts the refusal and makes its answer."""
        self._refusals.refuse(error.reason, source.address)
        return self.error(error.status, error.headers)

    def _completed(self, answer: Answer, head: Head, resource: Resource, source: Source) -> Answer:
        if log.isEnabledFor(logging.DEBUG):
            # a document's path is shown; the others have the token
            name = head.path if isinstance(resource, ServedDocument) else resource
            log.debug("HTTP: %s %s from %s: %d", head.method, name, source.address, answer.status)
        if "accept-language" in head.headers:
            answer.fields["CONTENT-LANGUAGE"] = "en"
        return answer

    def _resource(self, head: Head, connection: Connection) -> Resource:
        """Checks the head and looks up the path. Raises BadRequest."""
        if head.size > self._limits.head:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")
        check_framing(head)
        if (status := self._hosts.wrong_host(head, self._lan.network(), self._listeners.port)) is not None:
            raise BadRequest(status, "host")
        path = head.path
        agent = head.headers.get("user-agent") or ""
        if any(old in agent for old in OLD_AGENTS):
            path = self._old_paths.get(path, path)
        elif NEW_AGENT in agent and ":" in connection.local_address:
            path = self._new_paths.get(path, path)
        resource = self._routes.get(path)
        if resource is None:
            raise BadRequest(HTTPStatus.NOT_FOUND, "no-such-path")
        methods = METHODS[type(resource)]
        if head.method not in methods:
            raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, "method", {"ALLOW": ", ".join(methods)})
        if isinstance(resource, ControlUrl | EventUrl) and from_browser(head.headers):
            raise BadRequest(HTTPStatus.FORBIDDEN, "from-a-browser")
        return resource

    def _called(self, served: ControlAnswer, url: ControlUrl, head: Head, source: Source) -> Answer:
        if served.status not in (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR):
            raise BadRequest(served.status, served.reason)
        if served.reason.startswith("fault-"):
            self._refusals.counts[served.reason] += 1
            log.debug("HTTP: %s for %s", served.reason, source.address)
        elif served.reason:
            self._refusals.refuse(served.reason, source.address)
        answer = self._response(served.status, served.body)
        answer.fields["EXT"] = ""
        return self._completed(answer, head, url, source)

    async def _called_later(
        self, served: Coroutine[Any, Any, ControlAnswer], url: ControlUrl, head: Head, source: Source
    ) -> Answer:
        return self._called(await served, url, head, source)

    def _subscription(self, head: Head, url: EventUrl, source: Source) -> Answer:
        reply = self._eventing.serve(head.method, url.igd_version, url.service, head.headers, source)
        if reply.status != HTTPStatus.OK:
            self._refusals.counts[f"event-{reply.status}"] += 1
        answer = self._response(reply.status, b"", None)
        answer.fields.update(reply.headers)
        if (sid := reply.sid) is not None:
            answer.written = lambda: self._eventing.delivered(sid)
        return answer

    def _response(self, status: int, body: bytes, content_type: str | None = CONTENT_TYPE) -> Answer:
        fields = {"SERVER": self._server_header}
        if content_type is not None:
            fields["CONTENT-TYPE"] = content_type
        return Answer(status, fields, body)


def from_browser(headers: Headers) -> bool:
    """True for a request that a browser sent, maybe for a web page: no control point sends these headers (SR-9).

    A page can neither set nor remove ``Origin`` and ``Sec-`` headers. Node's fetch (undici: nat-port-mapper,
    nat-api) sends ``Sec-Fetch-Mode: cors`` alone, a browser sends others with it (docs/decisions/0020).
    """
    return any(
        name == "origin"
        or (name.startswith("sec-") and (name, value.strip().lower()) != ("sec-fetch-mode", "cors"))
        for name, value in headers.pairs
    )
