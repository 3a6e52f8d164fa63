"""Serves views: as a whole page, and as a stream of live parts (server-sent events)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
from aiohttp import web

from upnp_gw.control_client import Declined, Unreachable
from upnp_gw.page.feed import Feed
from upnp_gw.page.request_checks import complete, refused
from upnp_gw.page.views import Frame, Renderer, View

log = logging.getLogger(__name__)

Produce = Callable[[web.Request], Awaitable[View]]
"""Makes the page of a request as it is now. Raises Declined, Unreachable, web.HTTPException."""
MakeFrame = Callable[[web.Request, str], Awaitable[Frame]]
"""The frame of a request, for the section of the navigation."""

BETWEEN_S = 1.1
"""Seconds from a change to the patch of a page: longer than ``readings.FRESH_S``, so that what was read before the
change is read again, and many changes cause one reading a second for all pages."""
TICK_S = 15.0
"""Seconds after which a page is looked at although nothing has happened: leases run."""
WRITE_S = 20.0
"""Seconds until a browser that reads nothing loses its stream."""
MOST_STREAMS = 48


class Serving:
    """``frame``: makes the frame of a page. ``allowed``: whether a stream may go on."""

    def __init__(
        self,
        renderer: Renderer,
        feed: Feed,
        frame: MakeFrame,
        allowed: Callable[[web.Request], bool],
        server: str,
        *,
        queries: bool = True,
    ) -> None:
        """``queries``: a page depends on the query of its URL."""
        self._queries = queries
        self._renderer = renderer
        self._feed = feed
        self._frame = frame
        self._allowed = allowed
        self._server = server
        self._streams: set[asyncio.Task[object]] = set()

    @property
    def streams(self) -> int:
        return len(self._streams)

    def add(
        self, application: web.Application, path: str, produce: Produce, section: str, live: bool = True
    ) -> None:
        """Serves a page at this path, and its live parts below ``/live``."""

        async def whole(request: web.Request) -> web.Response:
            view = await self._made(request, produce)
            frame = await self._frame(request, section)
            url = request.rel_url if self._queries else request.path
            return self.answer(view, replace(frame, live=f"/live{url}" if live else ""))

        async def parts(request: web.Request) -> web.StreamResponse:
            return await self._stream(request, produce, section)

        application.router.add_get(path, whole)
        if live:
            application.router.add_get(f"/live{path}", parts)

    def answer(self, view: View, frame: Frame) -> web.Response:
        return web.Response(
            status=view.status, text=self._renderer.whole(view, frame), content_type="text/html", charset="utf-8"
        )

    async def close(self) -> None:
        """Ends all streams."""
        for task in list(self._streams):
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def _made(self, request: web.Request, produce: Produce) -> View:
        try:
            return await produce(request)
        except (Declined, Unreachable) as error:
            return problem_view(error)

    async def _stream(self, request: web.Request, produce: Produce, section: str) -> web.StreamResponse:
        if len(self._streams) >= MOST_STREAMS:
            return refused(503, "Too many pages are open.")
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            complete(response, self._server)
            await response.prepare(request)
            await self._send_parts(request, response, produce, section)
        except (ConnectionError, TimeoutError):
            pass  # the browser has closed the page, or reads nothing
        finally:
            self._streams.discard(task)
        return response

    async def _send_parts(
        self, request: web.Request, response: web.StreamResponse, produce: Produce, section: str
    ) -> None:
        sent: dict[str, str] = {}
        seen = self._feed.version
        while self._allowed(request):
            view = await self._made(request, produce)
            parts = self._renderer.parts(view, await self._frame(request, section))
            if not self._allowed(request):  # it has ended while the daemon answered
                break
            changed = {name: html for name, html in parts.items() if sent.get(name) != html}
            async with asyncio.timeout(WRITE_S):
                await response.write(_event(changed) if changed else b": still here\n\n")
            sent = parts
            seen = await self._feed.wait(seen, TICK_S)
            if not self._allowed(request):
                break
            await asyncio.sleep(BETWEEN_S)
        await response.write(b"event: end\ndata: {}\n\n")


def _event(parts: dict[str, str]) -> bytes:
    return b"data: " + msgspec.json.encode(parts) + b"\n\n"


def problem_view(error: Declined | Unreachable) -> View:
    """A page that says why there is nothing to show."""
    if isinstance(error, Declined):
        status = error.status if error.status in (400, 403, 404, 409, 422, 429) else 502
        return View("problem.html", {"problem": error.problem.message, "kind": "declined"}, status)
    return View("problem.html", {"problem": str(error), "kind": "unreachable"}, 503)
