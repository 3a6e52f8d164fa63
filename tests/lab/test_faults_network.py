"""LAN interfaces that come late or are of another kind, several LANs at once, links that flap under load."""

import fcntl
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.firewall.nftables.test_shares import open_tunnel_device
from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, served_home
from tests.lab.igd_control_point import ControlPoint
from tests.soak.household import Household, household
from tests.soak.load import Load
from upnp_gw.lab import GUEST, HOME, Topology
from upnp_gw.lab.lab import _cable
from upnp_gw.lab.probe import EchoServer, dial
from upnp_gw.system.neighbour_table import PROBE_S

pytestmark = pytest.mark.lab

LATE = IPv4Address("192.168.99.1")
"""The gateway's address on the interface that comes late."""


@pytest.fixture
def alone(namespaces: None, tmp_path: Path) -> Iterator[Household]:
    with household(tmp_path) as home:
        yield home


def served(home: Home, address: IPv4Address) -> bool:
    with suppress(OSError):
        return ControlPoint(home.console, address).external_address() == str(home.external)
    return False


def missing(home: Home) -> list[str]:
    """The warnings of ``upnp-gw status`` about interfaces that do not exist."""
    status = home.daemon.json("status")
    assert not [sentence for sentence in status["detected"] if "does not exist" in sentence]
    return [sentence for sentence in status["warnings"] if "does not exist" in sentence]


@pytest.mark.parametrize("kind", ["bridge", "vlan"])
def test_a_lan_interface_that_comes_late_is_served(namespaces: None, tmp_path: Path, kind: str) -> None:
    """Configured, and not there at the start: the others are served meanwhile."""
    name = {"bridge": "br-late", "vlan": "lan0.7"}[kind]
    with household(tmp_path, "--lan", name) as home:
        assert served(home, home.gateway.address)
        assert missing(home) == [f"{name} does not exist; it is served as soon as it appears"]
        if kind == "bridge":
            home.gateway.ip("link add br-late type bridge", "link set lan0 master br-late")
            interface = "eth0"
        else:  # a separate cable takes the place of the tagged one: not every kernel has 802.1Q
            _cable(home.gateway, name, home.console, "eth0.7", "02:00:77:00:07:10")
            interface = "eth0.7"
        with home.watch() as watch:
            home.gateway.ip(f"addr add {LATE}/24 dev {name}", f"link set {name} up")
            home.console.ip(f"addr add 192.168.99.10/24 dev {interface}", f"link set {interface} up")
            watch.wait("lan")
        assert until(lambda: served(home, LATE), 10)
        assert missing(home) == [], "it is there now"
        point = ControlPoint(home.console, LATE)
        point.add(8080, NewInternalClient="192.168.99.10")
        with EchoServer(home.console, TCP, 8080):
            assert home.reach(8080).answered_by == "console"
        home.agree()


class Tunnel:
    """A tunnel interface of WireGuard's kind on the gateway: no MAC addresses, no neighbours. What a client behind
    it sends is written here, as a whole IP packet."""

    def __init__(self, home: Household, name: str, client: IPv4Address) -> None:
        self.client = client
        with home.gateway.inside():
            self._device = open_tunnel_device()
            fcntl.ioctl(self._device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF
        home.gateway.ip(f"addr add {LATE}/24 dev {name}", f"link set {name} up")

    def close(self) -> None:
        os.close(self._device)

    def ask(self, payload: bytes, port: int) -> bytes:
        """One datagram to the gateway; the payload of the answer."""
        udp = struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
        head += self.client.packed + LATE.packed
        total = sum(struct.unpack("!10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        head = head[:10] + struct.pack("!H", 0xFFFF - total) + head[12:]
        os.write(self._device, head + udp)
        while select.select([self._device], [], [], 5)[0]:
            packet = os.read(self._device, 2048)
            if packet[0] >> 4 == 4 and packet[9] == 17 and packet[22:24] == struct.pack("!H", 40000):
                return packet[28:]
        raise TimeoutError


def test_an_interface_without_mac_addresses_comes_late_and_is_served(namespaces: None, tmp_path: Path) -> None:
    with household(tmp_path, "--lan", "wg0") as home:
        with closing(Tunnel(home, "wg0", IPv4Address("192.168.99.10"))) as tunnel:
            assert until(lambda: f"{LATE}%wg0:5351" in home.gateway.run(["ss", "-uln"]).stdout)
            begun = time.monotonic()
            answer = tunnel.ask(struct.pack("!BBHHHI", 0, 1, 0, 3074, 3074, 600), 5351)
            _, _, code, _, _, given, lifetime = struct.unpack("!BBHIHHI", answer)
            assert (code, given, lifetime) == (0, 3074, 600)
            assert time.monotonic() - begun < PROBE_S - 1, "nobody waits for an ARP answer that cannot come"
            assert home.row(3074, UDP)["internal_client"] == str(tunnel.client)
            home.agree()
        assert until(lambda: f"{LATE}%wg0:5351" not in home.gateway.run(["ss", "-uln"]).stdout)
        assert len(missing(home)) == 1, "it went again"
        home.point().add(8081)
        home.agree()
        assert not any("Traceback" in line for line in home.daemon.output)


def test_mappings_of_a_lan_that_disappears_are_back_with_it(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER, topology=Topology(lans=(HOME, GUEST))) as home:
        home.point().add(8080)
        home.point("guest").add(8081)
        with EchoServer(home.console, TCP, 8080), EchoServer(home.lab.hosts["guest"], TCP, 8081):
            home.gateway.ip("link set lan1 down")
            assert home.reach(8080).answered_by == "console", "the other LAN knows nothing of it"
            assert home.shut(8081)
            home.gateway.ip("link set lan1 up")
            assert until(lambda: bool(home.reach(8081)), 10)
        assert sorted(row["external_port"] for row in home.rows()) == [8080, 8081]
        assert until(home.agrees), "the gateway asks again who is on the link that came back"


def test_a_lan_link_that_is_down_for_a_moment_parks_its_mappings_and_cuts_no_flow(
    namespaces: None, tmp_path: Path
) -> None:
    """As a cable that is pulled: until the device alone answers again, another host may have its address."""
    with served_home(tmp_path, *ROUTER) as home, home.watch() as watch:
        home.point().add(8080)
        home.point("pc").add(8081)
        with EchoServer(home.console, TCP, 8080), dial(home.peer, TCP, home.external, 8080) as flow:
            assert flow.ask().answered_by == "console"
            home.gateway.ip("link set lan0 down")
            for port in (8080, 8081):
                watch.wait("changed", external_port=port, state="parked")
            assert home.installed() == {}
            home.pc.ip("link set eth0 down")
            home.gateway.ip("link set lan0 up")
            watch.wait("changed", external_port=8080, state="active")
            assert until(lambda: bool(home.reach(8080)), 10)
            assert flow.ask().answered_by == "console", "the connection from before goes on"
        assert home.row(8081)["state"] == "parked", "its device is not back"
        home.pc.ip("link set eth0 up")
        watch.wait("changed", external_port=8081, state="active")
        assert until(home.agrees)


def test_flapping_links_under_load_lose_no_mapping(alone: Household) -> None:
    load = Load(alone, rest_s=0.02)
    try:
        for _ in range(3):
            load.open()
            load.await_answers(40)
            alone.lab.internet.ip("link set gateway down", "link set gateway up")
            alone.gateway.ip("link set lan0 down", "link set lan0 up")
            load.await_answers(40)
            load.shut()
            assert until(lambda: not alone.disagreement(), 15)
            assert load.judge() == []
    finally:
        load.close()
    with EchoServer(alone.console, UDP, 3074):
        alone.point().add(3074, UDP)
        assert until(lambda: bool(alone.reach(3074, UDP)), 10)
