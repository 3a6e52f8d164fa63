"""Follows links, addresses and LAN neighbours by rtnetlink events.

Everything is read once at the start. After that each event updates one part. Only if events were lost (the kernel
reports it by ENOBUFS) everything is read again.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import ParamSpec

from upnp_gw.model.mapping import IPAddress, IPNetwork
from upnp_gw.model.network import Link, Neighbours, Network
from upnp_gw.system.address_contests import QUERY_S
from upnp_gw.system.address_holders import AddressHolders
from upnp_gw.system.address_query import AddressQuery
from upnp_gw.system.link_state import LinkState
from upnp_gw.system.neighbour_events import (
    AddressContest,
    AddressContested,
    AddressMoved,
    AddressSettled,
    NeighbourEvent,
    NeighbourGone,
    NeighbourSeen,
    Place,
)
from upnp_gw.system.neighbour_table import KernelQuery, NeighbourTable
from upnp_gw.system.rtnetlink import (
    AddressMessage,
    LinkMessage,
    Message,
    NeighbourMessage,
    has_route_messages,
    parse,
)
from upnp_gw.system.rtnetlink_socket import Rtnetlink, event_socket
from upnp_gw.system.who_has import QuerySource, WhoHas

__all__ = [
    "AddressContested",
    "AddressMoved",
    "AddressSettled",
    "NeighbourEvent",
    "NeighbourGone",
    "NeighbourSeen",
    "NetworkMonitor",
]

log = logging.getLogger(__name__)

DATAGRAM = 1 << 16
RECEIVE_BYTES = 1 << 22
"""Receive buffer: some thousand events, for while the event loop is busy."""
QUEUE = 10_000
"""More events than the receive buffer can hold."""
BATCH = 64
"""Events that are read before the event loop serves others."""
REST_S = 0.005
"""Pause after a full batch. So a flood of events (forged ARP) takes only a part of one core."""
RESYNC_S = 0.5
"""Shortest time between two full reads."""


class NetworkMonitor:
    """Watches the net namespace in which it is made. Then ``await start()``, set the callbacks, ``await close()``.

    All methods on the event loop's thread. The callbacks must not block; an exception of one is logged.
    ``boottime``: CLOCK_BOOTTIME in seconds. Raises OSError if netlink is not available.
    """

    def __init__(
        self,
        wan: str,
        lan: Sequence[str],
        *,
        routed: Sequence[IPNetwork] = (),
        external: Sequence[IPv4Address] = (),
        boottime: Callable[[], float],
        receive_bytes: int = RECEIVE_BYTES,
        who_has: WhoHas | None = None,
    ) -> None:
        """``who_has`` is started and closed here. None: only the kernel asks, and a second answer goes
        unnoticed."""
        self._state = LinkState(wan, lan, routed, external)
        self.network: Network = self._state.nothing
        """The latest snapshot."""
        self.neighbours = Neighbours()
        """Always the same object, kept up to date."""
        self.on_network: Callable[[Network, Network], None] = lambda old, new: None
        """Called with (old, new) after links or addresses have changed. ``network`` is the new one already."""
        self.on_neighbour: Callable[[NeighbourEvent], None] = lambda event: None
        self.resyncs = 0
        """The number of times that everything was read again because events were lost."""
        self._boottime = boottime
        self._follows_routes = bool(routed) and len(lan) > 1
        """With several LANs, the kernel's routes show which of them leads to a routed prefix."""
        self._changed = False
        self._resync: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._kernel = Rtnetlink()
        try:
            self._events = event_socket(receive_bytes, self._follows_routes)
        except BaseException:
            self._kernel.close()
            raise
        self._who_has = who_has
        self._holders = AddressHolders(self.neighbours, self._kernel, self._open_query, self._lan, self._emit)
        self._table = NeighbourTable(self.neighbours, self._kernel, self._emit, self._holders)

    async def start(self) -> None:
        """Reads everything and begins to follow events."""
        if self._who_has is not None:
            self._who_has.start()
        self._read_all()
        asyncio.get_running_loop().add_reader(self._events, self._readable)

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._events)
        for timer in (self._resync, self._rest):
            if timer is not None:
                timer.cancel()
        await self._holders.close()
        if self._who_has is not None:
            self._who_has.close()
        self._kernel.close()
        self._events.close()

    async def probe(self, address: IPAddress, interface: str) -> bool:
        """True if a host answers for this address on this LAN interface within 4 s (the kernel's own probes).

        Also true where that cannot be found out: an address behind another router, an entry that the operator set.
        Raises OSError if the kernel does not let us ask.
        """
        link = self._near(address, interface)
        if link is None:
            return not self._is_down(interface)
        return await self._table.probe(address, interface, link.index)

    def _near(self, address: IPAddress, interface: str) -> Link | None:
        """The link on which this address can have a neighbour entry. None: it is behind another router, or the link
        is down or has no neighbours."""
        link = self.network.link_of_host(address, interface)
        return link if link is not None and link.up and link.has_macs else None

    def _is_down(self, interface: str) -> bool:
        link = self.network.lan(interface)
        return link is None or not link.up

    # -- which host has an address

    def set_holder_of(self, holder_of: Callable[[IPAddress, str], str | None]) -> None:
        """``holder_of``: (address, interface) -> MAC address of the device whose mappings lead there."""
        self._holders.holder_of = lambda place: holder_of(*place)

    async def settle(self, address: IPAddress, interface: str, fresh: bool = False) -> bool:
        """True if the known host of this address is the only one that answers for it. Asks all hosts of the link if
        the address is not settled (``fresh``: in any case). Takes half a second, at most 4 s.

        Also true where that cannot be found out, as in ``probe``.
        """
        link = self._near(address, interface)
        if link is None:
            return not self._is_down(interface)
        place = (address, interface)
        if self.neighbours.mac_of(*place) is None and not self._holders.contested(place):
            if not await self._table.probe(address, interface, link.index):
                return False
            self.lookup(address, interface)
        return await self._holders.settle(place, fresh)

    async def recheck(self, address: IPAddress, interface: str) -> bool:
        """``settle``, but asks all hosts in any case."""
        return await self.settle(address, interface, fresh=True)

    def settled_lately(self, address: IPAddress, interface: str) -> bool:
        """True if ``settle`` has nothing to ask now."""
        if self._near(address, interface) is None:
            return not self._is_down(interface)
        return self._holders.settled_lately((address, interface))

    def unsettled(self, address: IPAddress, interface: str) -> bool:
        """True for an address on a LAN link that is not settled."""
        return self._near(address, interface) is not None and not self._holders.settled((address, interface))

    def contested(self, address: IPAddress, interface: str) -> bool:
        """True for an address that several hosts of this LAN claim."""
        return self._holders.contested((address, interface))

    def contests(self) -> list[AddressContest]:
        """All contested addresses."""
        return self._holders.contests()

    def _lan(self, interface: str) -> Link | None:
        return self.network.lan(interface)

    def _open_query(self, place: Place) -> AddressQuery | None:
        """Opens a query to all hosts of a link; None: it has no neighbours. Raises OSError."""
        address, interface = place
        link = self.network.lan(interface)
        if link is None or not link.index:
            raise OSError(errno.ENODEV, "the link is not there")
        mac = self._state.mac_of(link.index)
        if mac is None or not link.has_macs:
            return None
        if self._who_has is None:
            return KernelQuery(self._table, place, link.index, QUERY_S - 0.5)
        own = next(
            (own.ip for own in link.addresses if own.version == address.version and address in own.network), None
        )
        return self._who_has.open_query(QuerySource(interface, link.index, mac, own), address)

    def lookup(self, address: IPAddress, interface: str) -> str | None:
        """The MAC address of a LAN address. Asks the kernel (0.1 ms) if the event has not come yet."""
        link = self.network.lan(interface)
        mac = self.neighbours.mac_of(address, interface)
        if mac is not None or link is None or not link.index or not link.has_macs:
            return mac
        try:
            message = self._kernel.neighbour(address, link.index)
        except OSError as error:
            log.warning("cannot read the neighbour entry of %s on %s: %s", address, interface, error.strerror)
            return None
        if message is not None:
            self._apply(message)
        return self.neighbours.mac_of(address, interface)

    def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(BATCH):
            try:
                data, sender = self._events.recvfrom(DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._lost()
                continue
            if sender[0] == 0:  # from the kernel, not from another process
                self._changed |= self._follows_routes and has_route_messages(data)
                for message in parse(data):
                    self._apply(message)
        else:
            loop.remove_reader(self._events)
            self._rest = loop.call_later(REST_S, loop.add_reader, self._events, self._readable)
        self._publish()

    def _apply(self, message: Message) -> None:
        if isinstance(message, NeighbourMessage):
            self._publish()
            interface = self._lan_of(message)
            if interface is not None:
                self._table.update(interface, message)
        elif isinstance(message, LinkMessage | AddressMessage):
            self._state.update(message)
            self._changed = True

    def _lan_of(self, message: NeighbourMessage) -> str | None:
        """The LAN link of a neighbour; None: not on a LAN, or its address belongs to another LAN."""
        interface = self._state.lan_of(message.index)
        return interface if interface is not None and self.network.on_link(message.address, interface) else None

    def _publish(self) -> None:
        """Makes the new network known, once for a burst of events."""
        if not self._changed:
            return
        self._changed = False
        old, new = self.network, self._with_routes(self._state.network(self.network, self._boottime()))
        if new is old:
            return
        self.network = new
        _call(self.on_network, old, new)
        if (old.lans, old.routed_on) != (new.lans, new.routed_on):
            # with other prefixes or indexes, other entries matter
            self._read_neighbours()

    def _with_routes(self, network: Network) -> Network:
        """Adds the LAN that leads to each routed prefix, by the kernel's routes."""
        if not self._follows_routes:
            return network
        interfaces = tuple(self._interface_to(net) for net in network.routed)
        if interfaces == network.routed_on:
            return network
        return replace(network, routed_on=interfaces, generation=network.generation + 1)

    def _interface_to(self, net: IPNetwork) -> str:
        """The LAN link by which the kernel sends to this prefix; empty: no LAN link."""
        host = net.network_address + (1 if net.num_addresses > 1 else 0)
        try:
            return self._state.lan_of(self._kernel.interface_to(host)) or ""
        except OSError as error:
            log.warning("cannot read the route to %s: %s", net, error.strerror)
            return ""

    def _lost(self) -> None:
        """Events were lost: reads everything again after RESYNC_S."""
        if self._resync is None:
            self._resync = asyncio.get_running_loop().call_later(RESYNC_S, self._read_again)

    def _read_again(self) -> None:
        self._resync = None
        self.resyncs += 1
        log.warning("network events were lost; everything is read again")
        # queued events are older than the dump that follows
        for _ in range(QUEUE):
            try:
                self._events.recv(1)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        try:
            self._read_all()
        except OSError as error:
            log.error("cannot read links and addresses: %s", error.strerror)
            self._lost()

    def _read_all(self) -> None:
        links, addresses = self._kernel.links(), self._kernel.addresses()
        self._state.clear()
        for link in links:
            self._state.update(link)
        for address in addresses:
            self._state.update(address)
        self._changed = True
        self._publish()
        self._read_neighbours()

    def _read_neighbours(self) -> None:
        listed = ((self._lan_of(message), message) for message in self._kernel.neighbours())
        self._table.reconcile((interface, message) for interface, message in listed if interface is not None)

    def _emit(self, event: NeighbourEvent) -> None:
        _call(self.on_neighbour, event)


P = ParamSpec("P")


def _call(callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        callback(*args, **kwargs)
    except Exception:
        log.exception("a callback for a change of the network failed")
