"""One UDP socket to port 5351 of the gateway above: requests, retransmissions, and what comes unasked.

The socket stays open: a mapping update goes to the port that the last request came from (RFC 6887 section 14.2). It
is a transport of the event loop, because an ICMP error ends a reader of uvloop (``add_reader``) without a word.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from upnp_gw.upstream.sockets import request_socket
from upnp_gw.upstream.way import Way

T = TypeVar("T")

FIRST_WAIT_S = 0.25
"""Seconds to the first retransmission, doubled for each further one, as in NAT-PMP (RFC 6886 section 3.1). PCP's
3 s (RFC 6887 section 8.1.1) are longer than the client of this gateway waits: a lost datagram ends its request."""


class NotListening(Exception):
    """Nothing listens on the port, or the gateway above cannot be reached: an ICMP error, or no route."""


class Exchange(asyncio.DatagramProtocol):
    """Several requests at a time. A datagram goes to every reader; if none wants it, to ``on_unasked``."""

    def __init__(self, way: Way, on_unasked: Callable[[bytes], None]) -> None:
        self._way = way
        self._on_unasked = on_unasked
        self._readers: dict[int, Callable[[bytes], bool]] = {}
        self._failures: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    def close(self) -> None:
        """Requests that wait end with NotListening."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        self._fail()

    async def ask(self, read: Callable[[bytes], T | None], datagram: bytes) -> T:
        """Sends the datagram until an answer that ``read`` understands comes. Waits without end: the caller has a
        deadline. Raises NotListening.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def reader(data: bytes) -> bool:
            found = read(data)
            if found is not None and not answer.done():
                answer.set_result(found)
            return found is not None

        def fail() -> None:
            if not answer.done():
                answer.set_exception(NotListening())

        self._number += 1
        number = self._number
        self._readers[number], self._failures[number] = reader, fail
        wait_s = FIRST_WAIT_S
        try:
            while True:
                (await self._open()).sendto(datagram)
                await asyncio.wait((answer,), timeout=wait_s)
                if answer.done():
                    return answer.result()
                wait_s *= 2
        finally:
            del self._readers[number], self._failures[number]
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # it was read, or nobody wants it any more

    async def _open(self) -> asyncio.DatagramTransport:
        """The socket, opened by the first request. Raises NotListening."""
        async with self._opening:
            if self._transport is None and not self._closed:
                loop = asyncio.get_running_loop()
                try:
                    sock = request_socket(self._way)
                    self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=sock)
                except OSError:
                    raise NotListening from None
            if self._transport is None or self._closed:
                raise NotListening
            return self._transport

    def datagram_received(self, data: bytes, peer: object) -> None:
        """From port 5351 of the gateway above: the socket is connected."""
        wanted = [reader(data) for reader in tuple(self._readers.values())]
        if not any(wanted):
            self._on_unasked(data)

    def error_received(self, error: Exception) -> None:
        """An ICMP error, or that the kernel cannot send."""
        self._fail()

    def connection_lost(self, error: Exception | None) -> None:
        """The next request opens another socket."""
        self._transport = None
        self._fail()

    def _fail(self) -> None:
        for fail in tuple(self._failures.values()):
            fail()
