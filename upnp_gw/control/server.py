"""The control socket: the HTTP/JSON API of the operator, on a Unix socket in the runtime directory.

It parses requests, calls the ``Operator`` and writes the answers. A user who may open the socket is the
operator: only the permissions of the file and its directory protect it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import web

from upnp_gw import api
from upnp_gw.control.download import Download
from upnp_gw.control.event_formats import JSON_LINES, SERVER_SENT
from upnp_gw.control.socket_path import Claim
from upnp_gw.model.errors import GatewayError
from upnp_gw.model.request import Refusal, Refused

log = logging.getLogger(__name__)

BODY_MAX = 16 * 1024
WATCHERS_MAX = 16
SHUTDOWN_S = 2.0

STATUS_OF: dict[Refusal, int] = {
    Refusal.NOT_AUTHORIZED: 403,
    Refusal.ASK: 403,
    Refusal.RATE: 429,
    Refusal.QUOTA: 409,
    Refusal.CONFLICT: 409,
    Refusal.CONFLICT_OTHER: 409,
    Refusal.TABLE_FULL: 409,
    Refusal.NO_PORT: 409,
    Refusal.SAME_PORT: 409,
    Refusal.NO_SUCH: 404,
    Refusal.BAD_NONCE: 403,
    Refusal.NO_EXTERNAL_ADDRESS: 409,
    Refusal.UNSUPPORTED: 422,
    Refusal.TOO_MANY_FILTERS: 422,
    Refusal.ABSENT: 503,
    Refusal.GATEWAY_ABOVE: 503,
    Refusal.BACKEND: 503,
}
"""Refusal -> HTTP status. The body has the refusal itself."""

STATUS_OF_WORD = {"invalid": 400, "not-found": 404, "backend-failed": 503}
"""``Problem.error`` -> HTTP status; any other: 409."""


class Operator(Protocol):
    """Operations that the control server calls, on the event loop. They return problems and do not raise."""

    async def mappings(self) -> list[api.Mapping]:
        """Every mapping, also parked and disabled ones, oldest first."""
        ...

    async def mapping(self, mapping_id: str) -> api.Mapping | None: ...

    async def add(self, body: api.AddMapping) -> api.Added | Refused | api.Problem:
        """Opens a port for the operator: only the floor of the gate can refuse. It is told what it crosses."""
        ...

    async def delete(self, mapping_id: str) -> api.Mapping | Refused:
        """Closes it and ends its flows at once; returns the mapping as it was, or NO_SUCH."""
        ...

    async def status(self) -> api.Status: ...

    async def decisions(self, query: api.DecisionFilter) -> list[api.Decision]:
        """The newest first, at most ``query.limit``."""
        ...

    async def devices(self) -> list[api.Device]: ...

    async def doctor(self) -> list[api.Check]: ...

    def events(self, after: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[api.Event]]:
        """``hello``, then events from the moment of entering on; with ``after``, the id of an event, also those
        since then. The stream ends if its reader is too slow, or the daemon stops."""
        ...


T = TypeVar("T")
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlServer:
    """Serves an ``Operator`` on a claimed socket."""

    def __init__(
        self,
        operator: Operator,
        runtime_dir: Path,
        group: str = "",
        claim: Claim | None = None,
        more: Sequence[object] = (),
        page_runs: Callable[[int], AbstractContextManager[None]] = lambda port: nullcontext(),
    ) -> None:
        """``page_runs``: notes that a page for people runs at this port (``EventFilter.page_port``).
        ``more``: objects with the operations of ``api.ROUTES`` that ``Operator`` does not have.

        The owner of a ``claim`` releases it. Without one, ``start`` makes it (raises ConfigError as ``Claim`` does)
        and ``close`` releases it.
        """
        self._operator = operator
        self._more = more
        self._page_runs = page_runs
        self._runtime_dir = runtime_dir
        self._group = group
        self._claim = claim
        self._own_claim: Claim | None = None
        self._runner: web.AppRunner | None = None
        self._watchers: set[asyncio.Task[Any]] = set()
        self._changes: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Answers requests from now on, also of clients that have connected since the claim."""
        if self._claim is None:
            self._claim = self._own_claim = Claim(self._runtime_dir, self._group)
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._claim.listener).start()

    async def close(self) -> None:
        """Ends all streams and stops."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._own_claim is not None:
            self._own_claim.release()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_problems], client_max_size=BODY_MAX)
        application.on_shutdown.append(self._end_streams)
        for operation, route in api.ROUTES.items():
            serve = self._events if route.stream else partial(self._serve, operation, route)
            if route.media:
                serve = partial(self._send_file, operation, route)
            application.router.add_route(route.method, route.path, _handler(serve))
        return application

    async def _serve(self, operation: str, route: api.Route, request: web.Request) -> web.Response:
        """Calls the method with the name of the operation; arguments: the names in the path, then body or query."""
        arguments: list[object] = list(request.match_info.values())
        if route.body is not None:
            arguments.append(api.read_body(await request.read(), route.body))
        if route.query is not None:
            arguments.append(api.read_query(dict(request.query), route.query))
        work = self._method(operation)(*arguments)
        return await self._answer(work if route.method == "GET" else self._finish(work))

    def _method(self, operation: str) -> Callable[..., Coroutine[Any, Any, object]]:
        part = next((part for part in self._more if hasattr(part, operation)), self._operator)
        method: Callable[..., Coroutine[Any, Any, object]] = getattr(part, operation)
        return method

    async def _answer(self, work: Awaitable[object]) -> web.Response:
        value = await work
        if isinstance(value, Refused):
            word, sentence, decision = value.refusal.value, value.reason, value.decision
            return _json(STATUS_OF[value.refusal], api.Problem(error=word, message=sentence, decision=decision))
        if isinstance(value, api.Problem):
            return _json(STATUS_OF_WORD.get(value.error, 409), value)
        if value is None:
            return _problem(
                404, Refusal.NO_SUCH.value, "there is no such id; upnp-gw list and upnp-gw log show them"
            )
        return _json(200, value)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        query = api.read_query(dict(request.query), api.EventFilter)
        if len(self._watchers) >= WATCHERS_MAX:
            return _problem(503, "busy", f"the limit of {WATCHERS_MAX} event streams is reached")
        task = asyncio.current_task()
        assert task is not None
        self._watchers.add(task)
        form = SERVER_SENT if "text/event-stream" in request.headers.get("Accept", "") else JSON_LINES
        response = web.StreamResponse(headers={"Content-Type": form.media, "Cache-Control": "no-store"})
        page = self._page_runs(query.page_port) if query.page_port is not None else nullcontext()
        try:
            with page:
                async with self._operator.events(request.headers.get("Last-Event-ID")) as stream:
                    await response.prepare(request)
                    await form.send(stream, response.write)
        except (ConnectionError, TimeoutError):
            pass  # the watcher has closed its connection, or does not read
        finally:
            self._watchers.discard(task)
        return response

    async def _send_file(self, operation: str, route: api.Route, request: web.Request) -> web.StreamResponse:
        """The method gives the file, for as long as its context lasts."""
        query = () if route.query is None else (api.read_query(dict(request.query), route.query),)
        task = asyncio.current_task()
        assert task is not None
        self._watchers.add(task)
        try:
            async with self._file(operation, query) as file:
                response = web.StreamResponse(headers={"Content-Type": file.media, "Cache-Control": "no-store"})
                response.content_length = file.size
                await response.prepare(request)
                async for portion in file.portions:
                    await response.write(portion)
        except GatewayError as error:
            return _problem(503, Refusal.BACKEND.value, str(error))
        finally:
            self._watchers.discard(task)
        return response

    def _file(self, operation: str, arguments: Sequence[object]) -> AbstractAsyncContextManager[Download]:
        part = next(part for part in self._more if hasattr(part, operation))
        method: Callable[..., AbstractAsyncContextManager[Download]] = getattr(part, operation)
        return method(*arguments)

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Lets a change finish even if the client disconnects."""
        task = asyncio.create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _end_streams(self, _: web.Application) -> None:
        for task in self._watchers:
            task.cancel()
        if self._changes:
            await asyncio.wait(self._changes, timeout=SHUTDOWN_S)


def _handler(serve: Serve) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await serve(request)

    return handle


@web.middleware
async def _problems(request: web.Request, handler: Serve) -> web.StreamResponse:
    """Answers every failure with a ``Problem``. The text of an unexpected exception goes to the log only."""
    try:
        return await handler(request)
    except api.FieldError as error:
        return _problem(400, "invalid", str(error), error.field)
    except msgspec.DecodeError:
        return _problem(400, "invalid", 'the body is not JSON; accepted: fields in braces, such as {"for_s": 3600}')
    except web.HTTPException as error:
        return _problem(error.status, "not-found" if error.status == 404 else "invalid", error.reason)
    except Exception:
        log.exception("control socket: no answer to %s %s", request.method, request.path)
        return _problem(500, "internal", "the daemon failed to answer: see its log")


def _problem(status: int, word: str, message: str, field: str | None = None) -> web.Response:
    return _json(status, api.Problem(error=word, message=message, field=field))


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=api.encode(value), content_type="application/json")
