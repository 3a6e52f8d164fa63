"""One UDP socket to port 5351 of the gateway above: requests, retransmissions, and what comes unasked.

The socket stays open: a mapping update goes to the port that the last request came from (RFC 6887 section 14.2).
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

from upnp_gw.protocols.pcp.codec import MAX_BYTES
from upnp_gw.upstream.sockets import request_socket
from upnp_gw.upstream.way import Way

T = TypeVar("T")

FIRST_WAIT_S = 0.25
"""Seconds to the first retransmission, doubled for each further one, as in NAT-PMP (RFC 6886 section 3.1). PCP's
3 s (RFC 6887 section 8.1.1) are longer than the client of this gateway waits: a lost datagram ends its request."""
BATCH = 32
"""Datagrams that are read before the event loop serves others."""


class NotListening(Exception):
    """Nothing listens on the port, or the gateway above cannot be reached: an ICMP error, or no route."""


class Exchange:
    """Several requests at a time. A datagram goes to every reader; if none wants it, to ``on_unasked``."""

    def __init__(self, way: Way, on_unasked: Callable[[bytes], None]) -> None:
        """Opens the socket. Raises OSError."""
        self._on_unasked = on_unasked
        self._readers: dict[int, Callable[[bytes], bool]] = {}
        self._failures: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._socket: socket.socket | None = request_socket(way)
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Requests that wait end with NotListening."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
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
                self._send(datagram)
                await asyncio.wait((answer,), timeout=wait_s)
                if answer.done():
                    return answer.result()
                wait_s *= 2
        finally:
            del self._readers[number], self._failures[number]
            answer.cancel()

    def _send(self, datagram: bytes) -> None:
        if self._socket is None:
            raise NotListening
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            return  # the queue is full: the next retransmission
        except OSError:
            # also the ICMP error of the datagram before
            raise NotListening from None

    def _readable(self) -> None:
        for _ in range(BATCH):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(MAX_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self._fail()
                return
            wanted = [reader(data) for reader in tuple(self._readers.values())]
            if not any(wanted):
                self._on_unasked(data)

    def _fail(self) -> None:
        for fail in tuple(self._failures.values()):
            fail()
