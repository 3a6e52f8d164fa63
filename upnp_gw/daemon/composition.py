"""Builds the decider, the engine, the view and the servers of the LAN: what a router and an emulator both have.

``Surroundings`` is what they have each of their own. Nothing is decided or started here.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random
from typing import Any

from upnp_gw.config.settings import Config
from upnp_gw.engine.build import build_engine
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.environment import Environment, above_rules
from upnp_gw.engine.policy_in_force import PolicyInForce
from upnp_gw.engine.scheduler import Probe
from upnp_gw.engine.status_page import StatusPage
from upnp_gw.firewall.base import Firewall, FirewallSettings
from upnp_gw.gate.device_history import DeviceHistory
from upnp_gw.ledger.events import Events
from upnp_gw.ledger.igd_view import LedgerView
from upnp_gw.ledger.transaction import Ledger
from upnp_gw.model.above import GatewayAbove
from upnp_gw.model.mapping import DAY_S, Instant, Transport
from upnp_gw.model.network import GatewayPorts
from upnp_gw.model.request import Ipv6Firewall
from upnp_gw.servers.identity import Identity
from upnp_gw.servers.lan import LanServers
from upnp_gw.servers.wire import WireClasses
from upnp_gw.store.store import Store


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine around one gateway, or what stands in for it."""

    environment: Environment
    firewall: Firewall
    store: Store
    events: Events
    random: Random
    """Chooses external ports."""
    reserved_ports: Callable[[], GatewayPorts]
    probe: Probe
    """True if the known host is the only one that answers for an address on a LAN interface."""
    wan_counters: Callable[[], tuple[int, int, int, int]]
    """Bytes sent and received, packets sent and received."""
    wan_speed: Callable[[], int]
    """Bits a second."""
    ipv6_firewall: Callable[[], Ipv6Firewall]
    idle_timeout_s: Callable[[Transport], int]
    above: GatewayAbove | None = None
    """None: no gateway above is asked."""
    on_outermost: Callable[[IPv4Address], None] = lambda address: None
    """Gets each new external address of the gateway above."""


class Composition:
    """One gateway. Start ``engine.gateway``, then ``engine.scheduler``, then the servers."""

    def __init__(self, config: Config, in_force: PolicyInForce, around: Surroundings) -> None:
        self._config = config
        self._around = around
        self.status_page = StatusPage()
        self.decider = Decider(
            in_force=in_force,
            ledger=Ledger(),
            environment=around.environment,
            history=DeviceHistory(in_force),
            random=around.random,
            reserved_ports=around.reserved_ports,
            visibility=config.visibility,
            refuse_private_external=config.refuse_private_external,
            lenient_nonces=config.nonce_check == "lenient",
            on_reload=config.on_reload,
            above=above_rules(config) if around.above is not None else None,
        )
        self.engine = build_engine(
            self.decider,
            around.firewall,
            around.store,
            around.events,
            self.firewall_settings,
            around.probe,
            config.keep_evidence_days * DAY_S,
            around.above,
            around.on_outermost,
        )

    def firewall_settings(self) -> FirewallSettings:
        """The settings of the moment."""
        config = self._config
        return FirewallSettings(
            mode=config.firewall,
            network=self._around.environment.network,
            size=max(1, self.decider.in_force.policy.limits.total_mappings),
            hairpin=config.hairpin,
            allow_other_forward=config.allow_other_forward,
            http_port=config.http_port,
            anycast=config.anycast,
            announcements=config.upstream_when != "never",
            hosts=self.decider.in_force.hosts,
        )

    def lan_servers(
        self,
        identity: Identity,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        wire: WireClasses,
        clock: Callable[[], Instant] | None = None,
    ) -> LanServers:
        """The servers, not started. ``spawn`` starts a background task. ``clock``: the time of their deadlines and
        rate limits; None: that of the leases."""
        around, decider = self._around, self.decider
        environment = around.environment
        view = LedgerView(
            decider.ledger,
            decider.device_of,
            lambda: environment.network,
            environment.clock,
            around.wan_counters,
            around.wan_speed,
            self._config.visibility,
            around.ipv6_firewall,
            around.idle_timeout_s,
        )
        return LanServers(
            self._config,
            self.engine.gateway,
            environment,
            decider.device_of,
            around.events,
            view,
            identity,
            self.engine.usage_reader.recount,
            spawn,
            wire,
            clock or environment.clock,
            lambda: self.status_page.port,
        )
