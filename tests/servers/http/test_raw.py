"""Raw requests at the edges of HTTP, as a hostile host writes them: what each is answered, and what it does not do.

Behind every request that is refused waits a whole AddPortMapping. It may not be carried out: it is part of what was
refused (request smuggling), and the connection ends. Behind every request that is served waits a GET, and it is.
"""

import asyncio
import re
from collections.abc import Callable

import pytest

from tests.fixtures.http_client import CONTROL, HttpFixture, serving
from tests.servers.http.test_server import add
from upnp_gw.protocols.rate_limit import Rate
from upnp_gw.servers.http.limits import HttpLimits

LIMITS = HttpLimits(head_s=5, body_s=0.4, wasted=Rate(1000, 1000))
Build = Callable[[HttpFixture], bytes]
LARGE = 200_000


def get(*fields: str, line: str = "GET /igd1.xml", **more: str) -> Build:
    return lambda fixture: fixture.head(line, *fields, **more)


def changed(old: bytes, new: bytes) -> Build:
    """A GET with a part of it replaced."""

    def build(fixture: HttpFixture) -> bytes:
        request = fixture.head("GET /igd1.xml")
        assert old in request
        return request.replace(old, new)

    return build


def parts(fixture: HttpFixture) -> tuple[bytes, bytes]:
    """Head (without the headers for the body's length) and body of a POST that reads."""
    head, _, body = fixture.post().partition(b"\r\n\r\n")
    return re.sub(rb"\r\nContent-Length: \d+", b"", head), body


def post(*fields: bytes, body: bytes | None = None) -> Build:
    """A POST with these header fields; ``%d`` in one of them is the body's length."""

    def build(fixture: HttpFixture) -> bytes:
        head, own = parts(fixture)
        sent = own if body is None else body
        lines = [field.replace(b"%d", b"%d" % len(sent)) for field in fields]
        return b"\r\n".join([head, *lines, b"", b""]) + sent

    return build


def chunked(
    frame: Callable[[bytes, bytes], bytes], coding: bytes = b"Transfer-Encoding: chunked", version: bytes = b"1.1"
) -> Build:
    """A POST whose body is framed by ``frame(hex size, body)``."""

    def build(fixture: HttpFixture) -> bytes:
        head, body = parts(fixture)
        head = head.replace(b"HTTP/1.1", b"HTTP/" + version)
        return b"\r\n".join([head, coding, b"", b""]) + frame(b"%x" % len(body), body)

    return build


def plain(size: bytes, body: bytes) -> bytes:
    return size + b"\r\n" + body + b"\r\n0\r\n\r\n"


def sized(change: Callable[[bytes], bytes]) -> Build:
    """A chunk whose size is written in another way."""
    return chunked(lambda size, body: plain(change(size), body))


def trailed(trailer: bytes) -> Build:
    return chunked(lambda size, body: plain(size, body)[:-2] + trailer + b"\r\n")


LENGTH = b"Content-Length: %d"
CHUNKED = b"Transfer-Encoding: chunked"

SERVED: dict[str, Build] = {
    # -- the body's length
    "a chunked body": chunked(plain),
    "a size in capitals": sized(bytes.upper),
    "a size with zeros before it": sized(lambda size: b"0" * 20 + size),
    "a short chunk extension": sized(lambda size: size + b';name="value"'),
    "a short trailer": trailed(b"X-Checksum: 1\r\n"),
    "a byte a chunk": chunked(lambda _, body: b"".join(b"1\r\n%c\r\n" % c for c in body) + b"0\r\n\r\n"),
    "a length with zeros before it": post(b"Content-Length: 000%d"),
    "a GET with a body": lambda fixture: fixture.head("GET /igd1.xml", "Content-Length: 5") + b"hello",
    # -- the head
    "an absolute target of our own": lambda fixture: fixture.head(f"GET http://127.0.0.1:{fixture.port}/igd1.xml"),
    "a query": get(line="GET /igd1.xml?x=1"),
    "eight-bit text in a field": get("X-Name: \xe4\xff"),
    "empty lines before": lambda fixture: b"\r\n\r\n" + fixture.head("GET /igd1.xml"),
    "many fields": get(*["a: b"] * 120),
    "an expectation without a body": get("Expect: 100-continue"),
    "an expectation": post(LENGTH, b"Expect: 100-Continue"),
}
UPGRADES: dict[str, Build] = {
    "HTTP/2": get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"),
    "WebSocket": get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"),
    "nothing known": get("Connection: Upgrade", "Upgrade: foo"),
}
REFUSED: dict[str, tuple[int, Build]] = {
    # -- the body's length
    "a chunk extension of 200 KB": (413, sized(lambda size: size + b";a=" + b"x" * LARGE)),
    "an extension of 200 KB at the last chunk": (
        413,
        chunked(lambda size, body: plain(size, body)[:-4] + b";a=" + b"x" * LARGE + b"\r\n\r\n"),
    ),
    "an extension in every of many chunks": (
        413,
        chunked(lambda _, body: b"".join(b"1;" + b"e" * 200 + b"\r\n%c\r\n" % c for c in body) + b"0\r\n\r\n"),
    ),
    "a size of 200,000 digits": (413, sized(lambda size: b"0" * LARGE + size)),
    "chunks of one byte without end": (413, chunked(lambda *_: b"1\r\n \r\n" * 40_000)),
    "trailers of 200 KB": (413, trailed(b"X-Name: value\r\n" * (LARGE // 15))),
    "one trailer of 200 KB": (413, trailed(b"X-Name: " + b"y" * LARGE + b"\r\n")),
    "a trailer that is a Host": (400, trailed(b"Host: evil\r\n")),
    "a trailer that is a Content-Length": (400, trailed(b"Content-Length: 5\r\n")),
    "a size of 2**64": (400, sized(lambda size: b"1" + b"0" * 16)),
    "a negative size": (400, sized(lambda size: b"-" + size)),
    "a size with a sign": (400, sized(lambda size: b"+" + size)),
    "a size with 0x": (400, sized(lambda size: b"0x" + size)),
    "a size with a space before it": (400, sized(lambda size: b" " + size)),
    "a size with a space behind it": (400, sized(lambda size: size + b" ")),
    "a size with an underscore": (400, sized(lambda size: b"0_" + size)),
    "no size": (400, sized(lambda size: b"")),
    "a size that is no number": (400, sized(lambda size: b"zz")),
    "chunks that end in LF": (400, chunked(lambda size, body: size + b"\n" + body + b"\n0\n\n")),
    "a chunk without its end": (400, chunked(lambda size, body: size + b"\r\n" + body + b"0\r\n\r\n")),
    "a chunk longer than its size": (400, chunked(lambda size, body: b"1\r\n" + body + b"\r\n0\r\n\r\n")),
    "a chunk of nearly 2**64 bytes": (408, sized(lambda size: b"f" * 16)),
    "a chunk of a gigabyte": (408, sized(lambda size: b"40000000")),
    "both lengths": (400, post(LENGTH, CHUNKED)),
    "both lengths, the other way round": (400, post(CHUNKED, LENGTH)),
    "gzip and chunked": (501, chunked(plain, b"Transfer-Encoding: gzip, chunked")),
    "gzip alone": (400, chunked(plain, b"Transfer-Encoding: gzip")),
    "chunked and gzip": (400, chunked(plain, b"Transfer-Encoding: chunked, gzip")),
    "chunked twice": (400, chunked(plain, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
    "chunked twice in one field": (400, chunked(plain, b"Transfer-Encoding: chunked, chunked")),
    "what ends like chunked": (400, chunked(plain, b"Transfer-Encoding: xchunked")),
    "identity": (400, chunked(plain, b"Transfer-Encoding: identity")),
    "a coding behind a tab": (501, chunked(plain, b"Transfer-Encoding: gzip,\tchunked")),
    "chunked in HTTP/1.0": (400, chunked(plain, version=b"1.0")),
    "chunked in a GET": (
        501,
        lambda fixture: fixture.head("GET /igd1.xml", "Transfer-Encoding: gzip, chunked") + plain(b"1", b"x"),
    ),
    "no length": (411, post()),
    "two equal lengths": (400, post(LENGTH, LENGTH)),
    "two lengths": (400, post(LENGTH, b"Content-Length: 5")),
    "a list of lengths": (400, post(b"Content-Length: %d, %d")),
    "a negative length": (400, post(b"Content-Length: -1")),
    "a length with a sign": (400, post(b"Content-Length: +%d")),
    "a length in hex": (400, post(b"Content-Length: 0x10")),
    "a length with a space in it": (400, post(b"Content-Length: 1 0")),
    "a length with a fraction": (400, post(b"Content-Length: %d.0")),
    "a length of 10**22": (400, post(b"Content-Length: 9999999999999999999999")),
    "a length in other digits": (400, post(b"Content-Length: \xd9\xa3")),
    "an empty length": (400, post(b"Content-Length:")),
    "a length of one byte too many": (413, post(b"Content-Length: 16385")),
    "a length of 2**63": (413, post(b"Content-Length: 9223372036854775807")),
    "a body that is compressed": (415, post(LENGTH, b"Content-Encoding: gzip")),
    "a body that does not come": (408, lambda fixture: fixture.head(f"POST {CONTROL}", "Content-Length: 9000")),
    "another expectation": (417, post(LENGTH, b"Expect: 200-ok")),
    "two expectations": (417, post(LENGTH, b"Expect: 100-continue", b"Expect: more")),
    "an expectation in a list": (417, post(LENGTH, b"Expect: 100-continue, more")),
    # -- the head
    "a target of 9 KB": (400, get(line="GET /" + "a" * 9000)),
    "a target of 200 KB": (400, get(line="GET /" + "a" * LARGE)),
    "a method of 9 KB": (501, get(line="A" * 9000 + " /igd1.xml")),
    "a field of 9 KB": (400, get("X-Name: " + "y" * 9000)),
    "a field name of 9 KB": (400, get("X" * 9000 + ": y")),
    "fields of 9 KB together": (431, get(*[f"X-{n}: " + "y" * 900 for n in range(10)])),
    "500 fields": (400, get(*["a: b"] * 500)),
    "30,000 fields": (400, get(*["a: b"] * 30_000)),
    "a field without a name": (400, get(": b")),
    "a field without a colon": (400, get("a")),
    "a space before the colon": (400, get("Accept : b")),
    "a field that is folded": (400, get("a: b\r\n c")),
    "a NUL in a field": (400, get("a: b\0c")),
    "a CR in a field": (400, get("a: b\rc")),
    "lines that end in LF": (400, changed(b"\r\n", b"\n")),
    "two hosts": (400, get("Host: 127.0.0.1")),
    "no host": (400, get(host="")),
    "a host in octal": (403, get(host="0177.0.0.1")),
    "a host as a number": (403, get(host="2130706433")),
    "a host with a user": (403, get(host="127.0.0.1@evil.example")),
    "a host with a path": (403, get(host="127.0.0.1/evil")),
    "a host with another port": (403, get(host="127.0.0.1:1")),
    "an absolute target elsewhere": (403, get(line="GET http://evil.example/igd1.xml")),
    "a tunnel": (404, get(line="CONNECT 127.0.0.1:22")),
    "a trace": (405, get(line="TRACE /igd1.xml")),
    "a control character in the query": (400, get(line="GET /igd1.xml?\x01")),
    "an eight-bit path": (400, get(line="GET /igd1\xff.xml")),
    "a NUL in the path": (404, get(line="GET /igd1.xml%00")),
    "a backslash": (400, get(line="GET \\igd1.xml")),
    "tabs for spaces": (501, changed(b"GET /igd1.xml HTTP", b"GET\t/igd1.xml\tHTTP")),
    "a name of HTTP in small letters": (400, changed(b"HTTP/", b"http/")),
    "HTTP/0.9": (505, lambda fixture: b"GET /igd1.xml\r\n\r\n"),
    "HTTP/0.9 by name": (505, get(version="0.9")),
    "HTTP/2.0": (505, get(version="2.0")),
    "HTTP/1.2": (400, get(version="1.2")),
    "HTTP/11": (400, get(version="11")),
    "the preface of HTTP/2": (501, lambda fixture: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (501, lambda fixture: bytes.fromhex("16030100c8010000c40303") + b"x" * 100),
    "NULs": (501, lambda fixture: bytes(1000)),
    "SMTP": (501, lambda fixture: b"HELO evil.example\r\n\r\n"),
}


async def everything(fixture: HttpFixture, data: bytes) -> tuple[list[int], bytes]:
    """The statuses of all answers until the server ends the connection, and the answers."""
    reader, writer = await fixture.connect()
    received = bytearray()
    try:
        writer.write(data)
        async with asyncio.timeout(20):
            while piece := await reader.read(65536):
                received += piece
    except (ConnectionResetError, BrokenPipeError):
        pass  # it ended while we still wrote
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return [int(status) for status in re.findall(rb"HTTP/\d\.\d (\d{3}) ", received)], bytes(received)


@pytest.mark.spec("SR-9", "SR-13", "SR-14", "SR-23")
@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_request_ends_the_connection_and_bytes_behind_it_are_not_a_request(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, build = REFUSED[name]
    async with serving(LIMITS) as fixture:
        statuses, received = await everything(fixture, build(fixture) + add(fixture))
        # a client that still writes is reset by its own kernel, with the answer or without
        assert statuses in ([status], []) if len(build(fixture)) > 20_000 else statuses == [status]
        assert b"<s:Envelope" not in received
        assert fixture.gateway.requests == []
        assert fixture.server.counts["defect"] == 0
        assert (await everything(fixture, fixture.post("GetExternalIPAddress", "", "Connection: close")))[0] == [
            200
        ]
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("name", SERVED)
async def test_a_served_request_keeps_the_connection_for_the_next_one(name: str) -> None:
    async with serving(LIMITS) as fixture:
        behind = fixture.head("GET /igd2.xml", "Connection: close")
        statuses, _ = await everything(fixture, SERVED[name](fixture) + behind)
        assert [status for status in statuses if status != 100] == [200, 200]


@pytest.mark.parametrize("name", UPGRADES)
async def test_an_upgrade_is_ignored_and_the_answer_ends_the_connection(name: str) -> None:
    """Java's client asks for HTTP/2 with its first request, and would wait for the second answer in vain."""
    async with serving(LIMITS) as fixture:
        statuses, received = await everything(fixture, UPGRADES[name](fixture) + fixture.head("GET /igd2.xml"))
        assert statuses == [200]
        assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize(("version", "status"), [("0.9", 505), ("1.0", 200), ("1.1", 200), ("2.0", 505)])
async def test_http_1_0_and_1_1_are_served_and_no_other(version: str, status: int) -> None:
    async with serving(LIMITS) as fixture:
        request = fixture.head("GET /igd1.xml", "Connection: close", version=version)
        assert (await everything(fixture, request))[0] == [status]
        assert fixture.server.counts["version"] == (status == 505)


async def test_a_post_without_a_length_is_411() -> None:
    async with serving(LIMITS) as fixture:
        assert (await everything(fixture, post(body=b"")(fixture)))[0] == [411]


async def test_requests_in_one_write_are_answered_in_order() -> None:
    async with serving(LIMITS) as fixture:
        requests = [fixture.head(f"GET /igd{1 + n % 2}.xml") for n in range(99)]
        last = fixture.head("GET /nowhere")
        statuses, received = await everything(fixture, b"".join(requests) + last)
        assert statuses == [200] * 99 + [404]
        kinds = re.findall(rb"device:InternetGatewayDevice:(\d)</deviceType>", received)
        assert kinds == [b"%d" % (1 + n % 2) for n in range(99)]


@pytest.mark.spec("SR-23")
@pytest.mark.parametrize("behind", ["body", "extension", "size", "trailer"])
async def test_a_body_that_trickles_ends_at_the_deadline(behind: str) -> None:
    """A byte now and then does not move it."""
    begun = {"body": b"7f\r\n", "extension": b"7f;", "size": b"", "trailer": b"1\r\n \r\n0\r\nX: "}[behind]
    async with serving(LIMITS) as fixture:
        reader, writer = await fixture.connect()
        head, _ = parts(fixture)
        writer.write(head + b"\r\n" + CHUNKED + b"\r\n\r\n" + begun)

        async def drip() -> None:
            while True:
                writer.write(b"0")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            async with asyncio.timeout(10):
                received = await reader.readuntil(b"\r\n")
        finally:
            dripping.cancel()
            writer.close()
            await asyncio.gather(dripping, writer.wait_closed(), return_exceptions=True)
        assert received == b"HTTP/1.1 408 Request Timeout\r\n"
        assert fixture.server.counts["body-deadline"] == 1


@pytest.mark.parametrize(
    "start", [b"BREW /", b"GET /igd1.xml HTTP/1.1\r\nA B: c\r\n", b"POST /x HTTP/1.1\r\nHost: x\r\n"]
)
async def test_a_client_that_still_writes_gets_the_answer(start: bytes) -> None:
    """The kernel resets a connection that is closed while bytes come, and the client loses the answer."""
    async with serving(LIMITS) as fixture:
        reader, writer = await fixture.connect()
        writer.write(start + b"Content-Length: 5000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n"))[:7] == b"HTTP/1."
        for _ in range(20):
            writer.write(b"x" * 100)
            await asyncio.sleep(0.005)
        received = await reader.read()
        assert received.endswith(b"\r\n\r\n"), "the whole answer, and the end"
        writer.close()
        await writer.wait_closed()
