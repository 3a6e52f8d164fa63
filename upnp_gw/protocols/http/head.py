"""The head of a request: bytes in any portions -> ``Head``, strictly (RFC 9112 sections 2 to 6).

These are refused, because another reader could see another end of the message in them: lines that end in a bare LF
or CR, folded fields, a space before a colon, control characters, a field twice that may occur once, a length
together with a transfer coding, a length that is not digits only.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus

from upnp_gw.model.errors import WireError

METHODS = frozenset(
    {
        *("GET", "HEAD", "POST", "SUBSCRIBE", "UNSUBSCRIBE"),
        *("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"),
    }
)
"""A request with another method is refused at its first bytes: 501."""
LINE_MAX = 8 * 1024
"""Most bytes of a target, and of the name and value of a field."""
WHOLE_LINE_MAX = LINE_MAX + 32
"""Most bytes of a line: there are a method and a version beside a target, a colon and spaces beside a value."""
FIELDS_MAX = 128
LENGTH_MAX = 2**64 - 1
SHORT = 128
REMEMBERED_MAX = 256
"""Lines shorter than ``SHORT`` bytes whose result is remembered: a client sends the same ones again and again."""
HTTP_1_0 = (1, 0)
HTTP_1_1 = (1, 1)
ONCE = frozenset(
    {
        *("content-length", "content-location", "content-range", "content-type", "etag", "host", "max-forwards"),
        *("server", "transfer-encoding", "user-agent"),
    }
)
"""Fields that may occur once."""
_VERSIONS = {"0.9": (0, 9), "1.0": HTTP_1_0, "1.1": HTTP_1_1, "2.0": (2, 0)}
"""Versions that are read. The server refuses 0.9 and 2.0 with 505."""
_LONGEST_METHOD = max(map(len, METHODS))
_REQUEST_LINE = re.compile(rb"([A-Z]+) ([!-~]+)(?: HTTP/([0-9]\.[0-9]))?")
# A byte can belong to one part of a pattern only (``*+`` gives nothing back). Else the time for a line that does
# not match grows with the square of its length: 1.7 s for 8 KiB.
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*)")
BEGUN_LINE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*\r?")
_ORIGIN = re.compile(r"(/[^?#]*)(?:\?[^#]*)?(?:#[^#]*)?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]+)(/[^?#]*)?(?:\?[^#]*)?(?:#[^#]*)?")
_AUTHORITY = re.compile(r"[A-Za-z0-9._~%:\[\]@!$&'()*+,;=-]+")


class MalformedRequest(WireError):
    """Bytes that are not a request of HTTP/1.x. ``status`` is that of the answer."""

    def __init__(self, reason: str = "bad-http", status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(reason)
        self.status = status


class Headers(Mapping[str, str]):
    """The fields of a head. Names in small letters; lookups ignore the case and give the first value."""

    __slots__ = ("first", "pairs")

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        """Every field, in the order of the message."""
        self.first: dict[str, str] = {}
        """The first value of each name, in small letters."""

    def add(self, name: str, value: str) -> bool:
        """False: there is a field of this name already. ``name``: in small letters."""
        self.pairs.append((name, value))
        if name in self.first:
            return False
        self.first[name] = value
        return True

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # str alone
        return self.first.get(name.lower(), default)

    def all(self, name: str) -> list[str]:
        """The values of every field of this name. ``name``: in small letters."""
        return [value for key, value in self.pairs if key == name] if name in self.first else []

    def __getitem__(self, name: str) -> str:
        return self.first[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.first

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # a name can occur twice
        return self.pairs

    def __iter__(self) -> Iterator[str]:
        return iter(self.first)

    def __len__(self) -> int:
        return len(self.first)


class Head:
    """The head of one request."""

    __slots__ = ("authority", "chunked", "headers", "keep_alive", "length", "method", "path", "size", "version")

    def __init__(self, method: str, version: tuple[int, int], path: str, authority: str | None) -> None:
        self.method = method
        self.version = version
        self.path = path
        """Of the target, as it was sent, without query and fragment; empty where it has none."""
        self.authority = authority
        """Of a target in absolute form (RFC 9112 section 3.2.2)."""
        self.headers = Headers()
        self.size = 0
        """Bytes of all fields."""
        self.length: int | None = None
        """Content-Length."""
        self.chunked = False
        """There is a Transfer-Encoding that ends in ``chunked``. Then ``length`` is None."""
        self.keep_alive = False
        """The client wants to send another request (RFC 9112 section 9.3)."""


class HeadReader:
    """Reads heads from a stream, one after the other. A mistake is found as soon as its line is there."""

    __slots__ = ("_head", "_rest")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._rest = b""

    @property
    def begun(self) -> bool:
        """True within a head."""
        return self._head is not None or bool(self._rest)

    def feed(self, data: bytes) -> tuple[Head | None, bytes]:
        """The head, if these bytes complete it, and the bytes behind it. Raises MalformedRequest: then the stream
        cannot be read further."""
        data = self._rest + data if self._rest else data
        start = 0
        head = self._head
        while (end := data.find(b"\r\n", start)) >= 0:
            line = data[start:end]
            start = end + 2
            if head is None:
                if line:  # empty lines before a request line are ignored (RFC 9112 section 2.2)
                    first = _remembered_line(line) if len(line) < SHORT else _request_line(line)
                    head = self._head = Head(*first)
            elif line:
                name, value, size = _remembered_field(line) if len(line) < SHORT else read_field(line)
                head.size += size
                if not head.headers.add(name, value) and name in ONCE:
                    raise MalformedRequest
                if len(head.headers.pairs) > FIELDS_MAX:
                    raise MalformedRequest
            else:
                self._head, self._rest = None, b""
                _complete(head)
                return head, data[start:]
        self._rest = data[start:]
        self._check_begun_line()
        return None, b""

    def _check_begun_line(self) -> None:
        if self._head is None:
            word, space, _ = self._rest.partition(b" ")
            if not space:
                word = word.removesuffix(b"\r")  # the end of the line, maybe
            name = word[: _LONGEST_METHOD + 1].decode("latin-1")
            if name not in METHODS if space else not any(method.startswith(name) for method in METHODS):
                raise MalformedRequest("unknown-method", HTTPStatus.NOT_IMPLEMENTED)
        if len(self._rest) > WHOLE_LINE_MAX or not BEGUN_LINE.fullmatch(self._rest):
            raise MalformedRequest


def read_field(line: bytes) -> tuple[str, str, int]:
    """Name, in small letters, value and size in bytes of a header or trailer field. Raises MalformedRequest."""
    match = _FIELD.fullmatch(line)
    if match is None or len(line) >= WHOLE_LINE_MAX:
        raise MalformedRequest
    name, value = match.groups()
    value = value.rstrip(b" \t")
    if len(name) + len(value) > LINE_MAX:
        raise MalformedRequest
    size = len(name) + len(value) + len(": \r\n")
    return name.decode("ascii").lower(), value.decode("utf-8", "surrogateescape"), size


def _request_line(line: bytes) -> tuple[str, tuple[int, int], str, str | None]:
    """Method, version, path and authority."""
    word, space, _ = line.partition(b" ")
    if not space or word.decode("latin-1") not in METHODS:
        raise MalformedRequest("unknown-method", HTTPStatus.NOT_IMPLEMENTED)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or len(line) >= WHOLE_LINE_MAX:
        raise MalformedRequest
    method, target = match[1].decode("ascii"), match[2].decode("ascii")
    version = _VERSIONS.get((match[3] or b"0.9").decode("ascii"))
    if version is None or len(target) > LINE_MAX:
        raise MalformedRequest
    if method == "CONNECT":
        if not _AUTHORITY.fullmatch(target):
            raise MalformedRequest
        return method, version, "", None
    if origin := _ORIGIN.fullmatch(target):
        return method, version, origin[1], None
    if absolute := _ABSOLUTE.fullmatch(target):
        return method, version, absolute[2] or "/", absolute[1]
    if target == "*" and method == "OPTIONS":
        return method, version, target, None
    raise MalformedRequest


_remembered_line = lru_cache(REMEMBERED_MAX)(_request_line)
_remembered_field = lru_cache(REMEMBERED_MAX)(read_field)


def _complete(head: Head) -> None:
    """Checks the fields against each other, and reads the length of the body. Raises MalformedRequest."""
    headers = head.headers
    first = headers.first
    if head.version == HTTP_1_1 and "host" not in first:
        raise MalformedRequest
    length = first.get("content-length")
    if "transfer-encoding" in first:
        codings = [each.strip(" \t").lower() for each in first["transfer-encoding"].split(",")]
        if length is not None or codings[-1] != "chunked" or "chunked" in codings[:-1]:
            raise MalformedRequest
        head.chunked = True
    elif length is not None:
        head.length = _length(length)
    head.keep_alive = head.version == HTTP_1_1
    if "connection" in first:
        options = {
            option.strip(" \t").lower() for value in headers.all("connection") for option in value.split(",")
        }
        head.keep_alive = "close" not in options if head.keep_alive else "keep-alive" in options


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise MalformedRequest
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(LENGTH_MAX)) or int(digits) > LENGTH_MAX:
        raise MalformedRequest
    return int(digits)
