"""Answers of servers that are not trusted: whole, in portions, cut off, too large, of any bytes."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.http.response import HEAD_MAX, AnswerReader, HttpAnswer

MOST = 100


def read(data: bytes, portion: int = 0, closed: bool = False) -> HttpAnswer | None:
    reader = AnswerReader(MOST)
    size = portion or len(data) or 1
    for at in range(0, len(data), size):
        answer = reader.feed(data[at : at + size])
        if answer is not None:
            return answer
    return reader.end() if closed else None


@pytest.mark.parametrize("portion", [0, 1, 7])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200\r\nContent-Length:5\r\n\r\nhello and more",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["length", "1.0", "bare LF", "chunks", "interim"],
)
def test_a_whole_answer(data: bytes, portion: int) -> None:
    answer = read(data, portion)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"hello")


def test_a_body_that_ends_with_the_connection() -> None:
    data = b"HTTP/1.1 500 Internal Server Error\r\nServer: x\r\n\r\nhello"
    assert read(data, 3) is None
    answer = read(data, 3, closed=True)
    assert answer is not None
    assert (answer.status, answer.headers["server"], answer.body) == (500, "x", b"hello")


def test_a_redirection_is_an_answer_like_any_other() -> None:
    answer = read(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n")
    assert answer is not None
    assert (answer.status, answer.body) == (302, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
    ids=["ssh", "version", "field", "negative", "two lengths", "coding", "chunk", "fields"],
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(WireError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEAD_MAX,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    ],
    ids=["length", "until the end", "chunk", "head", "interim"],
)
def test_too_much_is_refused_before_it_is_kept(data: bytes) -> None:
    with pytest.raises(WireError) as error:
        read(data, 512)
    assert error.value.reason in ("body-too-large", "head-too-large")


def test_framing_without_content_has_an_end_too() -> None:
    """A chunk's size may have an extension of any length."""
    reader = AnswerReader(MOST)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunks = (b"1;" + b"x" * 1000 + b"\r\ny\r\n" for _ in range(100))
    with pytest.raises(WireError):
        deque(map(reader.feed, chunks))


@pytest.mark.parametrize(
    "data",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"],
    ids=["nothing", "head", "body"],
)
def test_a_connection_that_ends_too_early(data: bytes) -> None:
    with pytest.raises(WireError):
        read(data, closed=True)


@given(st.binary(max_size=400), st.integers(1, 20))
def test_any_bytes_are_an_answer_or_an_error(data: bytes, portion: int) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            answer = read(start + data, portion, closed=True)
        except WireError:
            continue
        assert answer is not None
        assert len(answer.body) <= MOST
