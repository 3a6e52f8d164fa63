"""The gateway of an emulator: the program of a router over a memory firewall, on one loopback address."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Interface
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from uuid import uuid4
from weakref import WeakSet

from upnp_gw.config.settings import EMULATED_WAN, Config
from upnp_gw.daemon.composition import Composition, Surroundings
from upnp_gw.engine.environment import Environment
from upnp_gw.engine.policy_files import local_today
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.engine.reevaluation import Reevaluation
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.builtin import home_policy
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.ledger.events import Event, Events, Ipv6FirewallChanged, WanChanged
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import IPAddress, MappingKind
from upnp_gw.model.network import GatewayPorts, Link, Network
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.protocols.mode import ServiceMode
from upnp_gw.servers.identity import TOKEN_BYTES, Identity
from upnp_gw.servers.lan import LanServers
from upnp_gw.servers.wire import WireClasses
from upnp_gw.store.store import Store
from upnp_gw.system.tasks import BackgroundTasks
from upnp_gw.testing.announcements import Announced
from upnp_gw.testing.changes import Changes
from upnp_gw.testing.clock import MovableClock
from upnp_gw.testing.events import EventDelivery
from upnp_gw.testing.firewall_seam import FirewallSeam
from upnp_gw.testing.http_connection import NotedConnection
from upnp_gw.testing.journal import Journal
from upnp_gw.testing.mappings import GrantedLeases, HeldMapping
from upnp_gw.testing.options import EmulatorOptions
from upnp_gw.testing.place import find_place
from upnp_gw.testing.plain_sockets import listen
from upnp_gw.testing.ports import IPV6_LOOPBACK, Ports
from upnp_gw.testing.rules import Rules
from upnp_gw.testing.subscribers import Subscriber, subscriber

SPEED = 100_000_000
"""Bits a second of the emulated WAN."""
IDLE_S = 300


class EmulatedGateway:
    """``running`` gives one. Use it on its event loop."""

    def __init__(self, options: EmulatorOptions, clock: MovableClock, directory: Path, changes: Changes) -> None:
        self.options = options
        self.clock = clock
        self.place = find_place(options.interface, options.address)
        started = clock.monotonic()

        def now_s() -> float:
            return round(clock.monotonic() - started, 6)

        self.journal = Journal(now_s, changes)
        self.announcements = Announced(now_s, changes)
        self.rules = Rules(clock.sleep)
        self.deliveries = EventDelivery(self.rules, now_s, changes)
        self.ipv6_firewall = Ipv6Firewall()
        self.http_port = options.http_port
        """The ports stay the same after a reboot."""
        self.ports = Ports(self, options, self.place)
        self.token = ""
        """Part of the paths of control and event URLs."""
        self._changes = changes
        self._directory = directory
        self._policies: dict[object, str] = {}
        """The policies of faults, by their owner, the newest last."""
        self._boots = self._losses = 0
        """The number of its starts, and of losses of its state before."""
        self._connections = WeakSet[NotedConnection]()
        self._stack = AsyncExitStack()
        self._leases = GrantedLeases()
        self._wan = Link(EMULATED_WAN, 1, True)
        self._external = _addresses(options.external_address)
        self._environment: Environment
        self._events: Events
        self._ledger: Ledger
        self._store: Store
        self._composition: Composition
        self._firewall: FirewallSeam
        self._servers: LanServers

    def epoch_s(self) -> int:
        """The epoch of NAT-PMP and PCP, seconds."""
        return self._ledger.epoch.seconds(self.clock())

    async def start(self, stored: Mapping[str, str | None] | None = None) -> None:
        """``stored``: values of its identity that are in the store already. Raises ConfigError for a policy with
        mistakes, and for an HTTP port that is taken."""
        stack, options = self._stack, self.options
        self._boots += 1
        config = Config(
            wan=EMULATED_WAN,
            lan=(self.place.interface,),
            http_port=self.http_port,
            faces=tuple(f"igd{version}" for version in options.versions),
            natpmp=ServiceMode.ON if options.natpmp else ServiceMode.OFF,
            pcp=ServiceMode.ON if options.pcp else ServiceMode.OFF,
            nat=options.nat,
            backend="memory",
            visibility=options.visibility,
        )
        self._store = Store(self._directory / f"ledger-{self._losses}.db", f"boot-{self._boots}", temporary=True)
        stack.push_async_callback(self._store.close)
        await self._store.open()
        for name, value in (stored or {}).items():
            if value is not None:
                await self._store.set(name, value)
        # two starts in one second have two BOOTIDs, also where the first one was lost
        boots = self._boots
        identity = await Identity.load(self._store, lambda: self.clock.running().wall + boots)
        stack.push_async_callback(identity.settled)
        self.token = identity.token
        self._firewall = FirewallSeam(MemoryFirewall(self.clock.monotonic), lambda: self.rules.lasting)
        self._events, self._environment = Events(), Environment(self._network(config), self.clock)
        self._events.subscribe(self._on_event)
        around = Surroundings(
            environment=self._environment,
            firewall=self._firewall,
            store=self._store,
            events=self._events,
            random=SystemRandom(),
            reserved_ports=GatewayPorts,
            probe=_answers,
            wan_counters=lambda: (0, 0, 0, 0),
            wan_speed=lambda: SPEED,
            ipv6_firewall=lambda: self.ipv6_firewall,
            idle_timeout_s=lambda transport: IDLE_S,
        )
        self._composition = Composition(config, PolicyInForce(self._policy(), self.clock().wall), around)
        self._ledger, engine = self._composition.decider.ledger, self._composition.engine
        stack.push_async_callback(engine.gateway.stop)
        await engine.gateway.start()
        stack.push_async_callback(engine.scheduler.stop)
        engine.scheduler.start()
        tasks = BackgroundTasks()
        stack.push_async_callback(tasks.cancel)
        self._servers = self._composition.lan_servers(identity, tasks.spawn, self._wire(), self.clock.running)
        stack.push_async_callback(self._servers.stop)
        self.ports.unopened.clear()
        await self._servers.start()
        self.http_port = self._servers.http_port
        if self.ports.unopened:
            raise self.ports.unopened[0]

    async def stop(self) -> None:
        """Closes everything. ``start`` may follow."""
        self.rules.release()
        await self._stack.aclose()

    def _on_event(self, event: Event) -> None:
        self._leases.on_event(event, self.clock())
        self._changes.changed()

    def _policy(self) -> LoadedPolicy:
        """The newest of those that a fault brought into force; else the option. Raises ConfigError."""
        text = next(reversed(self._policies.values()), self.options.policy)
        if not text:
            return LoadedPolicy(home_policy(), ())
        return load_text(text, "policy", local_today(self.clock().wall))

    def _network(self, config: Config) -> Network:
        place = self.place
        own = (place.own, IPv6Interface(IPV6_LOOPBACK)) if self.options.ipv6 else (place.own,)
        return Network(
            wan=self._wan,
            lans=(Link(place.interface, place.index, True, own, has_macs=False),),
            external=self._external,
            connected_at=self.clock().boot,
            without_nat=config.without_nat,
            emulated=True,
        )

    def _wire(self) -> WireClasses:
        return WireClasses(
            connection=partial(NotedConnection, self.journal, self.rules, self._connections),
            listen=listen,
            ssdp_socket=self.ports.open_search,
            port5351_socket=self.ports.open_port5351,
            deliver=self.deliveries,
        )

    # -- for the test

    @property
    def external_address(self) -> str:
        """The external IPv4 address; empty: there is none."""
        return "".join(map(str, self._external))

    def subscribers(self) -> list[Subscriber]:
        """The active event subscriptions, the oldest first."""
        now = self.clock.running()
        return [subscriber(row, now) for row in self._servers.active_subscriptions()]

    def forget(self) -> None:
        """Forgets the requests, events and announcements so far."""
        for noted in (self.journal, self.deliveries, self.announcements):
            noted.clear()

    @property
    def wan_up(self) -> bool:
        return self._wan.up

    def held(self, kind: MappingKind) -> list[HeldMapping]:
        """The mappings of one kind."""
        return self._leases.held(self._ledger.table, kind, self.clock(), self._firewall.forwards)

    def is_mapped(self, external_port: int, transport: str) -> bool:
        """As ``fault.Router``."""
        now = self.clock().boot
        keys = {(m.key.external_port, m.key.transport.value) for m in self._ledger.table if m.until > now}
        return (external_port, transport) in keys

    def mapping_count(self) -> int:
        """As ``fault.Router``."""
        now = self.clock().boot
        return sum(m.kind is MappingKind.PORT_MAPPING and m.until > now for m in self._ledger.table)

    async def settled_held(self, kind: MappingKind) -> list[HeldMapping]:
        """``held``, when all requests so far are done."""
        await self._composition.engine.gateway.settled()
        return self.held(kind)

    async def advance(self, seconds: float) -> None:
        """Moves the clock, and does what falls due on the way in its order. Returns when it is done."""
        self._firewall.check_clock()
        end = self.clock.monotonic() + seconds
        await self._do_due()
        while (step := self._until_due()) is not None and (at := self.clock.monotonic() + step) <= end:
            self.clock.move_to(at)
            await self._do_due()
        self.clock.move_to(end)
        await self._do_due()
        for connection in tuple(self._connections):
            connection.time_passed(seconds)

    def _until_due(self) -> float | None:
        """Seconds until the next thing falls due; None: nothing will. Announcements count where they are sent."""
        due, deadline = self._ledger.next_due(), self._servers.next_deadline(self.options.multicast)
        steps = [] if due is None else [due - self.clock.monotonic()]
        if deadline is not None:
            steps.append(deadline - self.clock.running().boot)
        return min((step for step in steps if step > 0), default=None)

    async def change_wan(self, external_address: str, up: bool) -> None:
        """Raises ValueError for text that is no IPv4 address."""
        self._external = _addresses(external_address)
        self._wan = replace(self._wan, up=up)
        old = self._environment.network
        connected_at = self.clock().boot if (old.wan.up, old.external) != (up, self._external) else old.connected_at
        new = replace(old, wan=self._wan, external=self._external, connected_at=connected_at)
        self._environment.network = new
        self._composition.engine.scheduler.network_changed()
        self._events.publish(WanChanged())
        if new.advertised != old.advertised:
            await self._servers.external_changed()
        await self._do_due()

    def change_ipv6_firewall(self, state: Ipv6Firewall) -> None:
        """Clients get an event."""
        self.ipv6_firewall = state
        self._events.publish(Ipv6FirewallChanged())

    async def load_policy(self, owner: object, text: str) -> None:
        """As ``fault.Router``. Mappings that the policy does not allow end."""
        self._policies[owner] = text
        try:
            await self._enforce(self._policy())
        except ConfigError:
            del self._policies[owner]
            raise

    async def drop_policy(self, owner: object) -> None:
        """The policy before is in force again."""
        if self._policies.pop(owner, None) is not None:
            await self._enforce(self._policy())

    async def _enforce(self, loaded: LoadedPolicy) -> None:
        def replace_policy(transaction: Transaction) -> None:
            Reevaluation(self._composition.decider).policy_changed(transaction, loaded)

        await self._composition.engine.writer.submit(replace_policy)
        await self._composition.engine.gateway.settled()

    async def reboot(self, keep_mappings: bool, *, new_urls: bool, new_port: bool = False) -> None:
        """Stops, and starts again on the same address and UDP ports, with a new epoch and BOOTID. ``new_urls``:
        with other control URLs and UDNs; ``new_port``: with another HTTP port."""
        names = ("uuid", "token")
        identity = {} if new_urls else {name: await self._store.get(name) for name in names}
        if keep_mappings and new_urls:
            identity = {"uuid": str(uuid4()), "token": secrets.token_hex(TOKEN_BYTES)}
        await self.stop()
        self._losses += not keep_mappings
        self.http_port = 0 if new_port else self.http_port
        await self.start(identity)

    async def change_boot_id(self) -> None:
        """Announces a new BOOTID without a restart."""
        self._servers.change_boot_id()

    def choose(self, options: EmulatorOptions) -> None:
        """Other options from the next start on."""
        if options.external_address != self.options.external_address:
            self._external = _addresses(options.external_address)
        self.options = options

    async def _do_due(self) -> None:
        engine = self._composition.engine
        self._servers.run_due()
        engine.scheduler.sweep()
        await engine.scheduler.settled()
        await engine.gateway.settled()


@asynccontextmanager
async def running(
    options: EmulatorOptions, clock: MovableClock, changes: Changes | None = None
) -> AsyncIterator[EmulatedGateway]:
    """A gateway that serves. Its state is in a temporary directory, which is deleted after. ``changes`` learns of
    all that a test can see."""
    with TemporaryDirectory(prefix="upnp-gw-", ignore_cleanup_errors=True) as directory:
        gateway = EmulatedGateway(options, clock, Path(directory), changes or Changes())
        try:
            await gateway.start()
            yield gateway
        finally:
            await gateway.stop()


def _addresses(text: str) -> tuple[IPv4Address, ...]:
    return (IPv4Address(text),) if text else ()


async def _answers(address: IPAddress, interface: str) -> bool:
    """Every client is there."""
    return True
