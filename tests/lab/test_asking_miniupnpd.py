"""The client of the gateway above against Debian's miniupnpd, over each protocol. It opens, renews and closes
ports, and a packet shows it. The client is a host of miniupnpd's LAN, and finds it by its default route."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TypeVar

import pytest

from tests import ROOT
from tests.bench.gateways import Gateway, lab_of, miniupnpd, peer_version
from tests.fixtures.gateway_above import EVERY, REQUEST, SeenEvents, asking
from tests.fixtures.waiting import async_until, until
from upnp_gw.lab import HOME, Host
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.model.above import AboveGranted, AboveRefused, AboveRequest
from upnp_gw.model.mapping import Endpoint, Transport, Via
from upnp_gw.model.network import Link, Network
from upnp_gw.model.request import Refusal
from upnp_gw.upstream import GatewayAboveClient

pytestmark = pytest.mark.lab

T = TypeVar("T")
PROGRAM = ROOT / ".venv/unpacked/usr/sbin/miniupnpd"
PORT = 8080
ANSWER_S = 10.0
REACHED_S = 10.0
"""Of an open port on a busy machine."""
SHUT_S = 0.3
NOTICED_S = 1.0


@dataclass
class Peer:
    """miniupnpd, and a host of its LAN that asks it."""

    gateway: Gateway
    directory: Path

    @property
    def asker(self) -> Host:
        return self.gateway.hosts[0]

    @property
    def request(self) -> AboveRequest:
        return replace(REQUEST, internal=Endpoint(self.asker.address, PORT))

    @property
    def network(self) -> Network:
        with self.asker.inside():
            index = int(self.asker.run(["cat", "/sys/class/net/eth0/ifindex"]).stdout)
        own = IPv4Interface((self.asker.address, HOME.network.prefixlen))
        return Network(Link("eth0", index, True, (own,)), (), external=(self.asker.address,))

    def ask(
        self, work: Callable[[GatewayAboveClient, SeenEvents], Awaitable[T]], vias: tuple[Via, ...] = EVERY
    ) -> T:
        """Runs a client in the asking host."""
        network = self.network

        async def run() -> T:
            async with asking(None, vias, network) as (client, events):
                return await work(client, events)

        with self.asker.inside():
            return asyncio.run(run())

    def reaches(self, port: int = PORT, timeout: float = REACHED_S) -> bool:
        """A connection from the internet to the external port."""
        lab = self.gateway.lab
        return bool(reach(lab.hosts["peer1"], Transport.TCP, lab.external[0], port, timeout=timeout))


@pytest.fixture(scope="module")
def peer(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    assert PROGRAM.exists(), "miniupnpd is missing: run tests/run.sh --setup-only"
    assert peer_version(PROGRAM)
    directory = tmp_path_factory.mktemp("miniupnpd")
    with lab_of(2) as lab, miniupnpd(lab, directory, PROGRAM) as gateway:
        yield Peer(gateway, directory)


ORDERS = [(Via.PCP,), (Via.NATPMP,), (Via.IGD2,)]


@pytest.mark.parametrize("vias", ORDERS, ids=lambda vias: vias[0].protocol)
def test_a_port_is_opened_renewed_and_closed(peer: Peer, vias: tuple[Via, ...]) -> None:
    async def open_and_renew(client: GatewayAboveClient, _: SeenEvents) -> AboveGranted:
        first = await client.ask(peer.request, ANSWER_S)
        assert isinstance(first, AboveGranted), first
        assert first.external == Endpoint(peer.gateway.lab.external[0], PORT)
        assert (first.gateway, first.via.protocol) == (HOME.network[1], vias[0].protocol)
        again = await client.ask(replace(peer.request, external=first.external, via=first.via), ANSWER_S)
        assert isinstance(again, AboveGranted), again
        assert again.external == first.external
        assert client.state().gateway == HOME.network[1]
        return again

    async def close(client: GatewayAboveClient, _: SeenEvents) -> None:
        """With another client, as after a restart."""
        assert (
            await client.release(replace(peer.request, external=granted.external, via=granted.via), ANSWER_S)
            is None
        )

    with EchoServer(peer.asker, Transport.TCP, PORT):
        granted = peer.ask(open_and_renew, vias)
        assert peer.reaches()
        peer.ask(close, vias)
        assert not peer.reaches(timeout=SHUT_S)


def test_the_first_protocol_of_the_order_is_pcp(peer: Peer) -> None:
    async def ask(client: GatewayAboveClient, _: SeenEvents) -> Via:
        found = await client.ask(peer.request, ANSWER_S)
        assert isinstance(found, AboveGranted), found
        assert await client.release(replace(peer.request, external=found.external, via=found.via), ANSWER_S) is None
        return found.via

    assert peer.ask(ask) is Via.PCP
    assert peer.ask(ask, (Via.IGD2, Via.PCP)).protocol == "igd"


@pytest.mark.parametrize("vias", ORDERS, ids=lambda vias: vias[0].protocol)
def test_its_rules_refuse_a_port(peer: Peer, vias: tuple[Via, ...]) -> None:
    """miniupnpd allows ports from 1024 on. It answers that with another code over each protocol, and over PCP and
    NAT-PMP it may choose another port where none is insisted on."""

    async def ask(client: GatewayAboveClient, _: SeenEvents) -> AboveRefused:
        request = replace(peer.request, internal=Endpoint(peer.asker.address, 80), exact=True)
        found = await client.ask(request, ANSWER_S)
        assert isinstance(found, AboveRefused), found
        return found

    found = peer.ask(ask, vias)
    assert found.refusal in (Refusal.NOT_AUTHORIZED, Refusal.CONFLICT, Refusal.TABLE_FULL)
    assert found.reason.startswith(f"the gateway above at {HOME.network[1]} refused: ")


def test_its_restart_is_noticed_within_a_second_of_its_announcement(peer: Peer) -> None:
    """It has lost its epoch. It announces the new one over NAT-PMP, PCP and SSDP."""

    async def wait(client: GatewayAboveClient, events: SeenEvents) -> None:
        assert isinstance(await client.ask(peer.request, ANSWER_S), AboveGranted)
        await asyncio.sleep(2.0)  # the epoch has to grow: its loss shows by that
        peer.gateway.pid = restarted(peer)
        announced = asyncio.get_running_loop().time()
        await async_until(lambda: events.losses > 0)
        assert events.lost_at - announced < NOTICED_S
        found = await client.ask(peer.request, ANSWER_S)
        assert isinstance(found, AboveGranted), found

    peer.ask(wait)


def restarted(peer: Peer) -> int:
    """Kills miniupnpd and starts it: the new pid."""
    os.kill(peer.gateway.pid, signal.SIGKILL)
    assert until(lambda: has_ended(peer.gateway.pid))  # its ports are free then
    pid_file = peer.directory / "miniupnpd.pid"
    pid_file.unlink(missing_ok=True)
    argv = [str(PROGRAM), "-f", str(peer.directory / "miniupnpd.conf"), "-P", str(pid_file)]
    quiet = subprocess.DEVNULL
    peer.gateway.lab.gateway.popen(argv, stdout=quiet, stderr=quiet).wait(ANSWER_S)
    assert until(lambda: pid_file.exists() and bool(pid_file.read_text("ascii")))
    return int(pid_file.read_text("ascii"))


def has_ended(pid: int) -> bool:
    """True for a zombie too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
