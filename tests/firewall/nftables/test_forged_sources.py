"""A packet from the WAN with the source address of a LAN host goes through no mapping and no pinhole."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

import pytest

from tests.fixtures.firewall_driver import forward, network_of
from tests.fixtures.lab_firewall import Gateway
from tests.fixtures.waiting import until
from tests.lab.floods import ip_datagram
from upnp_gw.firewall.base import Open, UpdateNetwork
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.mapping import IPAddress, Transport

pytestmark = pytest.mark.lab

UDP = Transport.UDP
ROUTED = (IPv4Network("10.9.0.0/16"), IPv6Network("2a11:2233:9::/48"))
BEYOND = {4: "10.9.0.5", 6: "2a11:2233:9::5"}
"""Behind another router of the LAN."""


@contextmanager
def having(host: Host, *addresses: IPAddress) -> Iterator[None]:
    """The host has these addresses too."""
    spelled = [f"{one}/{one.max_prefixlen} dev lo" for one in addresses]
    host.ip(*(f"addr add {text}" + " nodad" * (":" in text) for text in spelled))
    yield
    host.ip(*(f"addr del {text}" for text in spelled))


def send(host: Host, source: IPAddress, target: IPAddress, port: int, *, source_port: int = 0) -> None:
    """One datagram from an address of the host."""
    with host.inside():
        sock = socket.socket(socket.AF_INET6 if source.version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.bind((str(source), source_port))
        sock.sendto(b"? question\n", (str(target), port))


@pytest.mark.spec("SR-40")
@pytest.mark.parametrize("family", [4, 6])
def test_a_forged_lan_address_opens_no_flow(gateway: Gateway, fresh_lab: Lab, family: int) -> None:
    """An internet host to which a static route leads into the LAN is let in: answers may take another way."""
    lab, console, pc, peer, other = (
        fresh_lab, *(fresh_lab.hosts[name] for name in ("console", "pc", "peer1", "peer2"))
    )  # fmt: skip
    v6 = family == 6
    inside, outside = (console.address6,) * 2 if v6 else (console.address, lab.external[0])
    forged = [pc.address6, pc.ula] if v6 else [pc.address]
    forged = [*forged, ip_address(BEYOND[family])]
    if not v6:
        for name in ("all", "wan0"):
            lab.gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
    route = f"{other.address6}/128 via {pc.address6}" if v6 else f"{other.address} via {pc.address}"
    lab.gateway.ip(f"route add {route} dev lan0")
    gateway.apply(
        UpdateNetwork(replace(network_of(lab), routed=ROUTED)),
        Open(forward("m1", 3074, str(inside), transport=UDP)),
    )
    with EchoServer(console, UDP, 3074) as server, having(peer, *forged):
        for source in forged:
            send(peer, source, outside, 3074)
        assert reach(peer, UDP, outside, 3074), "its own address is let in"
        send(other, other.address6 if v6 else other.address, outside, 3074)
        assert until(lambda: len(server.seen) > 1)
        assert [one.address for one in server.seen] == [
            peer.address6 if v6 else peer.address,
            other.address6 if v6 else other.address,
        ]


OWN_PORT = 7777


@pytest.mark.spec("SR-40")
def test_the_gateways_own_and_link_local_addresses_are_forged_too(gateway: Gateway, fresh_lab: Lab) -> None:
    """A LAN host would send its answer to the gateway itself: to any port there, from inside."""
    lab, console, peer = fresh_lab, fresh_lab.hosts["console"], fresh_lab.hosts["peer1"]
    for name in ("all", "wan0"):
        lab.gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
    apart = IPv4Address("11.22.33.99")  # routed to us, and no interface has it
    network = replace(network_of(lab), external=(lab.external[0], apart))
    gateway.apply(
        UpdateNetwork(network),
        *(Open(forward(f"m{a.version}", 3074, str(a), transport=UDP)) for a in (console.address, console.address6)),
    )
    own: list[IPAddress] = [*lab.external, apart, lab.gateway.address]
    own += [lab.external6, lab.gateway.address6, lab.gateway.ula]
    strange = [ip_address(one) for one in ("169.254.3.3", "127.0.0.9", "0.0.0.0", "fe80::77", "::1", "::")]
    with EchoServer(console, UDP, 3074) as server:
        for source in own + strange:
            target = lab.external[0] if source.version == 4 else console.address6
            packet = ip_datagram(source, target, OWN_PORT, 3074, b"? question\n")
            send_frame(lab.internet, "gateway", "02:00:11:22:33:44", packet)
        assert reach(peer, UDP, lab.external[0], 3074)
        assert reach(peer, UDP, console.address6, 3074)
        assert [one.address for one in server.seen] == [peer.address, peer.address6]


def send_frame(host: Host, interface: str, to: str, packet: bytes) -> None:
    """One IP packet as it is, in an Ethernet frame to this MAC address."""
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    with host.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        sender.send(bytes.fromhex(to.replace(":", "")) + b"\x02\0\0\0\0\x09" + kind + packet)
