"""The filter of a UDP socket, tested with datagrams over the loopback: which it takes and which it drops."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from tests.fixtures.waiting import async_until
from upnp_gw.model.mapping import IPAddress
from upnp_gw.servers.udp import filter as udp_filter
from upnp_gw.servers.udp.filter import FLOOD, MOST, SocketFilter, build
from upnp_gw.servers.udp.options import dropped
from upnp_gw.system.socket_filter import attach

ONE, TWO = ip_address("127.0.0.1"), ip_address("127.0.0.2")
SIX = ip_address("::1")
ALMOST_SIX = [ip_address(text) for text in ("1::1", "0:0:1::1", "0:0:0:0:1::1", "::2", "::")]


@dataclass
class Target:
    """A bound UDP socket of which every datagram is accounted for: taken, or dropped by the filter."""

    socket: socket.socket
    sent: int = 0
    taken: int = 0

    def send(self, data: bytes, source: IPAddress) -> None:
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as sender:
            sender.bind((str(source), 0))
            sender.sendto(data, self.socket.getsockname())
        self.sent += 1

    def came(self) -> list[bytes]:
        """The datagrams that the socket took, of those sent since the last call."""
        found: list[bytes] = []
        end = time.monotonic() + 10
        while self.taken + dropped(self.socket) < self.sent:
            assert time.monotonic() < end, "a datagram is neither taken nor dropped"
            with suppress(BlockingIOError):
                found.append(self.socket.recv(100))
                self.taken += 1
        return found


def target(version: int = 4) -> Target:
    made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(("127.0.0.1" if version == 4 else "::1", 0))
    return Target(made)


@pytest.fixture
def bound() -> Iterator[Target]:
    made = target()
    with made.socket:
        yield made


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("start", [b"", b"M-SEARCH"])
@pytest.mark.parametrize("full", [False, True])
def test_the_filter_accepts_this_start_from_senders_that_do_not_flood(
    version: int, start: bytes, full: bool
) -> None:
    first, count = ip_address("10.0.0.1" if version == 4 else "fd00::1"), MOST[version] - 1 if full else 0
    more = [first + n for n in range(count)]
    own = TWO if version == 4 else SIX
    made = target(version)
    with made.socket:
        attach(made.socket, build(version, start, more if version == 4 else [*ALMOST_SIX, *more]))
        for data in (b"M-SEARCH *", b"M-SEARCX *", b"M-SE"):
            made.send(data, own)
        assert made.came() == ([b"M-SEARCH *"] if start else [b"M-SEARCH *", b"M-SEARCX *", b"M-SE"])
        attach(made.socket, build(version, start, [*more, own]))
        made.send(b"M-SEARCH *", own)
        assert made.came() == []
        if version == 4:
            made.send(b"M-SEARCH *", ONE)
            assert made.came() == [b"M-SEARCH *"]


@pytest.mark.spec("SR-5", "SR-11", "SR-22")
async def test_the_kernel_drops_a_sender_that_floods_for_a_second(
    bound: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_filter, "SECOND_S", 0.05)
    made = SocketFilter(bound.socket, 4)
    for _ in range(FLOOD - 1):
        made.over_share(TWO)
    bound.send(b"still heard", TWO)
    assert bound.came() == [b"still heard"]
    made.over_share(TWO)
    bound.send(b"dropped", TWO)
    bound.send(b"another", ONE)
    assert bound.came() == [b"another"]

    def received_again() -> bool:
        bound.send(b"again", TWO)
        return bound.came() == [b"again"]

    await async_until(received_again)
    made.close()


async def test_a_sender_a_little_over_its_share_is_not_dropped(
    bound: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_filter, "SECOND_S", 0.01)
    made = SocketFilter(bound.socket, 4)
    for _ in range(3):
        for _ in range(FLOOD - 1):
            made.over_share(TWO)
        await async_until(lambda: made._timer is None)
        bound.send(b"heard", TWO)
        assert bound.came() == [b"heard"]
    made.close()
