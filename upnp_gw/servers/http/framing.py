"""Checks that the end of a request is unambiguous (RFC 9112), and reads its body within limits of bytes and time.

aiohttp has parsed the head. A request that it accepts may be refused here. Then the connection ends, because the
next bytes may belong to the refused request.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import HttpVersion10, HttpVersion11, web

from upnp_gw.protocols.igd.soap import BODY_MAX
from upnp_gw.servers.http.connection import AdmittedConnection, RequestTooLong


class BadRequest(Exception):
    """The request is answered with a bare status. ``reason``: a short, fixed word for the counters."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


def check_framing(request: web.BaseRequest) -> None:
    """Raises BadRequest for an HTTP version other than 1.0 and 1.1, which aiohttp would answer as 1.1, and for a
    transfer coding other than chunked (RFC 9112 section 6.1)."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "version")
    coding = request.headers.get("Transfer-Encoding")
    if coding is None:
        return
    if request.version < HttpVersion11:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "framing")
    if coding.strip().lower() != "chunked":
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "transfer-coding")


async def read_body(request: web.BaseRequest, seconds: float) -> bytes:
    """Reads the body: at most ``BODY_MAX`` bytes, within ``seconds``. Call ``check_framing`` first. Raises
    BadRequest."""
    length = request.content_length
    if length is None and "Transfer-Encoding" not in request.headers:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "no-length")
    if length is not None and length > BODY_MAX:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large")
    if "Content-Encoding" in request.headers:
        raise BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-encoding")
    served = request.protocol
    assert isinstance(served, AdmittedConnection)
    try:
        async with asyncio.timeout(seconds):
            await _expect(request)
            with served.connection.reading(request.content):
                return await _read(request)
    except TimeoutError:
        raise BadRequest(HTTPStatus.REQUEST_TIMEOUT, "body-deadline") from None
    except RequestTooLong:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-much-data") from None
    except web.RequestPayloadError:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "bad-body") from None


async def _expect(request: web.BaseRequest) -> None:
    expected = {value.strip().lower() for value in request.headers.getall("Expect", [])} - {""}
    if expected - {"100-continue"}:
        raise BadRequest(HTTPStatus.EXPECTATION_FAILED, "expectation")
    if expected and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _read(request: web.BaseRequest) -> bytes:
    body = b""
    while request.transport is not None:  # aiohttp raises RuntimeError for a client that is gone
        chunk = await request.content.readany()
        if not chunk:
            return body
        body += chunk
        if len(body) > BODY_MAX:
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large")
    raise BadRequest(HTTPStatus.BAD_REQUEST, "gone")
