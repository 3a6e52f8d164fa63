"""Hostile hosts on both sides: the burst of an infected PC, floods, idle connections, probes from the internet."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fixtures.lab_firewall import masquerading
from tests.fixtures.waiting import until
from tests.lab.end_to_end import ROOMY, ROUTER, TCP, UDP, Home, served_home
from tests.lab.igd_control_point import Fault, refused
from tests.lab.well_behaved_client import memory_kb
from upnp_gw.lab import Host, Lab
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

HOME_LIMIT = 8
"""Mappings of one device by the built-in policy."""
SILENCE_S = 1.0
"""The time without an answer after which there is none, seconds."""
HELD_UP_S = 4.0
"""Idle connections are cut after 5 s; a client behind them would wait for that. An answer takes some
milliseconds."""
QAKBOT = 27
"""As many ports as it asked for in one minute."""
FLOOD = 400
SEARCH = (
    b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
)
NATPMP_ADDRESS = bytes(2)
PCP_ANNOUNCE = bytes([2, 0, 0, 0]) + bytes(20)
GET = b"GET /igd1.xml HTTP/1.0\r\n\r\n"


@pytest.fixture(scope="module")
def modest(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home without a policy file."""
    with served_home(tmp_path_factory.mktemp("d"), *ROUTER, policy=None) as home:
        yield home


def ask_for(home: Home, ports: range, host: str = "pc") -> tuple[list[int], list[Fault]]:
    """The ports that were granted, and the refusals."""
    granted, faults = [], []
    for port in ports:
        try:
            home.point(host).add(port)
            granted.append(port)
        except Fault as fault:
            faults.append(fault)
    return granted, faults


@pytest.mark.spec("SR-5", "SR-7")
def test_an_infected_pc_gets_eight_ports_and_one_incident(modest: Home) -> None:
    """The replay of 27 requests: within its limits at most, each refusal with its reason, one alarm and not 19."""
    granted, faults = ask_for(modest, range(20000, 20000 + QAKBOT))
    assert 0 < len(granted) <= HOME_LIMIT
    assert all(fault.code in (606, 501) and "[d" in fault.text for fault in faults)
    assert len(modest.installed()) == len(granted)
    incidents = [line for line in modest.ask("GET", "/v1/status")["warnings"] if "incident" in line]
    assert len(incidents) == 1
    assert modest.pc.mac in incidents[0]
    assert modest.pc.mac in modest.daemon.cli("status", columns=200).stdout
    (device,) = [d for d in modest.daemon.json("devices") if d["device"] == modest.pc.mac]
    assert device["frozen"]
    assert device["refused"] == len(faults)
    with EchoServer(modest.pc, TCP, granted[0]), EchoServer(modest.pc, TCP, 20000 + QAKBOT - 1):
        assert modest.reach(granted[0])
        assert modest.shut(20000 + QAKBOT - 1)
    with EchoServer(modest.console, UDP, 3074):
        modest.point().add(3074, UDP)
        assert modest.reach(3074, UDP).answered_by == "console", "nobody else suffers"


@pytest.mark.spec("SR-5")
def test_four_hundred_requests_of_one_host_hold_the_quota_and_cost_no_memory(modest: Home) -> None:
    ask_for(modest, range(30000, 30050))
    before = memory_kb(modest.daemon.pid)
    ask_for(modest, range(30050, 30050 + FLOOD))
    assert memory_kb(modest.daemon.pid) - before < 8 * 1024
    held = [row for row in modest.rows() if row["device"] == modest.pc.mac]
    assert len(held) <= HOME_LIMIT
    modest.agree()
    begun = time.monotonic()
    assert modest.point().external_address() == str(modest.external)
    assert time.monotonic() - begun < HELD_UP_S


@pytest.mark.spec("SR-5", "SR-26")
def test_datagrams_in_the_name_of_hosts_that_are_not_there_open_nothing(namespaces: None, tmp_path: Path) -> None:
    """One host sends from a hundred addresses of the LAN at once, and answers for none of them."""
    with served_home(tmp_path, *ROUTER, policy=None) as home:
        lan, pc = home.lab.topology.lans[0].network, home.pc
        forged = [lan[100 + n] for n in range(100)]
        home.point("pc")  # knows the gateway's MAC address now, and asks for it in nobody's name
        pc.sysctl("net/ipv4/conf/all/arp_ignore", "8")
        pc.ip(*(f"addr add {address}/24 dev {pc.interface}" for address in forged))
        for n, address in enumerate(forged):
            with pc.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.bind((str(address), 0))
                asking.sendto(struct.pack("!BBHHHI", 0, 1, 0, 7000 + n, 7000 + n, 3600), (str(lan[1]), 5351))

        def counted() -> int:
            return sum(count for name, count in home.ask("GET", "/v1/status")["counters"].items() if "5351" in name)

        assert until(lambda: counted() == len(forged)), "each is dropped or answered, and counted"
        assert home.rows() == []
        assert home.installed() == {}
        home.point().add(9000)


@pytest.mark.spec("SR-23")
def test_idle_connections_of_one_host_do_not_block_others(modest: Home) -> None:
    """The peer ends or spins at a thousand of them."""
    with ExitStack() as idle:
        held = 0
        for _ in range(64):
            with modest.pc.inside(), suppress(OSError):
                idle.enter_context(socket.create_connection((str(modest.gateway.address), 5000), 2))
                held += 1
        assert held
        begun = time.monotonic()
        modest.point().add(8080)
        assert modest.point(igd_version=IgdVersion.IGD2).external_address() == str(modest.external)
        assert time.monotonic() - begun < HELD_UP_S


# -- the internet's side


def sockets_of(host: Host) -> set[tuple[str, int]]:
    """(tcp | udp, port) of every socket on which something is served in a host."""
    listing = host.run(["ss", "-H", "-l", "-n", "-t", "-u"]).stdout
    return {(line.split()[0], int(line.split()[4].rpartition(":")[2])) for line in listing.splitlines()}


class Probe(NamedTuple):
    """Bytes to one port."""

    transport: str
    address: IPAddress
    port: int
    sent: bytes


def answered(host: Host, probes_of: list[Probe]) -> list[Probe]:
    """Those of them for which a host got a connection, or a byte back."""
    with ExitStack() as stack:
        links: list[tuple[Probe, socket.socket]] = []
        for probe in probes_of:
            family = socket.AF_INET if probe.address.version == 4 else socket.AF_INET6
            kind = socket.SOCK_STREAM if probe.transport == "tcp" else socket.SOCK_DGRAM
            with host.inside():
                link = stack.enter_context(socket.socket(family, kind))
            link.setblocking(False)
            link.connect_ex((str(probe.address), probe.port))
            if probe.transport == "udp":
                with suppress(OSError):
                    link.send(probe.sent)
            links.append((probe, link))
        time.sleep(SILENCE_S)
        return [probe for probe, link in links if came_back(probe, link)]


def came_back(probe: Probe, link: socket.socket) -> bool:
    try:
        if probe.transport == "udp":
            return bool(link.recv(2048))
        link.send(probe.sent)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("mode", ["router", "alongside"])
@pytest.mark.spec("SR-1")
def test_no_socket_answers_on_the_wan_side(namespaces: None, tmp_path: Path, mode: str) -> None:
    """Alongside, no input chain of ours helps: the sockets themselves are deaf to the WAN."""
    before: Callable[[Lab], None] = masquerading if mode == "alongside" else (lambda lab: None)
    with served_home(tmp_path, "--firewall", mode, before=before) as home:
        served = sockets_of(home.gateway)
        assert {("tcp", 5000), ("udp", 1900)} <= served

        def probes_of(address: IPAddress) -> list[Probe]:
            sent = {5000: [GET], 1900: [SEARCH]}
            return [
                Probe(transport, address, port, data)
                for transport, port in sorted(served)
                for data in sent.get(port, [NATPMP_ADDRESS, PCP_ANNOUNCE])
            ]

        assert Probe("tcp", home.gateway.address, 5000, GET) in answered(
            home.console, probes_of(home.gateway.address)
        )
        home.lab.internet.ip(f"route replace {home.lab.topology.lans[0].network} via {home.external}")
        inside: tuple[IPAddress, ...] = (home.gateway.address, home.gateway.address6, home.gateway.ula)
        outside = [
            probe for address in (home.external, home.lab.external6, *inside) for probe in probes_of(address)
        ]
        for host in (home.peer, home.lab.internet):
            assert answered(host, outside) == []
        with home.lab.internet.inside():
            searcher = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with searcher:
            searcher.settimeout(2.0)
            searcher.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(str(home.lab.internet.address))
            )
            searcher.sendto(SEARCH, ("239.255.255.250", 1900))
            with pytest.raises(TimeoutError):
                searcher.recv(2048)
        if mode == "router":
            with EchoServer(home.gateway, TCP, 2222):
                assert home.shut(2222), "nor do the gateway's other services, as a whole router"


# -- everything is taken

FULL = ROOMY.replace("total_mappings = 1024", "total_mappings = 3").replace("per_device = 400", "per_device = 3")


@pytest.mark.spec("IGD-140", "SR-5")
def test_a_full_table_refuses_new_mappings_and_keeps_its_own(namespaces: None, tmp_path: Path) -> None:
    with served_home(tmp_path, *ROUTER, policy=FULL) as home, EchoServer(home.console, TCP, 9000):
        for port in (8000, 8001, 8002):
            home.point().add(port, NewInternalPort=9000)
        with refused(728):
            home.point("pc", IgdVersion.IGD2).add(8003)
        with refused(501):
            home.point("pc").add(8003)
        assert all(home.reach(port) for port in (8000, 8001, 8002))
        home.agree()
        home.point().add(8002, NewInternalPort=9000, NewPortMappingDescription="refreshed")
        home.point().delete(8000)
        home.point("pc").add(8003)


@pytest.mark.spec("IGD-174")
def test_where_every_allowed_port_is_taken_any_port_is_none(namespaces: None, tmp_path: Path) -> None:
    narrow = ROOMY.replace('who = "*"', 'who = "*"\next_ports = ["8000-8001"]')
    with served_home(tmp_path, *ROUTER, policy=narrow) as home:
        console, pc = home.point(igd_version=IgdVersion.IGD2), home.point("pc", IgdVersion.IGD2)
        console.add(8001)
        assert console.add_any(8000) == 8000
        with refused(728):
            pc.add_any(8000)
        assert pc.add_any(8000, UDP) == 8000
