"""A gateway for tests: the real path of a request over a memory firewall, a real store and a clock that is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any

from upnp_gw.events import Event, Events
from upnp_gw.firewall.base import FirewallMode, FirewallSettings
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.gate.home import home_policy
from upnp_gw.gate.limits import DeviceBook
from upnp_gw.gate.schema import Policy
from upnp_gw.gateway import Gateway
from upnp_gw.ledger.ledger import Ledger
from upnp_gw.ledger.store import Store
from upnp_gw.ledger.view import LedgerView
from upnp_gw.model import Endpoint, Instant, IPAddress, MappingKey, Transport, Via
from upnp_gw.network import GatewayPorts, Link, Neighbour, Network
from upnp_gw.operations import Operations
from upnp_gw.request import (
    Granted,
    MapRequest,
    PortChoice,
    Refused,
    Removed,
    Reply,
    Source,
    UnmapRangeRequest,
    UnmapRequest,
)
from upnp_gw.surroundings import Surroundings
from upnp_gw.upkeep import Upkeep
from upnp_gw.witness import Witness

CONSOLE, PC = "ac:89:95:00:00:01", "02:00:00:00:00:77"
CONSOLE_IP, PC_IP = "192.168.77.10", "192.168.77.20"
NETWORK = Network(
    wan=Link("wan0", 2, True, (IPv4Interface("11.22.33.44/24"),)),
    lans=(Link("lan0", 3, True, (IPv4Interface("192.168.77.1/24"), IPv6Interface("2001:db8:77::1/64"))),),
    external=(IPv4Address("11.22.33.44"),),
    connected_at=900.0,
)

GUEST_IP = "192.168.88.10"
"""On ``lan1`` of TWO_LANS."""
TWO_LANS = replace(
    NETWORK,
    lans=(
        *NETWORK.lans,
        Link("lan1", 4, True, (IPv4Interface("192.168.88.1/24"), IPv6Interface("2001:db8:88::1/64"))),
    ),
)


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = Instant(1000.0, 1_800_000_000.0)

    def __call__(self) -> Instant:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now = Instant(self.now.boot + seconds, self.now.wall + seconds)


class House:
    """One gateway and its neighbours. ``present``: addresses that answer a probe. ``known=False``: the neighbour
    table is empty at the start."""

    def __init__(self, directory: Path, policy: Policy, clock: Clock, **options: Any) -> None:
        self.clock = clock
        self.firewall: MemoryFirewall = options.pop("firewall", None) or MemoryFirewall(lambda: clock.now.boot)
        self.store = Store(directory / "ledger.db", options.pop("boot", "boot-1"))
        self.events: list[Event] = []
        self.present: set[IPAddress] = {ip_address(CONSOLE_IP), ip_address(PC_IP)}
        self.around = Surroundings(options.pop("network", NETWORK), clock)
        known = options.pop("known", True)
        for address, mac in ((CONSOLE_IP, CONSOLE), (PC_IP, PC)) if known else ():
            self.around.neighbours.learn(Neighbour(ip_address(address), mac, "lan0"))
        published = Events()
        published.subscribe(self.events.append)
        self.operations = Operations(policy, Ledger(), self.around, DeviceBook(policy.limits), Random(5), **options)
        self.gateway = Gateway(self.operations, self.firewall, self.store, published, self.settings)
        self.upkeep = Upkeep(self.gateway, self.firewall, self.probe)
        self.witness = Witness(self.operations, self.store)
        self.upkeep.on_counted = self.witness.on_counted
        published.subscribe(self.witness.on_event)
        self.view = LedgerView(
            self.operations.ledger,
            self.operations.device_of,
            lambda: self.around.network,
            clock,
            lambda: (0, 0, 0, 0),
            lambda: 100_000_000,
            self.operations.visibility,
        )

    def settings(self) -> FirewallSettings:
        return FirewallSettings(FirewallMode.ROUTER, self.around.network)

    async def probe(self, address: IPAddress, interface: str) -> bool:
        return address in self.present

    @property
    def ports(self) -> set[tuple[Transport, int]]:
        """What is open in the firewall now."""
        return {
            (forward.transport, forward.external_port)
            for forward, until in self.firewall._until.values()
            if until > self.clock.now.boot
        }

    def own_ports(self, *ports: tuple[Transport, int]) -> None:
        """The gateway listens there."""
        self.around.ports = lambda: GatewayPorts(frozenset(ports))

    async def map(self, port: int, client: str = CONSOLE_IP, **more: Any) -> Reply:
        return await self.gateway.handle(asks(port, client, **more))

    async def granted(self, port: int, client: str = CONSOLE_IP, **more: Any) -> Granted:
        reply = await self.map(port, client, **more)
        assert isinstance(reply, Granted), reply
        return reply

    async def refused(self, port: int, client: str = CONSOLE_IP, **more: Any) -> Refused:
        reply = await self.map(port, client, **more)
        assert isinstance(reply, Refused), reply
        return reply

    async def unmap(self, port: int, client: str = CONSOLE_IP, via: Via = Via.IGD1, **more: Any) -> Reply:
        key = MappingKey(more.get("transport", Transport.TCP), None, port, more.get("remote"))
        return await self.gateway.handle(UnmapRequest(via, source_of(client), key))

    async def unmap_range(self, start: int, end: int, client: str = CONSOLE_IP, everyone: bool = False) -> Reply:
        request = UnmapRangeRequest(Via.IGD2, source_of(client), Transport.TCP, start, end, everyone)
        return await self.gateway.handle(request)

    async def sweep(self) -> None:
        """What is due is done, and what became due by it; the writer has finished it."""
        for _ in range(2):
            self.upkeep.sweep()
            await self.upkeep.settled()
            await self.gateway.settled()


@asynccontextmanager
async def house(
    directory: Path, policy: Policy | None = None, clock: Clock | None = None, **options: Any
) -> AsyncIterator[House]:
    """A started gateway; the same directory again is a restart."""
    made = House(directory, policy or home_policy(), clock or Clock(), **options)
    await made.store.open()
    try:
        await made.gateway.start()
        made.gateway.before_request = made.upkeep.sweep
        await made.witness.load(made.gateway.books.devices.now)
        yield made
    finally:
        await made.witness.flush()
        await made.upkeep.stop()
        await made.gateway.stop()
        await made.store.close()


def source_of(client: str) -> Source:
    """Where a request from this address comes in."""
    return Source(ip_address(client), TWO_LANS.lan_of(ip_address(client)) or "lan0")


def asks(
    port: int,
    client: str = CONSOLE_IP,
    *,
    internal: int | None = None,
    target: str | None = None,
    transport: Transport = Transport.TCP,
    via: Via = Via.IGD1,
    choice: PortChoice = PortChoice.EXACT,
    lifetime: int | None = 3600,
    remote: str | None = None,
    **more: Any,
) -> MapRequest:
    return MapRequest(
        via=via,
        source=source_of(client),
        transport=transport,
        internal=Endpoint(ip_address(target or client), internal or port),
        external_port=port,
        choice=choice,
        lifetime_s=lifetime,
        remote=ip_network(remote) if remote else None,
        **more,
    )


__all__ = ["CONSOLE", "CONSOLE_IP", "PC", "PC_IP", "Clock", "House", "Removed", "asks", "house"]
