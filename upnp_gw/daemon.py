"""Builds every part from a ``Config``, starts them in order, reloads the policy, stops them in the reverse order.

Nothing is decided here. What needs asyncio to load (the action model) is loaded here and passed in.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from random import SystemRandom

from upnp_gw import __version__, logs
from upnp_gw.advice import Advice
from upnp_gw.config import Config
from upnp_gw.doctor import examine
from upnp_gw.errors import ConfigError, FirewallError, GatewayError
from upnp_gw.events import Event, Events, Ipv6FirewallChanged, LanChanged, TableChanged, WanChanged
from upnp_gw.firewall.base import Firewall, FirewallMode, FirewallSettings
from upnp_gw.firewall.idle import idle_timeout_s
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.firewall.nftables import NftablesFirewall
from upnp_gw.gate.limits import DeviceBook
from upnp_gw.gate.schema import Policy
from upnp_gw.gateway import Gateway
from upnp_gw.identity import Identity
from upnp_gw.inquiry import Inquiry
from upnp_gw.ledger.decision_rows import DAY_S, Keep
from upnp_gw.ledger.ledger import Ledger
from upnp_gw.ledger.store import Store
from upnp_gw.ledger.view import LedgerView
from upnp_gw.model import Instant
from upnp_gw.network import Network, private_external
from upnp_gw.operating import GatewayOperator, Told
from upnp_gw.operations import Operations
from upnp_gw.own_ports import OwnPorts
from upnp_gw.people import People
from upnp_gw.policies import APPROVED, Enforcer, Policies
from upnp_gw.privileges import settle
from upnp_gw.protocols.description import RootDevice, root_device
from upnp_gw.protocols.descriptors import load_descriptor
from upnp_gw.protocols.faces import SERVICES, Face, Service, scpd_path
from upnp_gw.protocols.igd.evented import evented_properties
from upnp_gw.protocols.portcontrol import PortControl
from upnp_gw.protocols.ssdp import server_token
from upnp_gw.reload import Reload
from upnp_gw.request import Ipv6Firewall, Source
from upnp_gw.servers.action_model import load_service_models
from upnp_gw.servers.control import Claim, ControlServer
from upnp_gw.servers.gena import Eventing
from upnp_gw.servers.http import HttpServer
from upnp_gw.servers.lease_files import LeaseFiles
from upnp_gw.servers.listeners import Listeners
from upnp_gw.servers.netwatch import Moved, NeighbourEvent, Netwatch, Seen
from upnp_gw.servers.notify import READY, STOPPING, WATCHDOG, notify, watchdog_s
from upnp_gw.servers.portcontrol import PortControlServer
from upnp_gw.servers.ssdp import Ssdp
from upnp_gw.servers.wan_counters import WanCounters
from upnp_gw.surroundings import Surroundings
from upnp_gw.upkeep import Upkeep
from upnp_gw.witness import Witness

log = logging.getLogger(__name__)

EXIT_FAULT = 1
EXIT_CONFIG = 2


def clock() -> Instant:
    """The one clock of the daemon."""
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def claim_kernel() -> socket.socket:
    """Keeps a second daemon out of this network namespace: there is one table. Raises ConfigError.

    An abstract unix socket belongs to its network namespace and goes with its process.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind("\0upnp-gw/inet upnp_gw")
    except OSError as error:
        claim.close()
        raise ConfigError(
            "run", "", "another upnp-gw fills the kernel's table of this network namespace"
        ) from error
    return claim


def boot_id() -> str:
    """The kernel's name for this boot: BOOTTIME deadlines hold within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


class Daemon:
    """One gateway. ``run`` returns when it is told to stop."""

    def __init__(self, config: Config, detected: Iterable[str] = ()) -> None:
        self.config = config
        self._detected = tuple(detected)
        self._stopping = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()
        self._started = clock()

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Starts everything, says so, serves, stops everything. Raises GatewayError where it cannot start."""
        async with self._stack:
            await self._start()
            self._say_ready()
            self._spawn(_keep_watchdog())
            await self._stopping.wait()
            notify(os.environ, STOPPING)

    # -- start

    async def _start(self) -> None:
        config = self.config
        self._claim = Claim(config.runtime_dir, config.control_group)
        self._stack.callback(self._claim.release)
        if config.backend == "nftables":
            self._stack.push(claim_kernel())
        policies = Policies(config.policy, config.state_dir / APPROVED, lambda: clock().wall)
        loaded = policies.load()
        for finding in loaded.warnings:
            log.warning("policy: %s", finding)
        keep = Keep(config.keep_decisions, config.keep_days * DAY_S)
        self._store = Store(config.state_dir / "ledger.db", boot_id(), config.durability == "full", keep)
        self._stack.push_async_callback(self._store.close)
        await self._store.open()
        self._identity = await Identity.load(self._store)
        self._stack.push_async_callback(self._identity.settled)
        await self._start_network()
        await self._start_gateway(loaded.policy)
        size = self._settings().size
        self._reload = Reload(self.gateway, size, loaded, clock().wall, lambda: clock().wall)
        self._enforcer = Enforcer(policies, self._reload.enforce)
        await self._start_servers()
        self._follow_signals()

    async def _start_network(self) -> None:
        config = self.config
        self._netwatch = Netwatch(
            config.wan,
            config.lan,
            routed=config.routed,
            external=config.external_addresses,
            boottime=lambda: clock().boot,
        )
        self._stack.push_async_callback(self._netwatch.close)
        await self._netwatch.start()
        self._around = Surroundings(
            self._served(self._netwatch.network), clock, self._netwatch.neighbours, lookup_mac=self._netwatch.lookup
        )
        self._around.resolve = self._netwatch.probe
        await self._start_leases()
        self._counters = WanCounters(config.wan, lambda: clock().boot)
        self._stack.callback(self._counters.close)

    async def _start_leases(self) -> None:
        files = LeaseFiles(self.config.lease_files, lambda: clock().boot)
        await files.refresh()
        self._around.leases = lambda: files.leases
        self._around.look_at_leases = files.look
        self._spawn(files.follow())

    async def _start_gateway(self, policy: Policy) -> None:
        config = self.config
        self.events = Events()
        self.events.subscribe(logs.on_event)
        nftables = NftablesFirewall() if config.backend == "nftables" else None
        firewall: Firewall = nftables or MemoryFirewall()
        listeners = Listeners(lambda: self._around.network, lambda: clock().boot)
        own_ports = OwnPorts(
            listeners.ports, lambda: self._around.network, nftables.read_ruleset if nftables is not None else None
        )
        self._around.ports = self._own_ports = own_ports
        self._operations = Operations(
            policy=policy,
            ledger=Ledger(),
            surroundings=self._around,
            book=DeviceBook(policy.limits),
            random=SystemRandom(),
            visibility=config.visibility,
            refuse_private_external=config.refuse_private_external,
            lenient_nonces=config.nonce_check == "lenient",
            on_reload=config.on_reload,
        )
        self.gateway = Gateway(self._operations, firewall, self._store, self.events, self._settings)
        self._stack.push_async_callback(self.gateway.stop, config.flush_on_stop)
        await self.gateway.start()
        await own_ports.refresh()
        self._upkeep = Upkeep(self.gateway, firewall, self._netwatch.probe)
        await self._start_witness()
        self._stack.push_async_callback(self._upkeep.stop)
        self._stack.push_async_callback(self._end_background)
        self._spawn(own_ports.follow())
        self._netwatch.on_network = self._network_changed
        self._netwatch.on_neighbour = self._neighbour_changed
        if self._netwatch.network.generation != self._around.network.generation:  # it changed meanwhile
            self._around.network = self._served(self._netwatch.network)
            self._upkeep.network_changed()
        self._upkeep.start()

    async def _start_witness(self) -> None:
        self._witness = Witness(self._operations, self._store)
        await self._witness.load()
        self.events.subscribe(self._witness.on_event)
        self._upkeep.on_counted = self._witness.on_counted
        self._stack.push_async_callback(self._last_evidence)
        self._spawn(self._witness.keep())

    async def _last_evidence(self) -> None:
        """What flowed up to the end is evidence too."""
        try:
            await self._upkeep.count(remotes=True)
        except FirewallError as error:
            log.warning("the counters cannot be read: %s", error)
        await self._witness.flush()

    async def _start_servers(self) -> None:
        config = self.config
        view = LedgerView(
            self._operations.ledger,
            self._host,
            lambda: self._around.network,
            clock,
            self._counters.wan_counters,
            self._counters.wan_speed,
            config.visibility,
            self._ipv6_firewall,
            idle_timeout_s,
        )
        self._own_ports.on_ipv6_firewall = lambda: self.events.publish(Ipv6FirewallChanged())
        faces = [Face(face) for face in config.faces]
        roots = [self._root(face) for face in faces]
        udns = {root.face: root.udns for root in roots}
        documents = {root.path: root.description for root in roots}
        documents |= {scpd_path(face, s): _scpd(s) for face in faces for s in SERVICES[face]}
        models = await load_service_models(documents)
        eventing = Eventing(evented_properties(view, models, udns), clock, self._host)
        self._eventing = eventing
        self.events.subscribe(eventing.on_event)
        await eventing.start()
        self._stack.push_async_callback(eventing.stop)
        self._http = HttpServer(
            documents=documents,
            token=self._identity.token,
            udns=udns,
            models=models,
            view=view,
            handle=self.gateway.handle,
            eventing=eventing,
            network=lambda: self._around.network,
            now=clock,
            server=server_token(os.uname().release),
            host_of=self._host,
            recount=self._upkeep.recount,
        )
        self._stack.push_async_callback(self._http.stop)
        try:
            self._http_port = await self._http.start(self._around.network, config.http_port)
        except OSError as error:
            raise ConfigError(
                "http_port",
                str(config.http_port),
                f"cannot be listened on ({error.strerror}); accepted: a free port",
            ) from error
        self._ssdp = Ssdp(
            roots,
            lambda: self._around.network,
            clock,
            self._identity.next_boot_id,
            http_port=self._http_port,
            max_age_s=config.max_age_s,
        )
        self._stack.push_async_callback(self._ssdp.stop)
        await self._ssdp.start()
        self._portcontrol = PortControlServer(
            PortControl(config.natpmp, config.pcp, config.pcp_min_lifetime_s),
            lambda: self._around.network,
            clock,
            self.gateway.handle,
            epoch_s=view.epoch_s,
            stands=view.stands,
            find=view.mapping,
            left_s=view.left_s,
        )
        self._stack.push_async_callback(self._portcontrol.stop)
        self.events.subscribe(self._portcontrol.on_event)
        self.events.subscribe(self._pinholes_lost)
        await self._portcontrol.start()
        told = Told(
            config=config,
            detected=self._detected,
            started=self._started,
            policy_source=lambda: self._enforcer.policies.source,
            policy_problem=lambda: self._reload.problem,
            locations=lambda: self._locations(roots),
            counters=self._counts,
            doctor=lambda: examine(config),
        )
        operator = GatewayOperator(self.gateway, self._store, told)
        people = People(self.gateway, self._enforcer, self._netwatch.probe, operator.shown)
        self._spawn(people.keep())
        inquiry = Inquiry(self.gateway, self._store, self._enforcer, self._reload, operator.decision)
        advice = Advice(
            self._operations, self._witness, self._enforcer.policies, self._upkeep.count, self._netwatch.probe
        )
        control = ControlServer(operator, config.runtime_dir, claim=self._claim, more=[people, inquiry, advice])
        self._stack.push_async_callback(control.close)
        await control.start()

    def _ipv6_firewall(self) -> Ipv6Firewall:
        """Our own table's in router mode; alongside, what others do."""
        return Ipv6Firewall() if self.config.firewall is FirewallMode.ROUTER else self._own_ports.ipv6_firewall

    def _host(self, source: Source) -> str:
        """Who a LAN source is: its addresses of both families are one device."""
        return self._around.device_of(source.address, source.interface)

    def _root(self, face: Face) -> RootDevice:
        return root_device(
            face,
            self._identity.uuid,
            friendly_name=self.config.friendly_name,
            presentation_url=self.config.presentation_url,
            token=self._identity.token,
            scpds=[_scpd(service) for service in SERVICES[face]],
        )

    def _settings(self) -> FirewallSettings:
        return FirewallSettings(
            mode=self.config.firewall,
            network=self._around.network,
            size=max(1, self._operations.policy.limits.total_mappings),
            hairpin=self.config.hairpin,
            allow_other_forward=self.config.allow_other_forward,
        )

    def _say_ready(self) -> None:
        config = self.config
        line = (
            f"upnp-gw {__version__} serves {', '.join(config.lan)} for {config.wan}"
            f" ({config.backend}, {config.firewall.value}), HTTP port {self._http_port},"
            f" policy: {self._enforcer.policies.source}"
        )
        print(line, flush=True)
        notify(os.environ, READY, line)

    # -- while it runs

    def _served(self, network: Network) -> Network:
        """The network as it is served: marked where the memory backend stands in for a router on the loopback."""
        loopback = all(address.ip.is_loopback for link in network.lans for address in link.addresses)
        return replace(network, emulated=self.config.backend == "memory" and loopback)

    def _network_changed(self, old: Network, new: Network) -> None:
        new = self._around.network = self._served(new)
        self._upkeep.network_changed()
        if old.lans != new.lans:
            self._spawn(self._lan_changed(new))
        if (old.wan.up, old.external, old.connected_at) != (new.wan.up, new.external, new.connected_at):
            log.info("the WAN is %s, external addresses: %s", "up" if new.wan.up else "down", _listed(new.external))
            self._warn_private(new)
            self.events.publish(WanChanged())
            if old.external[:1] != new.external[:1]:
                self._spawn(self._external_changed())

    async def _external_changed(self) -> None:
        """A new epoch before anybody is told of the new address; an address that came back is only announced."""
        if await self.gateway.epochs.follow_external():
            self._portcontrol.external_changed()
        elif self._around.network.external:
            self._portcontrol.announce()

    def _pinholes_lost(self, event: Event) -> None:
        """A LAN prefix went with its pinholes: their clients are told to ask again (RFC 6887 section 8.5)."""
        if isinstance(event, TableChanged) and any(why == "prefix-gone" for _, why in event.removed):
            self._spawn(self._new_epoch())

    async def _new_epoch(self) -> None:
        await self.gateway.epochs.begin()
        self._portcontrol.announce()

    async def _lan_changed(self, network: Network) -> None:
        """The servers follow the LAN. A new BOOTID voids every event subscription (IGD section 7.3)."""
        self._portcontrol.network_changed()
        await self._http.network_changed(network)
        before = self._ssdp.boot_id
        self._ssdp.network_changed(network)
        if self._ssdp.boot_id != before:
            self.events.publish(LanChanged())

    def _neighbour_changed(self, event: NeighbourEvent) -> None:
        match event:
            case Seen(neighbour):
                self._witness.saw(neighbour.mac, clock().wall)
                self._upkeep.device_seen(neighbour.mac, neighbour.address)
            case Moved(address, old_mac, new_mac, _):
                self._upkeep.device_moved(address, old_mac)
                self._upkeep.device_seen(new_mac, address)

    def _warn_private(self, network: Network) -> None:
        for address in network.external[:1]:
            if (why := private_external(address)) is not None:
                log.warning("the external address %s is not public: %s; the internet cannot reach it", address, why)

    def _follow_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for stopping in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stopping, self.stop)
            self._stack.callback(loop.remove_signal_handler, stopping)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.reload()))
        self._stack.callback(loop.remove_signal_handler, signal.SIGHUP)

    async def reload(self) -> None:
        """Loads the policy files again and decides about every mapping by them; bad ones leave the old policy."""
        with contextlib.suppress(GatewayError):  # it is logged, and ``status`` tells it
            await self._reload.reload(self._enforcer)

    def _locations(self, roots: Iterable[RootDevice]) -> list[str]:
        return [
            f"http://{address}:{self._http_port}{root.path}"
            for root in roots
            for link in self._around.network.lans
            for address in link.ipv4
        ]

    def _counts(self) -> dict[str, int]:
        return {
            **{f"http {kind}": count for kind, count in sorted(self._http.counts.items())},
            **{f"ssdp dropped {kind}": count for kind, count in sorted(self._ssdp.drops.items())},
            **{f"5351 answered {kind}": count for kind, count in sorted(self._portcontrol.answered.items())},
            **{f"5351 dropped {kind}": count for kind, count in sorted(self._portcontrol.drops.items())},
            **{f"eventing {kind}": count for kind, count in sorted(self._eventing.counts.items())},
            **self.gateway.owed.counts(),
        }

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _end_background(self) -> None:
        tasks = tuple(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _scpd(service: Service) -> bytes:
    return load_descriptor(f"{service.name}{service.version}.xml")


def _listed(addresses: Iterable[IPv4Address]) -> str:
    return ", ".join(map(str, addresses)) or "none"


async def _keep_watchdog() -> None:
    """Tells systemd that the loop turns, where it wants to know."""
    every = watchdog_s(os.environ, os.getpid())
    while every is not None:
        notify(os.environ, WATCHDOG)
        await asyncio.sleep(every)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_daemon(config: Config, detected: tuple[str, ...]) -> int:
    """The daemon until it is told to stop. Returns the exit code; raises ConfigError before anything started."""
    logs.configure(config.log_format, config.log_level)
    settle(config.user, config.control_group, config.http_port, (config.state_dir, config.runtime_dir))
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(Daemon(config, detected).run())
    except ConfigError:
        raise
    except GatewayError as error:
        print(f"upnp-gw: {error}", file=sys.stderr)
        return EXIT_FAULT
    return 0
