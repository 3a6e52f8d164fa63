"""PCP at its anycast addresses (RFC 7723), asked by datagrams over IPv4 and IPv6."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from tests.lab.end_to_end import ROUTER, TCP, Home, served_home
from tests.lab.firewalls_in_series import INSIDE, OUTER, SERIES, Firewalls
from tests.lab.office import PORT, pcp, served_office
from tests.lab.test_port5351 import Talk, talk
from upnp_gw.firewall.nftables.anycast import ADDRESSES
from upnp_gw.lab import Host
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer
from upnp_gw.model.mapping import IPAddress
from upnp_gw.protocols.natpmp import codec as natpmp
from upnp_gw.protocols.pcp import codec
from upnp_gw.protocols.pcp.messages import Request

pytestmark = pytest.mark.lab

ANYCAST, ANYCAST6 = IPv4Address(ADDRESSES["ip"]), IPv6Address(ADDRESSES["ip6"])
SERVERS: tuple[IPAddress, ...] = (ANYCAST, ANYCAST6)
MODES = (ROUTER, ("--firewall", "alongside"))


def configured(directory: Path, lines: str) -> tuple[str, str]:
    path = directory / "gw.toml"
    path.write_text(f"[portcontrol]\n{lines}\n")
    return "--config", str(path)


def own_address(host: Host, server: IPAddress) -> IPAddress:
    return host.address if server.version == 4 else host.address6


@pytest.fixture(params=MODES, ids=lambda mode: mode[1])
def home(namespaces: None, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    with served_home(tmp_path, *request.param, *configured(tmp_path, "anycast = true")) as one:
        one.gateway.sysctl("net/ipv4/ip_forward", "1")
        one.gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        yield one


@pytest.mark.spec("PCP-194")
def test_a_host_asks_there_and_gets_its_answers_from_there(home: Home) -> None:
    """The socket of ``talk`` is connected: an answer from any other address is not heard."""
    with talk(home.console, server=ANYCAST) as line, EchoServer(home.console, TCP, 8000):
        assert not home.reach(8080)
        granted = line.map(8000, 8080, 600)
        assert (granted.result, granted.map and granted.map.external_port) == (0, 8080)
        assert home.reach(8080).answered_by == "console"
        address = natpmp.parse_response(line.ask(b"\0\0"))
        assert isinstance(address, natpmp.AddressResponse)
        assert address.address == home.external
        assert line.map(8000, 8080, 0).result == 0
        assert not home.reach(8080)
    with talk(home.console, own_address(home.console, ANYCAST6), ANYCAST6) as line:
        granted = line.map(8001, 0, 600)
        assert (granted.result, granted.map and granted.map.external_address) == (0, home.console.address6)
        [row] = home.rows()
        assert row["internal_port"] == 8001


@pytest.mark.spec("PCP-194")
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: f"IPv{server.version}")
def test_the_internet_is_not_answered_there(home: Home, server: IPAddress) -> None:
    home.lab.internet.ip(f"route add {server} via {home.external if server.version == 4 else home.lab.external6}")
    with talk(home.lab.internet, own_address(home.lab.internet, server), server, "gateway") as line:
        assert unanswered(line)
    assert not home.rows()


@pytest.mark.spec("PCP-194")
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: f"IPv{server.version}")
def test_nobody_answers_there_unless_it_is_configured(namespaces: None, tmp_path: Path, server: IPAddress) -> None:
    with (
        served_home(tmp_path, *ROUTER) as home,
        talk(home.console, own_address(home.console, server), server) as line,
    ):
        assert unanswered(line)
        assert not home.rows()


def unanswered(line: Talk) -> bool:
    """No answer, neither to ANNOUNCE nor to NAT-PMP's request for the external address."""
    return line.silent(codec.build_request(Request(0, line.own))) and line.silent(b"\0\0")


SERVED = "\n[portcontrol]\nanycast = true\n"


@pytest.fixture
def series(namespaces: None, tmp_path: Path) -> Iterator[Firewalls]:
    """Neither a host behind the inner router nor the router knows the firewall above it."""
    with served_office(tmp_path, *ROUTER, topology=SERIES, config=OUTER + SERVED) as office:
        yield Firewalls(office)


@pytest.mark.spec("PCP-194", "PCP-190")
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: f"IPv{server.version}")
def test_a_host_behind_a_router_finds_the_firewall_above_it(series: Firewalls, server: IPAddress) -> None:
    rack = series.rack
    own = own_address(rack, server)
    with talk(rack, own, server) as line, EchoServer(rack, TCP, PORT):
        assert series.shut(own)
        granted = line.map(PORT, 0, 600)
        assert (granted.result, granted.map and granted.map.external_address) == (0, own)
        assert series.arrives(own)
        assert line.map(PORT, 0, 0).result == 0
        assert series.shut(own)


@pytest.mark.spec("PCP-194")
def test_of_two_firewalls_in_a_row_the_nearer_one_answers(series: Firewalls, tmp_path: Path) -> None:
    config = tmp_path / "inner.toml"
    config.write_text(INSIDE + SERVED)
    inner = series.office.home.lab.hosts["inner"]
    with LabDaemon(inner, tmp_path / "inner", "--config", str(config)) as daemon:
        assert pcp(series.rack, PORT, server=ANYCAST).result == 0
        assert [row["external_address"] for row in daemon.json("list")] == [str(series.rack.address)]
    assert not series.office.home.rows()
