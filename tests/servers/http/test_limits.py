"""Connections that are slow, many or large: bounded in time, number and bytes, and others are still served."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.fixtures.http_client import CONTROL, HttpFixture, answer, header, serving, status_of
from tests.fixtures.waiting import async_until
from tests.servers.http.test_server import ADD, add
from upnp_gw.model.mapping import Instant
from upnp_gw.protocols.http.head import Head, HeadReader
from upnp_gw.protocols.rate_limit import Rate
from upnp_gw.servers.http import listeners as http_listeners
from upnp_gw.servers.http.limits import HttpLimits
from upnp_gw.servers.http.listeners import ListenAddress, listen

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
QUICK = HttpLimits(head_s=0.15, body_s=0.15)
PATIENT = HttpLimits(head_s=30, body_s=30)


@asynccontextmanager
async def connections(fixture: HttpFixture, count: int, source: str | None = None) -> AsyncIterator[list[Pair]]:
    pairs = [await fixture.connect(source=source) for _ in range(count)]
    try:
        yield pairs
    finally:
        for _, writer in pairs:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """The bytes that came until the server ended the connection, by FIN or by reset."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.spec("SR-23")
@pytest.mark.parametrize(
    "start", [b"", b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y"]
)
async def test_half_a_head_ends_at_the_deadline(start: bytes) -> None:
    async with serving(QUICK) as fixture, connections(fixture, 1) as [(reader, writer)]:
        writer.write(start)
        async with asyncio.timeout(5):
            assert await end_of(reader) == b""
        assert fixture.server.counts["head-deadline"] == (1 if start else 0)


@pytest.mark.spec("SR-23")
async def test_slow_bytes_do_not_move_the_deadline() -> None:
    async with serving(QUICK) as fixture, connections(fixture, 1) as [(reader, writer)]:

        async def drip() -> None:
            for byte in b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            assert await end_of(reader) == b""
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.spec("SR-23")
async def test_half_a_body_is_408() -> None:
    async with serving(QUICK) as fixture, connections(fixture, 1) as [(reader, writer)]:
        writer.write(fixture.post()[:-10])
        async with asyncio.timeout(5):
            data = await end_of(reader)
        assert (status_of(data), header(data, "Connection")) == (408, "close")
        assert fixture.server.counts["body-deadline"] == 1


@pytest.mark.spec("SR-23")
async def test_an_idle_kept_connection_is_closed() -> None:
    async with serving(QUICK) as fixture, connections(fixture, 1) as [(reader, writer)]:
        writer.write(fixture.post())
        assert status_of(await answer(reader)) == 200
        async with asyncio.timeout(5):
            assert await end_of(reader) == b""
        assert fixture.server.counts["head-deadline"] == 0


@pytest.mark.spec("SR-23")
async def test_a_large_head_is_431_and_an_endless_one_is_cut() -> None:
    async with serving(PATIENT) as fixture:
        lines = [f"X-{number}: {'y' * 900}" for number in range(10)]
        assert status_of(await fixture.send(fixture.head("GET /igd1.xml", *lines))) == 431
        assert status_of(await fixture.send(fixture.head("GET /igd1.xml", *lines[:8]))) == 200
        assert status_of(await fixture.send(fixture.head("GET /igd1.xml", "X: " + "y" * 9000))) == 400
        async with connections(fixture, 1) as [(reader, writer)]:
            writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 60_000)
            async with asyncio.timeout(5):
                assert status_of(await end_of(reader)) in (0, 400)


@pytest.mark.spec("SR-23")
async def test_no_more_of_a_head_is_parsed_than_a_request_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read from the socket can have 256 KiB. Empty lines before a request are ignored, however many."""
    parsed: list[int] = []
    feed = HeadReader.feed

    def recorded(reader: HeadReader, data: bytes) -> tuple[Head | None, bytes]:
        parsed.append(len(data))
        return feed(reader, data)

    monkeypatch.setattr(HeadReader, "feed", recorded)
    async with serving(PATIENT) as fixture:
        with socket.create_connection(("127.0.0.1", fixture.port)) as link:
            await async_until(lambda: len(fixture.server._admission) == 1)
            link.setblocking(False)
            assert link.send(b"\r\n" * 100_000) > fixture.server._limits.received  # while the loop stands still
            await async_until(lambda: fixture.server.counts["too-much-data"] == 1)
        assert parsed == [fixture.server._limits.received]


@pytest.mark.spec("SR-23")
async def test_an_endless_body_is_cut() -> None:
    async with serving(PATIENT) as fixture, connections(fixture, 1) as [(reader, writer)]:
        writer.write(fixture.head(f"POST {CONTROL}", "Transfer-Encoding: chunked", "SOAPACTION: x"))
        writer.write((b"1000\r\n" + b"x" * 0x1000 + b"\r\n") * 200)
        async with asyncio.timeout(5):
            assert status_of(await end_of(reader)) in (0, 413)


@pytest.mark.spec("SR-23")
async def test_bytes_behind_a_request_are_bounded() -> None:
    async with serving(PATIENT) as fixture, connections(fixture, 1) as [(reader, writer)]:
        fixture.gateway.hang = asyncio.Event()
        writer.write(add(fixture))
        await fixture.gateway.asked.wait()
        writer.write(b"x" * 400_000)
        async with asyncio.timeout(5):
            assert await end_of(reader) == b""
        assert fixture.server.counts["too-much-data"] == 1
        fixture.gateway.hang.set()


@pytest.mark.spec("SR-23", "SR-22")
async def test_connections_over_a_hosts_share_wait_and_more_are_refused() -> None:
    limits = HttpLimits(head_s=30, per_host=4, waiting_per_host=2)
    async with serving(limits) as fixture, connections(fixture, 7) as pairs:
        async with asyncio.timeout(5):
            assert await end_of(pairs[6][0]) == b""
        assert fixture.server.counts["too-many-connections"] == 1
        for _, writer in pairs[4:6]:
            writer.write(fixture.post())
        assert (
            status_of(await fixture.send(fixture.post(), source="127.0.0.2")) == 200
        )  # another host is not held up
        assert fixture.server.counts["requests"] == 1
        # Each gives up its place after its answer while another of its host waits.
        pairs[0][1].write(fixture.post())
        answers = [await answer(pairs[number][0]) for number in (0, 4, 5)]
        assert [status_of(data) for data in answers] == [200, 200, 200]
        assert [header(data, "Connection") for data in answers] == ["close", "close", None]
        pairs[1][1].write(fixture.post())
        data = await answer(pairs[1][0])
        assert (status_of(data), header(data, "Connection")) == (200, None)


async def test_a_connection_gives_up_its_place_after_its_host_is_identified() -> None:
    """The MAC address of a host can become known, or be forgotten, while its connections are open."""
    limits = HttpLimits(head_s=30, per_host=1)
    async with serving(limits) as fixture, connections(fixture, 2) as [(first, first_writer), (second, writer)]:
        await async_until(lambda: len(fixture.server._admission) == 2)
        fixture.share_of = lambda source: ("lan0", "3c:52:82:00:00:02")
        for each in (first_writer, writer):
            each.write(fixture.post())
        async with asyncio.timeout(5):
            data = [await answer(first), await answer(second)]
        assert [status_of(each) for each in data] == [200, 200]
        assert header(data[0], "Connection") == "close"


@pytest.mark.spec("SR-23")
async def test_a_waiting_connection_is_cut_at_the_deadline() -> None:
    limits = HttpLimits(head_s=0.2, backend_s=30, per_host=1)
    async with serving(limits) as fixture, connections(fixture, 2) as [(busy, busy_writer), (reader, writer)]:
        fixture.gateway.hang = asyncio.Event()

        busy_writer.write(add(fixture))
        writer.write(fixture.post())
        async with asyncio.timeout(5):
            assert await end_of(reader) == b""
        fixture.gateway.hang.set()
        assert status_of(await answer(busy)) == 200


@pytest.mark.spec("SR-23")
async def test_the_total_is_capped_over_all_hosts() -> None:
    async with serving(HttpLimits(head_s=30, total=6)) as fixture:
        async with (
            connections(fixture, 3, "127.0.0.2"),
            connections(fixture, 3, "127.0.0.3"),
            connections(fixture, 1, "127.0.0.4") as [(reader, _)],
            asyncio.timeout(5),
        ):
            assert await end_of(reader) == b""
        await async_until(lambda: len(fixture.server._admission) == 0)
        assert status_of(await fixture.send(fixture.post(), source="127.0.0.4")) == 200


@pytest.mark.spec("SR-23")
async def test_a_client_that_does_not_read_is_cut() -> None:
    async with serving(HttpLimits(answer_s=0.3)) as fixture:
        await fixture.send(fixture.post("AddPortMapping", ADD))
        fixture.gateway.table = fixture.gateway.table * 20_000
        listing = (
            "<NewStartPort>1</NewStartPort><NewEndPort>65535</NewEndPort><NewProtocol>TCP</NewProtocol>"
            "<NewManage>0</NewManage><NewNumberOfPorts>0</NewNumberOfPorts>"
        )
        async with connections(fixture, 1) as [(_, writer)]:
            writer.write(fixture.post("GetListOfPortMappings", listing))
            await async_until(lambda: fixture.server.counts["answer-deadline"] == 1)


@contextmanager
def deaf(fixture: HttpFixture, request: bytes) -> Iterator[socket.socket]:
    """A client with the smallest window that asks, and reads nothing."""
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        link.connect(("127.0.0.1", fixture.port))
        link.sendall(request)
        yield link


ALIVE = ("01", "04", "09", "0B")
"""ESTABLISHED, FIN_WAIT1, LAST_ACK, CLOSING: states in which the kernel may hold an answer that nobody takes."""


def held(fixture: HttpFixture) -> list[str]:
    """The server's sockets in the kernel that hold what was not taken: bytes in their send queue, and the state."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    own = [row for row in rows if row[1].endswith(f":{fixture.port:04X}") and row[3] in ALIVE]
    return [f"{int(row[4].partition(':')[0], 16)} bytes in {row[3]}" for row in own]


LARGE = "/scpd/igd2/WANIPConnection.xml"


@pytest.mark.spec("SR-23")
@pytest.mark.parametrize(("times", "ends"), [(1, ["Connection: close"]), (1, []), (8, [])])
async def test_a_client_that_reads_no_answer_wastes_the_connection_and_leaves_nothing_in_the_kernel(
    times: int, ends: list[str]
) -> None:
    """An answer that the kernel has taken whole would wait there for minutes, with nobody to count it."""
    async with serving(HttpLimits(answer_s=0.3, wasted=Rate(burst=3, per_s=0))) as fixture:
        with deaf(fixture, fixture.head(f"GET {LARGE}", *ends) * times):
            await async_until(lambda: fixture.server.counts["answer-deadline"] == 1)
            await async_until(lambda: len(fixture.server._admission) == 0)
            assert held(fixture) == []
        await async_until(partial(has_left, fixture, 2))


@pytest.mark.spec("SR-23")
async def test_the_kernel_drops_a_short_answer_that_is_not_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_listeners, "UNACKNOWLEDGED_MS", 300)
    async with serving() as fixture:
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(deaf(fixture, fixture.head("GET /igd1.xml", "Connection: close")))
            await async_until(lambda: len(fixture.server._admission) == 0)
            assert len(held(fixture)) == 8
            await async_until(lambda: held(fixture) == [])


async def test_home_assistant_asks_in_bursts() -> None:
    async with serving() as fixture, asyncio.timeout(10):
        for _ in range(20):
            burst = [fixture.send(fixture.post("GetStatusInfo", "", "Connection: close")) for _ in range(4)]
            assert [status_of(data) for data in await asyncio.gather(*burst)] == [200] * 4
        burst = [fixture.send(fixture.post()) for _ in range(12)]
        assert [status_of(data) for data in await asyncio.gather(*burst)] == [200] * 12


@pytest.mark.spec("SR-22")
async def test_ended_connections_leave_no_memory() -> None:
    async with serving() as fixture:
        for _ in range(200):
            assert status_of(await fixture.send(fixture.post())) == 200
        await async_until(lambda: len(fixture.server._admission) == 0)
        assert fixture.server._admission._hosts == {}


@pytest.mark.spec("SR-23")
def test_a_storm_of_connections_leaves_room_in_the_kernels_queue() -> None:
    """A full queue costs an honest client its SYN, and with it a second."""
    with ExitStack() as stack:
        listener = stack.enter_context(listen(ListenAddress("lo", 1, IPv4Address("127.0.0.1")), 0))
        for _ in range(500):
            storm = stack.enter_context(socket.socket())
            storm.setblocking(False)
            with suppress(BlockingIOError):
                storm.connect(listener.getsockname())
        well_behaved = stack.enter_context(socket.socket())
        well_behaved.settimeout(0.9)
        well_behaved.connect(listener.getsockname())


def has_left(fixture: HttpFixture, count: int) -> bool:
    """True where this host may waste so many connections more."""
    return fixture.server._admission._wasted.level(IPv4Address("127.0.0.1"), fixture.gateway.now.boot) == count


@pytest.mark.spec("SR-22", "SR-23")
@pytest.mark.parametrize(
    "start", [b"", b"GET / HT", b"\x16\x03\x01\x02\r\n\r\n", b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_a_host_that_wastes_connections_is_refused_for_a_while(start: bytes) -> None:
    async with serving(HttpLimits(wasted=Rate(burst=3, per_s=1))) as fixture:
        for left in (2, 1, 0):
            async with connections(fixture, 1) as [(_, writer)]:
                writer.write(start)
            await async_until(partial(has_left, fixture, left))
        before = fixture.server.counts["requests"]
        assert await fixture.send(fixture.post()) == b""
        assert fixture.server.counts["wasted-connections"] == 1
        assert fixture.server.counts["requests"] == before
        assert status_of(await fixture.send(fixture.post(), source="127.0.0.2")) == 200, "another host is heard"
        fixture.gateway.now = Instant(fixture.gateway.now.boot + 1, fixture.gateway.now.wall)
        assert status_of(await fixture.send(fixture.post())) == 200, "a second later one more"


@pytest.mark.spec("SR-22")
async def test_an_answered_connection_is_not_wasted() -> None:
    """An error of UPnP is an answer: a client that looks for a free port meets many."""
    async with serving(HttpLimits(wasted=Rate(burst=2, per_s=0))) as fixture:
        for _ in range(5):
            assert status_of(await fixture.send(fixture.post())) == 200
            assert status_of(await fixture.send(fixture.post("NoSuchAction"))) == 500
        assert fixture.server.counts["wasted-connections"] == 0
