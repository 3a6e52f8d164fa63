"""The shell of UDP port 5351 over loopback: answers, source addresses, limits, unasked messages."""

import asyncio
import logging
import os
import select
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import CONSOLE, GatewayFixture, gateway_fixture
from upnp_gw.gate import floor
from upnp_gw.model.mapping import Endpoint, Hold, IPAddress, MappingKey, RemotePeers, Transport, Via
from upnp_gw.model.network import Link, Neighbour
from upnp_gw.model.request import MapRequest, PortChoice, Source, UnmapRequest
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.mapping import build_update
from upnp_gw.protocols.pcp.messages import (
    MapData,
    Option,
    PcpFilter,
    PreferFailure,
    Request,
    Response,
    ResultCode,
    ThirdParty,
)
from upnp_gw.protocols.pending import PendingReply
from upnp_gw.protocols.port5351 import ExternalOf, Port5351
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.port5351.limits import MOST_RUNNING, READ_RATE, DatagramKind, DatagramLimits
from upnp_gw.servers.port5351.server import Port5351Server
from upnp_gw.servers.udp import filter as udp_filter
from upnp_gw.servers.udp.socket import SocketKey

OWN = f"127.{os.getpid() % 200 + 20}.0.1"
"""An address of loopback that no other test run has."""
CLIENT = ip_address("127.0.0.9")
STRANGER = "127.0.0.99"
EXTERNAL = IPv4Address("11.22.33.44")
NONCE = b"n" * 12
LO = Link("lo", socket.if_nametoindex("lo"), True, (IPv4Interface(f"{OWN}/8"),))


@dataclass
class Client:
    """A host of the LAN with one socket."""

    socket: socket.socket
    inbox: "asyncio.Queue[tuple[bytes, tuple[str, int]]]"

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, (OWN, 5351))

    async def receive(self, within_s: float = 5.0) -> bytes:
        data, source = await asyncio.wait_for(self.inbox.get(), within_s)
        assert source == (OWN, 5351), "clients drop what comes from elsewhere"
        return data

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self.receive()

    async def map(self, internal: int, suggested: int = 0, lifetime: int = 600, *options: Option) -> Response:
        data = MapData(NONCE, 6, internal, suggested, EXTERNAL)
        return codec.parse_response(await self.ask(codec.build_request(Request(lifetime, CLIENT, data, options))))


@asynccontextmanager
async def client(address: IPAddress = CLIENT) -> AsyncIterator[Client]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind((str(address), 0))
        one = Client(made, asyncio.Queue())
        loop.add_reader(made, lambda: one.inbox.put_nowait(made.recvfrom(4096)))
        try:
            yield one
        finally:
            loop.remove_reader(made)


@dataclass
class Served:
    gateway_fixture: GatewayFixture
    server: Port5351Server

    async def settled(self) -> None:
        await self.server._tasks.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + 5
        while not condition():
            assert asyncio.get_running_loop().time() < end, "waited in vain"
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(directory: Path, dialogue: Port5351 | None = None, **options: Any) -> AsyncIterator[Served]:
    async with gateway_fixture(directory, **options) as fixture:
        fixture.around.network = replace(fixture.around.network, lans=(LO,))
        fixture.around.neighbours.learn(Neighbour(CLIENT, CONSOLE, "lo"))
        fixture.lan_hosts.lookup = lambda address, interface: None
        server = Port5351Server(
            dialogue or Port5351(),
            LanContext(lambda: fixture.around.network, fixture.clock, fixture.around.sender_of),
            fixture.view,
            fixture.gateway.handle,
        )
        fixture.published.subscribe(server.on_event)
        await server.start()
        try:
            yield Served(fixture, server)
        finally:
            await server.stop()


@pytest.fixture(autouse=True)
def loopback_as_lan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is no LAN to the gate; here it has to be one."""
    edges = [int(IPv4Network("127.0.0.0/8")[0]), int(IPv4Network("127.0.0.0/8")[-1]) + 1]
    monkeypatch.setattr(floor, "_EDGES_4", sorted([*floor._EDGES_4, *edges]))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as one:
        yield one


def map_request(internal: int, suggested: int = 0) -> bytes:
    return natpmp.build_request(natpmp.MappingRequest(Transport.TCP, internal, suggested, 600))


@pytest.mark.spec("PMP-002", "PCP-008", "PMP-059")
async def test_both_protocols_answer_from_the_requested_address(served: Served) -> None:
    async with client() as one:
        assert (await one.ask(b"\0\0"))[:4].hex() == "00800000"
        mapped = natpmp.parse_response(await one.ask(map_request(8080, 8080)))
        assert isinstance(mapped, natpmp.MappingResponse)
        answer = await one.map(8081, 8081)
        assert (mapped.external_port, answer.result, answer.epoch_s) == (8080, 0, mapped.epoch_s)
    assert served.gateway_fixture.ports == {(Transport.TCP, 8080), (Transport.TCP, 8081)}
    assert served.server.answered == {"nat-pmp": 2, "pcp": 1}


@pytest.mark.spec("PCP-022", "PCP-185")
async def test_an_oversized_datagram_is_an_error(served: Served) -> None:
    async with client() as one:
        request = codec.build_request(Request(600, CLIENT, MapData(NONCE, 6, 1, 1, EXTERNAL)))
        answer = await one.ask(request + bytes(1400))
    assert (len(answer), answer[3]) == (1100, ResultCode.MALFORMED_REQUEST)


@pytest.mark.spec("PMP-050", "PMP-051", "PCP-011", "PCP-012")
async def test_drops_are_counted_and_logged_once_a_minute(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with client() as one:
        for silent in (b"", b"\0", b"\2\x81" + bytes(58), b"\0\x80"):
            one.send(silent)
        await one.ask(b"\0\0")
        assert one.inbox.empty()
    assert served.server.drops == {"short": 2, "response": 2}
    messages = [record.getMessage() for record in caplog.records if "5351" in record.getMessage()]
    assert len(messages) == 2


@pytest.mark.spec("PMP-070", "PCP-181", "SR-1")
async def test_a_source_that_is_not_on_the_lan_is_dropped(served: Served) -> None:
    narrow = replace(LO, addresses=(IPv4Interface(f"{OWN}/24"),))
    served.gateway_fixture.around.network = replace(served.gateway_fixture.around.network, lans=(narrow,))
    async with client() as one:
        one.send(map_request(8080))
        await served.until(lambda: served.server.drops["off-link"] == 1)
    assert not served.gateway_fixture.ports


@pytest.mark.spec("PCP-184", "PCP-101", "SR-5")
async def test_a_flood_has_its_own_limit(served: Served) -> None:
    """New requests without end leave room for renewals and reads of the same source (SR-26)."""
    async with client() as one:
        assert (await one.map(8080, 8080)).result == 0
        burst = int(DatagramKind.NEW.value[0].burst)
        for n in range(burst + 50):
            one.send(map_request(1 + n))  # one after the other: a host may not ask them all at once
            await served.until(partial(all_judged, one, served, n + 1))
        while not one.inbox.empty():
            one.inbox.get_nowait()
        assert (await one.ask(b"\0\0"))[3] == 0
        assert (await one.map(8080, 8080)).result == 0
    assert served.server.drops["too-many-new"] == 51


def all_judged(one: Client, served: Served, count: int) -> bool:
    """So many requests were answered or over a limit."""
    return one.inbox.qsize() + served.server.drops["too-many-new"] == count


class Parsed(Port5351):
    """Counts what is parsed."""

    count = 0

    def receive(self, data: bytes, source: Source, external_of: ExternalOf, epoch_s: int) -> PendingReply | bytes:
        Parsed.count += 1
        return super().receive(data, source, external_of, epoch_s)


async def flood(served: Served, datagrams: Iterable[tuple[str, bytes]]) -> None:
    """Each from its address; returns when the server has read them all."""
    sent = 0
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        senders: dict[str, socket.socket] = {}
        for address, data in datagrams:
            if address not in senders:
                senders[address] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                senders[address].bind((address, 0))
            senders[address].sendto(data, (OWN, 5351))
            sent += 1
            if sent % 200 == 0:  # not more than the socket's buffer holds
                await asyncio.sleep(0)
        (key,) = served.server.addresses
        waiting = served.server._sockets._sockets[key].filenos()
        while select.select(waiting, [], [], 0)[0]:
            await loop.run_in_executor(None, lambda: None)


@pytest.mark.spec("SR-5", "SR-22")
@pytest.mark.parametrize("data", [b"\0\0", b"junk" * 100, b"\2\1" + bytes(58)])
async def test_datagrams_over_a_hosts_share_are_not_parsed(
    tmp_path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_filter, "FLOOD", 10**9)
    async with serving(tmp_path, Parsed()) as served, client() as one:
        Parsed.count, share = 0, int(READ_RATE.burst)
        await flood(served, [(STRANGER, data)] * 2000)
        assert Parsed.count == share
        assert served.server.drops["flood"] == 2000 - share
        assert (await one.ask(b"\0\0"))[3] == 0, "another host is answered at its first try"
        served.gateway_fixture.clock.pass_s(1)
        await flood(served, [(STRANGER, data)] * 200)
        assert Parsed.count == share + 1 + int(READ_RATE.per_s)


@pytest.mark.spec("SR-5", "SR-22")
async def test_a_flood_is_dropped_at_the_socket_and_another_host_is_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_filter, "SECOND_S", 600.0)
    async with client() as one:
        await flood(served, [(STRANGER, bytes(1000))] * 2000)
        read = served.server.drops["flood"]
        assert udp_filter.FLOOD <= read < 1500
        assert served.server.unread + read == 2000 - READ_RATE.burst
        lost = served.server.unread
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((STRANGER, 0))
            for _ in range(10_000):  # the loop does not turn meanwhile: it would fill the buffer many times over
                sender.sendto(bytes(1000), (OWN, 5351))
        assert served.server.unread - lost > 9000
        assert (await one.ask(b"\0\0"))[3] == 0
        assert served.server.drops["flood"] == read


@pytest.mark.spec("SR-5", "SR-26")
async def test_hosts_without_a_neighbour_entry_share_one_limit(served: Served) -> None:
    """A host that is there was heard by ARP before its first datagram; made-up addresses were not."""
    made_up = [f"127.0.{n}.7" for n in range(1, 200)]
    async with client() as one:
        assert (await one.map(8080, 8080)).result == 0
        await flood(served, [(address, b"\0\0") for address in made_up * 10])
        await flood(served, [(address, map_request(1000 + n)) for n, address in enumerate(made_up * 5)])
        assert served.server.answered["nat-pmp"] <= DatagramKind.READ.value[0].burst
        assert (await one.ask(b"\0\0"))[3] == 0
        assert (await one.ask(map_request(8081)))[3] == 0
        assert (await one.map(8080, 8080)).result == 0
    served.gateway_fixture.around.network = replace(
        served.gateway_fixture.around.network, lans=(replace(LO, has_macs=False),)
    )
    async with client(ip_address("127.0.1.7")) as tunnelled:
        assert (await tunnelled.ask(b"\0\0"))[3] == 0, "where no host has a MAC address the address counts"


async def test_drops_of_the_kernel_are_counted(served: Served) -> None:
    (key,) = served.server.addresses
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(10_000):  # the loop does not turn meanwhile
            sender.sendto(bytes(1000), (OWN, 5351))
    lost = served.server.unread
    assert 0 < lost < 10_000
    served.gateway_fixture.around.network = replace(served.gateway_fixture.around.network, lans=())
    served.server.network_changed()
    assert served.server.unread == lost, "a socket that is closed keeps its count"
    assert key not in served.server.addresses


@pytest.mark.spec("PMP-036")
async def test_a_host_that_left_after_its_request_is_not_refused(served: Served) -> None:
    """The link went down behind a delete that was carried out: its repetition is not answered "no" (the soak)."""
    delete = natpmp.build_request(natpmp.MappingRequest(Transport.TCP, 8080, 0, 0))

    async def nobody(address: IPAddress, interface: str) -> bool:
        return False

    served.gateway_fixture.lan_hosts.probe = nobody
    async with client() as one:
        await one.ask(map_request(8080, 8080))
        served.gateway_fixture.around.neighbours.forget(CLIENT, "lo")
        one.send(delete)
        await served.until(lambda: served.server.drops["absent"] == 1)
        assert served.gateway_fixture.ports == {(Transport.TCP, 8080)}
        served.gateway_fixture.around.neighbours.learn(Neighbour(CLIENT, CONSOLE, "lo"))
        answer = natpmp.parse_response(await one.ask(delete))
        assert isinstance(answer, natpmp.MappingResponse)
        assert (answer.result, answer.lifetime_s) == (natpmp.NatPmpResult.SUCCESS, 0)
        assert served.gateway_fixture.ports == set()
        assert one.inbox.empty()


async def test_a_retransmission_of_a_waiting_request_is_dropped(served: Served) -> None:
    gate = asyncio.Event()
    handle = served.server._handle

    async def slow(request: object) -> object:
        await gate.wait()
        return await handle(request)  # type: ignore[arg-type]

    served.server._handle = slow  # type: ignore[assignment]
    async with client() as one:
        for _ in range(3):
            one.send(map_request(8080))
        await served.until(lambda: served.server.drops["repeated"] == 2)
        gate.set()
        assert (await one.receive())[3] == 0
        assert one.inbox.empty()


@pytest.mark.spec("SR-5", "SR-22")
async def test_a_host_with_many_requests_does_not_delay_the_next_host(served: Served) -> None:
    gate = asyncio.Event()
    queried: list[object] = []
    handle = served.server._handle

    async def slow(request: object) -> object:
        queried.append(request)
        await gate.wait()
        return await handle(request)  # type: ignore[arg-type]

    served.server._handle = slow  # type: ignore[assignment]
    async with client() as one:
        await flood(served, [(STRANGER, map_request(2000 + n)) for n in range(MOST_RUNNING + 20)])
        await served.until(lambda: len(queried) == MOST_RUNNING)
        assert served.server.drops["busy"] == 20
        one.send(map_request(8080))
        await served.until(lambda: len(queried) == MOST_RUNNING + 1)
        gate.set()
        assert (await one.receive())[3] == 0
        await served.settled()
        await flood(served, [(STRANGER, map_request(2000))])
        await served.until(lambda: len(queried) == MOST_RUNNING + 2)  # those before it are answered


async def test_as_many_renewals_as_the_limit_lets_through_may_wait() -> None:
    """A dropped one is sent again after 3 s."""
    limits = DatagramLimits()
    senders = [f"host{n % 40}" for n in range(int(DatagramKind.RENEWAL.value[1].burst))]
    waiting = [limits.admit(DatagramKind.RENEWAL, sender, 0.0) and limits.begin(sender) for sender in senders]
    assert all(waiting)
    assert not limits.begin("host41")
    for sender in senders:
        limits.done(sender)
    assert limits.begin("host41")


@pytest.mark.spec("PCP-174", "PCP-175", "PCP-176")
async def test_each_client_gets_an_update_for_a_new_external_address(served: Served) -> None:
    async with client() as one, client() as other:
        assert (await one.map(8080, 8080)).result == 0
        assert (await other.map(8081, 8081)).result == 0
        await served.settled()
        moved(served)
        assert await served.gateway_fixture.gateway.follow_external_address()
        served.server.external_changed()
        for device, port in ((one, 8080), (other, 8081)):
            response = codec.parse_response(await device.receive())
            assert response.map == MapData(NONCE, 6, port, port, IPv4Address("11.22.33.55"))
            assert (response.result, response.lifetime_s, response.epoch_s) == (0, 600, 0)
        await other.map(8081, 8081)
        for gap in (0.25, 0.5):
            served.gateway_fixture.clock.pass_s(gap)
            again = codec.parse_response(await one.receive())
            assert again.epoch_s == int(served.gateway_fixture.view.epoch_s())
        assert len(served.server._updates) == 0
        assert other.inbox.empty()


def moved(served: Served) -> None:
    served.gateway_fixture.around.network = replace(
        served.gateway_fixture.around.network, external=(IPv4Address("11.22.33.55"),)
    )


@pytest.mark.spec("PCP-178")
async def test_a_client_that_insists_on_the_old_address_gets_the_end_of_its_mapping(served: Served) -> None:
    async with client() as one:
        assert (await one.map(8080, 8080, 600, PreferFailure())).result == 0
        moved(served)
        await served.gateway_fixture.gateway.follow_external_address()
        served.server.external_changed()
        response = codec.parse_response(await one.receive())
        assert response.result is ResultCode.CANNOT_PROVIDE_EXTERNAL
        assert response.map is not None
        assert response.map.nonce == NONCE
        await served.settled()
    assert not served.gateway_fixture.ports


@pytest.mark.spec("PCP-179")
async def test_a_mapping_that_the_operator_deletes_is_an_update(served: Served) -> None:
    async with client() as one:
        await one.map(8080, 8080)
        await served.settled()
        key = MappingKey(Transport.TCP, None, 8080, None)
        await served.gateway_fixture.gateway.handle(UnmapRequest(Via.OPERATOR, Source(CLIENT, ""), key))
        response = codec.parse_response(await one.receive())
        assert (response.result, response.lifetime_s) == (ResultCode.NOT_AUTHORIZED, 1800)


@pytest.mark.spec("PCP-177")
async def test_an_update_repeats_third_party_and_filter(served: Served) -> None:
    async with client() as one:
        await one.map(8080, 8080)
    (row,) = served.gateway_fixture.decider.ledger.table
    peers = RemotePeers(IPv4Network("198.51.100.0/24"), 9)
    hold = Hold(Via.PCP, 9e9, 600, NONCE, filters=(peers,))
    message = build_update(replace(row.with_hold(hold), delegated=True), 60, 5, EXTERNAL)
    assert message is not None
    response = codec.parse_response(message)
    assert response.options == (ThirdParty(CLIENT), PcpFilter(120, 9, IPv4Address("198.51.100.0")))


@pytest.mark.spec("PMP-072")
async def test_no_socket_is_open_if_both_protocols_are_off(tmp_path: Path) -> None:
    off = Port5351(ServiceMode.OFF, ServiceMode.OFF)
    async with serving(tmp_path, off) as served:
        assert served.server.addresses == ()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(2)
            asking.connect((OWN, 5351))
            asking.send(b"\0\0")
            with pytest.raises(ConnectionRefusedError):
                asking.recv(100)


async def test_sockets_follow_the_addresses(served: Served) -> None:
    other = f"127.{os.getpid() % 200 + 20}.0.2"
    more = replace(LO, addresses=(*LO.addresses, IPv4Interface(f"{other}/8")))
    served.gateway_fixture.around.network = replace(served.gateway_fixture.around.network, lans=(more,))
    served.server.network_changed()
    assert {str(key.address) for key in served.server.addresses} == {OWN, other}
    served.gateway_fixture.around.network = replace(served.gateway_fixture.around.network, lans=(LO,))
    served.server.network_changed()
    assert {str(key.address) for key in served.server.addresses} == {OWN}
    served.gateway_fixture.around.network = replace(served.gateway_fixture.around.network, lans=())
    served.server.network_changed()
    assert served.server.addresses == ()


async def test_an_operators_add_sends_no_update(served: Served) -> None:
    request = MapRequest(
        Via.OPERATOR,
        Source(CLIENT, ""),
        Transport.TCP,
        Endpoint(CLIENT, 22),
        2222,
        PortChoice.EXACT,
        600,
    )
    await served.gateway_fixture.gateway.handle(request)
    assert len(served.server._updates) == 0


@pytest.mark.spec("PCP-193")
async def test_a_new_external_address_is_no_update_for_a_host_without_nat(served: Served) -> None:
    network = served.gateway_fixture.around.network
    served.gateway_fixture.around.network = replace(network, without_nat=frozenset({"lo"}))
    assert await served.gateway_fixture.gateway.follow_external_address(), "the LAN has lost its NAT"
    async with client() as one:
        answer = await one.map(8080)
        assert answer.map == MapData(NONCE, 6, 8080, 8080, CLIENT)
        await served.settled()
        moved(served)
        assert not await served.gateway_fixture.gateway.follow_external_address()
        served.server.external_changed()
        assert len(served.server._updates) == 0


async def test_the_end_of_a_pinhole_names_the_hosts_own_address(served: Served) -> None:
    network = served.gateway_fixture.around.network
    served.gateway_fixture.around.network = replace(network, without_nat=frozenset({"lo"}))
    async with client() as one:
        await one.map(8080)
        await served.settled()
        [row] = served.gateway_fixture.decider.ledger.table
        await served.gateway_fixture.gateway.handle(
            UnmapRequest(Via.OPERATOR, Source(CLIENT, ""), mapping_id=row.id)
        )
        response = codec.parse_response(await one.receive())
        assert response.result is ResultCode.NOT_AUTHORIZED
        assert response.map == MapData(NONCE, 6, 8080, 8080, CLIENT)


@pytest.mark.spec("PMP-083")
async def test_no_address_is_announced_on_a_lan_without_nat(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, bytes]] = []

    def note(key: SocketKey, data: bytes, *_: object) -> bool:
        sent.append((key.interface, data))
        return True

    monkeypatch.setattr(served.server._sockets, "send", note)
    network = served.gateway_fixture.around.network
    for without_nat, lengths in ((frozenset[str](), [12, 24]), (frozenset({"lo"}), [24])):
        sent.clear()
        served.gateway_fixture.around.network = replace(network, without_nat=without_nat)
        served.server.announce()
        assert [(name, len(data)) for name, data in sent] == [("lo", length) for length in lengths]


@pytest.mark.spec("PMP-068", "PMP-072")
def test_announcements_cover_the_served_protocols() -> None:
    def lengths(dialogue: Port5351, version: int, external: IPv4Address | None) -> list[int]:
        return [len(message) for message in dialogue.announcements(version, external, 7)]

    both = Port5351()
    assert lengths(both, 4, EXTERNAL) == [12, 24]
    assert lengths(both, 4, None) == [24], "NAT-PMP cannot announce that there is no address"
    assert lengths(both, 6, EXTERNAL) == [24]
    assert lengths(Port5351(ServiceMode.OFF), 4, EXTERNAL) == [24]
    assert lengths(Port5351(pcp=ServiceMode.OFF), 4, EXTERNAL) == [12]
    assert lengths(Port5351(ServiceMode.OFF, ServiceMode.OFF), 4, EXTERNAL) == []
