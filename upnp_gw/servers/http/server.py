"""The HTTP server of the LAN: descriptions, control, eventing.

A web page can make a browser on the LAN send requests (SR-9). So Host must be one of our own addresses, control and
eventing refuse requests with headers that only browsers send, and no answer has a CORS header.
"""

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDictProxy

from upnp_gw.model.network import Network
from upnp_gw.model.request import Source
from upnp_gw.protocols.igd.layer3_forwarding import default_connection_service
from upnp_gw.protocols.igd.soap import CONTENT_TYPE
from upnp_gw.protocols.igd_services import IgdVersion, Service
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.http.connection import AdmittedConnection, Connection, ConnectionContext
from upnp_gw.servers.http.control import Control, ControlBackend
from upnp_gw.servers.http.framing import BadRequest, check_framing, read_body
from upnp_gw.servers.http.host_header import wrong_host
from upnp_gw.servers.http.limits import Admission, HttpLimits, HttpRefusals
from upnp_gw.servers.http.listeners import HttpListeners
from upnp_gw.servers.http.routes import (
    KNOWN_METHODS,
    METHODS,
    NEW_AGENT,
    OLD_AGENTS,
    ControlUrl,
    EventUrl,
    Resource,
    ServedDescriptions,
    ServedDocument,
    new_paths,
    old_paths,
    routes,
)

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
    ) -> None:
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
        self._listeners = HttpListeners(self._connection)
        self._server: web.Server | None = None
        self._context: ConnectionContext | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Refused requests and connections by reason, faults by code, and ``requests``: all requests."""
        return self._refusals.counts

    async def start(self, network: Network, port: int) -> int:
        """Listens on every LAN address. ``port`` 0: a free one. Returns the port. Raises OSError."""
        self._server = web.Server(self._serve)
        self._context = ConnectionContext(
            self._server,
            self._limits,
            self._admission,
            self._refusals,
            identify=self._identify,
            share_of=self._lan.share_of,
            error=self._error,
        )
        return await self._listeners.start(network, port)

    async def network_changed(self, network: Network) -> None:
        """Follows the LAN's addresses. A socket that cannot be opened is logged, and tried again at the next
        change."""
        for where, error in await self._listeners.follow(network):
            log.error("HTTP: cannot listen at %s, port %d: %s", where, self._listeners.port, error.strerror)

    async def stop(self) -> None:
        """Accepts no more connections, finishes running requests (STOP_S), closes the rest."""
        self._listeners.close()
        self._admission.reject_waiting()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(STOP_S)
            self._server = None

    def _connection(self, interface: str) -> Connection:
        assert self._context is not None
        return Connection(self._context, interface, asyncio.get_running_loop())

    def _identify(self, peer: tuple[object, ...], interface: str) -> Source | None:
        """The peer as a source on this interface; None: its address does not belong there (SR-1)."""
        address = ip_address(str(peer[0]).partition("%")[0])
        network = self._lan.network()
        link = network.lan(interface)
        if link is None or not network.on_link(address, interface):
            return None
        if address.version == 6 and address.is_link_local and peer[3] != link.index:
            return None
        return Source(address, interface)

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        """Serves one request, from its complete head to the last byte of its answer, within ``answer_s``."""
        served = request.protocol
        assert isinstance(served, AdmittedConnection)
        connection, source = served.connection, served.connection.source
        assert source is not None
        connection.head_complete()
        self._refusals.counts["requests"] += 1
        response, written = self._error(HTTPStatus.SERVICE_UNAVAILABLE), False
        try:
            async with asyncio.timeout(self._limits.answer_s):
                response, sid = await self._answer(request, source)
                # after an Upgrade header aiohttp does not parse the next request, though we never change the
                # protocol
                if self._admission.crowded(connection.share) or "Upgrade" in request.headers:
                    response.force_close()
                await response.prepare(request)
                await response.write_eof()
            written = True
            if sid is not None:
                self._eventing.delivered(sid)
        except TimeoutError:
            self._refusals.refuse("answer-deadline", source.address)
            connection.cut()
        except ConnectionError:
            pass  # the client has closed the connection; aiohttp notices by itself
        finally:
            connection.answered(response.status if written else 0)
        return response

    async def _answer(self, request: web.BaseRequest, source: Source) -> tuple[web.Response, str | None]:
        sid = None
        try:
            resource = self._resource(request)
            match resource:
                case ServedDocument():
                    response = self._response(HTTPStatus.OK, resource.body, resource.content_type)
                case ControlUrl():
                    response = await self._call(request, resource, source)
                case EventUrl():
                    response, sid = self._subscription(request, resource, source)
        except BadRequest as error:
            self._refusals.refuse(error.reason, source.address)
            return self._error(error.status, error.headers), None
        # a document's path is shown; the others have the token
        name = request.rel_url.raw_path if isinstance(resource, ServedDocument) else resource
        log.debug("HTTP: %s %s from %s: %d", request.method, name, source.address, response.status)
        if "Accept-Language" in request.headers:
            response.headers["CONTENT-LANGUAGE"] = "en"
        return response, sid

    def _resource(self, request: web.BaseRequest) -> Resource:
        """Checks the head and looks up the path. Raises BadRequest."""
        if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > self._limits.head:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")
        check_framing(request)
        if (status := wrong_host(request, self._lan.network(), self._listeners.port)) is not None:
            raise BadRequest(status, "host")
        if request.method not in KNOWN_METHODS:
            raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "unknown-method")
        path = request.rel_url.raw_path
        agent = request.headers.get("User-Agent", "")
        if any(old in agent for old in OLD_AGENTS):
            path = self._old_paths.get(path, path)
        elif NEW_AGENT in agent and ":" in self._local_address(request):
            path = self._new_paths.get(path, path)
        resource = self._routes.get(path)
        if resource is None:
            raise BadRequest(HTTPStatus.NOT_FOUND, "no-such-path")
        methods = METHODS[type(resource)]
        if request.method not in methods:
            raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, "method", {"ALLOW": ", ".join(methods)})
        if not isinstance(resource, ServedDocument) and from_browser(request.headers):
            raise BadRequest(HTTPStatus.FORBIDDEN, "from-a-browser")
        return resource

    @staticmethod
    def _local_address(request: web.BaseRequest) -> str:
        """The gateway's address on this connection."""
        transport = request.transport
        name = transport.get_extra_info("sockname") if transport is not None else None
        return str(name[0]) if name else ""

    async def _call(self, request: web.BaseRequest, url: ControlUrl, source: Source) -> web.Response:
        body = await read_body(request, self._limits.body_s)
        answer = await self._control.serve(url.igd_version, url.service, source, request.headers, body)
        if answer.status not in (HTTPStatus.OK, HTTPStatus.INTERNAL_SERVER_ERROR):
            raise BadRequest(answer.status, answer.reason)
        if answer.reason.startswith("fault-"):
            self._refusals.counts[answer.reason] += 1
            log.debug("HTTP: %s for %s", answer.reason, source.address)
        elif answer.reason:
            self._refusals.refuse(answer.reason, source.address)
        response = self._response(answer.status, answer.body)
        response.headers["EXT"] = ""
        return response

    def _subscription(
        self, request: web.BaseRequest, url: EventUrl, source: Source
    ) -> tuple[web.Response, str | None]:
        answer = self._eventing.serve(request.method, url.igd_version, url.service, request.headers, source)
        if answer.status != HTTPStatus.OK:
            self._refusals.counts[f"event-{answer.status}"] += 1
        response = self._response(answer.status, b"", None)
        response.headers.update(answer.headers)
        return response, answer.sid

    def _response(self, status: int, body: bytes, content_type: str | None = CONTENT_TYPE) -> web.Response:
        headers = {"SERVER": self._server_header}
        if content_type is not None:
            headers["CONTENT-TYPE"] = content_type
        return web.Response(status=status, body=body, headers=headers)

    def _error(self, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
        """A bare status. The connection ends, because the next bytes may belong to the refused request."""
        response = self._response(status, b"", None)
        response.headers.update(headers or {})
        response.force_close()
        return response


def from_browser(headers: CIMultiDictProxy[str]) -> bool:
    """True for a request that a browser sent, maybe for a web page: no control point sends these headers (SR-9).

    A page can neither set nor remove ``Origin`` and ``Sec-`` headers. Node's fetch (undici: nat-port-mapper,
    nat-api) sends ``Sec-Fetch-Mode: cors`` alone, a browser sends others with it (docs/decisions/0020).
    """
    return any(
        name == "origin" or (name.startswith("sec-") and (name, value) != ("sec-fetch-mode", "cors"))
        for name, value in ((name.lower(), value.strip().lower()) for name, value in headers.items())
    )
