"""The answer of a server that is not trusted: bytes in any portions -> ``HttpAnswer`` (RFC 9112 sections 4 to 6).

Bounded: the head has at most ``HEAD_MAX`` bytes, the body as many as the caller says. Lines may end in a bare LF,
as those of some routers do. A redirection is an answer like any other: nothing here follows it.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from upnp_gw.model.errors import WireError
from upnp_gw.protocols.http.body import BodyReader
from upnp_gw.protocols.http.head import FIELDS_MAX, LENGTH_MAX, Headers, read_field

HEAD_MAX = 16 * 1024
"""Most bytes of all heads of an answer, interim ones (100 Continue) among them."""
NO_BODY = frozenset({204, 304})
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer."""

    status: int
    """200..599."""
    headers: Headers
    body: bytes


class _Framing(NamedTuple):
    length: int | None
    chunked: bool


class AnswerReader:
    """Reads one answer. ``most``: bytes of its body, without the framing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._head_bytes = 0
        self._status = 0
        self._headers = Headers()
        self._body: BodyReader | None = None
        """None: the head is not complete, or the body ends with the connection."""
        self._received = 0

    def feed(self, data: bytes) -> HttpAnswer | None:
        """The answer, as soon as it is complete. Raises WireError."""
        while not self._status:
            head, data = self._whole_head(data)
            if head is None:
                return None
            self._read_head(head)
        return self._read_body(data)

    def end(self) -> HttpAnswer:
        """The answer where the server closed the connection. Raises WireError for an incomplete one."""
        if not self._status or self._body is not None:
            raise WireError("cut-off")
        return HttpAnswer(self._status, self._headers, self._rest)

    def _whole_head(self, data: bytes) -> tuple[bytes | None, bytes]:
        """A complete head and the bytes behind it."""
        self._rest += data
        end = _END.search(self._rest)
        size = self._head_bytes + (len(self._rest) if end is None else end.end())
        if size > HEAD_MAX:
            raise WireError("head-too-large")
        if end is None:
            return None, b""
        self._head_bytes += end.end()
        head, behind, self._rest = self._rest[: end.start()], self._rest[end.end() :], b""
        return head, behind

    def _read_head(self, head: bytes) -> None:
        first, *lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
        status = _STATUS.fullmatch(first)
        if status is None or len(lines) > FIELDS_MAX:
            raise WireError("bad-answer")
        if int(status[1]) < 200:
            return
        self._status = int(status[1])
        for line in lines:
            name, value, _ = read_field(line)
            self._headers.add(name, value)
        if self._status in NO_BODY:
            self._body = BodyReader(_Framing(0, False), self._most)
        elif "transfer-encoding" in self._headers:
            if self._headers["transfer-encoding"].lower() != "chunked":
                raise WireError("bad-answer")
            self._body = BodyReader(_Framing(None, True), self._most)
        elif "content-length" in self._headers:
            self._body = BodyReader(_Framing(self._length(), False), self._most)

    def _length(self) -> int:
        lengths = set(self._headers.all("content-length"))
        text = lengths.pop()
        if lengths or not (text.isascii() and text.isdigit()) or len(text) > len(str(LENGTH_MAX)):
            raise WireError("bad-answer")
        if int(text) > self._most:
            raise WireError("body-too-large")
        return int(text)

    def _read_body(self, data: bytes) -> HttpAnswer | None:
        # what frames the chunks is bounded too: a size may be followed by an extension of any length
        self._received += len(data)
        if self._received > 2 * self._most + HEAD_MAX:
            raise WireError("body-too-large")
        if self._body is None:
            self._rest += data
            if len(self._rest) > self._most:
                raise WireError("body-too-large")
            return None
        self._body.feed(data)
        if self._body.too_large:
            raise WireError("body-too-large")
        return HttpAnswer(self._status, self._headers, self._body.content) if self._body.done else None
