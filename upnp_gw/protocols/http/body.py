"""The body of a request: bytes in any portions -> content, by its length or its chunks (RFC 9112 sections 6, 7)."""

import re
from typing import Protocol

from upnp_gw.protocols.http.head import (
    BEGUN_LINE,
    FIELDS_MAX,
    ONCE,
    WHOLE_LINE_MAX,
    MalformedRequest,
    read_field,
)

SIZE_DIGITS_MAX = 16
"""Most hexadecimal digits of a chunk's size, without zeros before it."""
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:;%b(?:=(?:%b|%b))?)*" % (_TOKEN, _TOKEN, _QUOTED))


class Framing(Protocol):
    """Says where a body ends: the ``Head`` of a request, or that of an answer."""

    @property
    def length(self) -> int | None: ...
    @property
    def chunked(self) -> bool: ...


class BodyReader:
    """Reads one body. ``most``: bytes of content that are kept; with more the body is too large."""

    __slots__ = (
        "_at_size",
        "_fields",
        "_in_trailer",
        "_kept",
        "_left",
        "_most",
        "_rest",
        "chunked",
        "done",
        "length",
    )

    def __init__(self, framing: Framing, most: int) -> None:
        self._most = most
        self.chunked = framing.chunked
        self.length = 0
        """Bytes of content so far."""
        self._left = framing.length or 0
        """Bytes of content to come, of the whole body or of the chunk."""
        self._kept = bytearray()
        self._rest = b""
        self._at_size = True
        self._in_trailer = False
        self._fields = 0
        self.done = not self.chunked and not self._left

    @property
    def too_large(self) -> bool:
        return self.length > self._most

    @property
    def content(self) -> bytes:
        return bytes(self._kept)

    def feed(self, data: bytes) -> bytes:
        """Takes the bytes of the body; returns those behind it. Raises MalformedRequest."""
        if not self.chunked:
            return self._take(data)
        data = self._rest + data if self._rest else data
        self._rest = b""
        while data and not self.done:
            if self._left:
                data = self._take(data)
                continue
            end = data.find(b"\r\n")
            if end < 0:
                self._check_begun_line(data)
                self._rest = data
                return b""
            line, data = data[:end], data[end + 2 :]
            self._line(line)
        return data

    def _take(self, data: bytes) -> bytes:
        part = data[: self._left]
        self._left -= len(part)
        self.length += len(part)
        if not self.too_large:
            self._kept += part
        self.done = not self.chunked and not self._left
        return data[len(part) :]

    def _line(self, line: bytes) -> None:
        """A size, the end of a chunk, or a field of the trailer."""
        if self._in_trailer:
            self._trailer(line)
        elif self._at_size:
            match = _SIZE_LINE.fullmatch(line) if len(line) < WHOLE_LINE_MAX else None
            digits = match[1].lstrip(b"0") if match else None
            if digits is None or len(digits) > SIZE_DIGITS_MAX:
                raise MalformedRequest("bad-body")
            self._left = int(digits or b"0", 16)
            self._in_trailer = not self._left
            self._at_size = False
        elif line:
            raise MalformedRequest("bad-body")
        else:
            self._at_size = True

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._fields += 1
        if self._fields > FIELDS_MAX or read_field(line)[0] in ONCE:
            raise MalformedRequest("bad-body")

    def _check_begun_line(self, data: bytes) -> None:
        """Raises MalformedRequest for a line that is wrong whatever follows."""
        if not self._in_trailer and not self._at_size:
            wrong = data != b"\r"
        elif len(data) > WHOLE_LINE_MAX or not BEGUN_LINE.fullmatch(data):
            wrong = True
        else:
            wrong = self._at_size and not data[:1].isalnum()
        if wrong:
            raise MalformedRequest("bad-body")
