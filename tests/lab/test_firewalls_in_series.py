"""Two firewalls without NAT in a row, each with a daemon; and a routed prefix behind a router that is none."""

from collections.abc import Iterator

import pytest

from tests.lab.end_to_end import REACHED_S, ROUTER, SHUT_S, TCP, UDP
from tests.lab.firewalls_in_series import INNER_GATEWAY, INSIDE, OUTER, SERIES, Firewalls
from tests.lab.igd_control_point import ControlPoint, refused
from tests.lab.office import GATEWAY, PORT, listening, natpmpc, pcp, served_office
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def behind(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewalls]:
    """The inner router filters nothing."""
    with served_office(tmp_path_factory.mktemp("d"), *ROUTER, topology=SERIES, config=OUTER) as office:
        yield Firewalls(office)


@pytest.fixture
def routed(behind: Firewalls) -> Iterator[Firewalls]:
    yield behind
    behind.office.home.clear()


def test_a_host_behind_another_router_opens_its_own_port(routed: Firewalls) -> None:
    """Over each protocol: it asks at the gateway's address on the office's LAN. Its address is the device."""
    rack = routed.rack
    point = ControlPoint(rack, GATEWAY, IgdVersion.IGD2)
    with listening((rack, TCP, PORT), (rack, UDP, PORT)):
        assert routed.shut()
        assert pcp(rack, PORT).result == 0
        assert routed.arrives()
        (row,) = routed.office.home.rows()
        assert (row["device"], row["external_address"]) == (str(rack.address), str(rack.address))
        assert pcp(rack, PORT, 0).result == 0
        assert routed.shut()
        assert f"Public IP address : {rack.address}" in natpmpc(rack)
        natpmpc(rack, "-a", PORT, PORT, "tcp", 600)
        assert routed.arrives()
        natpmpc(rack, "-a", 0, PORT, "tcp", 0)
        assert routed.shut()
        assert point.external_address() == str(rack.address)
        point.add(PORT)
        assert routed.arrives()
        assert routed.office.shut(PORT, UDP, address=rack.address)
        point.delete(PORT)
        assert routed.shut()
        with refused(606):
            point.add(PORT, NewInternalClient=routed.office.server.address)


def test_hosts_of_both_prefixes_hold_the_same_port(routed: Firewalls) -> None:
    server, rack, office = routed.office.server, routed.rack, routed.office
    with listening((rack, TCP, PORT), (server, TCP, PORT)):
        assert pcp(rack, PORT).result == 0
        assert pcp(server, PORT).result == 0
        assert routed.arrives()
        assert office.reach().answered_by == "server"
        assert pcp(rack, PORT, 0).result == 0
        assert routed.shut()
        assert office.reach().answered_by == "server"


@pytest.fixture(scope="module")
def series(behind: Firewalls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firewalls]:
    """The inner router becomes a firewall with a daemon of its own."""
    directory = tmp_path_factory.mktemp("inner")
    config = directory / "config.toml"
    config.write_text(INSIDE)
    inner = behind.office.home.lab.hosts["inner"]
    policy = behind.office.home.daemon.state_dir.parent / "policy.toml"
    with LabDaemon(inner, directory, "--config", str(config), "--policy", str(policy)) as daemon:
        yield Firewalls(behind.office, daemon)


def test_a_port_is_open_where_both_firewalls_were_asked(series: Firewalls) -> None:
    """By PCP at the inner one; by PCP, then by IGD, at the one above it. Each shuts it alone."""
    rack, office = series.rack, series.office
    with listening((rack, TCP, PORT)):
        assert series.shut()
        assert pcp(rack, PORT, server=INNER_GATEWAY).result == 0
        assert series.shut(), "the outer firewall was not asked"
        assert reach(office.server, TCP, rack.address, PORT, timeout=REACHED_S), "within the office it is open"
        assert pcp(rack, PORT).result == 0
        assert series.arrives()
        assert pcp(rack, PORT, 0, server=INNER_GATEWAY).result == 0
        assert series.shut()
        assert not reach(office.server, TCP, rack.address, PORT, timeout=SHUT_S)
        assert pcp(rack, PORT, server=INNER_GATEWAY).result == 0
        assert series.arrives()
        assert pcp(rack, PORT, 0).result == 0
        assert series.shut()
        ControlPoint(rack, GATEWAY).add(PORT)
        assert series.arrives()
        office.home.clear()


def test_what_the_rack_begins_passes_both(series: Firewalls) -> None:
    peer = series.office.home.peer
    with EchoServer(peer, TCP, 5000), EchoServer(peer, UDP, 5000):
        for transport in (TCP, UDP):
            proof = reach(series.rack, transport, peer.address, 5000, timeout=REACHED_S)
            assert proof.seen_from == series.rack.address
    assert series.shut()


def test_both_daemons_dead_nothing_else_opens(series: Firewalls) -> None:
    rack = series.rack
    assert series.inner is not None
    with listening((rack, TCP, PORT), (rack, UDP, PORT)):
        for server in (INNER_GATEWAY, GATEWAY):
            assert pcp(rack, PORT, server=server).result == 0
        assert series.arrives()
        series.inner.kill()
        series.office.home.daemon.kill()
        assert series.arrives()
        assert series.office.shut(PORT, UDP, address=rack.address)
        series.office.home.daemon.start()
        series.inner.start()
        assert series.arrives()
        assert pcp(rack, PORT, 0, server=INNER_GATEWAY).result == 0
        assert series.shut()
