"""The sockets of PCP and NAT-PMP: sends requests, retransmits, waits for answers and for announcements (port
5350)."""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.route import GatewayRoute
from upnp_gw.model.mapping import Via
from upnp_gw.protocols.client_times import Uniform, recover_in
from upnp_gw.protocols.port5351 import CLIENT_PORT, PORT

ALL_NODES = "ff02::1"


class Dialogue(Protocol):
    """Implemented by ``pcp`` and ``natpmp``."""

    via: Via

    def waits(self, uniform: Uniform) -> Iterator[float]: ...
    def requests(
        self, request: RequestedMapping, lease: MappingLease | None, lifetime_s: int
    ) -> Sequence[bytes]: ...
    def read(self, step: int, data: bytes, request: RequestedMapping, now: float) -> MappingLease | bool: ...
    def announces_change(self, data: bytes, lease: MappingLease, request: RequestedMapping, now: float) -> bool: ...


class _Inbox(asyncio.DatagramProtocol):
    """Queues received datagrams, and ICMP errors as OSError. ``sender``: accepts only this address; empty: any."""

    def __init__(self, sender: str = "") -> None:
        self.queue: asyncio.Queue[bytes | OSError] = asyncio.Queue(64)
        self._sender = sender

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        if not self._sender or (peer[0].partition("%")[0], peer[1]) == (self._sender, PORT):
            self._put(data)

    def error_received(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._put(error)

    def _put(self, item: bytes | OSError) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(item)


class DatagramLink:
    """An open link to the gateway. Use it with ``async with``; one exchange at a time."""

    def __init__(self, route: GatewayRoute, dialogue: Dialogue, uniform: Uniform = random.uniform) -> None:
        self._route = route
        self._dialogue = dialogue
        self._uniform = uniform
        self._inbox = _Inbox()
        self._announcements = _Inbox(str(route.gateway))
        self._open: list[asyncio.DatagramTransport] = []

    @property
    def via(self) -> Via:
        return self._dialogue.via

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: self._inbox, sock=_request_socket(self._route)
            )
            self._open.append(transport)
        except OSError as error:
            raise NoAnswer(f"cannot reach the gateway {self._route.gateway}: {error.strerror}") from None
        with contextlib.suppress(OSError):  # the port is in use: then only a renewal notices a change
            announcements, _ = await loop.create_datagram_endpoint(
                lambda: self._announcements, sock=_announcement_socket(self._route)
            )
            self._open.append(announcements)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for transport in self._open:
            transport.close()
        await asyncio.sleep(0)

    async def ask(self, request: RequestedMapping, lease: MappingLease | None, timeout_s: float) -> MappingLease:
        """Requests or renews a mapping. Raises RequestRefused, and NoAnswer after ``timeout_s``."""
        answer = await self._exchange_all(request, lease, request.lifetime_s, timeout_s)
        if answer.lifetime_s == 0:
            raise RequestRefused(self.via, "the gateway granted a lease of 0 seconds")
        return answer

    async def release(
        self, request: RequestedMapping, lease: MappingLease | None, timeout_s: float
    ) -> MappingLease:
        """Releases a mapping. Raises RequestRefused and NoAnswer."""
        return await self._exchange_all(request, lease, 0, timeout_s)

    async def wait_for_change(self, request: RequestedMapping, lease: MappingLease) -> None:
        """Returns when the gateway has announced that it lost its state or that the mapping has changed. Waits a
        random time before, because every client of the LAN received the announcement."""
        while not await self._change_announced(request, lease):
            pass
        await asyncio.sleep(recover_in(self._uniform))

    async def _exchange_all(
        self, request: RequestedMapping, lease: MappingLease | None, lifetime_s: int, timeout_s: float
    ) -> MappingLease:
        while not self._inbox.queue.empty():
            self._inbox.queue.get_nowait()
        answer: MappingLease | bool = False
        try:
            async with asyncio.timeout(timeout_s):
                for step, message in enumerate(self._dialogue.requests(request, lease, lifetime_s)):
                    answer = await self._exchange(step, message, request)
        except TimeoutError:
            raise NoAnswer(f"no answer from {self._route.gateway}") from None
        assert isinstance(answer, MappingLease), "the last request has the answer"
        return answer

    async def _exchange(self, step: int, message: bytes, request: RequestedMapping) -> MappingLease | bool:
        for wait in self._dialogue.waits(self._uniform):
            self._open[0].sendto(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    return await self._answer(step, request)
        raise NoAnswer(f"no answer from {self._route.gateway}")

    async def _answer(self, step: int, request: RequestedMapping) -> MappingLease | bool:
        while True:
            received = await self._inbox.queue.get()
            if isinstance(received, OSError):
                raise NoAnswer(f"{self._route.gateway} does not listen on UDP port {PORT}: {received.strerror}")
            if answer := self._dialogue.read(step, received, request, time.monotonic()):
                return answer

    async def _change_announced(self, request: RequestedMapping, lease: MappingLease) -> bool:
        waiting = [asyncio.ensure_future(inbox.queue.get()) for inbox in (self._inbox, self._announcements)]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        datagrams = [data for task in done if isinstance(data := task.result(), bytes)]
        changes = [self._dialogue.announces_change(data, lease, request, time.monotonic()) for data in datagrams]
        return any(changes)


def _request_socket(route: GatewayRoute) -> socket.socket:
    """A socket for requests. It is connected, so the kernel reports ICMP port unreachable and drops datagrams of
    other hosts."""
    sock = socket.socket(socket.AF_INET if route.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((str(route.source), 0))
        zone = (0, route.ifindex) if route.gateway.is_link_local and route.version == 6 else ()
        sock.connect((str(route.gateway), PORT, *zone))
    except OSError:
        sock.close()
        raise
    return sock


def _announcement_socket(route: GatewayRoute) -> socket.socket:
    """A socket for announcements. All clients on this host can share the port."""
    sock = socket.socket(socket.AF_INET if route.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if route.version == 4:
            sock.bind(("", CLIENT_PORT))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("::", CLIENT_PORT))
            group = socket.inet_pton(socket.AF_INET6, ALL_NODES) + struct.pack("@I", route.ifindex)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except OSError:
        sock.close()
        raise
    return sock
