"""The hosts on the LAN links by the kernel's neighbour entries, and probes of their presence.

The kernel does the asking (ARP, neighbour discovery) and CAP_NET_ADMIN suffices for it. An event only wakes us: the
outcome of a probe is read from the entry itself, so that a late or lost event cannot mislead.
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
FLIPS = 8
"""Most times that another host may take an entry back while one is asked by its MAC address."""


class NeighbourKernel(Protocol):
    """What is asked of the kernel; ``rtnetlink_socket.Rtnetlink`` can do it."""

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None: ...
    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None: ...
    def resolve(self, address: IPAddress, index: int) -> None: ...


class NeighbourListener(Protocol):
    """Receiver of the events of neighbour entries: ``holders.Holders``."""

    def appeared(self, place: Place, mac: str) -> None: ...
    def claimed(self, place: Place, mac: str, before: str | None) -> bool: ...
    def pinned(self, place: Place, mac: str) -> None: ...
    def lost(self, place: Place, mac: str) -> None: ...
    def contested(self, place: Place) -> bool: ...


@dataclass(slots=True)
class _Probe:
    index: int
    mac: str | None
    """Only this host's answer counts; None: anybody's."""
    answer: asyncio.Future[bool]
    flips: int = 0


class NeighbourProbe:
    """``take`` every neighbour message of a LAN link; ``tell`` hears what it means, on the event loop."""

    def __init__(
        self,
        neighbours: Neighbours,
        kernel: NeighbourKernel,
        tell: Callable[[NeighbourEvent], None],
        claims: NeighbourListener,
    ) -> None:
        self._neighbours = neighbours
        self._kernel = kernel
        self._tell = tell
        self._claims = claims
        self._probes: dict[Place, _Probe] = {}

    def take(self, interface: str, message: NeighbourMessage) -> None:
        place = (message.address, interface)
        before = self._neighbours.mac_of(message.address, interface)
        if message.mac is not None and message.state & KNOWN and not message.gone:
            self._known(place, message, message.mac, before)
        elif before is not None:
            failed = message.state == NeighbourState.FAILED and not message.gone
            self._lost(place, before, failed=failed)
        if place in self._probes:
            self._look(place, self._probes[place])

    def reconcile(self, current: Iterable[tuple[str, NeighbourMessage]]) -> None:
        """Takes a full listing; what it lacks was dropped by the kernel, and that tells nothing."""
        listed: set[Place] = set()
        for interface, message in current:
            listed.add((message.address, interface))
            self.take(interface, message)
        for entry in self._neighbours.all():
            if (entry.address, entry.interface) not in listed:
                self._lost((entry.address, entry.interface), entry.mac, failed=False)

    def _lost(self, place: Place, mac: str, failed: bool) -> None:
        self._neighbours.forget(*place)
        if failed and not self._claims.contested(place):
            self._tell(NeighbourGone(place[0], mac, place[1]))
        self._claims.lost(place, mac)

    def _known(self, place: Place, message: NeighbourMessage, mac: str, before: str | None) -> None:
        address, interface = place
        neighbour = Neighbour(address, mac, interface)
        # The new MAC counts at once for requests: whoever took the address over must not pass for its last holder.
        if before != mac:
            self._neighbours.learn(neighbour)
        if message.state == NeighbourState.PERMANENT:
            self._claims.pinned(place, mac)
            if before is None:
                self._tell(NeighbourSeen(neighbour))
            elif before != mac:
                self._tell(AddressMoved(address, before, mac, interface))
        elif not self._claims.claimed(place, mac, before) and before is None:
            self._tell(NeighbourSeen(neighbour))
            self._claims.appeared(place, mac)

    async def probe(self, address: IPAddress, interface: str, index: int) -> bool:
        """Is a host there? Within PROBE_S seconds. Raises OSError where we may not ask (EPERM)."""
        return await self.ask((address, interface), index, None, PROBE_S)

    async def ask(self, place: Place, index: int, mac: str | None, wait_s: float) -> bool:
        """True where the host of this MAC address (None: any) answers for the address. Raises OSError likewise."""
        while (running := self._probes.get(place)) is not None:
            answer = await asyncio.shield(running.answer)
            if running.mac == mac:
                return answer
            await asyncio.sleep(0)  # its owner ends it
        entry = self._kernel.neighbour(place[0], index)
        if entry is not None and entry.state & (NeighbourState.PERMANENT | NeighbourState.NOARP):
            return mac in (None, entry.mac)  # set by the operator: never probed, always there
        probe = self._probes[place] = _Probe(index, mac, asyncio.get_running_loop().create_future())
        try:
            self._begin(place, probe, entry)
            made = self._kernel.neighbour(place[0], index)
            if (
                made is None or made.state & NeighbourState.NOARP
            ):  # a tunnel has no neighbours: nobody answers, no event comes
                probe.answer.set_result(True)
            async with asyncio.timeout(wait_s):
                await asyncio.shield(probe.answer)
        except TimeoutError:
            self._look(place, probe)
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

    def _look(self, place: Place, probe: _Probe) -> None:
        """Answers a probe if the kernel's entry has its outcome by now."""
        if probe.answer.done():
            return
        try:
            entry = self._kernel.neighbour(place[0], probe.index)
            if entry is None or entry.state & NeighbourState.FAILED:
                probe.answer.set_result(False)
            elif probe.mac is not None and entry.mac != probe.mac:
                # another host has taken the entry back: ask this one again
                probe.flips += 1
                if probe.flips <= FLIPS:
                    self._kernel.set_probe(place[0], probe.index, probe.mac)
            elif entry.state & (NeighbourState.REACHABLE | NeighbourState.STALE | NeighbourState.PERMANENT):
                # STALE too: from PROBE or INCOMPLETE it becomes that only when the host itself has just sent an ARP
                probe.answer.set_result(True)
        except OSError as error:
            log.warning("neighbour %s on %s cannot be read: %s", *place, error.strerror)


class KernelProbe:
    """A question by the kernel, for when our own sockets could not be made (``who_has``): it asks the named hosts
    one after the other, through the neighbour entry. A second host that answers goes unnoticed."""

    by_kernel = True

    def __init__(self, presence: NeighbourProbe, place: Place, index: int, wait_s: float) -> None:
        self.answers: dict[str, None] = {}
        self.heard = asyncio.Event()
        self._presence, self._place, self._index, self._wait_s = presence, place, index, wait_s
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
                there = await self._presence.ask(self._place, self._index, mac, self._wait_s)
            except OSError as error:
                log.warning("cannot ask who has %s on %s: %s", *self._place, error.strerror)
                there = True  # judged by what is known
            if there:
                self.answers[mac] = None
                self.heard.set()
