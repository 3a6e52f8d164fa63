"""Each LAN host has a share of the gateway's sockets: one that sends more takes nothing from others. In a lab."""

import fcntl
import os
import re
import resource
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import pytest

from tests.fixtures.firewall_driver import Driver, driving, network_of, settings
from tests.fixtures.waiting import until
from tests.lab.floods import forged_frames, ip_datagram, mac_of
from upnp_gw.firewall.base import FirewallMode, OverShare
from upnp_gw.firewall.nftables import NftablesFirewall, shares
from upnp_gw.lab import GUEST, HOME, Host, Lab, Topology
from upnp_gw.lab.topology import LanHost
from upnp_gw.model.network import Link

pytestmark = pytest.mark.lab

FLOOD = 3000
WELL_BEHAVED = 20
WAIT_S = 10.0
"""The longest delay of a datagram on a loaded machine, seconds."""
SEARCH = b"M-SEARCH * HTTP/1.1\r\n"
NOTIFY = b"NOTIFY * HTTP/1.1\r\n"
TUNNEL = IPv4Address("192.168.99.1")
SO_RCVBUFFORCE = 33
ROOM = 8 << 20
"""The receive buffer of a socket that loses nothing, bytes."""


@pytest.fixture(params=list(FirewallMode), scope="module")
def lab(namespaces: None, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """With the firewall open on the gateway, and two LANs."""
    with Lab(Topology(lans=(HOME, GUEST))) as lab, driving(NftablesFirewall(), lab.gateway) as gateway:
        gateway.open(settings(request.param, network_of(lab), http_port=5000))
        resolve_neighbours(lab, lab.hosts["console"], lab.hosts["pc"])
        yield lab


@pytest.fixture
def fresh(namespaces: None) -> Iterator[tuple[Lab, Driver[NftablesFirewall]]]:
    """For what leaves its traces in the table."""
    with Lab() as lab, driving(NftablesFirewall(), lab.gateway) as gateway:
        gateway.open(settings(FirewallMode.ALONGSIDE, network_of(lab), http_port=5000))
        resolve_neighbours(lab, lab.hosts["console"], lab.hosts["pc"])
        yield lab, gateway


@dataclass
class Listener:
    """A UDP socket of the gateway that loses nothing."""

    socket: socket.socket

    def counts_of(self, least: Mapping[str, int]) -> Counter[str]:
        """Datagrams by source address, as soon as there are at least so many of these, and what else is there then;
        "": of all together."""
        counts: Counter[str] = Counter()
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if all((counts[name] if name else counts.total()) >= count for name, count in least.items()):
                break
            if select.select([self.socket], [], [], 0.1)[0]:
                self._read(counts)
        self._read(counts)
        return counts

    def _read(self, counts: Counter[str]) -> None:
        with suppress(BlockingIOError):
            while True:
                counts[self.socket.recvfrom(64)[1][0]] += 1


def open_tunnel_device() -> int:
    """A descriptor of /dev/net/tun in the namespace of the calling thread."""
    try:
        return os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        pytest.skip("only root of a machine can open /dev/net/tun, as its mode is here")


@contextmanager
def listening(host: Host, port: int, version: int = 4) -> Iterator[Listener]:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with host.inside():
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with made:
        try:
            made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        except PermissionError:
            pytest.skip("only root of a machine can give a socket room for a flood (SO_RCVBUFFORCE)")
        made.bind(("", port))
        yield Listener(made)


def send(host: Host, to: str, port: int, count: int, payload: bytes = b"\0\0") -> None:
    """Datagrams from one socket of a host."""
    with host.inside():
        sender = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for _ in range(count):
            sender.sendto(payload, (to, port))


def send_frames(host: Host, frames: list[bytes]) -> None:
    with host.inside():
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind((host.interface, 0))
    with sender:
        for frame in frames:
            sender.send(frame)


def forged(host: Host, lab: Lab, port: int, macs: int) -> list[bytes]:
    with host.inside():
        target, network = str(lab.gateway.address), lab.topology.lans[0].network
        return forged_frames(host.interface, target, mac_of(target), port, b"\0\0", macs, network)[:FLOOD]


def share(of: shares.Share, since: float) -> int:
    """The most that one host may have sent since then (monotonic seconds)."""
    return of.burst + int((time.monotonic() - since) * of.per_s) + 1


def plug(lab: Lab) -> Host:
    """Another host of the first LAN, which the table has not heard yet."""
    number = 30 + len(lab.hosts)
    made = lab.add_host("lan0", LanHost(f"host{number}", number, f"02:00:99:00:00:{number:02x}"))
    resolve_neighbours(lab, made)
    return made


def resolve_neighbours(lab: Lab, *hosts: Host) -> None:
    """The hosts and the gateway know each other's MAC addresses: a port where nobody listens has answered."""
    for host in hosts:
        for address in (lab.gateway.address, lab.gateway.address6):
            with suppress(ConnectionRefusedError), host.inside():
                socket.create_connection((str(address), 9), WAIT_S).close()


CASES = [
    (5351, b"\0\0", shares.PORT_CONTROL),
    (1900, SEARCH, shares.SEARCHES),
]


@pytest.mark.spec("SR-5", "SR-11", "SR-22")
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("port", "payload", "of"), CASES)
def test_a_flood_brings_its_share_and_the_others_lose_nothing(
    lab: Lab, port: int, payload: bytes, of: shares.Share, version: int
) -> None:
    greedy, well_behaved = plug(lab), lab.hosts["console"]
    addresses = [host.address if version == 4 else host.address6 for host in (greedy, well_behaved, lab.gateway)]
    flooding, asking, gateway = map(str, addresses)
    begun = time.monotonic()
    with listening(lab.gateway, port, version) as listener:
        send(greedy, gateway, port, FLOOD, payload)
        send(well_behaved, gateway, port, WELL_BEHAVED, payload)
        send(greedy, gateway, port, FLOOD, payload)
        received = listener.counts_of({asking: WELL_BEHAVED, flooding: of.burst})
    assert received[asking] == WELL_BEHAVED
    assert of.burst <= received[flooding] <= share(of, begun)


@pytest.mark.spec("SR-5", "SR-22")
def test_a_mac_address_has_one_share_for_all_its_ip_addresses(lab: Lab) -> None:
    greedy, well_behaved = plug(lab), lab.hosts["console"]
    frames = forged(greedy, lab, 5351, 1)
    begun = time.monotonic()
    with listening(lab.gateway, 5351) as listener:
        send_frames(greedy, frames)
        send(well_behaved, str(lab.gateway.address), 5351, WELL_BEHAVED)
        received = listener.counts_of(
            {str(well_behaved.address): WELL_BEHAVED, "": WELL_BEHAVED + shares.PORT_CONTROL.burst}
        )
    assert received.pop(str(well_behaved.address)) == WELL_BEHAVED
    assert len(received) > 50, "that was no flood from many addresses"
    assert sum(received.values()) <= share(shares.PORT_CONTROL, begun)


@pytest.mark.spec("SR-5", "SR-22")
def test_made_up_mac_addresses_take_nothing_from_a_known_host(
    fresh: tuple[Lab, Driver[NftablesFirewall]],
) -> None:
    lab, well_behaved, greedy = fresh[0], fresh[0].hosts["console"], fresh[0].hosts["pc"]
    frames = forged(greedy, lab, 5351, FLOOD)
    begun = time.monotonic()
    with listening(lab.gateway, 5351) as listener:
        send(well_behaved, str(lab.gateway.address), 5351, 1)
        send_frames(greedy, frames)
        send(well_behaved, str(lab.gateway.address), 5351, WELL_BEHAVED)
        received = listener.counts_of(
            {str(well_behaved.address): 1 + WELL_BEHAVED, "": WELL_BEHAVED + shares.PORT_CONTROL.burst}
        )
    assert received.pop(str(well_behaved.address)) == 1 + WELL_BEHAVED
    assert sum(received.values()) <= share(shares.PORT_CONTROL, begun), "all new hosts together"
    known = lab.gateway.run(["nft", "list", "set", "inet", "upnp_gw", "known_hosts"]).stdout
    assert known.count("expires") <= 64 + 4 * (time.monotonic() - begun + 1) + 1


@pytest.mark.spec("SR-22")
def test_the_same_mac_address_on_another_lan_is_another_host(lab: Lab) -> None:
    well_behaved, guest = plug(lab), lab.hosts["guest"]
    guest.ip(f"link set {guest.interface} address {well_behaved.mac}")
    resolve_neighbours(lab, guest)
    gateways = [str(lan.network[1]) for lan in lab.topology.lans]
    with listening(lab.gateway, 5351) as listener:
        send(guest, gateways[1], 5351, FLOOD)
        send(well_behaved, gateways[0], 5351, WELL_BEHAVED)
        assert (
            listener.counts_of({str(well_behaved.address): WELL_BEHAVED})[str(well_behaved.address)] == WELL_BEHAVED
        )


@pytest.mark.parametrize(("port", "payload"), [(5352, b"\0\0"), (1900, NOTIFY), (1901, SEARCH)])
def test_packets_to_other_ports_are_not_counted(lab: Lab, port: int, payload: bytes) -> None:
    """Another program of the gateway may listen there."""
    with listening(lab.gateway, port) as listener:
        send(lab.hosts["pc"], str(lab.gateway.address), port, FLOOD, payload)
        assert listener.counts_of({"": FLOOD}).total() == FLOOD


def test_other_tcp_ports_and_the_data_of_a_connection_are_not_counted(lab: Lab) -> None:
    host, gateway = plug(lab), lab.gateway
    with ExitStack() as stack:
        with gateway.inside():
            listeners = {port: stack.enter_context(socket.create_server(("", port))) for port in (5000, 5001)}
        for _ in range(FLOOD // 4):
            with host.inside():
                socket.create_connection((str(gateway.address), 5001), 5).close()
            listeners[5001].accept()[0].close()
        with host.inside():
            link = stack.enter_context(socket.create_connection((str(gateway.address), 5000), 5))
        far = stack.enter_context(listeners[5000].accept()[0])
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(FLOOD):
            link.sendall(b"x")
            assert far.recv(1) == b"x"


@pytest.mark.spec("SR-22", "SR-23")
def test_new_connections_of_one_host_are_its_share(lab: Lab) -> None:
    greedy, well_behaved, gateway = plug(lab), lab.hosts["console"], str(lab.gateway.address)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with lab.gateway.inside():
            listener = stack.enter_context(socket.create_server(("", 5000), backlog=4096))
        lab.gateway.sysctl("net/core/somaxconn", "4096")
        listener.listen(4096)
        begun = time.monotonic()
        for _ in range(1200):
            with greedy.inside():
                link = stack.enter_context(socket.socket())
            link.setblocking(False)
            link.connect_ex((gateway, 5000))
        with well_behaved.inside():
            stack.enter_context(socket.create_connection((gateway, 5000), WAIT_S))
        listener.settimeout(0.5)
        came: Counter[str] = Counter()
        with suppress(TimeoutError):
            while True:
                link, peer = listener.accept()
                link.close()
                came[peer[0]] += 1
    dropped = lab.gateway.run(["nft", "list", "set", "inet", "upnp_gw", "over_share"]).stdout
    assert greedy.mac in dropped
    assert well_behaved.mac not in dropped, "none of its SYNs was lost"
    assert came[str(well_behaved.address)] == 1
    assert shares.CONNECTIONS.burst <= came[str(greedy.address)] <= share(shares.CONNECTIONS, begun)


@pytest.mark.spec("SR-22")
def test_on_a_tunnel_an_address_is_a_host(fresh: tuple[Lab, Driver[NftablesFirewall]]) -> None:
    lab, gateway = fresh
    with lab.gateway.inside():
        device = open_tunnel_device()
    try:
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"wg0", 0x1001))  # TUNSETIFF
        lab.gateway.ip(f"addr add {TUNNEL}/24 dev wg0", "link set wg0 up")
        network = network_of(lab)
        wg = replace(network, lans=(*network.lans, Link("wg0", 9, True)))
        gateway.open(settings(FirewallMode.ALONGSIDE, wg, http_port=5000))
        begun = time.monotonic()
        with listening(lab.gateway, 5351) as listener:
            for last, count in ((10, FLOOD), (11, WELL_BEHAVED)):
                for _ in range(count):
                    os.write(device, ip_datagram(IPv4Address(f"192.168.99.{last}"), TUNNEL, 40000, 5351, b"\0\0"))
            received = listener.counts_of({"192.168.99.11": WELL_BEHAVED})
    finally:
        os.close(device)
    assert received["192.168.99.11"] == WELL_BEHAVED
    assert received["192.168.99.10"] <= share(shares.PORT_CONTROL, begun)


def test_dropped_packets_are_counted_for_each_host(fresh: tuple[Lab, Driver[NftablesFirewall]]) -> None:
    lab, pc = fresh[0], fresh[0].hosts["pc"]
    begun = time.monotonic()
    send(pc, str(lab.gateway.address), 5351, FLOOD)
    assert until(
        lambda: (
            sum(host.packets for host in fresh[1].read().over_share) >= FLOOD - share(shares.PORT_CONTROL, begun)
        )
    )
    listing = lab.gateway.run(["nft", "list", "set", "inet", "upnp_gw", "over_share"]).stdout
    (found,) = re.findall(rf'"lan0" \. {pc.mac} \. 5351 counter packets (\d+)', listing)
    assert FLOOD - share(shares.PORT_CONTROL, begun) <= int(found) < FLOOD
    assert fresh[1].read().over_share == (OverShare("lan0", pc.mac, 5351, int(found)),)
    (dropped,) = fresh[1].read().over_share
    assert dropped.packets == int(found)


def test_the_rules_are_renewed_while_hosts_are_remembered(fresh: tuple[Lab, Driver[NftablesFirewall]]) -> None:
    lab, gateway = fresh
    send(lab.hosts["pc"], str(lab.gateway.address), 5351, FLOOD)
    gateway.open(settings(FirewallMode.ALONGSIDE, network_of(lab), http_port=5001))
    table = lab.gateway.run(["nft", "list", "table", "inet", "upnp_gw"]).stdout
    assert "tcp dport 5001" in table
    assert "tcp dport 5000" not in table
    assert lab.hosts["pc"].mac in table
    gateway.open(settings(FirewallMode.ALONGSIDE, network_of(lab)))
    assert "tcp dport" not in lab.gateway.run(["nft", "list", "chain", "inet", "upnp_gw", "own_servers"]).stdout
    assert gateway.foreign_changes == [], "packets that change sets are no foreign change"
