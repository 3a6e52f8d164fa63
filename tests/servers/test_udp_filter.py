"""What the filter of a UDP socket takes and drops, by datagrams over the loopback."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from upnp_gw.model import IPAddress
from upnp_gw.servers import udp_filter
from upnp_gw.servers.udp_filter import FLOOD, MOST, Filter, attach, build

ONE, TWO = ip_address("127.0.0.1"), ip_address("127.0.0.2")
SIX = ip_address("::1")
ALMOST_SIX = [ip_address(text) for text in ("1::1", "0:0:1::1", "0:0:0:0:1::1", "::2", "::")]


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind(("127.0.0.1", 0))
        yield made


def send(to: socket.socket, data: bytes, source: IPAddress) -> None:
    with socket.socket(to.family, socket.SOCK_DGRAM) as sender:
        sender.bind((str(source), 0))
        sender.sendto(data, to.getsockname())


def came(to: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(to.recv(100))
        except BlockingIOError:
            return found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("start", [b"", b"M-SEARCH"])
@pytest.mark.parametrize("full", [False, True])
def test_what_begins_so_and_is_from_nobody_who_floods(version: int, start: bytes, full: bool) -> None:
    first, count = ip_address("10.0.0.1" if version == 4 else "fd00::1"), MOST[version] - 1 if full else 0
    more = [first + n for n in range(count)]
    mine = TWO if version == 4 else SIX
    here = "127.0.0.1" if version == 4 else "::1"
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.bind((here, 0))
        attach(made, build(version, start, more if version == 4 else [*ALMOST_SIX, *more]))
        send(made, b"M-SEARCH *", mine)
        send(made, b"M-SEARCX *", mine)
        send(made, b"M-SE", mine)
        assert came(made) == ([b"M-SEARCH *"] if start else [b"M-SEARCH *", b"M-SEARCX *", b"M-SE"])
        attach(made, build(version, start, [*more, mine]))
        send(made, b"M-SEARCH *", mine)
        assert came(made) == []
        if version == 4:
            send(made, b"M-SEARCH *", ONE)
            assert came(made) == [b"M-SEARCH *"]


@pytest.mark.spec("SR-5", "SR-11", "SR-22")
async def test_a_sender_that_floods_is_dropped_in_the_kernel_for_a_second_and_heard_again(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_filter, "SECOND_S", 0.05)
    made = Filter(bound, 4)
    for _ in range(FLOOD - 1):
        made.over_share(TWO)
    send(bound, b"still heard", TWO)
    assert came(bound) == [b"still heard"]
    made.over_share(TWO)
    send(bound, b"dropped", TWO)
    send(bound, b"another", ONE)
    assert came(bound) == [b"another"]

    def heard_again() -> bool:
        send(bound, b"again", TWO)
        return came(bound) == [b"again"]

    await until(heard_again)
    made.close()


async def test_a_little_over_its_share_in_each_second_drops_nobody(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_filter, "SECOND_S", 0.01)
    made = Filter(bound, 4)
    for _ in range(3):
        for _ in range(FLOOD - 1):
            made.over_share(TWO)
        await until(lambda: made._timer is None)
        send(bound, b"heard", TWO)
        assert came(bound) == [b"heard"]
    made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the kernel tells nobody
            await asyncio.sleep(0.005)
