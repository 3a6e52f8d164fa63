"""What the gateway knows of the world at the moment of a decision: links, neighbours, its own ports, the clock.

Kept by the shells (``servers.netwatch``, ``own_ports``), read by the operations. Tests fill it by hand.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from upnp_gw.gate.dhcp import Leases
from upnp_gw.model import Instant, IPAddress, Mapping
from upnp_gw.network import GatewayPorts, Neighbours, Network
from upnp_gw.request import Source

RESOLVE_S = 1.0
RESOLVE_MOST = 8
"""Addresses that are resolved at once; who is one more is judged by what is known."""


async def _no_resolve(address: IPAddress, interface: str) -> bool:
    return True


def _no_lookup(address: IPAddress, interface: str) -> str | None:
    return None


@dataclass(slots=True)
class Surroundings:
    """The latest of everything."""

    network: Network
    clock: Callable[[], Instant]
    neighbours: Neighbours = field(default_factory=Neighbours)
    ports: Callable[[], GatewayPorts] = GatewayPorts
    lookup_mac: Callable[[IPAddress, str], str | None] = _no_lookup
    """Asks the kernel at once, and has ``neighbours`` know it: the event for a neighbour may still be on its way
    when its first request is here."""
    resolve: Callable[[IPAddress, str], Awaitable[bool]] = _no_resolve
    """Has the kernel find out who is behind an address."""
    _resolving: set[tuple[IPAddress, str]] = field(default_factory=set)

    leases: Callable[[], Leases] = Leases
    """The DHCP leases as they are known now."""
    look_at_leases: Callable[[], None] = lambda: None
    """Takes in a lease that was given a moment ago."""

    def device_of(self, address: IPAddress, interface: str = "") -> str:
        """The MAC address behind an address; the address itself where none is known (a routed LAN).

        A link-local address may be on two LANs: only with the interface is it told apart.
        """
        return self.neighbours.mac_of(address, interface or None) or str(address)

    def meet(self, source: Source) -> None:
        """Makes sure that a requester on a LAN link is known by its MAC address before it is judged."""
        if source.interface and self.neighbours.mac_of(source.address, source.interface) is None:
            self.lookup_mac(source.address, source.interface)
        self.look_at_leases()

    async def introduce(self, address: IPAddress, interface: str) -> bool:
        """Has the kernel resolve a host on the requester's LAN that it does not know: after the link was down its
        neighbours are forgotten, and a datagram teaches it none; or an internal client is another address of the
        requester, and it has sent nothing from there yet. False where nobody answers for the address."""
        link = self.network.lan(interface) if interface else None
        place = (address, interface)
        full = len(self._resolving) >= RESOLVE_MOST and place not in self._resolving
        if link is None or full or self.network.is_gateway(address):
            return True
        near = any(address in net for net in link.networks if net.version == address.version)
        if not near or self.neighbours.mac_of(address, interface) is not None:
            return True
        self._resolving.add(place)
        try:
            async with asyncio.timeout(RESOLVE_S):
                return await self.resolve(address, interface)
        except TimeoutError:
            return False
        except OSError:
            return True  # the kernel may not be asked: it stays unknown, and is judged so
        finally:
            self._resolving.discard(place)

    def address_of(self, mapping: Mapping) -> IPAddress:
        """An address of the device that holds a mapping: the internal client's own, unless it was delegated."""
        if not mapping.delegated:
            return mapping.internal.address
        known = sorted(self.neighbours.addresses_of(mapping.device), key=lambda a: (a.version, int(a)))
        same_family = [a for a in known if a.version == mapping.internal.address.version]
        return next(iter(same_family or known), mapping.internal.address)

    def local_time(self, now: Instant) -> datetime:
        """The gateway's local time, for grants with hours."""
        return datetime.fromtimestamp(now.wall).astimezone()


def is_mac(device: str) -> bool:
    """True for a device that is told by its MAC address."""
    return len(device) == 17 and device.count(":") == 5
