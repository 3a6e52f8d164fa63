"""No request makes the gateway look a name up, or send anything to the internet: what passes its links is seen."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, UDP, Home, served_home
from tests.lab.igd_control_point import ControlPoint, Subscriber, exchange, refused
from tests.lab.packets import Packet, captured
from tests.lab.test_pinholes import pinhole
from upnp_gw.lab import Lab
from upnp_gw.lab.privilege import mount
from upnp_gw.lab.topology import INTERNET, WAN_NETWORK
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

MS_BIND = 4096
NAMES = (
    "nas.example",
    "console",
    "localhost",
    "gateway.local",
    "192.168.77.10.nip.example",
    "xn--bcher-kva.example",
)
"""Names for DNS, for multicast DNS, of the host itself, and one that looks like an address."""
OF_THE_LINK = frozenset({0, 2, 58})
"""Protocols that the kernel speaks with its neighbours: IPv6 hop-by-hop (group reports), IGMP, ICMPv6."""
QUIET_S = 1.0
"""The time without a packet after which no more are expected, seconds."""


@pytest.fixture
def home(namespaces: None, tmp_path: Path) -> Iterator[Home]:
    """The gateway has a name server, on the internet: who looks a name up there is seen on the WAN."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {WAN_NETWORK[INTERNET]}\noptions timeout:1 attempts:1\n")
    order = tmp_path / "nsswitch.conf"
    order.write_text("hosts: files dns\n")

    def with_resolver(lab: Lab) -> None:
        for file in (resolver, order):
            if Path("/etc", file.name).exists():
                lab.gateway.call(mount, str(file), f"/etc/{file.name}", None, MS_BIND)

    with served_home(tmp_path, *ROUTER, before=with_resolver) as home:
        yield home


def to_internet(home: Home, packets: list[Packet]) -> list[Packet]:
    """The packets that left by the WAN, without the kernel's own neighbour discovery and group reports."""
    return [
        packet
        for packet in packets
        if packet.outgoing and packet.interface == home.lab.topology.wan and packet.protocol not in OF_THE_LINK
    ]


def ask_with_names(point: ControlPoint, name: str) -> None:
    """Every argument of every action that takes an address, with a name in it."""
    wrong = (402,) if point.igd_version is IgdVersion.IGD1 else (600,)
    with refused(*wrong):
        point.add(8080, NewInternalClient=name)
    with refused(*wrong):
        point.add(8080, NewRemoteHost=name)
    with refused(*wrong):
        point.specific(8080, remote=name)
    with refused(*wrong):
        point.delete(8080, remote=name)
    if point.igd_version is IgdVersion.IGD2:
        with refused(*wrong):
            point.add_any(8080, NewInternalClient=name)
        with refused(*wrong):
            pinhole(point, InternalClient=name)
        with refused(*wrong):
            pinhole(point, RemoteHost=name)


def heads(point: ControlPoint, name: str) -> Iterator[tuple[bytes, int]]:
    """Requests that name a host in a header, and their answers."""
    path = point.events["WANIPConnection"]
    own = f"Host: {point.gateway}:{point.port}"
    subscribe = "NT: upnp:event\r\nTIMEOUT: Second-300"
    for line, fields, status in (
        (f"GET /{point.igd_version.value}.xml HTTP/1.1", f"Host: {name}", 403),
        (f"GET /{point.igd_version.value}.xml HTTP/1.1", f"Host: {name}:{point.port}", 403),
        (f"GET http://{name}/{point.igd_version.value}.xml HTTP/1.1", own, 403),
        (f"SUBSCRIBE {path} HTTP/1.1", f"{own}\r\nCALLBACK: <http://{name}:49200/>\r\n{subscribe}", 412),
        (f"SUBSCRIBE {path} HTTP/1.1", f"Host: {name}\r\nCALLBACK: <http://{name}:49200/>\r\n{subscribe}", 403),
    ):
        yield f"{line}\r\n{fields}\r\nConnection: close\r\n\r\n".encode(), status


@pytest.mark.spec("SR-16", "SR-8", "SR-9")
def test_a_name_is_refused_and_nobody_is_asked_for_it(home: Home) -> None:
    points = [home.point(igd_version=igd_version) for igd_version in IgdVersion]
    with captured(home.gateway) as seen:
        for name in NAMES:
            for point in points:
                ask_with_names(point, name)
                for request, status in heads(point, name):
                    answer = exchange(home.console, point.gateway, point.port, request)
                    assert (name, request, answer.status) == (name, request, status)
        time.sleep(QUIET_S)
    assert len(seen.packets) > 100, "the requests themselves were seen"
    assert [packet for packet in seen.packets if packet.dns] == []
    assert to_internet(home, seen.packets) == []
    assert home.rows() == []


@pytest.mark.spec("SR-16")
def test_a_grant_sends_nothing_to_the_internet(home: Home) -> None:
    """Nor do names where a client may write what it likes, nor the operator's commands."""
    point = home.point(igd_version=IgdVersion.IGD2)
    with Subscriber(point) as subscriber:
        subscriber.next()
        with captured(home.gateway) as seen:
            point.add(8080, NewPortMappingDescription="http://nas.example/")
            subscriber.next()
            home.point().add(3074, UDP, NewRemoteHost="11.22.40.9")
            pinhole(point, 8443)
            assert "natpmp" in home.console.run(["natpmpc", "-g", str(home.gateway.address)]).stdout.lower()
            assert home.daemon.cli("add", "tcp", "8090", "nas.example:443", check=False).returncode != 0
            for command in ("list", "devices", "log", "status"):
                home.daemon.cli(command)
            point.delete(8080)
            time.sleep(QUIET_S)
    assert [packet for packet in seen.packets if packet.dns] == []
    assert to_internet(home, seen.packets) == []


def test_a_look_up_and_a_packet_to_the_internet_would_be_seen(home: Home) -> None:
    with captured(home.gateway) as seen:
        look_up = "import socket\ntry: socket.getaddrinfo('nas.example', 80)\nexcept OSError: pass"
        home.gateway.run(["python3", "-c", look_up])
        home.reach(8080, TCP)
    (question, *_) = [packet for packet in seen.packets if packet.dns]
    assert question in to_internet(home, seen.packets)
    assert str(question.target) == str(WAN_NETWORK[INTERNET])
