"""The demo without namespaces: requests on the memory backend. No socket, no packet.

Gate, ledger, store and the home policy are the real ones. The home has the addresses of the lab, and the clock is
set by hand. It shows decisions only.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path
from random import SystemRandom

from upnp_gw.engine.build import build_engine
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.environment import Environment
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.firewall.base import FirewallMode, FirewallSettings
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.builtin import home_policy
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.lab.demo.report import StepFindings
from upnp_gw.lab.demo.stage import require
from upnp_gw.lab.demo.steps import BRIEF, BRIEF_LEASE_S, GAME, HOME_LIMIT, LEASE_S, WANTED, ports_of
from upnp_gw.lab.topology import CONSOLE, HOME, PC, LanHost, Topology, gateway_of
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.transaction import Ledger
from upnp_gw.model.mapping import Endpoint, Instant, Transport, Via
from upnp_gw.model.network import Link, Neighbour, Network
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refused, Reply, Source
from upnp_gw.store.store import Store

EXTERNAL = Topology().external_addresses[0]


class RehearsalGateway:
    """A gateway with the addresses of the lab's home."""

    def __init__(self, runner: asyncio.Runner, directory: Path) -> None:
        self.runner = runner
        self.now = Instant(1000.0, 1_800_000_000.0)
        self.firewall = MemoryFirewall(clock=lambda: self.now.boot)
        self.store = Store(directory / "ledger.db", "rehearsal")
        gateway_address = IPv4Interface(f"{gateway_of(HOME.network)}/{HOME.network.prefixlen}")
        self.network = Network(
            wan=Link("wan0", 2, True, (IPv4Interface(f"{EXTERNAL}/24"),)),
            lans=(Link(HOME.interface, 3, True, (gateway_address,)),),
            external=(EXTERNAL,),
            connected_at=self.now.boot,
        )
        around = Environment(self.network, lambda: self.now)
        for host in HOME.hosts:
            around.neighbours.learn(Neighbour(HOME.network[host.number], host.mac, HOME.interface))
        in_force = PolicyInForce(LoadedPolicy(home_policy(), ()), self.now.wall)
        decider = Decider(in_force, Ledger(), around, DeviceHistory(in_force), SystemRandom())
        probe = around.hosts.probe
        self.gateway = build_engine(decider, self.firewall, self.store, Events(), self._settings, probe).gateway

    def _settings(self) -> FirewallSettings:
        return FirewallSettings(FirewallMode.ROUTER, self.network)

    async def start(self) -> None:
        await self.store.open()
        await self.gateway.start()

    async def stop(self) -> None:
        await self.gateway.stop(flush=True)
        await self.store.close()

    def map(self, host: LanHost, transport: Transport, port: int, lease_s: int = LEASE_S) -> Reply:
        """AddPortMapping of this host for itself."""
        address = HOME.network[host.number]
        source = Source(address, HOME.interface)
        request = MapRequest(
            Via.IGD1,
            source,
            transport,
            Endpoint(address, port),
            port,
            PortChoice.EXACT,
            lease_s,
            description="game",
        )
        return self.runner.run(self.gateway.handle(request))


@contextmanager
def rehearsal(directory: Path) -> Iterator[RehearsalGateway]:
    with asyncio.Runner() as runner:
        scene = RehearsalGateway(runner, directory)
        try:
            runner.run(scene.start())
            yield scene
        finally:
            runner.run(scene.stop())


def ask(scene: RehearsalGateway) -> StepFindings:
    lines = []
    for transport in Transport:
        require(scene.firewall.reach(transport, GAME) is None, f"{transport}/{GAME} is open without a request")
        reply = scene.map(CONSOLE, transport, GAME)
        require(isinstance(reply, Granted), f"the console was refused {transport}/{GAME}: {reply}")
        forward = scene.firewall.reach(transport, GAME)
        require(forward is not None, f"{transport}/{GAME} was granted, but it is not open")
        assert forward is not None
        lines.append(f"the console requests {transport}/{GAME}: granted, would lead to {forward.internal}")
    return StepFindings(lines)


def infected(scene: RehearsalGateway) -> StepFindings:
    granted: list[int] = []
    refused: dict[str, list[int]] = defaultdict(list)
    for port in WANTED:
        reply = scene.map(PC, Transport.TCP, port)
        if isinstance(reply, Refused):
            refused[reply.reason].append(port)
        else:
            granted.append(port)
    require(0 < len(granted) <= HOME_LIMIT, f"the infected PC was granted {len(granted)} of {len(WANTED)} ports")
    return StepFindings(
        [
            f"the infected PC asks for {len(WANTED)} ports:",
            f"granted {len(granted)}: {ports_of(granted)}",
            *(f"refused {len(ports)}: {ports_of(ports)}: {reason}" for reason, ports in refused.items()),
        ],
        {"asked": len(WANTED), "granted": granted, "refused": dict(refused)},
    )


def lease(scene: RehearsalGateway) -> StepFindings:
    reply = scene.map(CONSOLE, Transport.UDP, BRIEF, BRIEF_LEASE_S)
    require(isinstance(reply, Granted), f"the console was refused udp/{BRIEF}: {reply}")
    require(scene.firewall.reach(Transport.UDP, BRIEF) is not None, "the port of a short lease is not open")
    scene.now = Instant(scene.now.boot + 60, scene.now.wall + 60)
    require(scene.firewall.reach(Transport.UDP, BRIEF) is None, "the lease did not end")
    require(scene.firewall.reach(Transport.UDP, GAME) is not None, "the long lease ended with the short one")
    return StepFindings(
        [f"udp/{BRIEF} for {BRIEF_LEASE_S} s: granted; a minute later (clock moved by hand) it is gone"]
    )


STEPS: tuple[tuple[str, str, Callable[[RehearsalGateway], StepFindings]], ...] = (
    ("ask", "The console asks for a port: what is decided", ask),
    ("infected", "An infected PC asks for everything: what is decided", infected),
    ("lease", "A lease ends", lease),
)
