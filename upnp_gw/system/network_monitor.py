"""What the gateway knows of the network, kept by rtnetlink events: links, addresses, LAN neighbours.

Everything is read once at the start; after that each event changes what it tells of. Only where events were lost
(the kernel says so by ENOBUFS) all is read again.
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
from upnp_gw.system.address_contests import JUDGE_S
from upnp_gw.system.address_holders import AddressHolders
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
from upnp_gw.system.neighbour_probe import KernelProbe, NeighbourProbe
from upnp_gw.system.neighbour_queries import NeighbourQuery
from upnp_gw.system.rtnetlink import AddressMessage, LinkMessage, Message, NeighbourMessage, parse, tells_of_routes
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
"""Room for some thousand events while the loop does something else."""
QUEUE = 10_000
"""More events than that room can hold."""
BATCH = 64
"""Events taken before others get their turn."""
REST_S = 0.005
"""Pause after a full batch: a flood of events (forged ARP) takes a part of a core, not all of it."""
RESYNC_S = 0.5
"""At least so long between two full reads."""


class NetworkMonitor:
    """Made in the net namespace it is to watch; then ``await start()``, set the callbacks, ``await close()``.

    All on the event loop's thread. The callbacks must not block; one that raises is logged. ``boottime`` is
    CLOCK_BOOTTIME in seconds. Raises OSError where netlink is not to be had.
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
        """``who_has`` is started and closed here; None: only the kernel asks, which misses a second answer."""
        self._state = LinkState(wan, lan, routed, external)
        self.network: Network = self._state.nothing
        """The latest snapshot."""
        self.neighbours = Neighbours()
        """One object for the whole life, kept up to date."""
        self.on_network: Callable[[Network, Network], None] = lambda old, new: None
        """(old, new), when links or addresses changed; ``network`` is the new one already."""
        self.on_neighbour: Callable[[NeighbourEvent], None] = lambda event: None
        self.resyncs = 0
        """How often everything was read again because events were lost."""
        self._boottime = boottime
        self._follows_routes = bool(routed) and len(lan) > 1
        """With several LANs, each routed prefix has to be assigned to one of them."""
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
        self._holders = AddressHolders(self.neighbours, self._kernel, self._begin, self._lan, self._tell)
        self._presence = NeighbourProbe(self.neighbours, self._kernel, self._tell, self._holders)

    async def start(self) -> None:
        """Reads everything, and listens from then on."""
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
        """Does a host answer for this address on this LAN interface? Within 4 s, by the kernel's own probes.

        True also where it cannot be told: an address behind another router, an entry that the operator set.
        Raises OSError where the kernel does not let us ask.
        """
        link = self._near(address, interface)
        if link is None:
            return not self._is_down(interface)
        return await self._presence.probe(address, interface, link.index)

    def _near(self, address: IPAddress, interface: str) -> Link | None:
        """The link where a host of this address has a neighbour entry; None where it has none: behind another
        router, the link is down, or has no neighbours."""
        link = self.network.lan(interface)
        if link is None or not link.up or not link.has_macs or self.network.is_gateway(address):
            return None
        return link if link.holds(address) else None

    def _is_down(self, interface: str) -> bool:
        link = self.network.lan(interface)
        return link is None or not link.up

    # -- whose address it is

    def mappings_lead_to(self, holder_of: Callable[[IPAddress, str], str | None]) -> None:
        """``holder_of``: the MAC address of the device that has mappings to an address on a LAN interface."""
        self._holders.holder_of = lambda place: holder_of(*place)

    async def settle(self, address: IPAddress, interface: str, fresh: bool = False) -> bool:
        """True where the known host of this address is the only one that answers for it. Asks all hosts of the link
        where that was not done (``fresh``: in any case): within 4 s, in half a second where all is well.

        True also where it cannot be told, as in ``probe``.
        """
        link = self._near(address, interface)
        if link is None:
            return not self._is_down(interface)
        place = (address, interface)
        if self.neighbours.mac_of(*place) is None and not self._holders.contested(place):
            if not await self._presence.probe(address, interface, link.index):
                return False
            self.lookup(address, interface)
        return await self._holders.settle(place, fresh)

    async def settle_anew(self, address: IPAddress, interface: str) -> bool:
        """``settle``, with all hosts asked in any case."""
        return await self.settle(address, interface, fresh=True)

    def unsettled(self, address: IPAddress, interface: str) -> bool:
        """True for an address on a LAN link that is not known to be one host's alone."""
        return self._near(address, interface) is not None and not self._holders.settled((address, interface))

    def contested(self, address: IPAddress, interface: str) -> bool:
        """True for an address that several hosts claim on this LAN."""
        return self._holders.contested((address, interface))

    def contests(self) -> list[AddressContest]:
        """All addresses that several hosts claim."""
        return self._holders.contests()

    def _lan(self, interface: str) -> Link | None:
        return self.network.lan(interface)

    def _begin(self, place: Place) -> NeighbourQuery | None:
        """Opens a question to all hosts of a link. Raises OSError."""
        address, interface = place
        link = self.network.lan(interface)
        if link is None or not link.index:
            raise OSError(errno.ENODEV, "the link is not there")
        mac = self._state.mac_of(link.index)
        if mac is None or not link.has_macs:
            return None
        if self._who_has is None:
            return KernelProbe(self._presence, place, link.index, JUDGE_S - 0.5)
        own = next(
            (own.ip for own in link.addresses if own.version == address.version and address in own.network), None
        )
        return self._who_has.begin(QuerySource(interface, link.index, mac, own), address)

    def lookup(self, address: IPAddress, interface: str) -> str | None:
        """The MAC address behind an address; asked of the kernel (0.1 ms) where its event is not here yet."""
        link = self.network.lan(interface)
        mac = self.neighbours.mac_of(address, interface)
        if mac is not None or link is None or not link.index:
            return mac
        try:
            message = self._kernel.neighbour(address, link.index)
        except OSError as error:
            log.warning("neighbour %s on %s cannot be read: %s", address, interface, error.strerror)
            return None
        if message is not None:
            self._take(message)
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
                self._changed |= self._follows_routes and tells_of_routes(data)
                for message in parse(data):
                    self._take(message)
        else:
            loop.remove_reader(self._events)
            self._rest = loop.call_later(REST_S, loop.add_reader, self._events, self._readable)
        self._publish()

    def _take(self, message: Message) -> None:
        if isinstance(message, NeighbourMessage):
            self._publish()
            interface = self._lan_of(message)
            if interface is not None:
                self._presence.take(interface, message)
        elif isinstance(message, LinkMessage | AddressMessage):
            self._state.take(message)
            self._changed = True

    def _lan_of(self, message: NeighbourMessage) -> str | None:
        """The LAN link of a neighbour; None for one that is not ours, or that claims an address of another LAN."""
        interface = self._state.lan_of(message.index)
        return interface if interface is not None and self.network.on_link(message.address, interface) else None

    def _publish(self) -> None:
        """Tells of a new network, once for a burst of events."""
        if not self._changed:
            return
        self._changed = False
        old, new = self.network, self._with_ways(self._state.network(self.network, self._boottime()))
        if new is old:
            return
        self.network = new
        _call(self.on_network, old, new)
        if (old.lans, old.routed_on) != (new.lans, new.routed_on):
            # other prefixes or indexes: other entries concern us
            self._read_neighbours()

    def _with_ways(self, network: Network) -> Network:
        """The network with the LAN that each routed prefix is behind, by the kernel's routes."""
        if not self._follows_routes:
            return network
        found = tuple(self._way_to(net) for net in network.routed)
        if found == network.routed_on:
            return network
        return replace(network, routed_on=found, generation=network.generation + 1)

    def _way_to(self, net: IPNetwork) -> str:
        """The LAN link by which the kernel sends to this prefix; empty: none of ours."""
        host = net.network_address + (1 if net.num_addresses > 1 else 0)
        try:
            return self._state.lan_of(self._kernel.way_to(host)) or ""
        except OSError as error:
            log.warning("the route to %s cannot be read: %s", net, error.strerror)
            return ""

    def _lost(self) -> None:
        """Events were lost: everything is read again soon."""
        if self._resync is None:
            self._resync = asyncio.get_running_loop().call_later(RESYNC_S, self._read_again)

    def _read_again(self) -> None:
        self._resync = None
        self.resyncs += 1
        log.warning("network events were lost; everything is read again")
        # what still waits is older than what is read now, and what came after it may be among the lost
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
            log.error("the network cannot be read: %s", error.strerror)
            self._lost()

    def _read_all(self) -> None:
        links, addresses = self._kernel.links(), self._kernel.addresses()
        self._state.clear()
        for link in links:
            self._state.take(link)
        for address in addresses:
            self._state.take(address)
        self._changed = True
        self._publish()
        self._read_neighbours()

    def _read_neighbours(self) -> None:
        listed = ((self._lan_of(message), message) for message in self._kernel.neighbours())
        self._presence.reconcile((interface, message) for interface, message in listed if interface is not None)

    def _tell(self, event: NeighbourEvent) -> None:
        _call(self.on_neighbour, event)


P = ParamSpec("P")


def _call(callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    try:
        callback(*args, **kwargs)
    except Exception:
        log.exception("a listener to the network failed")
