"""The HTTP server of the control API, on the loopback or, in a container, on another address.

A web page must not use it (SR-9): Host must be the loopback with our port, and a request with headers that only
browsers send is refused. No answer has a CORS header. Another user of this machine can use it.

On another address the port may be a published one, and Host the address of the machine or the name of the
container. Any IP address and any name without a dot is accepted then: a page that an attacker leads here has a name
with one.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address
from typing import Any

import msgspec
from aiohttp import web

from upnp_gw.api import FieldError, Route, encode, read_body, read_query
from upnp_gw.protocols.http.head import Headers
from upnp_gw.servers.http.host_header import split_host
from upnp_gw.servers.http.server import from_browser
from upnp_gw.testing.api.bodies import WORDS, Problem
from upnp_gw.testing.api.operations import NotThere, Operations, TooLate
from upnp_gw.testing.api.routes import ROUTES

log = logging.getLogger(__name__)

HOST = IPv4Address("127.0.0.1")
NAMES = (str(HOST), "localhost")
"""In Host, with our port. Browsers never resolve the second one elsewhere."""
WITHOUT_DOT = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
BODY_MAX = 64 * 1024
SHUTDOWN_S = 1.0

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """Serves ``Operations``."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._runner: web.AppRunner | None = None
        self._hosts: frozenset[str] | None = frozenset()
        """The accepted values of Host; None: see the module."""

    async def start(self, port: int, address: IPv4Address = HOST) -> str:
        """Listens; 0: on any free port. Returns the URL. Raises OSError."""
        application = web.Application(middlewares=[self._problems], client_max_size=BODY_MAX)
        for operation, route in ROUTES.items():
            application.router.add_route(route.method, route.path, self._handler(operation, route))
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, str(address), port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self._hosts = frozenset(f"{name}:{bound}" for name in NAMES) if address == HOST else None
        self._operations.control = f"http://{HOST if address.is_unspecified else address}:{bound}"
        return self._operations.control

    async def close(self) -> None:
        """Ends the requests that wait, and closes everything."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _handler(self, operation: str, route: Route) -> Serve:
        method: Callable[..., Any] = getattr(self._operations, operation)

        async def handle(request: web.Request) -> web.StreamResponse:
            arguments: list[object] = list(request.match_info.values())
            if route.body is not None:
                arguments.append(read_body(await request.read() or b"{}", route.body, WORDS))
            if route.query is not None:
                arguments.append(read_query(dict(request.query), route.query, WORDS))
            if asyncio.iscoroutinefunction(method):
                return _json(200, await method(*arguments))
            return _json(200, await asyncio.to_thread(method, *arguments))

        return handle

    @web.middleware
    async def _problems(self, request: web.Request, handler: Serve) -> web.StreamResponse:
        """Answers every failure with a ``Problem``. The text of an unexpected exception goes to the log only."""
        try:
            if (refused := self._refusal(request)) is not None:
                return _problem(403, "forbidden", refused)
            return await handler(request)
        except FieldError as error:
            return _problem(400, "invalid", str(error), error.field)
        except msgspec.DecodeError:
            return _problem(
                400, "invalid", 'the body is not JSON; accepted: fields in braces, such as {"hours": 1}'
            )
        except web.RequestPayloadError:
            return _problem(400, "invalid", "the body is broken; accepted: JSON, without a Content-Encoding")
        except NotThere as error:
            return _problem(404, "not-found", str(error))
        except TooLate as error:
            return _problem(409, "too-late", str(error))
        except web.HTTPException as error:
            return _http_problem(request, error)
        except Exception:
            log.exception("no answer to %s %s", request.method, request.path)
            return _problem(500, "internal", "the emulator failed to answer: see its stderr")

    def _refusal(self, request: web.Request) -> str | None:
        """The reason not to answer; None: it may ask."""
        host = request.headers.get("Host", "")
        if self._hosts is None and not _no_page_is_there(host.lower()):
            return f"Host is {host[:60]!r}; accepted: an IP address, or a name without a dot"
        if self._hosts is not None and host.lower() not in self._hosts:
            return f"Host is {host[:60]!r}; accepted: {' or '.join(sorted(self._hosts))}"
        headers = Headers()
        for name, value in request.headers.items():
            headers.add(name.lower(), value)
        return "web pages may not use this API" if from_browser(headers) else None


def _no_page_is_there(host: str) -> bool:
    """True for a value of Host that no page of an attacker can have."""
    name, _ = split_host(host)
    try:
        ip_address(name)
    except ValueError:
        return WITHOUT_DOT.fullmatch(name) is not None
    return True


def _http_problem(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        accepted = ", ".join(sorted(error.allowed_methods - {"HEAD"}))
        message = f"{request.method} is not for this path; accepted: {accepted}"
        return _problem(405, "invalid", message, headers={"Allow": accepted})
    if error.status == 404:
        paths = ", ".join(sorted({route.path for route in ROUTES.values()}))
        return _problem(404, "not-found", f"there is no such path; accepted: {paths}")
    if error.status == 413:
        return _problem(413, "invalid", f"the body is too long; accepted: {BODY_MAX} bytes")
    return _problem(error.status, "invalid", error.reason)


def _problem(
    status: int, word: Any, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    return _json(status, Problem(error=word, message=message, field=field), headers)


def _json(status: int, value: object, headers: dict[str, str] | None = None) -> web.Response:
    fields = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", **(headers or {})}
    return web.Response(status=status, body=encode(value), content_type="application/json", headers=fields)
