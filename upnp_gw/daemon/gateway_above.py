"""The gateway above in the daemon: makes its client, and passes on what it tells."""

import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from importlib import import_module
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from upnp_gw.config.settings import Config
from upnp_gw.engine.environment import Environment, served_network
from upnp_gw.ledger.events import Events, WanChanged
from upnp_gw.model.mapping import Via
from upnp_gw.model.network import Network
from upnp_gw.servers.lan import LanServers
from upnp_gw.system.clock import clock

if TYPE_CHECKING:
    from upnp_gw.engine.leases_above import LeasesAbove
    from upnp_gw.model.above import AboveState
    from upnp_gw.upstream import GatewayAboveClient

log = logging.getLogger(__name__)


class GatewayAboveInDaemon:
    """``client`` is None if no gateway above is asked."""

    def __init__(
        self,
        config: Config,
        environment: Environment,
        events: Events,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.client: GatewayAboveClient | None = None
        self._config = config
        self._environment = environment
        self._events = events
        self._spawn = spawn
        self._leases: LeasesAbove | None = None
        self._servers: LanServers | None = None
        self._outermost: IPv4Address | None = None
        self._place: object = None
        """The addresses and LANs that the leases above are for."""
        if config.upstream_when != "never":
            upstream = import_module("upnp_gw.upstream")  # few gateways have one above
            vias = [Via.IGD2 if word == "igd" else Via(word) for word in config.upstream_ask]
            self.client = upstream.GatewayAboveClient(
                vias, config.upstream_gateway, lambda: environment.network, clock
            )

    async def start(self, leases: "LeasesAbove | None", stack: AsyncExitStack) -> None:
        """Begins to ask, and to follow what the gateway above announces. ``stack`` closes it."""
        if self.client is not None and leases is not None:
            self._leases, self._place = leases, _place(self._environment.network)
            stack.push_async_callback(self._stop, self.client, leases)
            await self.client.start(leases)
            leases.start()

    async def _stop(self, client: "GatewayAboveClient", leases: "LeasesAbove") -> None:
        await leases.stop(self._config.flush_on_stop)
        await client.close()

    def state(self) -> "AboveState | None":
        """Its state; None: no gateway above is asked."""
        return self.client.state() if self.client is not None else None

    def serve(self, servers: LanServers) -> None:
        """The servers run: they announce the outermost address, and each other one from now on."""
        self._servers = servers
        if self._outermost is not None:  # known before: the epoch may be one of another address
            self._spawn(servers.external_changed())

    def served(self, network: Network) -> Network:
        """The network as it is served, with the outermost address as far as it is known."""
        return served_network(network, self._config, self._outermost)

    def network_changed(self, network: Network) -> None:
        """Links, addresses or routes changed."""
        if self.client is not None and self._leases is not None:
            self.client.network_changed()
            if _place(network) != self._place:
                self._place = _place(network)
                self._spawn(self._leases.network_changed())

    def on_outermost(self, address: IPv4Address) -> None:
        """The gateway above has told another external address."""
        self._outermost = address
        old = self._environment.network
        new = self._environment.network = self.served(old)
        if old.advertised == new.advertised:
            return
        log.info("the address outside is %s, by the gateway above", address)
        if self._servers is not None:
            self._events.publish(WanChanged())
            self._spawn(self._servers.external_changed())


def _place(network: Network) -> object:
    return network.external, network.without_nat
