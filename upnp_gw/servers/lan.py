"""The servers that face the LAN: HTTP with control and eventing, SSDP, port 5351. Built and started in order, told
of changes of the network, stopped in the reverse order."""

import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack

from upnp_gw.config.settings import Config
from upnp_gw.engine.gateway import Gateway
from upnp_gw.ledger.events import Event, LanChanged, TableChanged
from upnp_gw.ledger.igd_view import LedgerView
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.network import Network
from upnp_gw.protocols.igd.description import RootDevice, root_device
from upnp_gw.protocols.igd.evented import evented_properties
from upnp_gw.protocols.igd.model import service_descriptions
from upnp_gw.protocols.igd_services import IgdVersion
from upnp_gw.protocols.port5351 import Port5351
from upnp_gw.protocols.ssdp import server_token
from upnp_gw.servers.http.gena_delivery import GenaDelivery
from upnp_gw.servers.http.scpd import load_service_models
from upnp_gw.servers.http.server import HttpServer
from upnp_gw.servers.identity import Identity
from upnp_gw.servers.port5351.server import Port5351Server
from upnp_gw.servers.ssdp.server import Ssdp


class LanSide:
    """``start``, then ``lan_changed`` and ``external_changed`` as the network does, then ``stop``."""

    def __init__(
        self,
        config: Config,
        gateway: Gateway,
        view: LedgerView,
        identity: Identity,
        recount: Callable[[], Awaitable[None]],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """``recount``: the kernel's counters are read anew; ``spawn``: runs what nobody waits for."""
        self._config = config
        self._gateway = gateway
        self._view = view
        self._identity = identity
        self._recount = recount
        self._spawn = spawn
        self._around = gateway.decider.environment
        self._host_of = gateway.decider.device_of
        self._stack = AsyncExitStack()
        self._roots: list[RootDevice] = []
        self.http_port = 0

    async def start(self) -> None:
        """Raises ConfigError where a port cannot be listened on."""
        self._roots = [self._root(IgdVersion(igd_version)) for igd_version in self._config.faces]
        await self._start_http()
        await self._start_ssdp()
        await self._start_portcontrol()

    async def stop(self) -> None:
        """Byebye, answers to what is in hand, nothing more."""
        await self._stack.aclose()

    async def _start_http(self) -> None:
        udns = {root.igd_version: root.udns for root in self._roots}
        documents = {root.path: root.description for root in self._roots}
        for igd_version in udns:
            documents |= service_descriptions(igd_version)
        models = await load_service_models(documents)
        properties = evented_properties(self._view, models, udns)
        self._eventing = GenaDelivery(properties, self._around.clock, self._host_of)
        self._gateway.events.subscribe(self._eventing.on_event)
        await self._eventing.start()
        self._stack.push_async_callback(self._eventing.stop)
        self._http = HttpServer(
            documents=documents,
            token=self._identity.token,
            udns=udns,
            models=models,
            view=self._view,
            handle=self._gateway.handle,
            eventing=self._eventing,
            network=lambda: self._around.network,
            now=self._around.clock,
            server=server_token(os.uname().release),
            host_of=self._host_of,
            recount=self._recount,
        )
        self._stack.push_async_callback(self._http.stop)
        wanted = self._config.http_port
        try:
            self.http_port = await self._http.start(self._around.network, wanted)
        except OSError as error:
            problem = f"cannot be listened on ({error.strerror}); accepted: a free port"
            raise ConfigError("http_port", str(wanted), problem) from error

    async def _start_ssdp(self) -> None:
        self._ssdp = Ssdp(
            self._roots,
            lambda: self._around.network,
            self._around.clock,
            self._identity.next_boot_id,
            http_port=self.http_port,
            max_age_s=self._config.max_age_s,
            sender_of=self._around.sender_of,
        )
        self._stack.push_async_callback(self._ssdp.stop)
        await self._ssdp.start()

    async def _start_portcontrol(self) -> None:
        config = self._config
        self._portcontrol = Port5351Server(
            Port5351(config.natpmp, config.pcp, config.pcp_min_lifetime_s),
            lambda: self._around.network,
            self._around.clock,
            self._gateway.handle,
            epoch_s=self._view.epoch_s,
            stands=self._view.stands,
            find=self._view.mapping,
            left_s=self._view.left_s,
            sender_of=self._around.sender_of,
        )
        self._stack.push_async_callback(self._portcontrol.stop)
        self._gateway.events.subscribe(self._portcontrol.on_event)
        self._gateway.events.subscribe(self._pinholes_lost)
        await self._portcontrol.start()

    def _root(self, igd_version: IgdVersion) -> RootDevice:
        return root_device(
            igd_version,
            self._identity.uuid,
            friendly_name=self._config.friendly_name,
            presentation_url=self._config.presentation_url,
            token=self._identity.token,
            scpds=service_descriptions(igd_version).values(),
        )

    # -- while they run

    async def lan_changed(self, network: Network) -> None:
        """The servers follow the LAN. A new BOOTID voids every event subscription (IGD section 7.3)."""
        self._portcontrol.network_changed()
        await self._http.network_changed(network)
        before = self._ssdp.boot_id
        self._ssdp.network_changed(network)
        if self._ssdp.boot_id != before:
            self._gateway.events.publish(LanChanged())

    async def external_changed(self) -> None:
        """A new epoch before anybody is told of the new address; an address that came back is only announced."""
        if await self._gateway.epochs.follow_external():
            self._portcontrol.external_changed()
        elif self._around.network.external:
            self._portcontrol.announce()

    def _pinholes_lost(self, event: Event) -> None:
        """A LAN prefix went with its pinholes: their clients are told to ask again (RFC 6887 section 8.5)."""
        if isinstance(event, TableChanged) and any(why == "prefix-gone" for _, why in event.removed):
            self._spawn(self._new_epoch())

    async def _new_epoch(self) -> None:
        await self._gateway.epochs.begin()
        self._portcontrol.announce()

    # -- for the status page

    def locations(self) -> list[str]:
        """The URLs of the descriptions that are announced over IPv4."""
        return [
            f"http://{address}:{self.http_port}{root.path}"
            for root in self._roots
            for link in self._around.network.lans
            for address in link.ipv4
        ]

    def counts(self) -> dict[str, int]:
        """Requests answered and dropped, by kind."""
        counted = {
            "http": self._http.counts,
            "ssdp dropped": self._ssdp.drops,
            "5351 answered": self._portcontrol.answered,
            "5351 dropped": self._portcontrol.drops,
            "eventing": self._eventing.counts,
            "ssdp": {"unread": self._ssdp.unread},
            "5351": {"unread": self._portcontrol.unread},
        }
        return {f"{name} {kind}": n for name, counts in counted.items() for kind, n in sorted(counts.items())}
