"""Checks a request's framing and reads its body: bounded in bytes and time, and unambiguous (RFC 9112).

aiohttp parses. Requests that it accepts and we do not are refused here, and the connection ends: the next bytes may
belong to the refused request.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import HttpVersion10, HttpVersion11, web

from upnp_gw.protocols.igd.soap import BODY_MAX
from upnp_gw.servers.http.connection import AdmittedConnection, TooMuch


class BadRequest(Exception):
    """A request that is answered with a bare status. ``reason`` is a short, fixed word."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


def check_framing(request: web.BaseRequest) -> None:
    """Raises Refused for another version of HTTP (aiohttp would answer as if it spoke it), and for a body in a
    transfer coding that we cannot undo (RFC 9112 section 6.1)."""
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
    """The body, at most ``BODY_MAX`` bytes, within the seconds. After ``check_framing``. Raises Refused."""
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
    except TooMuch:
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
