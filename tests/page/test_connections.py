"""Bounds on a client: how many connections, how long until a request is there, how large it may be."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.page_home import PageHome, page_home
from tests.fixtures.waiting import async_until
from upnp_gw.page import request_checks


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PageHome]:
    monkeypatch.setattr(request_checks, "BODY_S", 0.2)
    async with page_home(tmp_path) as home:
        home.page.part.connections.request_s = 0.3
        yield home


async def connected(home: PageHome) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    listen = home.settings.listen
    return await asyncio.open_connection(str(listen.address), listen.port)


async def ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """All that comes until the connection ends."""
    received = b""
    try:
        while data := await reader.read(65536):
            received += data
    except ConnectionResetError:
        pass
    writer.close()
    return received


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /sig"],
    ids=["nothing", "half-a-head", "half-a-second-head"],
)
async def test_a_request_that_does_not_come_ends_its_connection(home: PageHome, sent: bytes) -> None:
    reader, writer = await connected(home)
    began = time.monotonic()
    writer.write(sent)
    received = await ended(reader, writer)
    assert time.monotonic() - began >= 0.25
    assert received.startswith(b"HTTP/1.1 200") == sent.endswith(b"/sig")
    await async_until(lambda: home.page.part.connections.open == 0)


@pytest.mark.spec("SR-48")
async def test_a_trickle_does_not_keep_a_connection(home: PageHome) -> None:
    reader, writer = await connected(home)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    began = time.monotonic()
    for number in range(1000):
        if reader.at_eof() or reader.exception() is not None:
            break
        writer.write(b"X-%d: 1\r\n" % number)
        await asyncio.sleep(0.02)
    assert time.monotonic() - began < 10
    await ended(reader, writer)


async def test_a_body_that_does_not_come_is_refused(home: PageHome) -> None:
    home.page.part.connections.request_s = 10.0
    reader, writer = await connected(home)
    writer.write(b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nabc")
    assert (await ended(reader, writer)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.spec("SR-47", "SR-48")
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 400),
        (b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20000\r\n\r\n" + b"a" * 20000, 413),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: evil.example:5081\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /sign-in HTTP/1.1\r\nHost: localhost:9000\r\n\r\n", 200),
        (b"GET /sign-in HTTP/1.1\r\nHost: [::1]:9000\r\n\r\n", 200),
        (b"TRACE /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
        (b"GET /static/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        (b"GET /static/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    ],
)
async def test_oversize_and_wrong_requests(home: PageHome, request_bytes: bytes, status: int) -> None:
    """DNS rebinding sends the name of the attacker as Host; a tunnel sends localhost with any port."""
    reader, writer = await connected(home)
    writer.write(request_bytes)
    line = await reader.readline()
    assert line.split()[1] == b"%d" % status, line
    writer.close()


async def test_connections_of_one_host_and_of_all_are_bounded(home: PageHome) -> None:
    connections = home.page.part.connections
    connections.request_s, connections.most_of_host = 30.0, 3
    open_ones = [await connected(home) for _ in range(3)]
    await async_until(lambda: connections.open == 3)
    assert await ended(*await connected(home)) == b""
    assert connections.refused == 1
    open_ones[0][1].close()
    await async_until(lambda: connections.open == 2)
    reader, writer = await connected(home)
    writer.write(b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    for each in (*open_ones, (reader, writer)):
        each[1].close()
    await async_until(lambda: connections.open == 0)


@pytest.mark.spec("SR-48")
async def test_a_client_that_takes_no_answer_loses_its_connection(home: PageHome) -> None:
    """Connections are bounded: nobody may keep them for ever from the others."""
    home.page.part.connections.taken_s = 0.3
    _, writer = await connected(home)
    asked = asyncio.create_task(ask_without_reading(writer))
    await async_until(lambda: home.page.part.connections.open == 1)
    await async_until(lambda: home.page.part.connections.open == 0)
    await asked
    writer.close()


async def ask_without_reading(writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        for _ in range(20_000):
            writer.write(b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await writer.drain()
    except ConnectionError:
        pass
