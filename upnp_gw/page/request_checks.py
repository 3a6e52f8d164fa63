"""Checks of every request and headers of every answer: middlewares of both parts of the page.

A web page elsewhere can make a browser send requests here. So Host must be an address of the page or one of its
names (DNS rebinding), a change needs the token of a form (CSRF), and nobody may frame the page (clickjacking).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from upnp_gw import RELEASE
from upnp_gw.page.connections import Connections

SERVER = f"upnp-gw/{RELEASE}"
"""The header Server."""
BODY_MAX = 16 * 1024
BODY_S = 10.0
SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})

POLICY = "; ".join(
    (
        *("default-src 'none'", "style-src 'self'", "script-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def refused(status: int, text: str, **headers: str) -> web.Response:
    """An answer of one line, which repeats nothing that the client sent."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, text=text + "\n", headers=named)


def see_other(path: str) -> web.Response:
    """Leads to a page, after a form was sent."""
    return web.Response(status=303, headers={hdrs.LOCATION: path})


def headers_of_answers(server: str) -> Middleware:
    """Adds the headers that every answer has. Outermost: refusals have them too."""

    @web.middleware
    async def add_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            answer = refused(error.status, error.reason)
        if not answer.prepared:
            complete(answer, server)
        return answer

    return add_headers


def complete(answer: web.StreamResponse, server: str) -> None:
    """The headers of every answer; those that it has stay."""
    for name, value in {**HEADERS, "Server": server, "Cache-Control": "no-store"}.items():
        answer.headers.setdefault(name, value)


def whole_requests(connections: Connections) -> Middleware:
    """Reads the body first, within its deadline, so that no handler waits for a client."""

    @web.middleware
    async def read_first(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(BODY_S):
                await request.read()
        except TimeoutError:
            return refused(408, "The request took too long.", Connection="close")
        except web.RequestPayloadError:
            return refused(400, "The body of the request is broken.", Connection="close")
        with connections.answering(request.protocol):
            return await handler(request)

    return read_first


async def form_of(request: web.Request) -> Mapping[str, object]:
    """The fields of a form of the page. Its body was read. Raises web.HTTPException for any other body."""
    if request.content_type.startswith("multipart/"):  # files; aiohttp reads them from the connection, too late
        raise web.HTTPUnsupportedMediaType
    try:
        return await request.post()
    except (LookupError, ValueError):  # an encoding that there is not, or bytes that are not in it
        raise web.HTTPBadRequest from None


def own_hosts(accepts: Callable[[web.Request, str], bool]) -> Middleware:
    """Refuses a Host that is not ours. ``accepts``: request and host without its port -> true."""

    @web.middleware
    async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = host_of(request.headers.get(hdrs.HOST, ""))
        if host is None or not accepts(request, host):
            return refused(421, "This is not the name of the page. Use its address.")
        return await handler(request)

    return check_host


def host_of(value: str) -> str | None:
    """``192.168.1.1:5080`` -> ``192.168.1.1``, ``[::1]:5081`` -> ``::1``; lower case. None: it is no host."""
    if value.startswith("["):
        host, bracket, port = value[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    else:
        host, _, port = value.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit())):
        return None
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower() if host.isascii() and host.isprintable() else None


def local_host(request: web.Request) -> str:
    """The address of this machine to which the connection leads."""
    transport = request.transport
    name: Any = transport.get_extra_info("sockname") if transport is not None else None
    return str(name[0]).partition("%")[0] if name else ""


def accepts_own(names: Collection[str]) -> Callable[[web.Request, str], bool]:
    """Host is the address that the connection leads to, a name of ours, or the loopback's through a tunnel."""
    known = {"localhost", *names}

    def accepts(request: web.Request, host: str) -> bool:
        return host in known or host == local_host(request) or _is_loopback(host)

    return accepts


def accepts_addresses(names: Collection[str]) -> Callable[[web.Request, str], bool]:
    """Host is any address, or a name of ours: a page elsewhere can have a name lead here, and not an address."""
    known = {"localhost", *names}

    def accepts(_: web.Request, host: str) -> bool:
        try:
            return host in known or bool(ip_address(host))
        except ValueError:
            return False

    return accepts


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def from_elsewhere(request: web.Request) -> bool:
    """True for a request that a page of another origin caused. Browsers without Sec-Fetch-Site send Origin with
    every POST."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return True
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and origin != f"{request.scheme}://{request.headers.get(hdrs.HOST, '')}"
