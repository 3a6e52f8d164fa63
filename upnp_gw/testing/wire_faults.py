"""Ways in which an answer over HTTP arrives broken, or in another shape than the gateway's."""

import enum
import re
from collections.abc import Callable
from typing import NamedTuple


class End(enum.Enum):
    """The end of the connection after the bytes."""

    AS_USUAL = enum.auto()
    CLOSE = enum.auto()
    RESET = enum.auto()
    SILENT = enum.auto()
    """It stays open, and no byte follows."""


class Sent(NamedTuple):
    """The bytes that leave, and the end of the connection."""

    data: bytes
    end: End = End.AS_USUAL


def silent(head: bytes, body: bytes) -> Sent:
    """No answer. The connection stays open until the client gives up, for 30 s at most."""
    return Sent(b"", End.SILENT)


def reset(head: bytes, body: bytes) -> Sent:
    """The connection is reset before the first byte of the answer."""
    return Sent(b"", End.RESET)


def reset_in_body(head: bytes, body: bytes) -> Sent:
    """The connection is reset after half of the body."""
    return Sent(head + _half(body), End.RESET)


def truncated_body(head: bytes, body: bytes) -> Sent:
    """The connection is closed after half of the body."""
    return Sent(head + _half(body), End.CLOSE)


def short_content_length(head: bytes, body: bytes) -> Sent:
    """Content-Length is half of the body. The whole body is sent, and the connection is closed."""
    return Sent(_with_field(head, b"Content-Length", b"%d" % len(_half(body))) + body, End.CLOSE)


def long_content_length(head: bytes, body: bytes) -> Sent:
    """Content-Length is 100 more than the body. The connection is closed after the body."""
    return Sent(_with_field(head, b"Content-Length", b"%d" % (len(body) + 100)) + body, End.CLOSE)


def bare_500(head: bytes, body: bytes) -> Sent:
    """Status 500 with a page of HTML, without a SOAP fault."""
    page = b"<html><body><h1>500 Internal Server Error</h1></body></html>"
    line = b"HTTP/1.1 500 Internal Server Error\r\n" + head.partition(b"\r\n")[2]
    return _whole(_with_field(line, b"Content-Type", b"text/html"), page)


def not_xml(head: bytes, body: bytes) -> Sent:
    """The status and fields of the answer, and a body that is not XML."""
    return _whole(head, b"OK")


def wrong_content_type(head: bytes, body: bytes) -> Sent:
    """The answer as text/plain."""
    return Sent(_with_field(head, b"Content-Type", b"text/plain") + body)


def chunked(head: bytes, body: bytes) -> Sent:
    """The answer in two chunks (RFC 9112 section 7.1), without Content-Length."""
    first = _half(body)
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (first, body[len(first) :], b""))
    return Sent(re.sub(rb"(?i)\r\nContent-Length:[^\r\n]*", b"\r\nTransfer-Encoding: chunked", head) + parts)


def byte_order_mark(head: bytes, body: bytes) -> Sent:
    """A UTF-8 byte order mark before the XML declaration."""
    return _whole(head, b"\xef\xbb\xbf" + body)


def other_prefixes(head: bytes, body: bytes) -> Sent:
    """Other namespace prefixes than s and u: SOAP-ENV and m."""
    renamed = re.sub(rb"(</?|xmlns:)s(?=[:=])", rb"\1SOAP-ENV", body).replace(b" s:encoding", b" SOAP-ENV:encoding")
    renamed = renamed.replace(b">s:Client<", b">SOAP-ENV:Client<")
    return _whole(head, re.sub(rb"(</?|xmlns:)u(?=[:=])", rb"\1m", renamed))


WireFault = Callable[[bytes, bytes], Sent]
"""The head with its blank line, the body -> what is sent."""
WIRE_FAULTS: dict[str, WireFault] = {
    "silent": silent,
    "reset": reset,
    "reset-in-body": reset_in_body,
    "truncated-body": truncated_body,
    "short-content-length": short_content_length,
    "long-content-length": long_content_length,
    "bare-500": bare_500,
    "not-xml": not_xml,
    "wrong-content-type": wrong_content_type,
    "chunked": chunked,
    "byte-order-mark": byte_order_mark,
    "other-prefixes": other_prefixes,
}
"""By the name that ``Emulator.answer`` takes. The docstrings are the table of docs/testing.md."""


def disturbed(fault: WireFault, answer: bytes) -> Sent:
    """What is sent in place of a whole answer."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    return fault(head + blank, body)


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _whole(head: bytes, body: bytes) -> Sent:
    """The head with the length of this body."""
    return Sent(_with_field(head, b"Content-Length", b"%d" % len(body)) + body)


def _with_field(head: bytes, name: bytes, value: bytes) -> bytes:
    """The head with another value of a field that it has."""
    return re.sub(rb"(?i)(\r\n%b:)[^\r\n]*" % name, lambda field: field[1] + b" " + value, head)
