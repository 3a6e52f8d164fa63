"""The shell of SSDP with sockets of the test's own: what it opens, retries, counts and logs."""

import errno
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_address
from typing import Any

import pytest

from tests.fixtures.ssdp_devices import EVERY, V1, V2, search, taken_apart
from tests.fixtures.waiting import async_until
from upnp_gw.model.mapping import Instant, IPAddress
from upnp_gw.model.network import Link, Network
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.ssdp.announcer import Uniform
from upnp_gw.protocols.ssdp.responder import Responder
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.ssdp import server as shell
from upnp_gw.servers.ssdp.server import READ_RATE, SsdpServer
from upnp_gw.servers.ssdp.socket import SsdpSocket
from upnp_gw.servers.udp import sockets
from upnp_gw.servers.udp.socket import Datagram, SocketKey

WAN = Link("wan0", 2, True, (IPv4Interface("11.22.33.44/24"),))
LAN = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"), IPv6Interface("fe80::1/64")))
GUEST = Link("lan1", 4, True, (IPv4Interface("192.168.88.1/24"),))
CONSOLE = Peer(ip_address("192.168.77.10"), 40_000)
GROUP = ip_address("239.255.255.250")


class FakeSocket:
    """Stands for one SsdpSocket: a wake-up pipe, what waits to be read, what was sent."""

    opened: list["FakeSocket"] = []
    refuse_open: int = 0

    def __init__(self, key: SocketKey) -> None:
        if FakeSocket.refuse_open:
            FakeSocket.refuse_open -= 1
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self.key = key
        self.sent: list[tuple[bytes, Peer, IPAddress | None]] = []
        self.waiting: list[Datagram | OSError] = []
        self.refuse_send = 0
        self.closed = False
        self.dropped = 0
        self.over_share_senders: list[IPAddress] = []
        self._reader, self._writer = socket.socketpair()
        FakeSocket.opened.append(self)

    def filenos(self) -> tuple[int, ...]:
        return (self._reader.fileno(),)

    def arrive(self, *arrivals: Datagram | OSError) -> None:
        self.waiting += arrivals
        self._writer.send(b"x")

    def receive(self) -> Datagram | None:
        if not self.waiting:
            self._reader.recv(100)
            return None
        arrival = self.waiting.pop(0)
        if isinstance(arrival, OSError):
            raise arrival
        return arrival

    def send(self, data: bytes, peer: Peer, own: IPAddress | None = None) -> None:
        if self.refuse_send:
            self.refuse_send -= 1
            raise OSError(errno.ENOBUFS, "No buffer space available")
        self.sent.append((data, peer, own))

    def over_share(self, sender: IPAddress) -> None:
        self.over_share_senders.append(sender)

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        self._reader.close()
        self._writer.close()

    def nts(self) -> list[str]:
        """The kinds of announcements sent, runs of the same one as one."""
        kinds = [taken_apart(data)[1].get("NTS", "answer") for data, _, _ in self.sent]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


@pytest.fixture(autouse=True)
def no_sockets_yet() -> None:
    FakeSocket.opened, FakeSocket.refuse_open = [], 0


def network(*lans: Link) -> Network:
    return Network(WAN, lans)


@asynccontextmanager
async def running(
    *lans: Link, now: Callable[[], float] = time.monotonic, uniform: Uniform = min
) -> AsyncIterator[SsdpServer]:
    boot_ids = iter(range(7, 100))
    ssdp = SsdpServer(
        (V2, V1),
        LanContext(lambda: network(*lans), lambda: Instant(now(), time.time())),
        lambda: next(boot_ids),
        http_port=5000,
        uniform=uniform,
        open_socket=FakeSocket,
    )
    await ssdp.start()
    try:
        yield ssdp
    finally:
        await ssdp.stop()
        assert all(sock.closed for sock in FakeSocket.opened)


def datagram(data: bytes, peer: Peer = CONSOLE, destination: IPAddress = GROUP, ifindex: int = 3) -> Datagram:
    return Datagram(data, peer, destination, ifindex)


async def test_one_socket_for_each_family_of_each_lan_link_and_none_for_the_wan() -> None:
    async with running(LAN, GUEST, Link("lan2", 0, False), Link("lan3", 9, False, GUEST.addresses)) as ssdp:
        assert {(sock.key.interface, sock.key.version) for sock in FakeSocket.opened} == {
            ("lan0", 4),
            ("lan0", 6),
            ("lan1", 4),
        }
        assert ssdp.interfaces == {"lan0", "lan1"}


@pytest.mark.spec("IGD-030", "IGD-042", "IGD-063")
async def test_start_burst_and_byebye_on_every_channel() -> None:
    async with running(LAN, GUEST):
        await async_until(lambda: all(len(sock.sent) == 4 * EVERY for sock in FakeSocket.opened))
    for sock in FakeSocket.opened:
        assert sock.nts() == ["ssdp:byebye", "ssdp:alive", "ssdp:byebye"]
        assert len(sock.sent) == 5 * EVERY
        link = GUEST if sock.key.interface == GUEST.name else LAN
        own = {4: link.ipv4, 6: link.ipv6}[sock.key.version][0]
        assert {sent_from for _, _, sent_from in sock.sent} == {own}
        assert {taken_apart(data)[1]["BOOTID.UPNP.ORG"] for data, _, _ in sock.sent} == {"7"}


@pytest.mark.spec("IGD-056")
async def test_nothing_is_announced_over_ipv6_on_the_loopback() -> None:
    """The emulator serves only lo, where the kernel has no route for IPv6 multicast."""
    lo = Link("lo", 1, True, (IPv4Interface("127.0.0.1/8"), IPv6Interface("::1/128")), has_macs=False)
    async with running(lo) as ssdp:
        sent = {peer.address.version for sock in FakeSocket.opened for _, peer, _ in sock.sent}
        assert sent == {4}
        assert len(FakeSocket.opened) == 2, "searches over IPv6 are answered"
        assert ssdp.drops["send"] == 0


async def test_search_is_answered_and_the_roots_are_in_order() -> None:
    async with running(LAN):
        (sock,) = (sock for sock in FakeSocket.opened if sock.key.version == 4)
        sock.arrive(datagram(search("upnp:rootdevice")))
        await async_until(lambda: "answer" in sock.nts())
        (answer,) = ((data, peer, own) for data, peer, own in sock.sent if peer == CONSOLE)
        assert taken_apart(answer[0])[1]["LOCATION"] == "http://192.168.77.1:5000/igd1.xml"
        assert answer[2] == IPv4Address("192.168.77.1")


@pytest.mark.spec("IGD-052", "IGD-060", "IGD-061", "IGD-062", "SR-1")
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (datagram(search("ssdp:all"), ifindex=2), "not-for-us"),
        (datagram(search("ssdp:all"), destination=ip_address("192.168.88.1")), "not-for-us"),
        (datagram(search("ssdp:all"), destination=ip_address("11.22.33.44")), "not-for-us"),
        (datagram(search("ssdp:all"), destination=ip_address("192.168.77.255")), "not-for-us"),
        (datagram(search("ssdp:all"), Peer(ip_address("192.168.88.10"), 4000)), "off-link"),
        (datagram(search("ssdp:all"), Peer(ip_address("8.8.8.8"), 4000)), "off-link"),
        (datagram(search("ssdp:all"), Peer(ip_address("fe80::2"), 4000)), "off-link"),
        (datagram(search("ssdp:all"), Peer(CONSOLE.address, 0)), "port-zero"),
        (datagram(search("ssdp:all", mx=None)), "bad-mx"),
        (datagram(b"NOTIFY * HTTP/1.1\r\n\r\n"), "not-a-search"),
        (datagram(b"\x00\xff" * 512), "not-a-search"),
        (OSError(errno.ENETDOWN, "Network is down"), "receive"),
    ],
)
async def test_drops_are_counted_and_the_next_search_is_served(bad: Datagram | OSError, reason: str) -> None:
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    async with running(lan) as ssdp:
        (sock,) = FakeSocket.opened
        sock.arrive(bad, bad, datagram(search("upnp:rootdevice")))
        await async_until(lambda: "answer" in sock.nts())
        assert ssdp.drops == {reason: 2}
        assert len([peer for _, peer, _ in sock.sent if peer.port != 1900]) == 1


@pytest.mark.spec("SR-11", "SR-22")
async def test_datagrams_over_a_hosts_share_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    take = Responder.receive

    def counted(self: Responder, data: bytes, peer: Peer, **more: Any) -> None:
        parsed.append(data)
        take(self, data, peer, **more)

    monkeypatch.setattr(Responder, "receive", counted)
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    other = Peer(ip_address("192.168.77.11"), 40_000)
    async with running(lan, now=lambda: 50.0) as ssdp:
        (sock,) = FakeSocket.opened
        sock.arrive(*[datagram(search("urn:some:one:else"))] * 1000, datagram(search("upnp:rootdevice"), other))
        await async_until(lambda: not sock.waiting)
        assert len(parsed) == READ_RATE.burst + 1
        assert ssdp.drops == {"unknown-target": READ_RATE.burst, "flood": 1000 - READ_RATE.burst}
        assert sock.over_share_senders == [CONSOLE.address] * int(1000 - READ_RATE.burst)


def test_the_kernel_drops_datagrams_that_are_no_search() -> None:
    loopback = SocketKey("lo", socket.if_nametoindex("lo"), IPv4Address(0))
    with closing(SsdpSocket(loopback)) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        expected = [search("ssdp:all"), b"M-SEARCH"]
        for data in (b"", b"M-SEARC", b"NOTIFY * HTTP/1.1\r\n\r\n", b"M-SEARXH * HTTP/1.1", b"m-search", *expected):
            sender.sendto(data, ("127.0.0.1", 1900))
        received: list[bytes] = []
        end = time.monotonic() + 10
        while len(received) + sock.dropped < 7:
            assert time.monotonic() < end
            if (datagram := sock.receive()) is not None:
                received.append(datagram.data)
        assert (received, sock.dropped) == (expected, 5)


async def test_each_kind_of_drop_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    hostile = datagram(b"M-SEARCH * HTTP/1.1\r\nMAN: \x1b[31m evil\r\n\r\n")
    caplog.set_level(logging.INFO, shell.__name__)
    async with running(lan, now=lambda: now[0]) as ssdp:
        (sock,) = FakeSocket.opened
        for minute, lines in ((0, 1), (59, 1), (61, 2)):
            now[0] = 1000.0 + minute
            before = ssdp.drops["bad-header"]
            sock.arrive(hostile, hostile, datagram(b"noise"))
            await async_until(lambda before=before: ssdp.drops["bad-header"] == before + 2)  # type: ignore[misc]
            assert len(caplog.records) == lines
    assert "evil" not in caplog.text
    assert "192.168.77.10" in caplog.text
    assert ssdp.drops["not-a-search"] == 3


async def test_a_new_link_causes_an_update_and_a_new_boot_id() -> None:
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    async with running(lan) as ssdp:
        await async_until(lambda: len(FakeSocket.opened[0].sent) == 4 * EVERY)
        ssdp.network_changed(network(lan, GUEST))
        old, new = FakeSocket.opened
        await async_until(lambda: len(old.sent) == 8 * EVERY and len(new.sent) == 4 * EVERY)
        assert old.nts() == ["ssdp:byebye", "ssdp:alive", "ssdp:update", "ssdp:alive"]
        assert new.nts() == ["ssdp:byebye", "ssdp:alive"]
        update, alive = (taken_apart(old.sent[at][0])[1] for at in (4 * EVERY, 5 * EVERY))
        assert (update["BOOTID.UPNP.ORG"], update["NEXTBOOTID.UPNP.ORG"]) == ("7", "8")
        assert alive["BOOTID.UPNP.ORG"] == "8"
        assert ssdp.boot_id == 8


async def test_a_changed_address_is_withdrawn_and_announced_again() -> None:
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    async with running(lan) as ssdp:
        (sock,) = FakeSocket.opened
        await async_until(lambda: len(sock.sent) == 4 * EVERY)
        ssdp.network_changed(network(Link("lan0", 3, True, (IPv4Interface("192.168.77.2/24"),))))
        await async_until(lambda: len(sock.sent) == 8 * EVERY)
        assert FakeSocket.opened == [sock], "the socket stays"
        assert sock.nts() == ["ssdp:byebye", "ssdp:alive"] * 2
        assert {own for _, _, own in sock.sent[4 * EVERY :]} == {IPv4Address("192.168.77.2")}
        assert taken_apart(sock.sent[-1][0])[1]["LOCATION"] == "http://192.168.77.2:5000/igd2.xml"
        assert ssdp.boot_id == 8


async def test_answers_with_an_old_address_are_not_sent() -> None:
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    async with running(lan, uniform=max) as ssdp:
        (sock,) = FakeSocket.opened
        sock.arrive(datagram(search("upnp:rootdevice", mx="5")), datagram(b"noise"))
        await async_until(lambda: ssdp.drops["not-a-search"] == 1)
        ssdp.network_changed(network(Link("lan0", 3, True, (IPv4Interface("192.168.77.2/24"),))))
        sock.arrive(datagram(search("upnp:rootdevice", mx="5")))
        await async_until(lambda: any(peer == CONSOLE for _, peer, _ in sock.sent))
        assert [own for _, peer, own in sock.sent if peer == CONSOLE] == [IPv4Address("192.168.77.2")]


async def test_a_change_that_does_not_concern_ssdp_sends_nothing() -> None:
    async with running(LAN) as ssdp:
        await async_until(lambda: all(len(sock.sent) == 4 * EVERY for sock in FakeSocket.opened))
        more = Link("lan0", 3, True, (*LAN.addresses, IPv4Interface("10.0.0.1/8")))
        ssdp.network_changed(Network(Link("wan0", 2, False), (more,), generation=5))
        assert ssdp.boot_id == 7
        assert all(len(sock.sent) == 4 * EVERY for sock in FakeSocket.opened)


async def test_a_removed_link_closes_its_sockets_and_gets_new_ones_when_it_is_back() -> None:
    async with running(LAN, GUEST) as ssdp:
        await async_until(lambda: all(len(sock.sent) == 4 * EVERY for sock in FakeSocket.opened))
        (guest,) = (sock for sock in FakeSocket.opened if sock.key.interface == GUEST.name)
        ssdp.network_changed(network(LAN, Link("lan1", 4, False, GUEST.addresses)))
        assert guest.closed
        assert ssdp.boot_id == 7, "who is left knows nothing of that link"
        ssdp.network_changed(network(LAN, Link("lan1", 12, True, GUEST.addresses)))
        assert FakeSocket.opened[-1].key.ifindex == 12
        assert ssdp.boot_id == 8


async def test_a_socket_that_could_not_be_opened_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "REOPEN_S", 0.05)
    FakeSocket.refuse_open = 3
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    async with running(lan) as ssdp:
        assert ssdp.interfaces == frozenset()
        await async_until(lambda: bool(FakeSocket.opened) and "ssdp:alive" in FakeSocket.opened[0].nts())
        assert ssdp.drops == {"open": 3}
        assert ssdp.interfaces == {"lan0"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_an_announcement_that_could_not_be_sent_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upnp_gw.protocols.ssdp.announcer.RETRY_S", (0.05, 900.0))
    lan = Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"),))
    async with running(lan) as ssdp:
        (sock,) = FakeSocket.opened
        sock.sent.clear()
        sock.refuse_send = 3
        await async_until(lambda: ssdp.drops["send"] == 3)
        await async_until(lambda: len(sock.sent) == EVERY)
        assert sock.nts() == ["ssdp:alive"]


async def test_nothing_happens_before_start_and_after_stop() -> None:
    async with running(LAN) as ssdp:
        pass
    count = len(FakeSocket.opened)
    ssdp.network_changed(network(LAN, GUEST))
    assert len(FakeSocket.opened) == count
    await ssdp.stop()
