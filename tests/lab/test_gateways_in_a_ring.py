"""Two of our gateways, each the gateway above of the other: a request ends, both go on serving, and ``status`` says
why nothing is granted. Packets count what goes round."""

from collections.abc import Iterator

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, TCP, pinhole
from tests.lab.gateways_in_a_ring import Ring, two_in_a_ring
from tests.lab.igd_control_point import ControlPoint, refused
from tests.lab.packets import Capture, Packet, captured
from tests.lab.test_port5351 import NONCE, talk
from upnp_gw.lab import HOME
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import ANY_IPV4, MapData, Request

pytestmark = pytest.mark.lab

ORDERS = ('["pcp"]', '["natpmp"]', '["igd"]', '["pcp", "natpmp", "igd"]')
ROUND = 24
"""The most datagrams and connections that one request makes on the way up from the first gateway: twice what was
counted, with the search for the protocol."""
BURST = 20
PORT_CONTROL, SSDP, HTTP = 5351, 1900, 5000
SYN, ACK = 0x02, 0x10
LEADS_BACK = "leads back to this gateway"


@pytest.fixture(scope="module", params=ORDERS)
def ring(
    namespaces: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Ring]:
    with two_in_a_ring(tmp_path_factory.mktemp("d"), f"ask = {request.param}") as ring:
        yield ring


def asks_above(packet: Packet) -> bool:
    """A datagram to the gateway above, or a connection that begins."""
    if not packet.outgoing or packet.interface != "wan0":
        return False
    begins = packet.protocol == 6 and packet.payload[13] & (SYN | ACK) == SYN
    return packet.ports[1] in (PORT_CONTROL, SSDP) or (begins and packet.ports[1] == HTTP)


def number_asked(capture: Capture) -> int:
    return len(list(filter(asks_above, capture.packets)))


def points(ring: Ring) -> tuple[ControlPoint, ControlPoint]:
    """The console at the first gateway, the rack at the second one."""
    gateways = (ring.console, HOME.network[1]), (ring.rack, ring.gateway_of_rack)
    console, rack = (ControlPoint(host, gateway, IgdVersion.IGD2) for host, gateway in gateways)
    return console, rack


@pytest.mark.spec("CAS-002")
def test_a_request_ends_and_status_says_why(ring: Ring) -> None:
    console, rack = points(ring)
    for add in (console.add, console.add_any):
        with captured(ring.first.host) as capture, refused(501):
            add(8080)
        assert 0 < number_asked(capture) <= ROUND
    with refused(501):
        rack.add(8080)
    assert until(lambda: all(LEADS_BACK in below.status()["above"]["sentence"] for below in ring.both))
    for below in ring.both:
        assert LEADS_BACK in below.daemon.cli("status", columns=200).stdout
    assert until(lambda: not any(below.rows() for below in ring.both))


def test_both_serve_other_hosts_during_a_burst(ring: Ring) -> None:
    """A pinhole needs no gateway above: this host has a public address."""
    console, rack = points(ring)
    with captured(ring.first.host) as capture, talk(ring.console, server=HOME.network[1]) as line:
        for port in range(9000, 9000 + BURST):
            data = MapData(NONCE, TCP.number, port, 0, ANY_IPV4)
            line.send(codec.build_request(Request(600, line.own, data)))
        opened = {pinhole(console), pinhole(rack)}
        assert until(lambda: all(row["kind"] == "pinhole" for below in ring.both for row in below.rows()))
    assert opened
    assert number_asked(capture) <= BURST * ROUND
    with captured(ring.first.host) as capture:
        pinhole(console, 8081)
    assert number_asked(capture) == 0, "nothing goes round any more"
    for below in ring.both:
        assert not [line for line in below.daemon.output if "Traceback" in line], below.daemon.output


def test_it_grants_once_there_is_a_way_out(ring: Ring) -> None:
    """The first gateway is connected to the internet again, and needs no gateway above."""
    external, rack = ring.lab.external[0], points(ring)[1]
    ring.lab.replug_wan()
    with EchoServer(ring.rack, TCP, 8080):
        assert until(lambda: str(external) in ring.first.status()["wan"]["external_addresses"])
        rack.add(8080)
        assert reach(ring.lab.hosts["peer1"], TCP, external, 8080, timeout=REACHED_S)
    assert LEADS_BACK not in ring.second.status()["above"]["sentence"]
