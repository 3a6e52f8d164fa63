"""Our gateway below Debian's miniupnpd, asked over each protocol: packets from outside pass both, and no more after
the end. miniupnpd loses everything at a restart, and gets it again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.bench.gateways import miniupnpd, topology
from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, SHUT_S, TCP
from tests.lab.gateways_in_series import BOTTOM, RACK, Below, served_below
from tests.lab.igd_control_point import ControlPoint, Fault
from tests.lab.office import natpmpc
from tests.lab.packets import Packet, captured
from tests.lab.test_asking_miniupnpd import PROGRAM, Peer, restarted
from upnp_gw.lab import HOME, Lab, Topology
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.protocols.igd_services import IgdVersion

pytestmark = pytest.mark.lab

HEALED_S = 1.0
"""From the announcement of miniupnpd after its restart until the port is open again."""
TWO = Topology(lans=(replace(HOME, routers=(BOTTOM,)),), peers=topology(1).peers)


@dataclass
class Pair:
    """miniupnpd, and our gateway below it."""

    peer: Peer
    below: Below

    @property
    def lab(self) -> Lab:
        return self.peer.gateway.lab

    @property
    def point(self) -> ControlPoint:
        return ControlPoint(self.lab.hosts[RACK.name], BOTTOM.lan.network[1], IgdVersion.IGD1)

    def arrives(self, port: int, timeout: float = REACHED_S) -> bool:
        return bool(reach(self.lab.hosts["peer1"], TCP, self.lab.external[0], port, timeout=timeout))

    def shut(self, port: int) -> bool:
        return not self.arrives(port, SHUT_S)

    def above_is_empty(self) -> bool:
        """No rule of a mapping in miniupnpd's chains."""
        return "dnat" not in self.lab.gateway.run(["nft", "list", "ruleset"]).stdout


@pytest.fixture(scope="module")
def above(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    directory = tmp_path_factory.mktemp("miniupnpd")
    with Lab(TWO) as lab:
        lab.gateway.sysctl("net/ipv4/ip_forward", "1")
        with miniupnpd(lab, directory, PROGRAM) as gateway:
            yield Peer(gateway, directory)


@contextmanager
def below_it(above: Peer, directory: Path, ask: str) -> Iterator[Pair]:
    host = above.gateway.lab.hosts["bottom"]
    with served_below(host, directory / "below", HOME, BOTTOM.host.number, ask) as below:
        yield Pair(above, below)


@pytest.mark.parametrize("word", ["pcp", "natpmp", "igd"])
def test_a_packet_from_outside_passes_both(above: Peer, tmp_path: Path, word: str) -> None:
    port = 8080
    with below_it(above, tmp_path, f'ask = ["{word}"]') as pair, EchoServer(pair.lab.hosts[RACK.name], TCP, port):
        pair.point.add(port)
        assert pair.arrives(port)
        assert pair.point.external_address() == str(pair.lab.external[0])
        [row] = pair.below.rows()
        assert (row["above"]["gateway"], row["above"]["state"]) == (str(HOME.network[1]), "granted")
        assert row["above"]["via"].startswith(word)
        pair.point.delete(port)
        assert pair.shut(port)
        assert until(pair.above_is_empty)


def test_a_port_that_another_host_has_there_is_refused_here_too(above: Peer, tmp_path: Path) -> None:
    """AddPortMapping wants one port: nothing opens here. AddAnyPortMapping gets another one."""
    port, console = 8082, above.gateway.lab.hosts["console"]
    natpmpc(console, "-a", port, port, "tcp", 600, server=HOME.network[1])
    with below_it(above, tmp_path, "") as pair, EchoServer(pair.lab.hosts[RACK.name], TCP, port):
        with pytest.raises(Fault) as refusal:
            pair.point.add(port)
        assert refusal.value.code == 718
        assert f"the gateway above at {HOME.network[1]} refused" in str(refusal.value)
        assert pair.below.rows() == []
        assert "192.168.91." not in pair.below.host.run(["nft", "list", "map", "inet", "upnp_gw", "pm"]).stdout
        point = ControlPoint(pair.lab.hosts[RACK.name], BOTTOM.lan.network[1], IgdVersion.IGD2)
        outside = point.add_any(port)
        assert outside != port
        assert pair.arrives(outside)
        point.delete(outside)
        assert pair.shut(outside)
    natpmpc(console, "-a", port, port, "tcp", 0, server=HOME.network[1])
    assert until(pair.above_is_empty)


def test_its_restart_is_healed_within_a_second_of_its_announcement(above: Peer, tmp_path: Path) -> None:
    port = 8081

    def announces(packet: Packet) -> bool:
        return not packet.outgoing and packet.interface == "wan0" and packet.ports[1] in (5350, 1900)

    with below_it(above, tmp_path, "") as pair, EchoServer(pair.lab.hosts[RACK.name], TCP, port):
        pair.point.add(port)
        assert pair.arrives(port)
        time.sleep(2.0)  # its epoch is the time since its start, in seconds: a restart shows in it after two
        flush_rules(pair.lab)
        assert pair.shut(port)
        with captured(pair.below.host) as capture:
            above.gateway.pid = restarted(pair.peer)
            assert capture.wait(announces)
            announced = time.monotonic()
            assert until(lambda: pair.arrives(port, 0.2))
            assert time.monotonic() - announced < HEALED_S
        pair.point.delete(port)
        assert until(pair.above_is_empty)


def flush_rules(lab: Lab) -> None:
    """As a restart of the router does."""
    for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
        lab.gateway.nft(f"flush chain inet filter {chain}")
