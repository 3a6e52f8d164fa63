"""Double NAT: our gateway below our gateway, two daemons with two kernels' tables, and packets from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, ROUTER, SHUT_S, TCP, Home, served_home
from tests.lab.gateways_in_series import lan_of, served_below
from tests.lab.igd_control_point import ControlPoint, Fault, refused
from tests.lab.office import natpmpc, pcp
from upnp_gw.lab import HOME, Host, Topology
from upnp_gw.lab.daemon import LabDaemon
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.lab.topology import LanHost, Router
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

BELOW = Router(
    LanHost("inner", 2, "02:00:60:00:00:02"),
    lan_of(99, [LanHost("rack", 10, "3c:ec:ef:00:00:06"), LanHost("shelf", 20, "3c:ec:ef:00:00:07")]),
)
TOPOLOGY = Topology(lans=(replace(HOME, routers=(BELOW,)),))
GATEWAY = BELOW.lan.network[1]
OWN = HOME.network[BELOW.host.number]


@dataclass
class Chain:
    """The gateway towards the internet, and the one below it."""

    home: Home
    below: LabDaemon

    @property
    def rack(self) -> Host:
        return self.home.lab.hosts["rack"]

    def point(self, igd_version: IgdVersion = IgdVersion.IGD1) -> ControlPoint:
        return ControlPoint(self.rack, GATEWAY, igd_version)

    def arrives(self, port: int, timeout: float = REACHED_S) -> bool:
        """A connection from the internet to this port of the outermost address."""
        return bool(reach(self.home.peer, TCP, self.home.external, port, timeout=timeout))

    def shut(self, port: int) -> bool:
        return not self.arrives(port, SHUT_S)

    def row(self) -> dict[str, Any]:
        (row,) = self.below.json("list")
        assert isinstance(row, dict)
        return row


@contextmanager
def chain_of(directory: Path) -> Iterator[Chain]:
    with served_home(directory, *ROUTER, topology=TOPOLOGY) as home:
        host = BELOW.host
        with served_below(home.lab.hosts[host.name], directory / "below", HOME, host.number) as below:
            yield Chain(home, below.daemon)


@pytest.fixture(scope="module")
def running(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chain_of(tmp_path_factory.mktemp("d")) as chain:
        yield chain


@pytest.fixture
def chain(running: Chain) -> Iterator[Chain]:
    yield running
    for row in running.below.json("list"):
        running.below.cli("delete", row["id"])
    assert until(lambda: not running.home.rows())


@pytest.mark.spec("CAS-007")
def test_a_packet_from_outside_passes_both_gateways(chain: Chain) -> None:
    """A control point asks the gateway below alone, over each protocol."""
    port, external = 8080, str(chain.home.external)
    assert until(lambda: chain.point().external_address() == external), "known before the first mapping"
    with EchoServer(chain.rack, TCP, port):
        chain.point().add(port)
        assert chain.arrives(port)
        assert chain.point().external_address() == external
        above = chain.row()["above"]
        assert (above["state"], above["gateway"], above["via"]) == ("granted", str(HOME.network[1]), "pcp")
        assert (above["own_address"], above["own_port"]) == (str(OWN), port)
        (upper,) = chain.home.rows()
        assert (upper["internal_client"], upper["via"]) == (str(OWN), "pcp")
        chain.point().delete(port)
        assert chain.shut(port)
        assert until(lambda: not chain.home.rows())

        answer = pcp(chain.rack, port, server=GATEWAY, suggested=port)
        assert answer.map is not None
        assert (str(answer.map.external_address), answer.map.external_port) == (external, port)
        assert chain.arrives(port)
        assert pcp(chain.rack, port, 0, server=GATEWAY).result == 0
        assert chain.shut(port)
        assert until(lambda: not chain.home.rows())

        assert f"Public IP address : {external}" in natpmpc(
            chain.rack, "-a", port, port, "tcp", 600, server=GATEWAY
        )
        assert chain.arrives(port)
    status = chain.below.cli("status", columns=200).stdout
    assert f"double NAT: {HOME.network[1]} answers over pcp; outside is {external}" in status


@pytest.mark.spec("CAS-026")
def test_another_port_above_is_the_clients_port(chain: Chain) -> None:
    """The port is taken outside, and free here."""
    port = 8090
    chain.home.point("console").add(port)
    point = chain.point(IgdVersion.IGD2)
    with refused(718):
        point.add(port)
    outside = point.add_any(port)
    assert outside != port
    assert (chain.row()["external_port"], chain.row()["above"]["own_port"]) == (outside, port)
    with EchoServer(chain.rack, TCP, port):
        assert chain.arrives(outside)
    assert point.call("GetSpecificPortMappingEntry", NewRemoteHost="", NewExternalPort=outside, NewProtocol="TCP")
    point.delete(outside)
    assert chain.below.json("list") == []
    chain.home.point("console").delete(port)


def test_a_mapping_that_is_revoked_above_is_parked_and_says_by_whom(chain: Chain) -> None:
    port = 8100
    answer = pcp(chain.rack, port, server=GATEWAY, suggested=port)
    assert answer.result == 0
    (upper,) = chain.home.rows()
    chain.home.daemon.cli("delete", upper["id"])
    assert until(lambda: chain.row()["state"] == "parked")
    assert str(HOME.network[1]) in chain.row()["above"]["problem"]
    assert chain.shut(port)


@pytest.mark.spec("CAS-034")
def test_a_host_below_reaches_the_right_host_at_the_outermost_address(chain: Chain) -> None:
    """The gateway above sends it back (hairpin)."""
    port = 8110
    chain.point().add(port)
    shelf = chain.home.lab.hosts["shelf"]
    with EchoServer(chain.rack, TCP, port):
        proof = reach(shelf, TCP, chain.home.external, port, timeout=REACHED_S)
        assert proof.answered_by == "rack"


def test_a_restart_of_the_gateway_below_keeps_both_hops(chain: Chain) -> None:
    port = 8120
    with EchoServer(chain.rack, TCP, port):
        chain.point().add(port)
        assert chain.arrives(port)
        chain.below.kill()
        assert chain.arrives(port), "the kernel has it"
        chain.below.start()
        assert chain.arrives(port)
        assert chain.row()["above"]["state"] == "granted"
        assert until(lambda: len(chain.home.rows()) == 1)


def test_a_refusal_above_is_one_here_and_explain_says_who_refused(chain: Chain) -> None:
    port, above = 8130, str(HOME.network[1])
    chain.home.daemon.cli("block", str(OWN))
    try:
        with pytest.raises(Fault) as caught:
            chain.point().add(port)
    finally:
        chain.home.daemon.cli("release", str(OWN))
    assert caught.value.code == 606
    reason = f"the gateway above at {above} refused"
    assert reason in caught.value.text
    assert chain.below.json("list") == []
    decision = caught.value.text.rpartition("[")[2].partition("]")[0]
    assert reason in chain.below.cli("explain", decision, columns=200).stdout
    assert reason in chain.below.cli("log", columns=200).stdout
