"""The bytes of answers."""

import pytest

from upnp_gw.protocols.http.answer import build_answer

DATE = "Sun, 29 Nov 2026 03:16:35 GMT"


@pytest.mark.parametrize(
    ("version", "keep_alive", "line", "connection"),
    [
        ((1, 1), True, b"HTTP/1.1 200 OK", b""),
        ((1, 1), False, b"HTTP/1.1 200 OK", b"Connection: close\r\n"),
        ((1, 0), True, b"HTTP/1.0 200 OK", b"Connection: keep-alive\r\n"),
        ((1, 0), False, b"HTTP/1.0 200 OK", b""),
        ((2, 0), False, b"HTTP/2.0 200 OK", b""),
    ],
)
def test_version_and_connection(version: tuple[int, int], keep_alive: bool, line: bytes, connection: bytes) -> None:
    data = build_answer(version, 200, {"SERVER": "s", "EXT": ""}, b"body", DATE, keep_alive)
    assert (
        data
        == (line + b"\r\nSERVER: s\r\nEXT: \r\nContent-Length: 4\r\nDate: " + DATE.encode() + b"\r\n" + connection)
        + b"\r\nbody"
    )


def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    data = build_answer((1, 1), 200, {}, b"body", DATE, keep_alive=True, head_only=True)
    assert data.endswith(b"\r\n\r\n")
    assert b"Content-Length: 4\r\n" in data
