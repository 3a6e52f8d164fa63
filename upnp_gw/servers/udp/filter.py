"""The filter of a UDP socket in the kernel (classic BPF): it drops datagrams before they wake the process.

It also drops the datagrams of a sender that floods. Our nftables table does that before, but not with ``--backend
memory`` and not just after somebody flushed the ruleset. Then the flood would fill the receive buffer, and the
datagrams of other senders would be lost.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

from upnp_gw.model.mapping import IPAddress
from upnp_gw.system.socket_filter import JUMP_EQUAL, LOAD_WORD, RETURN, Instruction, attach, packed

UDP_PAYLOAD = 8
"""A filter of a UDP socket sees the UDP header first."""
NETWORK_HEADER = -0x100000
"""SKF_NET_OFF (linux/filter.h): where the IP header is."""
SOURCE = {4: 12, 6: 8}
"""IP version -> offset of the source address in the IP header."""
ACCEPT, DROP = (RETURN, 0, 0, 0xFFFFFFFF), (RETURN, 0, 0, 0)

FLOOD = 64
"""Datagrams of a sender over its share that are read within a second. After that the kernel drops all of its
datagrams until the second is over."""
SECOND_S = 1.0
MOST = {4: 64, 6: 16}
"""Most senders that are dropped at a time, by IP version: the program must fit into net.core.optmem_max (20 KB)."""


def build(version: int, start: bytes, dropped: Iterable[IPAddress]) -> bytes:
    """A program that accepts datagrams which begin with ``start`` (eight bytes, or none) and are not from
    ``dropped``."""
    rows = [*_starting(start), *(_from4(dropped) if version == 4 else _from6(dropped)), ACCEPT]
    return packed(rows)


def _starting(start: bytes) -> Iterator[Instruction]:
    for at in range(0, len(start), 4):
        yield LOAD_WORD, 0, 0, UDP_PAYLOAD + at
        yield JUMP_EQUAL, 1, 0, int.from_bytes(start[at : at + 4], "big")
        yield DROP


def _from4(addresses: Iterable[IPAddress]) -> Iterator[Instruction]:
    yield LOAD_WORD, 0, 0, NETWORK_HEADER + SOURCE[4] & 0xFFFFFFFF
    for address in addresses:
        yield JUMP_EQUAL, 0, 1, int(address)
        yield DROP


def _from6(addresses: Iterable[IPAddress]) -> Iterator[Instruction]:
    for address in addresses:
        for at in range(0, 16, 4):
            yield LOAD_WORD, 0, 0, NETWORK_HEADER + SOURCE[6] + at & 0xFFFFFFFF
            yield JUMP_EQUAL, 0, 7 - at // 2, int.from_bytes(address.packed[at : at + 4], "big")
        yield DROP


class SocketFilter:
    """The filter of one socket. Call ``close`` before the socket is closed. On the event loop's thread."""

    def __init__(self, sock: socket.socket, version: int, start: bytes = b"") -> None:
        self._socket, self._version, self._start = sock, version, start
        self._over: Counter[IPAddress] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        if start:
            attach(sock, build(version, start, ()))

    def over_share(self, sender: IPAddress) -> None:
        """Counts a datagram over this address's share."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECOND_S, self._second_over)
        self._over[sender] += 1
        if self._over[sender] == FLOOD:
            self._attach(
                [address for address, count in self._over.most_common(MOST[self._version]) if count >= FLOOD]
            )

    def close(self) -> None:
        """Cancels its timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _second_over(self) -> None:
        self._timer = None
        dropping = self._over.most_common(1)[0][1] >= FLOOD
        self._over.clear()
        if dropping:
            self._attach(())

    def _attach(self, dropped: Iterable[IPAddress]) -> None:
        # without memory for the new program the old one stays; the server's own limits hold anyway
        with suppress(OSError):
            attach(self._socket, build(self._version, self._start, dropped))
