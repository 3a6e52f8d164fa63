"""HTTP to the gateway above: one request for each connection, bounded, to its address alone.

There is no time limit here: the caller has a deadline for everything. A redirection is not followed.
"""

import asyncio

from upnp_gw import RELEASE
from upnp_gw.model.errors import WireError
from upnp_gw.protocols.http.response import AnswerReader, HttpAnswer
from upnp_gw.protocols.igd.foreign_description import HttpPlace
from upnp_gw.protocols.igd.soap import CONTENT_TYPE
from upnp_gw.upstream.sockets import stream_socket
from upnp_gw.upstream.way import Way

READ_BYTES = 16 * 1024
AGENT = f"Linux UPnP/1.1 upnp-gw/{RELEASE}"


async def get(way: Way, place: HttpPlace, most: int) -> HttpAnswer:
    """The answer to a GET. ``most``: bytes of its body. Raises OSError and WireError."""
    return await _exchange(way, place, _head("GET", place), most)


async def post(way: Way, place: HttpPlace, soapaction: str, body: bytes, most: int) -> HttpAnswer:
    """The answer to a SOAP call. ``soapaction``: printable ASCII. Raises OSError and WireError."""
    fields = (
        f"Content-Length: {len(body)}",
        f"Content-Type: {CONTENT_TYPE}",
        f'SOAPACTION: "{soapaction}"',
    )
    return await _exchange(way, place, _head("POST", place, *fields) + body, most)


def _head(method: str, place: HttpPlace, *fields: str) -> bytes:
    lines = (
        f"{method} {place.path} HTTP/1.1",
        f"Host: {place.address}:{place.port}",
        f"User-Agent: {AGENT}",
        "Connection: close",
        *fields,
    )
    return "\r\n".join((*lines, "", "")).encode("ascii")


async def _exchange(way: Way, place: HttpPlace, request: bytes, most: int) -> HttpAnswer:
    if place.address != way.gateway:
        raise WireError("other-host")
    loop = asyncio.get_running_loop()
    reader = AnswerReader(most)
    with stream_socket(way) as sock:
        await loop.sock_connect(sock, (str(place.address), place.port))
        await loop.sock_sendall(sock, request)
        while data := await loop.sock_recv(sock, READ_BYTES):
            answer = reader.feed(data)
            if answer is not None:
                return answer
        return reader.end()
