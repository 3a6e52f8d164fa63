"""aiohttp's protocol with answers and log lines of our own for what is no HTTP.

aiohttp answers a broken request with the text of its exception, which repeats what the client sent, and logs a
trace for each. A host of the LAN could fill the log so.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from upnp_gw.page.request_checks import SERVER, complete, refused

log = logging.getLogger(__name__)

IDLE_S = 30.0
"""Seconds until a connection without a request is closed."""

BROKEN = (HttpProcessingError, web.RequestPayloadError)
"""Errors of a client, and not of the page."""


class HttpProtocol(web.RequestHandler):
    """The protocol of one connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        self.log_exception("the page cannot answer a request", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        said = "The page has a problem: see its log." if status >= 500 else "This is not a good HTTP request."
        answer = refused(status, said)
        complete(answer, SERVER)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp refuses a wrong Expect before any middleware, with an answer that repeats it."""
        if isinstance(resp, web.HTTPException):
            resp = refused(resp.status, resp.reason)
            complete(resp, SERVER)
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A trace is for errors of the page."""
        error = kw.get("exc_info")
        if isinstance(error, BROKEN):
            log.debug("a client sent what is no HTTP: %s", type(error).__name__)
        else:
            super().log_exception(*args, **kw)


def protocols(server: web.Server) -> Callable[[], HttpProtocol]:
    """Makes the protocols of a server (``AppRunner.server``)."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"loop": loop, "access_log": None, "keepalive_timeout": IDLE_S}
    return lambda: HttpProtocol(server, **options)
