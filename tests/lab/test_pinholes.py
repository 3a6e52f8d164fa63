"""Pinholes in the kernel, proved by IPv6 packets: upnpc -6, the clients of PCP, both modes of the firewall."""

import json
import re
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import PINHOLES, ROUTER, SHUT_S, TCP, UDP, Home, pinhole, served_home
from tests.lab.igd_control_point import Subscriber, refused
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import EchoServer, Proof, dial, reach
from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd_services import IgdVersion

__all__ = ["SERVICE", "at", "pinhole"]

pytestmark = pytest.mark.lab

SERVICE = PINHOLES
LIMITS = 'max_ttl = "1h"'
FOREIGN = """
table inet fw {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ct status dnat accept
    iifname "lan0" accept
  }
}
"""


@pytest.fixture(scope="module")
def module_home(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER, limits=LIMITS) as home:
        yield home


@pytest.fixture
def home(module_home: Home) -> Iterator[Home]:
    yield module_home
    module_home.clear()


def at(peer: Host, address: IPv6Address, port: int = 8080, transport: Transport = TCP, **how: float) -> Proof:
    return reach(peer, transport, address, port, timeout=how.get("timeout", SHUT_S * 3))


def pinhole_drops(home: Home) -> list[dict[str, str]]:
    """The doctor's findings about filters in the way of pinholes."""
    found: list[dict[str, str]] = json.loads(home.daemon.cli("doctor", "--json", check=False).stdout)
    return [check for check in found if "traffic to pinholes" in check["finding"]]


def upnpc(host: Host, *words: object) -> str:
    return host.run(["upnpc", "-6", *map(str, words)], check=False).stdout


@pytest.mark.spec("IGD-211", "IGD-212", "IGD-216", "IGD-217", "IGD-218")
def test_upnpc_opens_checks_updates_and_closes_a_pinhole(home: Home) -> None:
    """Deviation: over IPv6 miniupnpc gets the version 2 description where it asked for version 1."""
    console, address = home.console, home.console.address6
    with EchoServer(console, TCP, 8080):
        assert not at(home.peer, address)
        output = upnpc(console, "-A", "", 0, address, 8080, "TCP", 600)
        (number,) = re.findall(r"Pinhole ID = (\d+)", output)
        assert "failed with code 709" in upnpc(console, "-C", number)
        proof = at(home.peer, address)
        assert (proof.answered_by, proof.seen_from) == ("console", home.peer.address6)
        (packets,) = re.findall(r"PinholePackets = (\d+)", upnpc(console, "-K", number))
        assert int(packets) >= 3
        assert "IsWorking = Yes" in upnpc(console, "-C", number)
        assert f"Pinhole ID = {number} with Lease Time: 60" in upnpc(console, "-U", number, 60)
        (row,) = home.rows()
        assert 0 < row["lease_left_s"] <= 60
        assert "returned : 0" in upnpc(console, "-D", number)
        assert not at(home.peer, address)
        assert "returned : 704" in upnpc(console, "-D", number)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.spec("IGD-210", "IGD-211", "IGD-217")
def test_closed_open_closed(home: Home, transport: Transport) -> None:
    point, address = home.point(igd_version=IgdVersion.IGD2), home.console.address6
    assert point.call("GetFirewallStatus", SERVICE) == {"FirewallEnabled": "1", "InboundPinholeAllowed": "1"}
    with EchoServer(home.console, transport, 8080):
        assert not at(home.peer, address, transport=transport)
        number = pinhole(point, Protocol=transport.number)
        assert at(home.peer, address, transport=transport).answered_by == "console"
        assert not at(home.peer, address, 8081, transport), "that port alone"
        assert not at(home.peer, home.pc.address6, 8080, transport), "that host alone"
        point.call("DeletePinhole", SERVICE, UniqueID=number)
        assert not at(home.peer, address, transport=transport)


@pytest.mark.spec("IGD-216")
def test_expiry_closes_it_and_ends_its_flows(home: Home) -> None:
    point, address = home.point(igd_version=IgdVersion.IGD2), home.console.address6
    with EchoServer(home.console, UDP, 8080):
        number = pinhole(point, Protocol=17, LeaseTime=2)
        assert at(home.peer, address, transport=UDP)
        with home.watch() as watch:
            watch.wait("removed", external_port=8080, why="expired")
        assert not at(home.peer, address, transport=UDP)
        with refused(704):
            point.call("UpdatePinhole", SERVICE, UniqueID=number, NewLeaseTime=60)


@pytest.mark.spec("IGD-220")
def test_a_remote_host_and_its_port_keep_others_out(home: Home) -> None:
    point, address, first = home.point(igd_version=IgdVersion.IGD2), home.console.address6, home.lab.hosts["peer1"]
    second = home.lab.hosts["peer2"]
    with EchoServer(home.console, TCP, 8080):
        pinhole(point, RemoteHost=first.address6)
        assert at(first, address)
        assert not at(second, address)
        home.clear()
        pinhole(point, RemoteHost=second.address6, RemotePort=4443)
        pinhole(point, RemotePort=4444)
        assert reach(second, TCP, address, 8080, source_port=4443)
        assert not at(second, address)
        assert not reach(first, TCP, address, 8080, timeout=SHUT_S, source_port=4443)
        assert reach(first, TCP, address, 8080, source_port=4444)


@pytest.mark.spec("IGD-213", "IGD-214")
def test_another_host_and_the_gateway_are_606(home: Home) -> None:
    point = home.point(igd_version=IgdVersion.IGD2)
    for client in (home.pc.address6, home.gateway.address6):
        with refused(606):
            pinhole(point, InternalClient=client)
    with refused(606):
        pinhole(point, 80)


def test_the_url_of_wanipconnection_takes_pinholes_too(home: Home) -> None:
    """Deviation: nat-port-mapper (libp2p) sends AddPinhole there."""
    point = home.point(igd_version=IgdVersion.IGD2)
    point.control[SERVICE] = point.control["WANIPConnection"]
    try:
        with EchoServer(home.console, TCP, 8080):
            pinhole(point)
            assert at(home.peer, home.console.address6)
    finally:
        home.points.clear()


@pytest.mark.spec("IGD-212")
def test_a_unique_id_and_its_pinhole_outlive_a_kill(home: Home) -> None:
    point, address = home.point(igd_version=IgdVersion.IGD2), home.console.address6
    with EchoServer(home.console, TCP, 8080):
        number = pinhole(point, RemotePort=4443)
        home.daemon.kill()
        assert reach(home.peer, TCP, address, 8080, source_port=4443), "the kernel goes on alone"
        home.daemon.start()
        home.points.clear()
        point = home.point(igd_version=IgdVersion.IGD2)
        assert pinhole(point, RemotePort=4443) == number
        assert reach(home.peer, TCP, address, 8080, source_port=4443)
        assert not at(home.peer, address)
        point.call("DeletePinhole", SERVICE, UniqueID=number)
        assert not reach(home.peer, TCP, address, 8080, timeout=SHUT_S, source_port=4443)


@pytest.mark.spec("IGD-212")
def test_a_flow_through_a_pinhole_ends_with_it(home: Home) -> None:
    point, address = home.point(igd_version=IgdVersion.IGD2), home.console.address6
    with EchoServer(home.console, TCP, 8080), home.watch() as watch:
        number = pinhole(point)
        with dial(home.peer, TCP, address, 8080, timeout=2) as call:
            assert call.ask()
            point.call("DeletePinhole", SERVICE, UniqueID=number)
            watch.wait("removed", external_port=8080)
            assert until(lambda: not call.ask(), timeout=20)


@pytest.mark.spec("IGD-219")
def test_alongside_another_firewall_the_doctor_names_the_line(namespaces: None, tmp_path: Path) -> None:
    def standing(lab: Lab) -> None:
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            lab.gateway.sysctl(key, "1")
        lab.gateway.nft(FOREIGN)

    with served_home(tmp_path, before=standing) as home, EchoServer(home.console, TCP, 8080):
        point, address = home.point(igd_version=IgdVersion.IGD2), home.console.address6
        result = point.call("GetFirewallStatus", SERVICE)
        assert result == {"FirewallEnabled": "1", "InboundPinholeAllowed": "0"}
        with refused(703):
            pinhole(point)
        (found,) = pinhole_drops(home)
        line = "nft insert rule inet fw forward ct label 127 accept"
        assert (found["outcome"], line in found["remedy"]) == ("fail", True)
        home.gateway.run(line.split())
        home.daemon.stop()
        home.daemon.start()
        home.points.clear()
        point = home.point(igd_version=IgdVersion.IGD2)
        assert not at(home.peer, address), "their firewall still drops what no pinhole lets in"
        assert not pinhole_drops(home)
        number = pinhole(point)
        assert at(home.peer, address).answered_by == "console"
        point.call("DeletePinhole", SERVICE, UniqueID=number)
        assert not at(home.peer, address)


@pytest.mark.spec("IGD-219")
def test_alongside_no_firewall_at_all_the_status_says_so(namespaces: None, tmp_path: Path) -> None:
    def standing(lab: Lab) -> None:
        lab.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")

    with served_home(tmp_path, before=standing) as home, EchoServer(home.console, TCP, 8080):
        point = home.point(igd_version=IgdVersion.IGD2)
        with Subscriber(point, SERVICE) as subscriber:
            assert subscriber.next() == {"FirewallEnabled": "0", "InboundPinholeAllowed": "1"}
        with refused(702):
            pinhole(point)
        assert at(home.peer, home.console.address6), "true: nothing filters IPv6 here"


@pytest.mark.spec("IGD-180")
def test_the_initial_event_has_both_variables(home: Home) -> None:
    with Subscriber(home.point(igd_version=IgdVersion.IGD2), SERVICE) as subscriber:
        assert subscriber.next() == {"FirewallEnabled": "1", "InboundPinholeAllowed": "1"}


def test_a_removed_lan_prefix_ends_its_pinholes(home: Home) -> None:
    point, gateway = home.point(igd_version=IgdVersion.IGD2), home.gateway
    pinhole(point)
    gateway.ip(f"addr del {gateway.address6}/64 dev lan0")
    try:
        with home.watch() as watch:
            assert until(lambda: not home.rows())
            assert not home.rows(), watch.events
    finally:
        gateway.ip(f"addr add {gateway.address6}/64 dev lan0 nodad")
        home.points.clear()
