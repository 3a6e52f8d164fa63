"""Clients that close their side of the connection after the request (``nc -N``) still read the answer."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import uvloop

from tests.fixtures.http_client import HttpFixture, header, serving, status_of
from tests.fixtures.waiting import async_until
from tests.servers.http.test_limits import has_left
from tests.servers.http.test_server import add
from upnp_gw.protocols.rate_limit import Rate
from upnp_gw.servers.http.limits import HttpLimits

THREE_A_HOST = HttpLimits(wasted=Rate(burst=3, per_s=0))
Scenario = Callable[[HttpFixture], Awaitable[None]]


def run(loop: str, scenario: Scenario, limits: HttpLimits = THREE_A_HOST) -> None:
    async def within_a_deadline() -> None:
        async with serving(limits) as fixture, asyncio.timeout(20):
            await scenario(fixture)

    (uvloop.run if loop == "uvloop" else asyncio.run)(within_a_deadline())


on_both_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


async def half_closed(fixture: HttpFixture, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await fixture.connect()
    writer.write(data)
    writer.write_eof()
    return reader, writer


async def read_to_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@on_both_loops
def test_the_answer_to_a_change_reaches_a_client_that_has_closed_its_side(loop: str) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        fixture.gateway.hang = asyncio.Event()
        pair = await half_closed(fixture, add(fixture))
        await fixture.gateway.asked.wait()
        fixture.gateway.hang.set()
        data = await read_to_end(*pair)
        assert (status_of(data), header(data, "Connection")) == (200, "close")
        assert data.endswith(b"</s:Envelope>\r\n")
        await async_until(partial(has_left, fixture, 2))

    run(loop, scenario)


@on_both_loops
def test_every_request_before_the_end_is_answered(loop: str) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        requests = fixture.head("GET /igd1.xml") + add(fixture) + fixture.head("GET /igd2.xml") * 3
        data = await read_to_end(*await half_closed(fixture, requests))
        assert data.count(b"HTTP/1.1 200 OK\r\n") == 5
        assert data.count(b"Connection: close\r\n") == 1, "the last one"
        await async_until(lambda: len(fixture.server._admission) == 0)

    run(loop, scenario)


@on_both_loops
def test_a_connection_that_waits_for_its_turn_is_answered(loop: str) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        first = await fixture.connect()
        await async_until(lambda: len(fixture.server._admission) == 1)
        waiting = await half_closed(fixture, add(fixture))
        await async_until(lambda: len(fixture.server._admission) == 2)
        first[1].close()
        assert status_of(await read_to_end(*waiting)) == 200

    run(loop, scenario, HttpLimits(per_host=1))


@on_both_loops
@pytest.mark.parametrize("cut", [0, 10, -10])
def test_half_a_request_ends_the_connection_at_once(loop: str, cut: int) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        assert await read_to_end(*await half_closed(fixture, add(fixture)[:cut])) == b""
        await async_until(partial(has_left, fixture, 2))

    run(loop, scenario)


@on_both_loops
def test_a_rejected_request_before_the_end_is_answered(loop: str) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        data = await read_to_end(*await half_closed(fixture, b"BREW / HTTP/1.1\r\n\r\n"))
        assert status_of(data) == 501
        await async_until(lambda: len(fixture.server._admission) == 0)

    run(loop, scenario)


@on_both_loops
def test_a_host_that_leaves_without_its_answers_wastes_connections_and_keeps_its_places(loop: str) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        fixture.gateway.hang = asyncio.Event()
        for _ in range(3):
            _, writer = await half_closed(fixture, add(fixture))
            writer.close()
        await async_until(lambda: len(fixture.server._admission) == 3)
        await async_until(lambda: fixture.server.counts["requests"] == 2)
        assert len(fixture.server._admission) == 3, "the last one waits, unread"
        fixture.gateway.hang.set()
        await async_until(lambda: len(fixture.server._admission) == 0)
        await async_until(partial(has_left, fixture, 0))
        assert await fixture.send(fixture.post()) == b""
        assert fixture.server.counts["wasted-connections"] == 1

    run(loop, scenario, HttpLimits(per_host=2, wasted=Rate(burst=2, per_s=0)))


@on_both_loops
def test_a_client_that_has_closed_its_side_has_no_more_time_than_others(loop: str) -> None:
    async def scenario(fixture: HttpFixture) -> None:
        fixture.gateway.hang = asyncio.Event()
        pair = await half_closed(fixture, add(fixture))
        assert await read_to_end(*pair) in (b"", b"reset")
        assert fixture.server.counts["answer-deadline"] == 1
        fixture.gateway.hang.set()

    run(loop, scenario, HttpLimits(answer_s=0.3))


async def test_a_client_that_is_gone_when_its_request_is_rejected_is_no_defect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio shuts down the socket at once. A reset can come after the answer was sent, and before that."""

    def reset_has_come(transport: object) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr("asyncio.selector_events._SelectorSocketTransport.write_eof", reset_has_come)
    async with serving() as fixture:
        with socket.create_connection(("127.0.0.1", fixture.port)) as link:
            link.sendall(b"BREW / HTTP/1.1\r\n\r\n")
            await async_until(lambda: fixture.server.counts["unknown-method"] == 1)
        await async_until(lambda: len(fixture.server._admission) == 0)
        assert fixture.server.counts == {"unknown-method": 1}
