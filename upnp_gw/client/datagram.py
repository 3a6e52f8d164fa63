"""The socket under a PCP or NAT-PMP dialogue: sends, waits, sends again; hears announcements on port 5350."""

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
from upnp_gw.client.schedule import Uniform, recover_in
from upnp_gw.model.mapping import Via
from upnp_gw.protocols.port5351 import CLIENT_PORT, PORT

ALL_NODES = "ff02::1"


class Dialogue(Protocol):
    """What ``pcp`` and ``natpmp`` have in common."""

    via: Via

    def waits(self, uniform: Uniform) -> Iterator[float]: ...
    def steps(self, requested: RequestedMapping, got: MappingLease | None, lifetime_s: int) -> Sequence[bytes]: ...
    def read(self, step: int, data: bytes, requested: RequestedMapping, now: float) -> MappingLease | bool: ...
    def unasked(self, data: bytes, got: MappingLease, requested: RequestedMapping, now: float) -> bool: ...


class _Inbox(asyncio.DatagramProtocol):
    """What came in, in order; an ICMP error as the exception that it is."""

    def __init__(self, sender: str = "") -> None:
        self.arrived: asyncio.Queue[bytes | OSError] = asyncio.Queue(64)
        self._sender = sender

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        if not self._sender or (peer[0].partition("%")[0], peer[1]) == (self._sender, PORT):
            self._put(data)

    def error_received(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._put(error)

    def _put(self, what: bytes | OSError) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self.arrived.put_nowait(what)


class DatagramLink:
    """``async with``: one conversation after the other with the gateway at the end of ``way``."""

    def __init__(self, way: GatewayRoute, dialogue: Dialogue, uniform: Uniform = random.uniform) -> None:
        self._way = way
        self._dialogue = dialogue
        self._uniform = uniform
        self._inbox = _Inbox()
        self._ear = _Inbox(str(way.gateway))
        self._open: list[asyncio.DatagramTransport] = []

    @property
    def via(self) -> Via:
        return self._dialogue.via

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            made, _ = await loop.create_datagram_endpoint(lambda: self._inbox, sock=_towards(self._way))
            self._open.append(made)
        except OSError as error:
            raise NoAnswer(f"the gateway {self._way.gateway} cannot be reached: {error.strerror}") from None
        with contextlib.suppress(OSError):  # somebody else has the port for himself: renewals will tell, later
            ear, _ = await loop.create_datagram_endpoint(lambda: self._ear, sock=_listening(self._way))
            self._open.append(ear)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for made in self._open:
            made.close()
        await asyncio.sleep(0)

    async def ask(self, requested: RequestedMapping, got: MappingLease | None, patience_s: float) -> MappingLease:
        """A mapping, or its renewal. Raises Refused, and Silent after ``patience_s`` without an answer."""
        answer = await self._converse(requested, got, requested.lifetime_s, patience_s)
        if answer.lifetime_s == 0:
            raise RequestRefused(self.via, "the gateway granted a lease of no length")
        return answer

    async def release(
        self, requested: RequestedMapping, got: MappingLease | None, patience_s: float
    ) -> MappingLease:
        """Ends it. Raises Refused and Silent."""
        return await self._converse(requested, got, 0, patience_s)

    async def changed(self, requested: RequestedMapping, got: MappingLease) -> None:
        """Returns when the gateway has said that it lost its state, or that the mapping is another now; then not
        at once, since every client of the LAN heard it too."""
        while not await self._hint(requested, got):
            pass
        await asyncio.sleep(recover_in(self._uniform))

    async def _converse(
        self, requested: RequestedMapping, got: MappingLease | None, lifetime_s: int, patience_s: float
    ) -> MappingLease:
        while not self._inbox.arrived.empty():
            self._inbox.arrived.get_nowait()
        answer: MappingLease | bool = False
        try:
            async with asyncio.timeout(patience_s):
                for step, message in enumerate(self._dialogue.steps(requested, got, lifetime_s)):
                    answer = await self._exchange(step, message, requested)
        except TimeoutError:
            raise NoAnswer(f"no answer from {self._way.gateway}") from None
        assert isinstance(answer, MappingLease), "the last step has the answer"
        return answer

    async def _exchange(self, step: int, message: bytes, requested: RequestedMapping) -> MappingLease | bool:
        for wait in self._dialogue.waits(self._uniform):
            self._open[0].sendto(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    return await self._answer(step, requested)
        raise NoAnswer(f"no answer from {self._way.gateway}")

    async def _answer(self, step: int, requested: RequestedMapping) -> MappingLease | bool:
        while True:
            arrived = await self._inbox.arrived.get()
            if isinstance(arrived, OSError):
                raise NoAnswer(f"{self._way.gateway} does not listen on UDP port {PORT}: {arrived.strerror}")
            if answer := self._dialogue.read(step, arrived, requested, time.monotonic()):
                return answer

    async def _hint(self, requested: RequestedMapping, got: MappingLease) -> bool:
        waiting = [asyncio.ensure_future(box.arrived.get()) for box in (self._inbox, self._ear)]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        heard = [task.result() for task in done]
        hints = [self._dialogue.unasked(d, got, requested, time.monotonic()) for d in heard if isinstance(d, bytes)]
        return any(hints)


def _towards(way: GatewayRoute) -> socket.socket:
    """A connected socket: the kernel tells of an ICMP port unreachable, and drops what others send."""
    made = socket.socket(socket.AF_INET if way.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.bind((str(way.source), 0))
        zone = (0, way.ifindex) if way.gateway.is_link_local and way.version == 6 else ()
        made.connect((str(way.gateway), PORT, *zone))
    except OSError:
        made.close()
        raise
    return made


def _listening(way: GatewayRoute) -> socket.socket:
    """The announcements of gateways, which every client of a host may hear."""
    made = socket.socket(socket.AF_INET if way.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if way.version == 4:
            made.bind(("", CLIENT_PORT))
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind(("::", CLIENT_PORT))
            group = socket.inet_pton(socket.AF_INET6, ALL_NODES) + struct.pack("@I", way.ifindex)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except OSError:
        made.close()
        raise
    return made
