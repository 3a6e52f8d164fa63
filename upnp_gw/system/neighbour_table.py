"""Follows the kernel's neighbour table (ARP and neighbour discovery) of the LAN links, and probes single hosts.

To probe a host, the daemon sets its entry to PROBE or INCOMPLETE. Then the kernel asks the host and changes the
entry by the outcome. That needs only CAP_NET_ADMIN. The outcome is read from the entry itself, so a late or lost
event does no harm.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from upnp_gw.model.mapping import IPAddress
from upnp_gw.model.network import Neighbour, Neighbours
from upnp_gw.system.neighbour_events import AddressMoved, NeighbourEvent, NeighbourGone, NeighbourSeen, Place
from upnp_gw.system.rtnetlink import KNOWN, NeighbourMessage, NeighbourState

log = logging.getLogger(__name__)

PROBE_S = 4.0
"""The kernel sends 3 probes, a second apart, and gives up a second after the last."""
MOST_FLIPS = 8
"""Most times that a probe of one MAC address is repeated because another host has overwritten the entry."""


class NeighbourKernel(Protocol):
    """``rtnetlink_socket.Rtnetlink``, as this module uses it."""

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None: ...
    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None: ...
    def resolve(self, address: IPAddress, index: int) -> None: ...


class EntryListener(Protocol):
    """Receives changes of neighbour entries: ``address_holders.AddressHolders``."""

    def on_new_entry(self, place: Place, mac: str) -> None: ...
    def on_claim(self, place: Place, mac: str, before: str | None) -> bool: ...
    def on_permanent_entry(self, place: Place, mac: str) -> None: ...
    def on_entry_lost(self, place: Place, mac: str) -> None: ...
    def contested(self, place: Place) -> bool: ...


@dataclass(slots=True)
class _Probe:
    index: int
    mac: str | None
    """Only this host's answer counts; None: any host's."""
    answer: asyncio.Future[bool]
    flips: int = 0


class NeighbourTable:
    """``update`` it with every neighbour message of a LAN link. ``emit`` gets the events, on the event loop."""

    def __init__(
        self,
        neighbours: Neighbours,
        kernel: NeighbourKernel,
        emit: Callable[[NeighbourEvent], None],
        listener: EntryListener,
    ) -> None:
        self._neighbours = neighbours
        self._kernel = kernel
        self._emit = emit
        self._listener = listener
        self._probes: dict[Place, _Probe] = {}

    def update(self, interface: str, message: NeighbourMessage) -> None:
        place = (message.address, interface)
        before = self._neighbours.mac_of(message.address, interface)
        if message.mac is not None and message.state & KNOWN and not message.deleted:
            self._known(place, message, message.mac, before)
        elif before is not None:
            failed = message.state == NeighbourState.FAILED and not message.deleted
            self._lost(place, before, failed=failed)
        if place in self._probes:
            self._read_outcome(place, self._probes[place])

    def reconcile(self, current: Iterable[tuple[str, NeighbourMessage]]) -> None:
        """Applies a full dump. The kernel has dropped every entry that it lacks; that is no sign that a host has
        gone."""
        listed: set[Place] = set()
        for interface, message in current:
            listed.add((message.address, interface))
            self.update(interface, message)
        for entry in self._neighbours.all():
            if (entry.address, entry.interface) not in listed:
                self._lost((entry.address, entry.interface), entry.mac, failed=False)

    def _lost(self, place: Place, mac: str, failed: bool) -> None:
        self._neighbours.forget(*place)
        if failed and not self._listener.contested(place):
            self._emit(NeighbourGone(place[0], mac, place[1]))
        self._listener.on_entry_lost(place, mac)

    def _known(self, place: Place, message: NeighbourMessage, mac: str, before: str | None) -> None:
        address, interface = place
        neighbour = Neighbour(address, mac, interface)
        # requests count for the new MAC at once: its host must not get the rights of the address's last holder
        if before != mac:
            self._neighbours.learn(neighbour)
        if message.state == NeighbourState.PERMANENT:
            self._listener.on_permanent_entry(place, mac)
            if before is None:
                self._emit(NeighbourSeen(neighbour))
            elif before != mac:
                self._emit(AddressMoved(address, before, mac, interface))
        elif not self._listener.on_claim(place, mac, before) and before is None:
            self._emit(NeighbourSeen(neighbour))
            self._listener.on_new_entry(place, mac)

    async def probe(self, address: IPAddress, interface: str, index: int) -> bool:
        """True if a host answers for the address within PROBE_S. Raises OSError, EPERM where we may not ask."""
        return await self.probe_mac((address, interface), index, None, PROBE_S)

    async def probe_mac(self, place: Place, index: int, mac: str | None, wait_s: float) -> bool:
        """True if the host of this MAC address (None: any host) answers for the address. Raises OSError."""
        while (running := self._probes.get(place)) is not None:
            answer = await asyncio.shield(running.answer)
            if running.mac == mac:
                return answer
            await asyncio.sleep(0)  # until the other caller has removed it
        entry = self._kernel.neighbour(place[0], index)
        if entry is not None and entry.state & (NeighbourState.PERMANENT | NeighbourState.NOARP):
            return mac in (None, entry.mac)  # set by the operator: never probed, always there
        probe = self._probes[place] = _Probe(index, mac, asyncio.get_running_loop().create_future())
        try:
            self._begin(place, probe, entry)
            new_entry = self._kernel.neighbour(place[0], index)
            if new_entry is None or new_entry.state & NeighbourState.NOARP:
                # a tunnel has no neighbours: no host answers, and no event comes
                probe.answer.set_result(True)
            async with asyncio.timeout(wait_s):
                await asyncio.shield(probe.answer)
        except TimeoutError:
            self._read_outcome(place, probe)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENETDOWN, errno.ENXIO):
                raise
        finally:
            del self._probes[place]
            if not probe.answer.done():
                probe.answer.set_result(False)
        return probe.answer.result()

    def _begin(self, place: Place, probe: _Probe, entry: NeighbourMessage | None) -> None:
        if probe.mac is not None or (entry is not None and entry.state & KNOWN):
            self._kernel.set_probe(place[0], probe.index, probe.mac)
        else:
            self._kernel.resolve(place[0], probe.index)

    def _read_outcome(self, place: Place, probe: _Probe) -> None:
        """Ends a probe if the kernel's entry shows its outcome."""
        if probe.answer.done():
            return
        try:
            entry = self._kernel.neighbour(place[0], probe.index)
            if entry is None or entry.state & NeighbourState.FAILED:
                probe.answer.set_result(False)
            elif probe.mac is not None and entry.mac != probe.mac:
                # another host has overwritten the entry: ask this one again
                probe.flips += 1
                if probe.flips <= MOST_FLIPS:
                    self._kernel.set_probe(place[0], probe.index, probe.mac)
            elif entry.state & (NeighbourState.REACHABLE | NeighbourState.STALE | NeighbourState.PERMANENT):
                # STALE too: an entry in PROBE or INCOMPLETE becomes STALE only by an ARP message of the host itself
                probe.answer.set_result(True)
        except OSError as error:
            log.warning("cannot read the neighbour entry of %s on %s: %s", *place, error.strerror)


class KernelQuery:
    """Makes the kernel ask the named hosts one by one, through the neighbour entry. Used where the sockets of
    ``who_has`` cannot be opened. It does not notice the answer of any other host."""

    by_kernel = True

    def __init__(self, table: NeighbourTable, place: Place, index: int, wait_s: float) -> None:
        self.answers: dict[str, None] = {}
        self.new_answer = asyncio.Event()
        self._table, self._place, self._index, self._wait_s = table, place, index, wait_s
        self._task: asyncio.Task[None] | None = None

    def ask(self, *hosts: str) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._ask_each(hosts))

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _ask_each(self, hosts: Iterable[str]) -> None:
        for mac in hosts:
            if mac in self.answers:
                continue
            try:
                answers = await self._table.probe_mac(self._place, self._index, mac, self._wait_s)
            except OSError as error:
                log.warning("cannot ask who has %s on %s: %s", *self._place, error.strerror)
                answers = True  # cannot ask, so trust the entry
            if answers:
                self.answers[mac] = None
                self.new_answer.set()
