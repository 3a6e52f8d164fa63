"""The bytes of an answer (RFC 9112 section 4)."""

from collections.abc import Mapping
from http import HTTPStatus

from upnp_gw.protocols.http.head import HTTP_1_0, HTTP_1_1

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def build_answer(
    version: tuple[int, int],
    status: int,
    fields: Mapping[str, str],
    body: bytes,
    date: str,
    keep_alive: bool,
    head_only: bool = False,
) -> bytes:
    """One answer. ``version``: that of the request. ``fields``: ours, with safe names and values. ``head_only``:
    the answer to HEAD, which has the length of the body and no body."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    connection = ""
    if keep_alive and version == HTTP_1_0:
        connection = "Connection: keep-alive\r\n"
    elif not keep_alive and version == HTTP_1_1:
        connection = "Connection: close\r\n"
    head = (
        f"HTTP/{version[0]}.{version[1]} {status} {_PHRASES[status]}\r\n{lines}"
        f"Content-Length: {len(body)}\r\nDate: {date}\r\n{connection}\r\n"
    )
    return head.encode("ascii") if head_only else head.encode("ascii") + body
