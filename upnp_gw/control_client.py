"""The control API for programs with an event loop: typed answers over the daemon's Unix socket.

The command line has a client of its own, without aiohttp (``cli.client``): it starts faster.
"""

import errno
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from upnp_gw import api

SOCKET_NAME = "control.sock"
ANSWER_S = 30.0
"""Seconds. The doctor listens to the network for some of them; everything else answers at once."""
MOST_AT_ONCE = 8
"""Connections to the daemon."""
LONGEST_LINE = 1 << 20
"""Bytes of an event."""
NOTHING: Mapping[str, Any] = MappingProxyType({})

T = TypeVar("T")


class Unreachable(Exception):
    """The daemon does not run or does not answer, or this user may not ask it. The text is one sentence."""


class Declined(Exception):
    """The daemon answered with a problem."""

    def __init__(self, status: int, problem: api.Problem) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem


class ControlClient:
    """One daemon. Every method raises Unreachable, and Declined if the answer is not 2xx."""

    def __init__(self, runtime_dir: Path) -> None:
        self.path = runtime_dir / SOCKET_NAME
        self._session: aiohttp.ClientSession | None = None
        self._events: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        for session in (self._session, self._events):
            if session is not None:
                await session.close()

    # -- reading

    async def status(self) -> api.Status:
        return await self._ask("status", api.Status)

    async def doctor(self) -> list[api.Check]:
        return await self._ask("doctor", list[api.Check])

    async def mappings(self) -> list[api.Mapping]:
        return await self._ask("mappings", list[api.Mapping])

    async def mapping(self, mapping: str) -> api.Mapping:
        return await self._ask("mapping", api.Mapping, id=mapping)

    async def traffic(self, mapping: str) -> api.Traffic:
        return await self._ask("traffic", api.Traffic, id=mapping)

    async def decisions(self, **query: object) -> list[api.Decision]:
        """The fields of ``api.DecisionFilter``."""
        return await self._ask("decisions", list[api.Decision], query=query)

    async def explain(self, decision: str) -> api.Explained:
        return await self._ask("explain", api.Explained, id=decision)

    async def devices(self) -> list[api.Device]:
        return await self._ask("devices", list[api.Device])

    async def measurements(self) -> api.Measurements:
        return await self._ask("measurements", api.Measurements)

    async def known(self, device: str) -> api.KnownDevice:
        """By name, MAC or IP address."""
        return await self._ask("known", api.KnownDevice, device=device)

    async def incidents(self) -> list[api.Incident]:
        return await self._ask("incidents", list[api.Incident])

    async def questions(self) -> list[api.Question]:
        return await self._ask("queue", list[api.Question])

    async def policy(self) -> api.PolicyText:
        return await self._ask("policy", api.PolicyText)

    async def evidence(self) -> list[api.Evidence]:
        return await self._ask("evidence", list[api.Evidence])

    async def stale(self, days: int = 30) -> list[api.Stale]:
        return await self._ask("stale", list[api.Stale], query={"days": days})

    async def suggest(self) -> api.Suggestion:
        return await self._ask("suggest", api.Suggestion, body={})

    async def trial(self, body: Mapping[str, object]) -> api.Explained:
        """The fields of ``api.Trial``. Changes nothing."""
        return await self._ask("trial", api.Explained, body=body)

    # -- changing

    async def add(self, body: Mapping[str, object]) -> api.Added:
        """The fields of ``api.AddMapping``."""
        return await self._ask("add", api.Added, body=body)

    async def delete(self, mapping: str) -> api.Mapping:
        return await self._ask("delete", api.Mapping, id=mapping)

    async def name(self, device: str, body: Mapping[str, object]) -> api.Written:
        """The fields of ``api.NameDevice``, as for the others those of the type of their body."""
        return await self._ask("name", api.Written, body=body, device=device)

    async def allow(self, device: str, body: Mapping[str, object]) -> api.Written:
        return await self._ask("allow", api.Written, body=body, device=device)

    async def block(self, device: str, body: Mapping[str, object]) -> api.Blocked:
        return await self._ask("block", api.Blocked, body=body, device=device)

    async def release(self, device: str, *, preview: bool = False) -> api.Released:
        return await self._ask("release", api.Released, query={"preview": preview}, device=device)

    async def revoke(self, device: str) -> api.Revoked:
        return await self._ask("revoke", api.Revoked, device=device)

    async def retract(self, rule: str, *, preview: bool = False) -> api.Written:
        return await self._ask("retract", api.Written, query={"preview": preview}, rule=rule)

    async def approve(self, number: str, body: Mapping[str, object]) -> api.Approved:
        return await self._ask("approve", api.Approved, body=body, number=number)

    async def deny(self, number: str, body: Mapping[str, object]) -> api.Written:
        return await self._ask("deny", api.Written, body=body, number=number)

    # -- how

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        query: Mapping[str, str] = NOTHING,
    ) -> tuple[int, bytes]:
        """Status and body of any request. Raises Unreachable only."""
        try:
            async with self._opened().request(method, f"http://localhost{path}", data=body, params=query) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(self._problem(error)) from None

    @asynccontextmanager
    async def events(
        self, query: Mapping[str, str] = NOTHING, after: str | None = None, hello: bool = False
    ) -> AsyncIterator[AsyncIterator[api.Event]]:
        """The event stream: every event from the moment of entering on. It ends with the daemon. ``after``: the id
        of the last event that is known; the events since come first, as far as the daemon knows them. ``hello``:
        the stream begins with that event, which tells if some were missed."""
        if self._events is None:
            self._events = self._made(aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S))
        try:
            headers = {"Last-Event-ID": after} if after is not None else {}
            async with self._events.get("http://localhost/v1/events", params=query, headers=headers) as answer:
                if answer.status != 200:
                    raise Declined(answer.status, _problem(await answer.read()))
                first = await answer.content.readline()
                if not first:
                    raise Unreachable(f"the daemon at {self.path} ended the event stream")
                yield self._lines(answer.content, first if hello else b"")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(self._problem(error)) from None

    async def _lines(self, content: aiohttp.StreamReader, first: bytes) -> AsyncIterator[api.Event]:
        if first:
            yield msgspec.json.decode(first, type=api.Event)
        while line := await content.readline():
            yield msgspec.json.decode(line, type=api.Event)

    async def _ask(
        self,
        operation: str,
        kind: type[T],
        body: Mapping[str, object] | None = None,
        query: Mapping[str, object] = NOTHING,
        **names: str,
    ) -> T:
        route = api.ROUTES[operation]
        path = route.path.format(**{name: quote(value, safe="") for name, value in names.items()})
        data = msgspec.json.encode(body) if body is not None else None
        text = {name: _text(value) for name, value in query.items() if value is not None}
        status, answer = await self.request(route.method, path, data, text)
        if not 200 <= status < 300:
            raise Declined(status, _problem(answer))
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.MsgspecError:
            raise Unreachable("the daemon has another version than this program: restart the daemon") from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = self._made(aiohttp.ClientTimeout(total=ANSWER_S))
        return self._session

    def _made(self, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self.path), limit=MOST_AT_ONCE)
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=LONGEST_LINE, cookie_jar=aiohttp.DummyCookieJar()
        )

    def _problem(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"the daemon at {self.path} did not answer within {ANSWER_S:.0f} s"
        number = getattr(error, "errno", None)
        if number == errno.EACCES:
            return f"no permission to use {self.path}: put the user of this program into [control] group"
        if number in (errno.ENOENT, errno.ECONNREFUSED):
            return f"upnp-gw is not running: nothing answers at {self.path}"
        return f"the daemon at {self.path} ended the connection"


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _problem(body: bytes) -> api.Problem:
    try:
        return msgspec.json.decode(body, type=api.Problem)
    except msgspec.MsgspecError:
        return api.Problem(
            error="internal", message="the answer is not from upnp-gw, or from another version of it"
        )
