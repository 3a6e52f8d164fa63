"""The control socket: the operator's HTTP/JSON API on a unix socket in the runtime directory.

It parses, calls the ``Operator`` and writes the answer; it decides nothing. Who may open the socket file is the
operator: its mode and its directory are the only lock.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from aiohttp import web

from upnp_gw import api
from upnp_gw.control.socket_path import listen
from upnp_gw.model.request import Refusal, Refused

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
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
    Refusal.NO_SUCH: 404,
    Refusal.BAD_NONCE: 403,
    Refusal.NO_EXTERNAL_ADDRESS: 409,
    Refusal.UNSUPPORTED: 422,
    Refusal.TOO_MANY_FILTERS: 422,
    Refusal.ABSENT: 503,
    Refusal.BACKEND: 503,
}
"""Refusal -> HTTP status. The word itself is in the body."""

STATUS_OF_WORD = {"invalid": 400, "not-found": 404, "backend-failed": 503}
"""The word of a ``Problem`` that an operation answers with -> HTTP status; any other: 409."""


class Operator(Protocol):
    """What the control socket asks of the daemon. Called on the event loop; nothing here raises on purpose."""

    async def mappings(self) -> list[api.Mapping]:
        """Every mapping, parked and disabled ones too, oldest first."""
        ...

    async def mapping(self, mapping_id: str) -> api.Mapping | None: ...

    async def add(self, asked: api.AddMapping) -> api.Mapping | Refused | api.Problem:
        """Through the gate as the operator: the floor only."""
        ...

    async def delete(self, mapping_id: str) -> api.Mapping | Refused:
        """Closes it and ends its flows at once; the answer is the mapping as it was, or NO_SUCH."""
        ...

    async def status(self) -> api.Status: ...

    async def decisions(self, wanted: api.DecisionFilter) -> list[api.Decision]:
        """The newest first, at most ``wanted.limit``."""
        ...

    async def devices(self) -> list[api.Device]: ...

    async def doctor(self) -> list[api.Check]: ...

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[api.Event]]:
        """What happens from the moment of entering on (an ``asynccontextmanager`` that subscribes, yields a
        bounded queue's items and unsubscribes). It ends when its reader falls behind, or the daemon stops."""
        ...


T = TypeVar("T")
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Claim:
    """``runtime_dir/control.sock``, bound and listening: one daemon for each runtime directory.

    Made first of all at start, before the store is opened or the kernel touched: a second daemon must find out
    before it has flushed the first one's mappings. Who connects meanwhile waits until the server starts.
    """

    def __init__(self, runtime_dir: Path, group: str = "") -> None:
        """``group``: who may use the socket beside its owner (mode 0660); empty: nobody (0600).

        Raises ConfigError where another daemon answers on the socket, or it cannot be made.
        """
        self.path = runtime_dir / SOCKET_NAME
        self.listener = listen(self.path, group)
        self._inode = _inode(self.path)

    def release(self) -> None:
        """Takes the socket file away, unless it is another daemon's by now."""
        self.listener.close()
        with contextlib.suppress(OSError):
            if _inode(self.path) == self._inode:
                self.path.unlink()


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


class ControlServer:
    """Serves an ``Operator`` on a claimed socket."""

    def __init__(
        self,
        operator: Operator,
        runtime_dir: Path,
        group: str = "",
        claim: Claim | None = None,
        more: Sequence[object] = (),
    ) -> None:
        """``more``: whose methods answer the operations of ``api.ROUTES`` that are not the ``Operator``'s.

        With a ``claim`` the socket is taken already, and its owner releases it; without one, ``start`` takes
        it (and raises ConfigError as ``Claim`` does) and ``close`` releases it."""
        self._operator = operator
        self._more = more
        self._runtime_dir = runtime_dir
        self._group = group
        self._claim = claim
        self._own_claim: Claim | None = None
        self._runner: web.AppRunner | None = None
        self._watchers: set[asyncio.Task[Any]] = set()
        self._changes: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Answers from now on, also those who connected since the claim."""
        if self._claim is None:
            self._claim = self._own_claim = Claim(self._runtime_dir, self._group)
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
        )
        await self._runner.setup()
        await web.SockSite(self._runner, self._claim.listener).start()

    async def close(self) -> None:
        """Ends every stream."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._own_claim is not None:
            self._own_claim.release()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_problems], client_max_size=BODY_MAX)
        application.on_shutdown.append(self._end_streams)
        for operation, route in api.ROUTES.items():
            serve = self._events if route.stream else partial(self._serve, operation, route)
            application.router.add_route(route.method, route.path, _handler(serve))
        return application

    async def _serve(self, operation: str, route: api.Route, request: web.Request) -> web.Response:
        """Calls the operator's method of this name: the names in the path, then the body or the query."""
        given: list[object] = list(request.match_info.values())
        if route.body is not None:
            given.append(read_body(await request.read(), route.body))
        if route.query is not None:
            given.append(read_query(dict(request.query), route.query))
        work = self._method(operation)(*given)
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
            return _problem(404, Refusal.NO_SUCH.value, "there is nothing with this id")
        return _json(200, value)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._watchers) >= WATCHERS_MAX:
            return _problem(503, "busy", f"{WATCHERS_MAX} watchers are served already")
        task = asyncio.current_task()
        assert task is not None
        self._watchers.add(task)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            async with self._operator.events() as stream:
                await response.prepare(request)
                await response.write(_line(api.Event(event="hello", at=datetime.now(UTC).replace(microsecond=0))))
                async for event in stream:
                    await response.write(_line(event))
        except ConnectionError:
            pass  # the watcher went; nothing is owed to it
        finally:
            self._watchers.discard(task)
        return response

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """A change that has begun goes to its end, even where the client hangs up meanwhile."""
        task = asyncio.create_task(work)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _end_streams(self, _: web.Application) -> None:
        for task in self._watchers:
            task.cancel()
        if self._changes:
            await asyncio.wait(self._changes, timeout=SHUTDOWN_S)


def read_body(data: bytes, kind: type[T]) -> T:
    """The body of an operation. Raises FieldError, and msgspec.DecodeError where it is no JSON."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        problem = error
    except UnicodeDecodeError:
        raise msgspec.DecodeError("a string is not UTF-8") from None
    try:
        given = msgspec.json.decode(data)
    except (UnicodeDecodeError, RecursionError):  # behind the first thing that is wrong
        raise msgspec.DecodeError("a string is not UTF-8, or it is nested too deep") from None
    raise api.FieldError(*api.problem_of(problem, kind, given))


def read_query(query: dict[str, str], kind: type[T]) -> T:
    """The query of an operation. Raises FieldError."""
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        raise api.FieldError(*api.problem_of(error, kind, query)) from None


def _handler(serve: Serve) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await serve(request)

    return handle


@web.middleware
async def _problems(request: web.Request, handler: Serve) -> web.StreamResponse:
    """Every failure is a ``Problem``; the text of an unforeseen exception goes to the log alone."""
    try:
        return await handler(request)
    except api.FieldError as error:
        return _problem(400, "invalid", str(error), error.field)
    except msgspec.DecodeError:
        return _problem(400, "invalid", 'the body is no JSON; accepted: fields in braces, such as {"for_s": 3600}')
    except web.HTTPException as error:
        return _problem(error.status, "not-found" if error.status == 404 else "invalid", error.reason)
    except Exception:
        log.exception("the control socket failed to answer %s %s", request.method, request.path)
        return _problem(500, "internal", "the daemon failed to answer; its log says why")


def _problem(status: int, word: str, message: str, field: str | None = None) -> web.Response:
    return _json(status, api.Problem(error=word, message=message, field=field))


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=api.encode(value), content_type="application/json")


def _line(event: api.Event) -> bytes:
    return api.encode(event) + b"\n"
