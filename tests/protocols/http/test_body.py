"""Bodies: by their length and by their chunks."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.protocols.http.body import BodyReader
from upnp_gw.protocols.http.head import FIELDS_MAX, HTTP_1_1, WHOLE_LINE_MAX, Head, MalformedRequest


def reader(length: int | None = None, most: int = 100) -> BodyReader:
    """``length`` None: chunked."""
    head = Head("POST", HTTP_1_1, "/", None)
    head.length, head.chunked = length, length is None
    return BodyReader(head, most)


def test_a_body_by_its_length() -> None:
    body = reader(5)
    assert not body.done
    assert body.feed(b"he") == b""
    assert body.feed(b"llo, more") == b", more"
    assert (body.done, body.content, body.length) == (True, b"hello", 5)


def test_no_body() -> None:
    body = reader(0)
    assert (body.done, body.content, body.too_large) == (True, b"", False)


def test_a_body_in_chunks() -> None:
    body = reader()
    assert body.feed(b'3\r\nabc\r\n00A;n=v;q="a\\"b;";x\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\nmore') == b"more"
    assert (body.done, body.content, body.length) == (True, b"abc0123456789", 13)


@pytest.mark.parametrize("chunked", [True, False])
def test_content_over_the_limit_is_not_kept(chunked: bool) -> None:
    body = reader(None if chunked else 1000, most=100)
    body.feed(b"3e8\r\n" if chunked else b"")
    for _ in range(10):
        body.feed(b"x" * 100)
    assert body.too_large
    assert (body.length, len(body.content)) == (1000, 100)
    body.feed(b"\r\n0\r\n\r\n" if chunked else b"")
    assert body.done


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1_0\r\n",
        b"1;\r\n",
        b"1;a b\r\n",
        b'1;a="b\r\n',
        b"1\n",
        b"10000000000000000\r\n",
        b"1\r\nab",
        b"1\r\na0",
        b"1\r\na\n",
        b"0\r\nA B: c\r\n",
        b"0\r\nHost: a\r\n",
        b"0\r\nContent-Length: 1\r\n",
        b"0\r\n" + b"a: b\r\n" * (FIELDS_MAX + 1),
        b"0\r\na: " + b"b" * WHOLE_LINE_MAX,
        b"1;" + b"a" * WHOLE_LINE_MAX + b"\r\n",
        b"0" * (WHOLE_LINE_MAX + 1),
    ],
)
def test_chunks_that_are_refused(data: bytes) -> None:
    for portions in ([data], [data[n : n + 1] for n in range(len(data))]):
        with pytest.raises(MalformedRequest) as caught:
            fed(portions)
        assert caught.value.status == 400


@pytest.mark.spec("SR-23")
def test_content_in_small_portions_takes_no_more_memory_than_its_bytes() -> None:
    body = reader(16_000, most=16_000)
    portions = [b"%02d" % (n % 100) for n in range(8000)]
    tracemalloc.start()
    try:
        for n in range(8000):
            body.feed(b"%02d" % (n % 100))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert body.content == b"".join(portions)
    assert kept < 2 * 16_000


def fed(portions: list[bytes]) -> None:
    body = reader(most=1 << 20)
    for portion in portions:
        body.feed(portion)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.data())
def test_any_chunks_in_any_portions_are_the_content(chunks: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\nGET"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    body, left = reader(most=1000), b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        left += body.feed(whole[start:end]) if not body.done else whole[start:end]
    assert (body.done, body.content, left) == (True, b"".join(chunks), b"GET")
