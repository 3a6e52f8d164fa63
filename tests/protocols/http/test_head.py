"""Heads of requests: what is read, what is refused, and that the portions of the bytes do not matter."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.protocols.http import head as module
from upnp_gw.protocols.http.head import (
    FIELDS_MAX,
    HTTP_1_1,
    LINE_MAX,
    METHODS,
    REMEMBERED_MAX,
    SHORT,
    Head,
    Headers,
    HeadReader,
    MalformedRequest,
)

HOST = b"Host: 192.0.2.1\r\n"
QUICK_S = 0.02
"""Seconds of processor time. A line of 8 KiB takes less than 0.001."""


def read(data: bytes) -> Head:
    head, rest = HeadReader().feed(data)
    assert head is not None
    assert rest == b""
    return head


def get(fields: bytes, version: bytes = b"1.1") -> Head:
    return read(b"GET /a HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n")


def refused(data: bytes) -> int:
    with pytest.raises(MalformedRequest) as caught:
        HeadReader().feed(data)
    return caught.value.status


def test_a_head_and_the_bytes_behind_it() -> None:
    head, rest = HeadReader().feed(
        b"\r\nPOST /a/b?c=d#e HTTP/1.1\r\n" + HOST + b"X:  a b\t \r\nx: c\r\n\r\nbody\r\n"
    )
    assert head is not None
    assert (head.method, head.version, head.path, head.authority) == ("POST", HTTP_1_1, "/a/b", None)
    assert head.headers.pairs == [("host", "192.0.2.1"), ("x", "a b"), ("x", "c")]
    assert head.size == len("Host: 192.0.2.1\r\nX: a b\r\nx: c\r\n")
    assert rest == b"body\r\n"


@pytest.mark.parametrize(
    ("target", "path", "authority"),
    [
        (b"/", "/", None),
        (b"//a", "//a", None),
        (b"/%2e%2e/a", "/%2e%2e/a", None),
        (b"http://a:80/b?c", "/b", "a:80"),
        (b"HTTP://[::1]/b", "/b", "[::1]"),
        (b"http://a", "/", "a"),
    ],
)
def test_targets(target: bytes, path: str, authority: str | None) -> None:
    head = read(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (head.path, head.authority) == (path, authority)


@pytest.mark.parametrize(
    "target", [b"a", b"*", b"http://", b"http:/a", b"/\xff", b"/a\x7f", b"\\a", b"/" + b"a" * LINE_MAX, b"/a /b"]
)
def test_targets_that_are_refused(target: bytes) -> None:
    assert refused(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n") == 400


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"X", 501),
        (b"get /", 501),
        (b"GET\t/", 501),
        (b"GET\r /", 501),
        (b"\x16\x03\x01", 501),
        (b"GETS /a", 501),
        (b"GET /a\x01", 400),
        (b"GET /a HTTP/1.1\n", 400),
        (b"GET /" + b"a" * (LINE_MAX + 50), 400),
        (b"GET /a HTTP/1.1\r\nA B: c\r\n", 400),
        (b"GET /a HTTP/1.1\r\nA: b\rc", 400),
        (b"GET /a HTTP/1.1\r\n" + b"a: b\r\n" * (FIELDS_MAX + 1), 400),
    ],
)
def test_a_mistake_is_found_before_the_head_is_complete(begun: bytes, status: int) -> None:
    assert refused(begun) == status


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_part_of_a_method_is_a_mistake(method: str) -> None:
    reader = HeadReader()
    for byte in method.encode():
        assert reader.feed(bytes([byte])) == (None, b"")
        assert reader.begun


@pytest.mark.parametrize(
    "fields",
    [
        b": b\r\n",
        b"a\r\n",
        b"a : b\r\n",
        b"a: b\r\n c\r\n",
        b"a: b\0c\r\n",
        b"a: b\x0bc\r\n",
        b"a: b\x7f\r\n",
        b"a\xe4: b\r\n",
        b"Host: 192.0.2.1\r\n",
        b"User-Agent: a\r\nuser-agent: b\r\n",
        b"a: b\r\n" * FIELDS_MAX,
        b"a: " + b"b" * LINE_MAX + b"\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Content-Length: 0x1\r\n",
        b"Content-Length: \xd9\xa3\r\n",
        b"Content-Length: 18446744073709551616\r\n",
    ],
)
def test_fields_that_are_refused(fields: bytes) -> None:
    assert refused(b"GET /a HTTP/1.1\r\n" + HOST + fields + b"\r\n") == 400


LONG = LINE_MAX - 100


@pytest.mark.spec("SR-23")
@pytest.mark.parametrize(
    "line",
    [
        b"GET a://" + b"x" * LONG + b"#y#z HTTP/1.1\r\n",
        b"GET a://" + b"x" * LONG + b"?y#z#z HTTP/1.1\r\n",
        b"GET " + b"a" * LONG + b":/b HTTP/1.1\r\n",
        b"GET /" + b"x" * LONG + b"#y#z HTTP/1.1\r\n",
        b"CONNECT " + b"x" * LONG + b"# HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\na:" + b" " * LONG + b"\x01\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b " * (LONG // 2) + b"\x01\r\n",
        b"GET / HTTP/1.1\r\n" + b"a" * LONG + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 60_000,
    ],
)
def test_a_long_line_is_refused_within_a_time_that_grows_with_its_length(line: bytes) -> None:
    """One of these lines took 1.7 s, while the daemon answered nobody."""
    began = time.thread_time()
    assert refused(line) == 400
    assert time.thread_time() - began < QUICK_S


def test_a_head_without_a_host_is_refused_in_http_1_1_only() -> None:
    assert refused(b"GET /a HTTP/1.1\r\n\r\n") == 400
    assert read(b"GET /a HTTP/1.0\r\n\r\n").headers.pairs == []


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: Keep-Alive , CLOSE\r\n", False),
        (b"1.1", b"Connection: te\r\nConnection: close\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"0.9", b"", False),
    ],
)
def test_which_connection_is_kept(version: bytes, fields: bytes, kept: bool) -> None:
    assert get(fields, version).keep_alive is kept


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        (b"", None, False),
        (b"Content-Length: 0\r\n", 0, False),
        (b"Content-Length: 00012 \r\n", 12, False),
        (b"Content-Length: 18446744073709551615\r\n", 2**64 - 1, False),
        (b"Transfer-Encoding: Chunked\r\n", None, True),
        (b"Transfer-Encoding: gzip,\tchunked\r\n", None, True),
    ],
)
def test_the_length_and_coding_of_the_body(fields: bytes, length: int | None, chunked: bool) -> None:
    head = get(fields)
    assert (head.length, head.chunked) == (length, chunked)


def test_headers_ignore_the_case_and_keep_every_value() -> None:
    headers = Headers()
    assert headers.add("sid", "a")
    assert not headers.add("sid", "b")
    assert (headers["SID"], headers.get("Sid"), headers.get("nt")) == ("a", "a", None)
    assert "SID" in headers
    assert 3 not in headers  # type: ignore[comparison-overlap]  # any object may be asked for
    assert headers.all("sid") == ["a", "b"]
    assert headers.all("nt") == []
    assert list(headers.items()) == [("sid", "a"), ("sid", "b")]
    assert (list(headers), len(headers)) == (["sid"], 1)


def test_remembered_lines_are_few_and_short() -> None:
    for number in range(2 * REMEMBERED_MAX):
        get(b"X-%d: %s\r\n" % (number, b"y" * SHORT))
        get(b"X-%d: y\r\n" % number)
    for remembered in (module._remembered_line, module._remembered_field):
        assert remembered.cache_info().currsize <= REMEMBERED_MAX
    before = module._remembered_field.cache_info().currsize
    get(b"X-Long: " + b"z" * SHORT + b"\r\n")
    assert module._remembered_field.cache_info().currsize == before


NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
VALUES = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]),
    max_size=60,
).map(lambda value: value.strip(" \t"))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20), st.data())
def test_any_fields_are_read_as_they_were_written(fields: list[tuple[str, str]], data: st.DataObject) -> None:
    """In any portions, with what follows left over."""
    names = [name.lower() for name, _ in fields]
    sent = [
        ("X-" + name, value) if names.count(name.lower()) > 1 or name.lower() in SPECIAL else (name, value)
        for name, value in fields
    ]
    text = "".join(f"{name}: {value}\r\n" for name, value in sent).encode()
    whole = b"GET /a HTTP/1.1\r\n" + HOST + text + b"\r\n" + b"rest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    reader, left, head = HeadReader(), b"", None
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        if head is None:
            head, left = reader.feed(whole[start:end])
        else:
            left += whole[start:end]
    assert head is not None
    assert head.headers.pairs == [("host", "192.0.2.1"), *((name.lower(), value) for name, value in sent)]
    assert left == b"rest"
    assert not reader.begun


SPECIAL = module.ONCE | {"connection"}
