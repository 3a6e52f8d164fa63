"""The gateway's view of the network at the moment of a decision: links, neighbours, leases, the clock.

``network`` is replaced as a whole when links or addresses change.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Address
from math import floor
from time import localtime
from typing import Protocol

from upnp_gw.config.settings import Config
from upnp_gw.engine.above_rules import AboveRules
from upnp_gw.gate.facts import device_of
from upnp_gw.model.device import lan_of, mac_of
from upnp_gw.model.dhcp import Leases
from upnp_gw.model.mapping import DAY_S, Instant, IPAddress, Mapping
from upnp_gw.model.network import Neighbour, Neighbours, Network
from upnp_gw.model.public_addresses import private_external
from upnp_gw.model.request import Source
from upnp_gw.system.neighbour_events import AddressContest, Place

RESOLVE_S = 1.0
"""The most seconds that a request waits for each check of a host."""
RESOLVE_MOST = 64
"""The most requesters that are resolved at once. Further ones are answered as if they were absent: anybody can send
datagrams from unused addresses, and each would count as a device with a quota of its own."""
RESOLVE_TARGETS = 8
"""The most internal clients, other than the requesters, that are resolved at once. Further ones are judged by the
present neighbour entries. Also the most former addresses of requesters that are probed at once."""
TABLE_FULL = frozenset({errno.ENOBUFS, errno.ENOMEM})
"""The kernel has no room for another neighbour."""

Ask = Callable[[IPAddress, str], Awaitable[bool]]


class LanHosts(Protocol):
    """Finds out which host has an address on a LAN interface (``upnp_gw.system.network_monitor``)."""

    def lookup(self, address: IPAddress, interface: str, /) -> str | None:
        """Asks the kernel for the MAC address and adds it to the neighbours: a host's first request may arrive
        before the kernel's event."""

    async def probe(self, address: IPAddress, interface: str, /) -> bool:
        """Has the kernel resolve an address. True if a host answers, or if that cannot be checked."""

    async def settle(self, address: IPAddress, interface: str, /) -> bool:
        """Asks all hosts of a LAN link if only one answers for an address, unless that is known."""

    def settled_lately(self, address: IPAddress, interface: str, /) -> bool:
        """True if the last check found that one host answers for an address, and it is too early to check again."""

    def unsettled(self, address: IPAddress, interface: str, /) -> bool:
        """True if an address on a LAN link is not known to belong to one host only. A mapping would lead to
        whichever host answers next."""

    def contested(self, address: IPAddress, interface: str, /) -> bool:
        """True if several hosts on a LAN claim an address. Mappings to it are parked until it is settled."""

    def contests(self) -> Sequence[AddressContest]:
        """All addresses that several hosts claim."""


class PeacefulLan:
    """``LanHosts`` without a network: one host answers for each address."""

    def lookup(self, address: IPAddress, interface: str) -> str | None:
        return None

    async def probe(self, address: IPAddress, interface: str) -> bool:
        return True

    async def settle(self, address: IPAddress, interface: str) -> bool:
        return True

    def settled_lately(self, address: IPAddress, interface: str) -> bool:
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
        """Reads the newest leases."""


@dataclass(slots=True)
class FixedLeases:
    """A ``LeaseSource`` that reads nothing."""

    leases: Leases = field(default_factory=Leases)

    def poll(self) -> None:
        pass


@dataclass(slots=True)
class Environment:
    """The latest known state of each part."""

    network: Network
    clock: Callable[[], Instant]
    neighbours: Neighbours = field(default_factory=Neighbours)
    hosts: LanHosts = field(default_factory=PeacefulLan)
    leases: LeaseSource = field(default_factory=FixedLeases)
    _requesters: set[Place] = field(default_factory=set)
    """Requesters that are being resolved."""
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
        """The full identifier of a device that the operator wrote in capitals or without its LAN."""
        mac, lan = mac_of(device.lower()), lan_of(device)
        return device if mac is None else self.network.device_id(mac, lan or self.network.main_lan)

    def addresses_of(self, device: str) -> frozenset[IPAddress]:
        """The addresses of a device in the neighbour table; none if an address is its identifier."""
        mac = mac_of(device)
        return self.neighbours.addresses_of(mac, lan_of(device) or None) if mac is not None else frozenset()

    def sender_of(self, source: Source) -> Hashable:
        """The sender whose share a datagram uses: the host, by LAN and MAC address.

        Hosts of a link whose MAC addresses the kernel does not know have one share together: anybody can send
        datagrams from unused addresses, but a real host sends ARP or a neighbour solicitation before its first
        datagram. If hosts have no MAC address (a tunnel, a routed LAN), the IP address is the sender.
        """
        mac = self.neighbours.mac_of(source.address, source.interface)
        if mac is not None:
            return source.interface, mac
        link = self.network.lan(source.interface)
        if link is None or not link.has_macs or not link.holds(source.address):
            return source.address
        return source.interface

    async def identify(self, source: Source) -> str | None:
        """The device of a requester; None: nobody answers for its address, or it cannot be checked now.

        The kernel forgets the neighbours of a link that goes down, and learns none from a datagram: it is asked for
        the entry, and then has to resolve the address."""
        self.leases.poll()
        address, interface = source.address, source.interface
        host = device_of(self.network, self.neighbours, address, interface)
        if host.mac is None and interface:
            self.hosts.lookup(address, interface)
            if self._unknown(address, interface) and not await self._resolve(
                self.hosts.probe, (address, interface), self._requesters, RESOLVE_MOST
            ):
                return None
            host = device_of(self.network, self.neighbours, address, interface)
        return host.device

    async def resolve_target(self, address: IPAddress, source: Source) -> None:
        """Has the kernel resolve an internal client: it may be another address of the requester that has sent
        nothing yet. No port is opened to an address for which several hosts answer."""
        lan = self.network.lan_of(address)
        interface = source.interface or lan
        if interface == lan and self.hosts.settled_lately(address, lan):
            return
        if self._unknown(address, interface):
            await self._resolve(self.hosts.probe, (address, interface), self._targets, RESOLVE_TARGETS)
        if not self.hosts.unsettled(address, lan):
            await self.hosts.settle(address, lan)  # returns at once; an old result is checked again
        elif address == source.address:
            await self._resolve(self.hosts.settle, (address, lan), self._requesters, RESOLVE_MOST)
        else:
            await self._resolve(self.hosts.settle, (address, lan), self._targets, RESOLVE_TARGETS)

    def client_contested(self, address: IPAddress) -> bool:
        """True if several hosts claim an internal client's address."""
        return self.hosts.contested(address, self.network.lan_of(address))

    async def silent(self, address: IPAddress) -> bool:
        """True if nobody answers for an address on a LAN link. False also if it cannot be checked now."""
        lan = self.network.lan_of(address)
        place = address, lan
        if self.network.link_of_host(address, lan) is None:
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
        """True if an address should have a MAC address on this link and none is known."""
        on_link = self.network.link_of_host(address, interface) is not None
        return on_link and self.neighbours.mac_of(address, interface) is None

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
            # if the kernel cannot be asked, the request is judged without a MAC address
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
        return datetime.fromtimestamp(now.wall)  # noqa: DTZ006 (only its local fields are read)


def served_network(network: Network, config: Config, outermost: IPv4Address | None = None) -> Network:
    """The network as it is served. ``emulated``: the memory backend replaces a router, on loopback only.
    ``outermost``: the external address of the gateway above, as far as it is known."""
    asks = asks_above(config, network)
    loopback = all(address.ip.is_loopback for link in network.lans for address in link.addresses)
    emulated = config.backend == "memory" and loopback
    wan = replace(network.wan, up=True, index=1) if emulated and not network.wan.index else network.wan
    routes = zip(network.routed_on, config.routed.values(), strict=False)
    return replace(
        network,
        wan=wan,
        emulated=emulated,
        advertise=config.advertise or (outermost if asks else None),
        behind=asks and private_external(network.external[0]) is not None,
        routed_on=tuple(by_kernel or by_file for by_kernel, by_file in routes),
        without_nat=config.without_nat,
    )


def above_rules(config: Config) -> AboveRules | None:
    """The rules of ``[upstream]``; None: no gateway above is asked."""
    if config.upstream_when == "never":
        return None
    return AboveRules(config.upstream_when == "always", config.upstream_lease_s, config.upstream_timeout_s)


def asks_above(config: Config, network: Network) -> bool:
    """True if port mappings need the gateway above, by the present external address."""
    rules = above_rules(config)
    return rules is not None and bool(network.external) and rules.asks_at(network.external[0])


def clock_change_s(wall: float) -> float | None:
    """Seconds from ``wall`` until the local clock is set forward or back (summer time); None: not within a day."""
    before, after = floor(wall), floor(wall) + DAY_S
    offset = localtime(before).tm_gmtoff
    if localtime(after).tm_gmtoff == offset:
        return None
    while after - before > 1:  # bisection, to the second
        middle = (before + after) // 2
        before, after = (middle, after) if localtime(middle).tm_gmtoff == offset else (before, middle)
    return after - wall
