"""Broken requests: the answer repeats nothing of them, and the log gets no trace."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.page_home import PageHome, page_home
from tests.fixtures.waiting import EVENT_S
from tests.page.test_connections import connected, ended

HEAD = b"POST /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[PageHome]:
    async with page_home(tmp_path, lan="off") as home:
        yield home


def form(kind: bytes, body: bytes) -> bytes:
    return HEAD + b"%b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


BROKEN = {
    "method": (b"EVIL<script>\r\n\r\n", 400),
    "version": (b"GET /evil<script> HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", 400),
    "header": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nevil<script>: c\x00\r\n\r\n", 400),
    "long line": (b"GET /evil" + b"l" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
    "expect": (b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: evil\r\n\r\n", 417),
    "expect of a form": (form(b"Expect: evil", b"secret=evil"), 417),
    "gzip": (form(b"Content-Encoding: gzip", b"evil"), 400),
    "multipart": (form(b"Content-Type: multipart/form-data; boundary=b", b"--b\r\n\r\nevil\r\n--b--\r\n"), 415),
    "charset": (form(b"Content-Type: application/x-www-form-urlencoded; charset=evil", b"secret=evil"), 400),
    "no UTF-8": (form(b"Content-Type: application/x-www-form-urlencoded", b"secret=evil\xff"), 400),
}


@pytest.mark.parametrize(("sent", "status"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_http_gets_an_answer_of_ours_and_no_trace(
    home: PageHome, caplog: pytest.LogCaptureFixture, sent: bytes, status: int
) -> None:
    with caplog.at_level(logging.INFO):
        reader, writer = await connected(home)
        writer.write(sent)
        async with asyncio.timeout(EVENT_S):
            received = await ended(reader, writer)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.split()[1] == b"%d" % status
    assert b"Content-Security-Policy: default-src 'none'" in head
    assert b"aiohttp" not in received
    assert b"evil" not in body.lower()
    assert not caplog.records, caplog.text


async def test_an_error_of_the_page_is_in_the_log_and_not_in_the_answer(
    home: PageHome, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bool:
        raise RuntimeError("the secret of the page")

    async with home.operator() as operator:
        monkeypatch.setattr(home.page.part.serving, "answer", fails)
        async with operator.session.get(f"{home.url}/mappings") as answer:
            assert (answer.status, "secret" in await answer.text()) == (500, False)
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "aiohttp" not in answer.headers["Server"]
    assert "the secret of the page" in caplog.text
