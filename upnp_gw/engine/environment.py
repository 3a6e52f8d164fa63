"""The gateway's view of the network at the moment of a decision: links, neighbours, leases, the clock.

``network`` is replaced as a whole when links or addresses change.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import floor
from time import localtime
from typing import Protocol

from upnp_gw.config.settings import Config
from upnp_gw.gate.facts import device_of
from upnp_gw.model.device import lan_of, mac_of
from upnp_gw.model.dhcp import Leases
from upnp_gw.model.mapping import DAY_S, Endpoint, Instant, IPAddress, Mapping
from upnp_gw.model.network import Neighbour, Neighbours, Network
from upnp_gw.model.request import Source
from upnp_gw.system.neighbour_events import AddressContest

RESOLVE_S = 1.0
RESOLVE_MOST = 64
"""Requesters that are resolved at once. Who is one more is told what an absent one is: anybody can send datagrams
from addresses that nobody has, and each would count as a device of its own, with a quota of its own."""
RESOLVE_TARGETS = 8
"""Internal clients that are resolved at once, other than the requesters; one more is judged by what is known. So
many old addresses of requesters, too."""
TABLE_FULL = frozenset({errno.ENOBUFS, errno.ENOMEM})
"""The kernel has no room for another neighbour."""

Place = tuple[IPAddress, str]
"""An address on a LAN interface."""
Ask = Callable[[IPAddress, str], Awaitable[bool]]


class LanHosts(Protocol):
    """Finds out which host has an address on a LAN interface (``upnp_gw.system.network_monitor``)."""

    def lookup(self, address: IPAddress, interface: str, /) -> str | None:
        """Asks the kernel for the MAC address and adds it to the neighbours: the event for a neighbour may still be
        on its way when its first request is here."""

    async def probe(self, address: IPAddress, interface: str, /) -> bool:
        """Has the kernel find out who is behind an address."""

    async def settle(self, address: IPAddress, interface: str, /) -> bool:
        """Asks all hosts of a LAN link whether only one answers for an address, where that is not known."""

    def unsettled(self, address: IPAddress, interface: str, /) -> bool:
        """True for an address on a LAN link that is not known to belong to one host only. A mapping would lead to
        whichever host answers next."""

    def contested(self, address: IPAddress, interface: str, /) -> bool:
        """True for an address on a LAN that several hosts claim. Mappings to it are parked until it is settled."""

    def contests(self) -> Sequence[AddressContest]:
        """All addresses that several hosts claim."""


class PeacefulLan:
    """``LanHosts`` of a network on paper: one host answers for each address."""

    def lookup(self, address: IPAddress, interface: str) -> str | None:
        return None

    async def probe(self, address: IPAddress, interface: str) -> bool:
        return True

    async def settle(self, address: IPAddress, interface: str) -> bool:
        return True

    def unsettled(self, address: IPAddress, interface: str) -> bool:
        return False

    def contested(self, address: IPAddress, interface: str) -> bool:
        return False

    def contests(self) -> Sequence[AddressContest]:
        return ()


class LeaseSource(Protocol):
    """Reads the leases of the LAN's DHCP servers (``upnp_gw.system.dhcp_lease_files``)."""

    @property
    def leases(self) -> Leases:
        """The leases as they are known now."""

    def poll(self) -> None:
        """Reads leases that were given a moment ago."""


@dataclass(slots=True)
class FixedLeases:
    """A ``LeaseSource`` that reads nothing."""

    leases: Leases = field(default_factory=Leases)

    def poll(self) -> None:
        pass


@dataclass(slots=True)
class Environment:
    """The latest of everything."""

    network: Network
    clock: Callable[[], Instant]
    neighbours: Neighbours = field(default_factory=Neighbours)
    hosts: LanHosts = field(default_factory=PeacefulLan)
    leases: LeaseSource = field(default_factory=FixedLeases)
    _requesters: set[Place] = field(default_factory=set)
    """Those that are being resolved."""
    _targets: set[Place] = field(default_factory=set)
    _former: set[Place] = field(default_factory=set)
    """Former addresses of requesters that are being probed."""

    def device_of(self, address: IPAddress, interface: str = "") -> str:
        """The identifier of the device behind an address. ``interface``: the LAN that its packet came in on; empty:
        the LAN of its prefix."""
        return device_of(self.network, self.neighbours, address, interface).device

    def name_of(self, neighbour: Neighbour) -> str:
        """The identifier of this neighbour's device."""
        return self.network.device_id(neighbour.mac, neighbour.interface)

    def host_of(self, address: IPAddress) -> str | None:
        """The identifier of the device behind an address whose MAC address is known; else None."""
        found = device_of(self.network, self.neighbours, address)
        return found.device if found.mac is not None else None

    def in_full(self, device: str) -> str:
        """The identifier of a device that the operator wrote in capitals or without its LAN."""
        mac, lan = mac_of(device.lower()), lan_of(device)
        return device if mac is None else self.network.device_id(mac, lan or self.network.main_lan)

    def addresses_of(self, device: str) -> frozenset[IPAddress]:
        """The addresses that a device is seen at now; none of one that is told by its address."""
        mac = mac_of(device)
        return self.neighbours.addresses_of(mac, lan_of(device) or None) if mac is not None else frozenset()

    def sender_of(self, source: Source) -> Hashable:
        """The sender whose share a datagram uses: the host, by LAN and MAC address.

        The hosts of a link whose MAC addresses the kernel does not know have one share together: anybody can send
        datagrams from addresses that nobody has, while a host that is there has sent ARP or a neighbour
        solicitation before its first datagram. Where hosts have no MAC address (a tunnel, a routed LAN) the address
        counts.
        """
        mac = self.neighbours.mac_of(source.address, source.interface)
        if mac is not None:
            return source.interface, mac
        link = self.network.lan(source.interface)
        if link is None or not link.has_macs or not link.holds(source.address):
            return source.address
        return source.interface

    def either_contested(self, source: Source, internal: Endpoint) -> bool:
        """Whether requester or internal client is contested, each on its own LAN: two LANs can have the same
        link-local address, and a guest must not keep a home device from asking by a claim to it."""
        target = internal.address
        lan = source.interface if target == source.address else self.network.lan_of(target)
        return self.hosts.contested(source.address, source.interface) or self.hosts.contested(target, lan)

    def learn(self, source: Source) -> None:
        """Makes sure that a requester on a LAN link is known by its MAC address before it is judged."""
        if source.interface and self.neighbours.mac_of(source.address, source.interface) is None:
            self.hosts.lookup(source.address, source.interface)
        self.leases.poll()

    async def resolve(self, address: IPAddress, interface: str) -> bool:
        """Has the kernel resolve a requester on a LAN link that it does not know: after the link was down its
        neighbours are forgotten, and a datagram teaches it none. False where nobody answers for the address, or
        that cannot be found out now."""
        if not self._unknown(address, interface):
            return True
        return await self._resolve(self.hosts.probe, (address, interface), self._requesters, RESOLVE_MOST)

    async def resolve_target(self, address: IPAddress, source: Source) -> None:
        """``resolve`` for an internal client: it may be another address of the requester, which has sent nothing
        from there yet. Only one host may answer for it before anything is opened to it."""
        interface = source.interface or self.network.lan_of(address)
        if self._unknown(address, interface):
            await self._resolve(self.hosts.probe, (address, interface), self._targets, RESOLVE_TARGETS)
        lan = self.network.lan_of(address)
        if not self.hosts.unsettled(address, lan):
            await self.hosts.settle(address, lan)  # returns at once; what was settled long ago is looked at again
        elif address == source.address:
            await self._resolve(self.hosts.settle, (address, lan), self._requesters, RESOLVE_MOST)
        else:
            await self._resolve(self.hosts.settle, (address, lan), self._targets, RESOLVE_TARGETS)

    def client_unsettled(self, address: IPAddress) -> bool:
        """True where it is not known that only one host has the internal client's address."""
        return self.hosts.unsettled(address, self.network.lan_of(address))

    def client_contested(self, address: IPAddress) -> bool:
        """True where several hosts claim an internal client's address."""
        return self.hosts.contested(address, self.network.lan_of(address))

    async def silent(self, address: IPAddress) -> bool:
        """True where nobody answers for an address on a LAN link. False also where that cannot be found out now."""
        lan = self.network.lan_of(address)
        link, place = self.network.lan(lan) if lan else None, (address, lan)
        if link is None or not link.holds(address) or self.network.is_gateway(address):
            return False
        if len(self._former) >= RESOLVE_TARGETS and place not in self._former:
            return False
        self._former.add(place)
        try:
            return not await self.hosts.probe(*place)
        except OSError:
            return False
        finally:
            self._former.discard(place)

    def _unknown(self, address: IPAddress, interface: str) -> bool:
        """It should have a MAC address on this link, and none is known."""
        link = self.network.lan(interface) if interface else None
        if link is None or self.network.is_gateway(address):
            return False
        return link.holds(address) and self.neighbours.mac_of(address, interface) is None

    async def _resolve(self, ask: Ask, place: Place, under_way: set[Place], most: int) -> bool:
        if len(under_way) >= most and place not in under_way:
            return False
        under_way.add(place)
        try:
            async with asyncio.timeout(RESOLVE_S):
                return await ask(*place)
        except TimeoutError:
            return False
        except OSError as error:
            # where the kernel may not be asked, the host stays unknown and is judged so
            return error.errno not in TABLE_FULL
        finally:
            under_way.discard(place)

    def address_of(self, mapping: Mapping) -> IPAddress:
        """An address of the device that holds a mapping: the internal client's own, unless it was delegated."""
        if not mapping.delegated:
            return mapping.internal.address
        known = sorted(self.addresses_of(mapping.device), key=lambda a: (a.version, int(a)))
        same_family = [a for a in known if a.version == mapping.internal.address.version]
        return next(iter(same_family or known), mapping.internal.address)

    def local_time(self, now: Instant) -> datetime:
        """The gateway's local time, for grants with hours."""
        return datetime.fromtimestamp(now.wall).astimezone()


def served_network(network: Network, config: Config) -> Network:
    """The network as it is served: marked where the memory backend stands in for a router on the loopback."""
    loopback = all(address.ip.is_loopback for link in network.lans for address in link.addresses)
    emulated = config.backend == "memory" and loopback
    wan = replace(network.wan, up=True, index=1) if emulated and not network.wan.index else network.wan
    return replace(network, wan=wan, emulated=emulated, advertise=config.advertise)


def clock_change_s(wall: float) -> float | None:
    """Seconds from ``wall`` until the local clock is set forward or back (summer time); None: not within a day."""
    before, after = floor(wall), floor(wall) + DAY_S
    offset = localtime(before).tm_gmtoff
    if localtime(after).tm_gmtoff == offset:
        return None
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if localtime(middle).tm_gmtoff == offset else (before, middle)
    return after - wall
