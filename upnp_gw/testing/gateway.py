"""The gateway of an emulator: the program of a router over a memory firewall, on one loopback address."""

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory

from upnp_gw.composition import Composition, Surroundings
from upnp_gw.config.settings import EMULATED_ADDRESS, EMULATED_WAN, Config
from upnp_gw.engine.environment import Environment
from upnp_gw.engine.policy_files import local_today
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.builtin import home_policy
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.transaction import Ledger
from upnp_gw.model.mapping import IPAddress, MappingKind
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.servers.identity import Identity
from upnp_gw.servers.lan import LanServers
from upnp_gw.servers.wire import WireClasses
from upnp_gw.store.store import Store
from upnp_gw.system.tasks import BackgroundTasks
from upnp_gw.testing.answers import Answers
from upnp_gw.testing.clock import MovableClock
from upnp_gw.testing.datagram_sockets import port5351_socket, ssdp_socket
from upnp_gw.testing.http_connection import NotedConnection
from upnp_gw.testing.journal import Journal
from upnp_gw.testing.mappings import GrantedLeases, HeldMapping
from upnp_gw.testing.records import Records

LOOPBACK = "lo"
SPEED = 100_000_000
"""Bits a second of the emulated WAN."""
IDLE_S = 300


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """What a test can choose before the start."""

    external_address: str = str(EMULATED_ADDRESS)
    """The external IPv4 address; empty: there is none."""
    policy: str = ""
    """The text of a policy file (docs/policy-guide.md); empty: the built-in home policy."""
    nat: bool = True
    """False: a firewall without NAT."""
    visibility: str = "own"
    """own: a client sees and deletes its own mappings; all: those of every client."""


class EmulatedGateway:
    """``running`` gives one. Use it on its event loop."""

    def __init__(self, options: EmulatorOptions, clock: MovableClock) -> None:
        self.options = options
        self.clock = clock
        self.address = _unused_address()
        """Its own address on the loopback, and the only one."""
        started = clock.monotonic()
        self.journal = Journal(lambda: clock.monotonic() - started)
        self.answers = Answers()
        self._leases = GrantedLeases()
        self._ledger: Ledger
        self._store: Store
        self._composition: Composition
        self.servers: LanServers
        self.token = ""
        """Part of the paths of control and event URLs."""

    def epoch_s(self) -> int:
        """The epoch of NAT-PMP and PCP, seconds."""
        return self._ledger.epoch.seconds(self.clock())

    async def start(self, stack: AsyncExitStack, directory: Path) -> None:
        """``stack`` stops everything. Raises ConfigError for a policy with mistakes, OSError for a missing port."""
        options = self.options
        config = Config(wan=EMULATED_WAN, lan=(LOOPBACK,), http_port=0, nat=options.nat, backend="memory",
                        visibility=options.visibility)  # fmt: skip
        self._store = Store(directory / "ledger.db", "emulator")
        stack.push_async_callback(self._store.close)
        await self._store.open()
        identity = await Identity.load(self._store)
        stack.push_async_callback(identity.settled)
        self.token = identity.token
        events, environment = Events(), Environment(self._network(config), self.clock)
        events.subscribe(lambda event: self._leases.on_event(event, self.clock()))
        around = Surroundings(
            environment=environment,
            firewall=MemoryFirewall(self.clock.monotonic),
            store=self._store,
            events=events,
            random=SystemRandom(),
            reserved_ports=GatewayPorts,
            probe=_answers,
            wan_counters=lambda: (0, 0, 0, 0),
            wan_speed=lambda: SPEED,
            ipv6_firewall=Ipv6Firewall,
            idle_timeout_s=lambda transport: IDLE_S,
        )
        self._composition = Composition(config, self._policy(), around)
        self._ledger, engine = self._composition.decider.ledger, self._composition.engine
        stack.push_async_callback(engine.gateway.stop)
        await engine.gateway.start()
        stack.push_async_callback(engine.scheduler.stop)
        engine.scheduler.start()
        tasks = BackgroundTasks()
        stack.push_async_callback(tasks.cancel)
        self.servers = self._composition.lan_servers(identity, tasks.spawn, self._wire())
        stack.push_async_callback(self.servers.stop)
        await self.servers.start()

    def _policy(self) -> PolicyInForce:
        text, wall = self.options.policy, self.clock().wall
        loaded = load_text(text, "policy", local_today(wall)) if text else LoadedPolicy(home_policy(), ())
        return PolicyInForce(loaded, wall)

    def _network(self, config: Config) -> Network:
        external = self.options.external_address
        lan = IPv4Interface(f"{self.address}/8")
        return Network(
            wan=Link(EMULATED_WAN, 1, True),
            lans=(Link(LOOPBACK, socket.if_nametoindex(LOOPBACK), True, (lan,), has_macs=False),),
            external=(IPv4Address(external),) if external else (),
            connected_at=self.clock().boot if external else None,
            without_nat=config.without_nat,
            emulated=True,
        )

    def _wire(self) -> WireClasses:
        return WireClasses(
            connection=partial(NotedConnection, self.journal, self.answers),
            ssdp_socket=partial(ssdp_socket, self, address=self.address),
            port5351_socket=partial(port5351_socket, self),
        )

    # -- for the test

    async def held(self, kind: MappingKind) -> Records[HeldMapping]:
        """The mappings of one kind, when all requests so far are done."""
        await self._composition.engine.gateway.settled()
        return self._leases.held(self._ledger.table, kind, self.clock())

    async def advance(self, seconds: float) -> None:
        """Moves the clock, and does what falls due on the way in its order. Returns when it is done."""
        end = self.clock.monotonic() + seconds
        while (due := self._ledger.next_due()) is not None and due <= end:
            self.clock.move_to(due)
            await self._do_due()
        self.clock.move_to(end)
        await self._do_due()

    async def _do_due(self) -> None:
        engine = self._composition.engine
        engine.scheduler.sweep()
        await engine.scheduler.settled()
        await engine.gateway.settled()


@asynccontextmanager
async def running(options: EmulatorOptions, clock: MovableClock) -> AsyncIterator[EmulatedGateway]:
    """A gateway that serves. Its state is in a temporary directory, which is deleted after."""
    gateway = EmulatedGateway(options, clock)
    with TemporaryDirectory(prefix="upnp-gw-") as directory:
        async with AsyncExitStack() as stack:
            await gateway.start(stack, Path(directory))
            yield gateway


def _unused_address() -> IPv4Address:
    """One of sixteen million, for this emulator alone: it can have the ports 1900 and 5351 there."""
    return IPv4Address(f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}")


async def _answers(address: IPAddress, interface: str) -> bool:
    """Every client is there."""
    return True
