"""The servers of the LAN, started in order and stopped in the reverse order: HTTP with control and eventing, SSDP,
UDP port 5351."""

import platform
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from upnp_gw.config.settings import Config
from upnp_gw.engine.environment import Environment
from upnp_gw.engine.gateway import Gateway
from upnp_gw.ledger.events import Event, Events, LanChanged, TableChanged
from upnp_gw.ledger.igd_view import LedgerView
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Instant
from upnp_gw.model.network import Network
from upnp_gw.model.request import Source
from upnp_gw.protocols.gena.subscriptions import ActiveSubscription
from upnp_gw.protocols.igd.description import RootDevice, root_device
from upnp_gw.protocols.igd.evented import evented_properties
from upnp_gw.protocols.igd.model import service_descriptions
from upnp_gw.protocols.igd.scpd import service_models
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.port5351 import Port5351
from upnp_gw.protocols.ssdp import server_token
from upnp_gw.servers.context import LanContext
from upnp_gw.servers.http.control import ControlBackend
from upnp_gw.servers.http.gena_delivery import GenaDelivery
from upnp_gw.servers.http.routes import ServedDescriptions
from upnp_gw.servers.http.server import HttpServer
from upnp_gw.servers.identity import Identity
from upnp_gw.servers.port5351.server import Port5351Server
from upnp_gw.servers.ssdp.server import SsdpServer
from upnp_gw.servers.timer import DeadlineTimer
from upnp_gw.servers.wire import WireClasses

LOST = frozenset({"prefix-gone", "nat-changed"})
"""The ends of mappings whose clients can have new ones at once."""


class LanServers:
    """Call ``start``, then ``lan_changed`` and ``external_changed`` when the network changes, then ``stop``."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        environment: Environment,
        device_of: Callable[[Source], str],
        events: Events,
        view: LedgerView,
        identity: Identity,
        recount: Callable[[], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        wire: WireClasses,
        clock: Callable[[], Instant],
        page_port: Callable[[], int],
    ) -> None:
        """``recount`` reads the kernel's counters again; ``spawn`` starts a background task. ``clock``: the time of
        deadlines, pauses and rate limits. ``page_port``: that of the page for people, 0: it does not run."""
        self._page_port = page_port
        self._config = config
        self._gateway = gateway
        self._view = view
        self._identity = identity
        self._recount = recount
        self._spawn = spawn
        self._wire = wire
        self._environment = environment
        self._device_of = device_of
        self._events = events
        self._clock = clock
        self._stack = AsyncExitStack()
        self._roots: list[RootDevice] = []
        self.http_port = 0

    async def start(self) -> None:
        """Raises ConfigError if the HTTP port is not free."""
        self._roots = [self._root(IgdVersion(igd_version)) for igd_version in self._config.faces]
        await self._start_http()
        await self._start_ssdp()
        await self._start_port5351()

    async def stop(self) -> None:
        """Sends byebye, answers the requests that are running, closes everything."""
        await self._stack.aclose()

    async def _start_http(self) -> None:
        udns = {root.igd_version: root.udns for root in self._roots}
        documents = {root.path: root.description for root in self._roots}
        for igd_version in udns:
            documents |= service_descriptions(igd_version)
        models = service_models(udns)
        properties = evented_properties(self._view, models, udns)
        self._eventing = GenaDelivery(properties, self._clock, self._device_of, deliver=self._wire.deliver)
        self._events.subscribe(self._eventing.on_event)
        await self._eventing.start()
        self._stack.push_async_callback(self._eventing.stop)
        self._http = HttpServer(
            ServedDescriptions(documents, self._identity.token, udns, models, server_token(platform.release())),
            LanContext(lambda: self._environment.network, self._clock, self._device_of),
            ControlBackend(self._view, self._gateway.handle, self._recount),
            self._eventing,
            connection=self._wire.connection,
            listen=self._wire.listen,
            page_port=self._page_port,
        )
        self._stack.push_async_callback(self._http.stop)
        port = self._config.http_port
        try:
            self.http_port = await self._http.start(self._environment.network, port)
        except OSError as error:
            problem = f"cannot listen on this port ({error.strerror}); accepted: a free port"
            raise ConfigError("http_port", str(port), problem) from error

    async def _start_ssdp(self) -> None:
        self._ssdp = SsdpServer(
            self._roots,
            self._datagram_context(),
            self._identity.next_boot_id,
            http_port=self.http_port,
            max_age_s=self._config.max_age_s,
            open_socket=self._wire.ssdp_socket,
        )
        self._stack.push_async_callback(self._ssdp.stop)
        await self._ssdp.start()

    async def _start_port5351(self) -> None:
        config = self._config
        self._port5351 = Port5351Server(
            Port5351(config.natpmp, config.pcp, config.pcp_min_lifetime_s),
            self._datagram_context(),
            self._view,
            self._gateway.handle,
            self._wire.port5351_socket,
        )
        self._stack.push_async_callback(self._port5351.stop)
        self._events.subscribe(self._port5351.on_event)
        self._events.subscribe(self._on_mappings_lost)
        await self._port5351.start()

    def _datagram_context(self) -> LanContext:
        """For UDP, where anybody can forge a source address: the MAC address names the sender."""
        return LanContext(lambda: self._environment.network, self._clock, self._environment.sender_of)

    def _root(self, igd_version: IgdVersion) -> RootDevice:
        return root_device(
            igd_version,
            self._identity.uuid,
            friendly_name=self._config.friendly_name,
            presentation_url=self._config.presentation_url,
            token=self._identity.token,
            scpds=service_descriptions(igd_version).values(),
        )

    # -- changes of the network

    async def lan_changed(self, network: Network) -> None:
        """Opens and closes sockets. A new BOOTID cancels every event subscription (IGD section 7.3)."""
        self._port5351.network_changed()
        await self._http.network_changed(network)
        before = self._ssdp.boot_id
        self._ssdp.network_changed(network)
        if self._ssdp.boot_id != before:
            self._events.publish(LanChanged())

    async def external_changed(self) -> None:
        """Begins a new epoch, then announces the new address. If the old address is back it is only announced."""
        if await self._gateway.follow_external_address():
            self._port5351.external_changed()
        elif self._environment.network.external and self._environment.network.has_nat:
            self._port5351.announce()

    def _on_mappings_lost(self, event: Event) -> None:
        """Mappings ended with a LAN prefix or its NAT: a new epoch makes their clients ask again (RFC 6887 section
        8.5)."""
        if isinstance(event, TableChanged) and any(reason in LOST for _, reason in event.removed):
            self._spawn(self._new_epoch())

    async def _new_epoch(self) -> None:
        await self._gateway.begin_epoch()
        self._port5351.announce()

    # -- for the emulator

    @property
    def _timers(self) -> tuple[DeadlineTimer, ...]:
        return self._eventing.timer, self._ssdp.timer, self._port5351.timer

    def next_deadline(self, announcements: bool) -> float | None:
        """The earliest time of the clock at which a server has something to do, with or without the announcements
        of SSDP; None: none has."""
        timers = self._timers if announcements else (self._eventing.timer, self._port5351.timer)
        return min((timer.deadline for timer in timers if timer.deadline is not None), default=None)

    def change_boot_id(self) -> None:
        """Announces a new BOOTID, as for a new address. It cancels every event subscription (IGD section 7.3)."""
        self._ssdp.change_boot_id()
        self._events.publish(LanChanged())

    def run_due(self) -> None:
        """Does what is due, after the clock was moved."""
        for timer in self._timers:
            timer.run_due()

    # -- for the status page

    def locations(self) -> list[str]:
        """The URLs of the descriptions that are announced over IPv4."""
        return [
            f"http://{address}:{self.http_port}{root.path}"
            for root in self._roots
            for link in self._environment.network.lans
            for address in link.ipv4
        ]

    @property
    def subscriptions(self) -> int:
        """The number of active event subscriptions."""
        return self._eventing.subscriptions

    def active_subscriptions(self) -> list[ActiveSubscription]:
        """The active event subscriptions, the oldest first."""
        return self._eventing.active()

    def counts(self) -> dict[str, int]:
        """Requests answered and dropped, by kind."""
        counters = {
            "http": self._http.counts,
            "ssdp dropped": self._ssdp.drops,
            "5351 answered": self._port5351.answered,
            "5351 dropped": self._port5351.drops,
            "eventing": self._eventing.counts,
            "ssdp": {"unread": self._ssdp.unread},
            "5351": {"unread": self._port5351.unread},
        }
        return {f"{name} {kind}": n for name, counts in counters.items() for kind, n in sorted(counts.items())}
