"""Builds every part from a ``Config``, starts them in order, reloads the policy, stops them in the reverse order.

Nothing is decided here. What needs asyncio to load (the action model) is loaded here and passed in.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, nullcontext
from importlib import import_module
from random import SystemRandom
from typing import TYPE_CHECKING

import uvloop

from upnp_gw import __version__
from upnp_gw.backup.placing import finish_at_start
from upnp_gw.config.changed_keys import waiting_keys
from upnp_gw.config.settings import Config
from upnp_gw.control.on_demand import ControlOnDemand, DaemonParts
from upnp_gw.control.socket_path import Claim
from upnp_gw.daemon import decision_log
from upnp_gw.daemon.composition import Composition, Surroundings
from upnp_gw.daemon.gateway_above import GatewayAboveInDaemon
from upnp_gw.engine.environment import Environment, served_network
from upnp_gw.engine.garbage_collection import GarbageCollection
from upnp_gw.engine.obstacles import Obstacles
from upnp_gw.engine.other_tables import OtherTables, served_ports
from upnp_gw.engine.policy_files import APPROVED, PolicyFiles
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.engine.policy_reload import PolicyUpdates
from upnp_gw.engine.reserved_ports import ReservedPorts
from upnp_gw.firewall.base import Firewall, FirewallMode
from upnp_gw.firewall.conntrack_timeouts import idle_timeout_s
from upnp_gw.firewall.libnftables import check_library
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.firewall.nftables import NftablesFirewall, Writing
from upnp_gw.ledger.events import DoubleNatFound, Events, Ipv6FirewallChanged, WanChanged
from upnp_gw.model.errors import FirewallError, StoreError
from upnp_gw.model.mapping import DAY_S
from upnp_gw.model.network import Network
from upnp_gw.model.public_addresses import private_external
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.servers.identity import Identity
from upnp_gw.servers.wire import EpochOf, WireClasses, router_wire
from upnp_gw.store.pruning import Retention
from upnp_gw.store.store import Store
from upnp_gw.system import log_lines
from upnp_gw.system.clock import boot_id, claim_kernel, clock, own_state_directory
from upnp_gw.system.dhcp_lease_files import LeaseFiles
from upnp_gw.system.listening_ports import ListeningPorts
from upnp_gw.system.network_monitor import AddressSettled, NeighbourEvent, NeighbourSeen, NetworkMonitor
from upnp_gw.system.privileges import check_right, settle
from upnp_gw.system.process import begin_collection, bound_heap, end_process, share_interpreter
from upnp_gw.system.sd_notify import READY, STOPPING, keep_watchdog, notify
from upnp_gw.system.signals import Signals
from upnp_gw.system.state_lock import StateLock
from upnp_gw.system.tasks import BackgroundTasks
from upnp_gw.system.wan_counters import WanCounters
from upnp_gw.system.who_has import WhoHas, open_who_has

if TYPE_CHECKING:
    from upnp_gw.api import Check
    from upnp_gw.engine.kernel_proof import KernelProver

log = logging.getLogger(__name__)

EXIT_FAULT = 1


class Daemon:
    """One gateway. ``run`` returns after a request to stop."""

    def __init__(
        self,
        config: Config,
        detected: Iterable[str] = (),
        who_has: WhoHas | None = None,
        make_wire: Callable[[EpochOf], WireClasses] = router_wire,
        around: Callable[[Firewall], Firewall] = lambda firewall: firewall,
    ) -> None:
        """``make_wire`` and ``around`` are a router's. The lab gives others, which make faults."""
        self.config = config
        self._who_has = who_has
        self._make_wire = make_wire
        self._around = around
        self._detected = tuple(detected)
        self._signals = Signals()
        self._background = BackgroundTasks()
        self._stack = AsyncExitStack()
        self._started = clock()

    async def run(self) -> None:
        """Starts everything, says so, serves, stops everything. Raises GatewayError where it cannot start."""
        with self._signals.handled(ignored_after=True):
            async with self._stack:
                await self._start()
                self._notify_ready()
                begin_collection()
                self.events.subscribe(GarbageCollection().on_event)
                self._background.spawn(self._policy_updates.follow(self._signals.reload))
                self._background.spawn(keep_watchdog())
                await self._signals.stop.wait()
                notify(os.environ, STOPPING)

    # -- start

    async def _start(self) -> None:
        config = self.config
        own_state_directory(config.state_dir)
        self._claim = Claim(config.runtime_dir, config.control_group)
        self._stack.callback(self._claim.release)
        if config.backend == "nftables":
            self._stack.push(claim_kernel(config.user) or nullcontext())
        self._stack.callback(StateLock(config.state_dir).release)
        finish_at_start(config.state_dir)
        files = PolicyFiles(config.policy, config.state_dir / APPROVED, lambda: clock().wall)
        loaded = files.load()
        for finding in loaded.warnings:
            log.warning("policy: %s", finding)
        keep = Retention(config.keep_decisions, config.keep_days * DAY_S)
        self._store = Store(config.state_dir / "ledger.db", boot_id(), config.durability == "full", keep)
        self._stack.push_async_callback(self._store.close)
        await self._store.open()
        self._identity = await Identity.load(self._store)
        self._stack.push_async_callback(self._identity.settled)
        await self._start_network()
        await self._start_gateway(PolicyInForce(loaded, clock().wall))
        size = self._composition.firewall_settings().size
        self._policy_updates = PolicyUpdates(
            *(files, self._decider, self.gateway.submit, self.events, self._store, size),
            also_changed=lambda: waiting_keys(config),
            load_hosts=self.gateway.load_hosts,
        )
        await self._policy_updates.begin()
        await self._start_servers()
        self._start_control()

    async def _start_network(self) -> None:
        config = self.config
        watch = self._monitor = NetworkMonitor(
            config.wan,
            config.lan,
            routed=tuple(config.routed),
            external=config.external_addresses,
            boottime=lambda: clock().boot,
            who_has=self._who_has,
        )
        self._stack.push_async_callback(watch.close)
        await watch.start()
        leases = LeaseFiles(config.lease_files, lambda: clock().boot)
        await leases.refresh()
        self._environment = Environment(
            served_network(watch.network, config), clock, watch.neighbours, watch, leases
        )
        self._background.spawn(leases.follow())
        self._counters = WanCounters(config.wan, lambda: clock().boot)
        self._stack.callback(self._counters.close)

    async def _start_gateway(self, in_force: PolicyInForce) -> None:
        config = self.config
        self.events = Events()
        self.events.subscribe(decision_log.on_event)
        changed = asyncio.Event()
        nftables = NftablesFirewall(changed.set, Writing(config.writer)) if config.backend == "nftables" else None
        self._kernel = nftables
        listeners = ListeningPorts(lambda: self._environment.network, lambda: clock().boot)
        self._others = OtherTables(
            lambda: self._environment.network,
            nftables,
            served_ports(config),
            changed,
            lambda: self.events.publish(Ipv6FirewallChanged()),
            config.firewall is FirewallMode.ROUTER,
        )
        self._obstacles = Obstacles(lambda: self._environment.network, self._others)
        self._above = GatewayAboveInDaemon(config, self._environment, self.events, self._background.spawn)
        self._composition = Composition(
            config,
            in_force,
            Surroundings(
                environment=self._environment,
                firewall=self._around(nftables or MemoryFirewall()),
                store=self._store,
                events=self.events,
                random=SystemRandom(),
                reserved_ports=ReservedPorts(listeners.ports, self._others),
                probe=self._monitor.recheck,
                wan_counters=self._counters.wan_counters,
                wan_speed=self._counters.wan_speed,
                ipv6_firewall=self._ipv6_firewall,
                idle_timeout_s=idle_timeout_s,
                above=self._above.client,
                on_outermost=self._above.on_outermost,
            ),
        )
        self._decider, engine = self._composition.decider, self._composition.engine
        self.gateway, self._scheduler, self._evidence = engine.gateway, engine.scheduler, engine.evidence_collector
        self._persistence, self._usage = engine.persistence, engine.usage_reader
        self._stack.push_async_callback(self.gateway.stop, config.flush_on_stop)
        await self.gateway.start()
        await self._above.start(engine.leases_above, self._stack)
        await self._others.refresh()
        self._obstacles.log_changes()
        self._monitor.set_holder_of(self._scheduler.holder_of)
        await self._start_evidence()
        self._stack.push_async_callback(self._scheduler.stop)
        self._stack.push_async_callback(self._background.cancel)
        self._background.spawn(self._others.follow(self._obstacles.log_changes))
        self._monitor.on_network = self._network_changed
        self._monitor.on_neighbour = self._neighbour_changed
        if self._monitor.network.generation != self._environment.network.generation:  # it changed meanwhile
            self._environment.network = self._above.served(self._monitor.network)
            self._scheduler.network_changed()
        self._scheduler.start()

    async def _start_evidence(self) -> None:
        await self._evidence.load(self._persistence.devices.now)
        self.events.subscribe(self._evidence.on_event)
        self._stack.push_async_callback(self._last_evidence)
        self._background.spawn(self._evidence.keep())

    async def _last_evidence(self) -> None:
        """Traffic until the stop is evidence too."""
        try:
            await self._usage.count(remotes=True, at_stop=True)
        except FirewallError as error:
            log.warning("the counters cannot be read: %s", error)
        await self._evidence.flush()

    async def _start_servers(self) -> None:
        wire = self._make_wire(lambda: self._decider.ledger.epoch.seconds(clock()))
        self._lan_servers = self._composition.lan_servers(self._identity, self._background.spawn, wire)
        self._stack.push_async_callback(self._lan_servers.stop)
        await self._lan_servers.start()
        self._above.serve(self._lan_servers)

    def _start_control(self) -> None:
        self._background.spawn(self._policy_updates.keep_ended_out())
        self._background.spawn(self._policy_updates.follow_lists())
        parts = DaemonParts(
            config=self.config,
            detected=self._detected,
            started=self._started,
            gateway=self.gateway,
            decider=self._decider,
            events=self.events,
            store=self._store,
            policy_updates=self._policy_updates,
            evidence=self._evidence,
            measurements=self._composition.engine.measurements,
            count=self._usage.count,
            recount=self._usage.recount,
            probe=self._monitor.probe,
            kernel=self._kernel,
            locations=self._lan_servers.locations,
            obstacles=self._obstacles.now,
            counters=self._counts,
            doctor=self._examine,
            status_page=self._composition.status_page,
            above=self._above.state,
        )
        control = ControlOnDemand(self._claim, parts)
        self._stack.push_async_callback(control.close)
        control.start()

    async def _examine(self) -> list["Check"]:
        doctor = await asyncio.to_thread(import_module, "upnp_gw.doctor")  # it is loaded when somebody asks
        proofs = await asyncio.to_thread(import_module, "upnp_gw.engine.kernel_proof")
        prover: KernelProver = proofs.KernelProver(self.gateway, self._decider, self._kernel)
        findings: list[Check] = await doctor.examine(self.config, os.getpid(), prove=prover.proof)
        return findings

    def _counts(self) -> dict[str, int]:
        return {
            **self._lan_servers.counts(),
            **self._usage.over_share.counts(),
            **self._persistence.write_backlog.counts(),
        }

    def _ipv6_firewall(self) -> Ipv6Firewall:
        """Our own table's in router mode; alongside, what others do."""
        return Ipv6Firewall() if self.config.firewall is FirewallMode.ROUTER else self._others.ipv6_firewall

    def _notify_ready(self) -> None:
        config = self.config
        lans = ", ".join(f"{name} without NAT" if name in config.without_nat else name for name in config.lan)
        line = (
            f"upnp-gw {__version__} serves {lans} for {config.wan}"
            f" ({config.backend}, {config.firewall.value}), HTTP port {self._lan_servers.http_port},"
            f" policy: {self._policy_updates.files.source}"
        )
        print(line, flush=True)
        notify(os.environ, READY, line)

    # -- while it runs

    def _network_changed(self, old: Network, new: Network) -> None:
        new = self._environment.network = self._above.served(new)
        self._scheduler.network_changed()
        self._above.network_changed(new)
        self._others.changed()
        if old.lans != new.lans:
            self._scheduler.check_hosts()
            self._background.spawn(self._lan_servers.lan_changed(new))
        if (old.wan.up, old.external, old.connected_at) != (new.wan.up, new.external, new.connected_at):
            addresses = ", ".join(map(str, new.external)) or "none"
            log.info("the WAN is %s, external addresses: %s", "up" if new.wan.up else "down", addresses)
            self._obstacles.log_changes()
            self.events.publish(WanChanged())
            if new.advertised not in (None, old.advertised) and private_external(new.advertised) is not None:
                self.events.publish(DoubleNatFound(new.advertised))
            if old.advertised != new.advertised:
                self._background.spawn(self._lan_servers.external_changed())

    def _neighbour_changed(self, event: NeighbourEvent) -> None:
        if isinstance(event, NeighbourSeen | AddressSettled):
            self._evidence.saw(self._environment.name_of(event.neighbour), clock().wall)
        self._scheduler.neighbour_changed(event)


def run_daemon(
    config: Config,
    detected: tuple[str, ...],
    make_wire: Callable[[EpochOf], WireClasses] = router_wire,
    around: Callable[[Firewall], Firewall] = lambda firewall: firewall,
) -> int:
    """Runs the daemon until it is asked to stop, and ends the process then. Returns the exit code of a fault.

    Raises ConfigError before the start.
    """
    bound_heap()
    share_interpreter()
    log_lines.configure(config.log_format, config.log_level)
    os.umask(0o027)  # not every user of the machine may read the requests and the token of the control URLs
    try:
        if config.backend == "nftables":
            check_right("run ...; or look around without: --backend memory")
            check_library()  # as root: later there is no right to give to a process of its own
        who_has = open_who_has()
        settle(config.user, config.control_group, config.http_port, (config.state_dir, config.runtime_dir))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Daemon(config, detected, who_has, make_wire, around).run())
    except (FirewallError, StoreError) as error:
        print(f"upnp-gw: {error}", file=sys.stderr)
        return EXIT_FAULT
    return end_process(0)
