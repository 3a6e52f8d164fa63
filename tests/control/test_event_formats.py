"""The event stream as lines of JSON and as server-sent events, over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.fake_operator import NOW, FakeOperator, mapping
from tests.fixtures.waiting import EVENT_S
from upnp_gw import api
from upnp_gw.control import event_formats
from upnp_gw.control.event_formats import SERVER_SENT
from upnp_gw.control.server import ControlServer
from upnp_gw.control.socket_path import SOCKET_NAME


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[FakeOperator]:
    made = FakeOperator()
    server = ControlServer(made, tmp_path)
    await server.start()
    yield made
    await server.close()


async def _connect(directory: Path, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(directory / SOCKET_NAME))
    head = "\r\n".join(("GET /v1/events HTTP/1.0", "Host: localhost", *headers, "", ""))
    writer.write(head.encode())
    return reader, writer


async def test_a_browser_gets_server_sent_events(operator: FakeOperator, tmp_path: Path) -> None:
    reader, writer = await _connect(tmp_path, "Accept: text/event-stream", "Last-Event-ID: run-7")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Content-Type: text/event-stream\r\n" in head
    hello = (await reader.readuntil(b"\n\n")).decode().splitlines()
    assert hello[:3] == ["retry: 2000", "id: 0-0", "event: hello"]
    assert json.loads(hello[3].removeprefix("data: "))["why"] == "run-7", "the operator was asked for those since"
    evil = mapping(1, description="two\nlines\r\n\nevent: evil\u2028")
    operator.publish(api.Event(event="added", at=NOW, mapping=evil, id="0-1"))
    lines = (await reader.readuntil(b"\n\n")).decode().removesuffix("\n\n").split("\n")
    assert [line.split(":")[0] for line in lines] == ["id", "event", "data"]
    assert json.loads(lines[2].removeprefix("data: "))["mapping"]["description"] == evil.description
    operator.publish(None)
    assert await reader.read() == b""
    writer.close()


async def test_a_silent_stream_has_a_heartbeat(
    operator: FakeOperator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_formats, "HEARTBEAT_S", 0.01)
    reader, writer = await _connect(tmp_path, "Accept: text/event-stream")
    await reader.readuntil(b"event: hello")
    async with asyncio.timeout(EVENT_S):
        for _ in range(3):
            await reader.readuntil(SERVER_SENT.heartbeat)
    operator.publish(api.Event(event="lan", at=NOW, id="0-1"))
    async with asyncio.timeout(EVENT_S):
        await reader.readuntil(b"event: lan")
    writer.close()
    lines, other = await _connect(tmp_path)
    await lines.readuntil(b"hello")
    assert (await lines.readline()).endswith(b"}\n")
    operator.publish(api.Event(event="lan", at=NOW))
    assert json.loads(await lines.readline())["event"] == "lan", "lines of JSON have no heartbeat"
    other.close()


async def test_a_reader_that_reads_nothing_loses_its_connection(
    operator: FakeOperator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_formats, "WRITE_S", 0.05)
    reader, writer = await _connect(tmp_path, "Accept: text/event-stream")
    await reader.readuntil(b"event: hello")
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    big = mapping(1, description="x" * 100_000)
    async with asyncio.timeout(EVENT_S):
        while operator.watchers:
            operator.publish(api.Event(event="added", at=NOW, mapping=big))
            await asyncio.sleep(0.001)
    writer.close()
