"""NAT-PMP and PCP at the real daemon: asked by natpmpc and by datagrams, proved by packets over IPv4 and IPv6."""

import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fixtures.waiting import EVENT_S
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, served_home
from tests.lab.ssdp_listener import link_of
from upnp_gw.lab import GUEST, HOME, Host, Topology
from upnp_gw.lab.probe import EchoServer, dial, reach
from upnp_gw.lab.topology import LanHost
from upnp_gw.model.mapping import IPAddress, Transport
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import (
    ANY_IPV4,
    ANY_IPV6,
    MapData,
    Option,
    PcpFilter,
    Request,
    Response,
    ResultCode,
)

pytestmark = pytest.mark.lab

SO_TIMESTAMPNS = 35
"""asm-generic/socket.h: the kernel's time of the arrival; not in the socket module of Python 3.11."""
NONCE = b"labnonce0123"
GATEWAY, GATEWAY6 = HOME.network[1], HOME.network6[1]


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    topology = Topology(lans=(HOME, GUEST))
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER, topology=topology) as home:
        home.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        yield home


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    yield module_home
    module_home.clear()


class Talk:
    """A UDP socket of a host, from one of its addresses to one of the gateway's."""

    def __init__(self, made: socket.socket, own: IPAddress, server: IPAddress) -> None:
        self.socket, self.own, self.server = made, own, server

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    def ask(self, data: bytes) -> bytes:
        self.send(data)
        return self.socket.recv(2000)

    def silent(self, data: bytes) -> bool:
        self.socket.settimeout(0.4)
        try:
            self.ask(data)
        except TimeoutError:
            return True
        except ConnectionRefusedError:
            return True
        finally:
            self.socket.settimeout(EVENT_S)
        return False

    def map(
        self, internal: int, suggested: int, lifetime: int, *options: Option, protocol: Transport = TCP
    ) -> Response:
        unset = ANY_IPV4 if self.own.version == 4 else ANY_IPV6
        data = MapData(NONCE, protocol.number, internal, suggested, unset)
        return codec.parse_response(self.ask(codec.build_request(Request(lifetime, self.own, data, options))))


@contextmanager
def talk(
    host: Host, own: IPAddress | None = None, server: IPAddress = GATEWAY, interface: str = "eth0"
) -> Iterator[Talk]:
    """Connected, so that an answer from anywhere else is not heard."""
    own = own or host.address
    with host.inside():
        made = socket.socket(socket.AF_INET if own.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        index = socket.if_nametoindex(interface)
    with made:
        made.settimeout(EVENT_S)
        if own.version == 4:
            made.bind((str(own), 0))
            made.connect((str(server), 5351))
        else:
            made.bind((str(own), 0, 0, index if own.is_link_local else 0))
            made.connect((str(server), 5351, 0, index if server.is_link_local else 0))
        yield Talk(made, own, server)


def link_local(host: Host, interface: str) -> IPv6Address:
    return next(address for address in link_of(host, interface).ipv6 if address.is_link_local)


def natpmpc(home: Home, *options: str) -> str:
    return home.console.run(["natpmpc", "-g", str(GATEWAY), *options]).stdout


@pytest.mark.spec("PMP-001", "PMP-006", "PMP-007", "PMP-008", "PMP-035")
@pytest.mark.parametrize("transport", list(Transport))
def test_natpmpc_maps_and_unmaps(home: Home, transport: Transport) -> None:
    other = UDP if transport is TCP else TCP
    with EchoServer(home.console, transport, 8000), EchoServer(home.console, other, 8000):
        assert f"Public IP address : {home.external}" in natpmpc(home)
        output = natpmpc(home, "-a", "8080", "8000", transport.value, "600")
        assert "Mapped public port 8080 protocol " + transport.value.upper() + " to local port 8000" in output
        assert re.search(r"\bli(f|fe)time 600\b", output), "natpmpc before 20230423 spells it liftime"
        proof = home.reach(8080, transport)
        assert (proof.answered_by, proof.seen_from) == ("console", home.peer.address)
        assert home.shut(8080, other)
        (row,) = home.rows()
        assert "natpmp" in row["via"]
        natpmpc(home, "-a", "8080", "8000", transport.value, "0")
        assert home.shut(8080, transport)
    assert home.rows() == []


@pytest.mark.spec("PMP-079", "PMP-080")
def test_a_natpmp_mapping_is_bidirectional_and_hairpins(home: Home) -> None:
    with EchoServer(home.console, UDP, 3074) as game, EchoServer(home.peer, UDP, 5000):
        with talk(home.console) as line:
            line.ask(natpmp.build_request(natpmp.MappingRequest(UDP, 3074, 3999, 600)))
        proof = game.reach(home.peer.address, 5000)
        assert (proof.seen_from, proof.seen_port) == (home.external, 3999)
        assert reach(home.pc, UDP, home.external, 3999).answered_by == "console"


@pytest.mark.spec("PCP-007", "PCP-008", "PCP-037", "PCP-067", "PCP-068", "PCP-073")
def test_a_pcp_mapping_carries_packets(home: Home) -> None:
    with EchoServer(home.console, TCP, 8000), talk(home.console) as line:
        answer = line.map(8000, 8080, 600)
        assert answer.map is not None
        assert (answer.result, answer.map.external_port) == (0, 8080)
        assert answer.map.external_address == home.external
        for _ in range(2):
            assert home.reach(8080).answered_by == "console", "a flow that ended does not end the mapping"
        assert line.map(8000, 0, 0).result == 0
        assert home.shut(8080)


@pytest.mark.spec("PCP-109", "PCP-110", "PCP-111", "PCP-112", "PCP-113", "PCP-115", "PCP-116")
def test_a_filter_is_in_force(home: Home) -> None:
    one, other = home.lab.hosts["peer1"], home.lab.hosts["peer2"]
    net = PcpFilter(120, 0, one.address)
    from_5000 = PcpFilter(128, 5000, other.address)

    def let_in(host: Host, source_port: int = 0) -> bool:
        return bool(reach(host, TCP, home.external, 8080, timeout=0.4, source_port=source_port))

    with EchoServer(home.console, TCP, 8080), talk(home.console) as line:
        assert line.map(8080, 8080, 600, net).options == (net,)
        assert let_in(one)
        assert not let_in(other)
        assert line.map(8080, 8080, 600, from_5000).result == 0
        assert let_in(one)
        assert not let_in(other)
        assert let_in(other, 5000)
        assert line.map(8080, 8080, 600, PcpFilter(0, 0, ANY_IPV6), from_5000).result == 0
        assert not let_in(one)
        assert line.map(8080, 8080, 600, PcpFilter(0, 0, ANY_IPV6)).result == 0
        assert let_in(one)
        assert let_in(other)


def test_a_narrower_filter_ends_a_live_flow(home: Home) -> None:
    with (
        EchoServer(home.console, TCP, 8080),
        talk(home.console) as line,
        dial_after(home, line) as call,
    ):
        assert call.ask()
        line.map(8080, 8080, 600, PcpFilter(128, 0, home.lab.hosts["peer2"].address))
        end = time.monotonic() + 5
        while call.ask() and time.monotonic() < end:
            time.sleep(0.05)
        assert not call.ask()


@contextmanager
def dial_after(home: Home, line: Talk):  # type: ignore[no-untyped-def]
    assert line.map(8080, 8080, 600).result == 0
    with dial(home.peer, TCP, home.external, 8080, timeout=3) as call:
        yield call


@pytest.mark.spec("PCP-154", "PCP-155", "PCP-156", "PCP-160", "PCP-163", "PCP-164", "PCP-008")
@pytest.mark.parametrize("to", ["global", "link-local"])
def test_a_pinhole_by_pcp(home: Home, to: str) -> None:
    server = GATEWAY6 if to == "global" else link_local(home.gateway, "lan0")
    console, one, other = home.console, home.lab.hosts["peer1"], home.lab.hosts["peer2"]

    def let_in(host: Host) -> bool:
        return bool(reach(host, TCP, console.address6, 8080, timeout=0.4))

    with EchoServer(console, TCP, 8080), talk(console, console.address6, server) as line:
        assert not let_in(one)
        answer = line.map(8080, 1234, 600)
        assert answer.map is not None
        assert (answer.result, answer.map.external_port) == (0, 8080)
        assert answer.map.external_address == console.address6
        assert let_in(one)
        assert line.map(8080, 0, 600, PcpFilter(128, 0, other.address6)).result == 0
        assert not let_in(one)
        assert let_in(other)
        assert line.map(8080, 0, 0).result == 0
        assert not let_in(other)


@pytest.mark.spec("PCP-159")
def test_no_pinhole_to_an_address_the_internet_has_no_way_to(home: Home) -> None:
    server = link_local(home.gateway, "lan0")
    for own in (link_local(home.console, "eth0"), home.console.ula):
        with talk(home.console, own, server) as line:
            assert line.map(8080, 0, 600).result is ResultCode.NOT_AUTHORIZED


ASKS = {
    "NAT-PMP address": b"\0\0",
    "NAT-PMP map": natpmp.build_request(natpmp.MappingRequest(TCP, 8080, 8080, 600)),
    "PCP version 3": b"\3\1" + bytes(58),
}


@pytest.mark.spec("PMP-069", "PMP-071", "PCP-173", "PCP-180", "SR-1")
@pytest.mark.parametrize("what", ASKS)
def test_the_wan_side_is_silent(home: Home, what: str) -> None:
    peer = home.peer
    with talk(peer, server=home.external) as line:
        assert line.silent(ASKS[what]), "from outside to the WAN address"
    with talk(home.console, server=home.external) as line:
        assert line.silent(ASKS[what]), "from the LAN to the WAN address"
    home.lab.internet.ip(f"route add {GATEWAY} via {home.external}")
    home.lab.internet.ip(f"route add {GATEWAY6} via {home.lab.external6}")
    try:
        with talk(peer, server=GATEWAY) as line:
            assert line.silent(ASKS[what]), "from outside to a LAN address"
        with talk(peer, peer.address6, GATEWAY6) as line:
            assert line.silent(ASKS[what])
    finally:
        home.lab.internet.ip(f"route del {GATEWAY} via {home.external}")
        home.lab.internet.ip(f"route del {GATEWAY6} via {home.lab.external6}")
    assert home.rows() == []


@pytest.mark.spec("PMP-070", "PCP-181", "PCP-182", "SR-1")
def test_a_source_of_another_lan_gets_no_answer(home: Home) -> None:
    guest = home.lab.hosts["guest"]
    guest.ip(f"addr add {home.pc.address}/32 dev eth0")
    try:
        with talk(guest, home.pc.address, GUEST.network[1]) as line:
            assert line.silent(ASKS["NAT-PMP map"])
    finally:
        guest.ip(f"addr del {home.pc.address}/32 dev eth0")
    assert home.rows() == []


@contextmanager
def listening(host: Host, version: int) -> Iterator[socket.socket]:
    """A client's socket on port 5350: every host is in the all-hosts group of itself."""
    with host.inside():
        made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    with made:
        made.settimeout(EVENT_S)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("" if version == 4 else "::", 5350))
        yield made


@pytest.mark.spec("PMP-062", "PMP-063", "PMP-064", "PMP-065", "PMP-066", "PMP-067", "PMP-068")
@pytest.mark.spec("PCP-169", "PCP-170", "PCP-171", "PCP-172", "PCP-173", "PCP-174", "PCP-175", "PCP-167")
def test_announcements_and_updates(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER) as home, ExitStack() as stack:
        home.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        home.daemon.stop()
        ears = {v: stack.enter_context(listening(home.console, v)) for v in (4, 6)}
        outside = stack.enter_context(listening(home.lab.internet, 4))
        line = stack.enter_context(talk(home.console))
        home.daemon.start()
        at: list[float] = []
        epochs: list[int] = []
        for _ in range(4):
            data, control, _, source = ears[4].recvmsg(100, 64)
            seconds, nanoseconds = struct.unpack("qq", control[0][2])
            at.append(seconds + nanoseconds / 1e9)
            assert source == (str(GATEWAY), 5351)
            response = natpmp.parse_response(data)
            assert isinstance(response, natpmp.AddressResponse)
            assert response.address == home.external
            data, source = ears[4].recvfrom(100)
            announced = codec.parse_response(data)
            assert (announced.result, announced.lifetime_s, announced.epoch_s) == (0, 0, response.epoch_s)
            epochs.append(response.epoch_s)
            data, source6 = ears[6].recvfrom(100)
            assert ip_address(source6[0].partition("%")[0]) == link_local(home.gateway, "lan0")
            assert source6[1] == 5351
            assert (len(data), data[:2]) == (24, b"\x02\x80")
        gaps = [b - a for a, b in pairwise(at)]
        for gap, meant in zip(gaps, (0.25, 0.5, 1.0), strict=True):
            assert 0.8 * meant - 0.05 < gap < 1.1 * meant + 2, "a loaded machine sends late"
        assert epochs == sorted(epochs)

        assert line.map(8080, 8080, 600).result == 0
        before = line.map(8080, 8080, 600).epoch_s
        new = IPv4Address("11.22.33.99")
        time.sleep(max(0.0, 2.1 - before))  # an epoch that has counted, so that a new one shows
        home.renumber_wan(new)
        updates = [codec.parse_response(line.socket.recv(200)) for _ in range(3)]
        for update in updates:
            assert update.map == MapData(NONCE, 6, 8080, 8080, new)
            assert update.epoch_s <= 1
        ears[4].settimeout(1)
        series = [natpmp.parse_response(data) for data in drained(ears[4]) if data[0] == 0]
        fresh = [
            response
            for response in series
            if isinstance(response, natpmp.AddressResponse) and response.address == new
        ]
        assert fresh
        assert fresh[0].epoch_s <= 1
        ended = series.index(fresh[0])
        assert all(response in fresh for response in series[ended:]), "the first series has ended"
        outside.settimeout(0.2)
        assert list(drained(outside)) == []


def drained(listener: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield listener.recv(100)
        except TimeoutError:
            return


@pytest.mark.spec("PMP-058", "PCP-052", "PCP-168")
def test_leases_nonces_and_epoch_outlive_kill_9(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER) as home, EchoServer(home.console, TCP, 8080), talk(home.console) as line:
        first = line.map(8080, 8080, 600)
        time.sleep(1.1)
        home.daemon.kill()
        home.daemon.start()
        assert home.reach(8080).answered_by == "console"
        again = line.map(8080, 8080, 600)
        assert again.result == 0
        assert again.epoch_s > first.epoch_s
        stranger = MapData(b"x" * 12, 6, 8080, 8080, ANY_IPV4)
        answer = codec.parse_response(line.ask(codec.build_request(Request(600, line.own, stranger))))
        assert answer.result is ResultCode.NOT_AUTHORIZED


@pytest.mark.spec("PMP-078")
def test_a_burst_of_renewals_is_served_whole(home: Home) -> None:
    """Fifty hosts at once, as after a new epoch: each has a share of its own."""
    macs = [f"02:00:99:00:00:{n:02x}" for n in range(50)]
    hosts = [home.lab.add_host("lan0", LanHost(f"h{n}", 100 + n, mac)) for n, mac in enumerate(macs)]
    try:
        with ExitStack() as stack:
            lines = [stack.enter_context(talk(host)) for host in hosts]
            for port in (5000, 5001, 5002):
                for number, line in enumerate(lines):
                    request = natpmp.MappingRequest(UDP, port, 10_000 + 8 * number + port - 5000, 600)
                    line.send(natpmp.build_request(request))
                for line in lines:
                    assert line.socket.recv(100)[3] == natpmp.NatPmpResult.SUCCESS
        assert len(home.rows()) == 150
    finally:
        for host in hosts:
            home.lab.hosts.pop(host.name).close()


def test_the_daemon_counts_its_answers(home: Home) -> None:
    natpmpc(home)
    status = home.daemon.cli("status", "--json").stdout
    assert re.search(r'"5351 answered nat-pmp": \d+', status)
