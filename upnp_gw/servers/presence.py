"""Who is on the LAN links: neighbour entries, whether a host is there, and who has an address when two claim it.

The kernel does all the asking (ARP, neighbour discovery) and CAP_NET_ADMIN suffices for it; no raw socket. An event
only wakes us: the outcome of a probe is read from the entry itself, so that a late or lost event cannot mislead.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from upnp_gw.model import IPAddress
from upnp_gw.network import Neighbour, Neighbours
from upnp_gw.servers.rtnetlink import KNOWN, NeighbourMessage, Nud

log = logging.getLogger(__name__)

PROBE_S = 4.0
"""The kernel sends 3 probes, a second apart, and gives up a second after the last."""
OLD_HOLDER_S = 1.0
"""How long the previous holder of an address has to answer when another host claims it."""
TRUCE_S = 10.0
"""After both hosts answered: when to look again."""
AT_ONCE = 32
"""Contested addresses that are judged at a time; the rest wait."""
FLIPS = 8
"""How often a claimant may take an entry back while the previous holder is asked."""

Place = tuple[IPAddress, str]
"""An address on a LAN interface."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A neighbour that was not known: new, or back."""

    neighbour: Neighbour


@dataclass(frozen=True, slots=True)
class Moved:
    """The address belongs to another host now: the old one did not answer for it any more."""

    address: IPAddress
    old_mac: str
    new_mac: str
    interface: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A known neighbour answered no probe of the kernel. (An idle entry that the kernel drops tells nothing.)"""

    address: IPAddress
    mac: str
    interface: str


NeighbourEvent = Seen | Moved | Gone


class Kernel(Protocol):
    """What is asked of the kernel; ``rtnetlink_socket.Rtnetlink`` can do it."""

    def neighbour(self, address: IPAddress, index: int) -> NeighbourMessage | None: ...
    def set_probe(self, address: IPAddress, index: int, mac: str | None = None) -> None: ...
    def resolve(self, address: IPAddress, index: int) -> None: ...


@dataclass(slots=True)
class _Probe:
    index: int
    mac: str | None
    """Only this host's answer counts; None: anybody's."""
    answer: asyncio.Future[bool]
    flips: int = 0


@dataclass(slots=True)
class _Contest:
    index: int
    old: str
    claimant: str
    task: asyncio.Task[None] | None = None


class Presence:
    """``take`` every neighbour message of a LAN link; ``tell`` hears what it means, on the event loop."""

    def __init__(self, neighbours: Neighbours, kernel: Kernel, tell: Callable[[NeighbourEvent], None]) -> None:
        self._neighbours = neighbours
        self._kernel = kernel
        self._tell = tell
        self._probes: dict[Place, _Probe] = {}
        self._contests: dict[Place, _Contest] = {}
        self._judging = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        tasks = [contest.task for contest in self._contests.values() if contest.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._contests.clear()

    def take(self, interface: str, message: NeighbourMessage) -> None:
        place = (message.address, interface)
        before = self._neighbours.mac_of(message.address, interface)
        if message.mac is not None and message.state & KNOWN and not message.gone:
            self._known(place, message, message.mac, before)
        elif before is not None:
            self._neighbours.forget(message.address, interface)
            if message.state == Nud.FAILED and not message.gone and place not in self._contests:
                self._tell(Gone(message.address, before, interface))
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
                self._neighbours.forget(entry.address, entry.interface)

    def _known(self, place: Place, message: NeighbourMessage, mac: str, before: str | None) -> None:
        address, interface = place
        neighbour = Neighbour(address, mac, interface)
        # The new MAC counts at once for requests: whoever took the address over must not pass for its last holder.
        if before != mac:
            self._neighbours.learn(neighbour)
        contest = self._contests.get(place)
        if contest is not None:
            contest.claimant = mac if mac != contest.old else contest.claimant
        elif before is None:
            self._tell(Seen(neighbour))
        elif before != mac and message.state == Nud.PERMANENT:
            self._tell(Moved(address, before, mac, interface))
        elif before != mac:
            contest = self._contests[place] = _Contest(message.index, before, mac)
            contest.task = asyncio.get_running_loop().create_task(self._judge(place, contest))

    def contested(self, address: IPAddress, interface: str = "") -> bool:
        """True while an address is with a claimant, and its previous holder may still be there. ``interface``: on
        this LAN; empty: on any."""
        return any(
            place[0] == address and interface in ("", place[1]) and self._neighbours.mac_of(*place) != contest.old
            for place, contest in self._contests.items()
        )

    async def probe(self, address: IPAddress, interface: str, index: int) -> bool:
        """Is a host there? Within PROBE_S seconds. Raises OSError where we may not ask (EPERM)."""
        return await self._probe((address, interface), index, None, PROBE_S)

    async def _probe(self, place: Place, index: int, mac: str | None, wait_s: float) -> bool:
        while (running := self._probes.get(place)) is not None:
            answer = await asyncio.shield(running.answer)
            if running.mac == mac:
                return answer
            await asyncio.sleep(0)  # its owner ends it
        entry = self._kernel.neighbour(place[0], index)
        if entry is not None and entry.state & (Nud.PERMANENT | Nud.NOARP):
            return mac in (None, entry.mac)  # set by the operator: never probed, always there
        probe = self._probes[place] = _Probe(index, mac, asyncio.get_running_loop().create_future())
        try:
            self._ask(place, probe, entry)
            made = self._kernel.neighbour(place[0], index)
            if made is None or made.state & Nud.NOARP:  # a tunnel has no neighbours: nobody answers, no event comes
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

    def _ask(self, place: Place, probe: _Probe, entry: NeighbourMessage | None) -> None:
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
            if entry is None or entry.state & Nud.FAILED:
                probe.answer.set_result(False)
            elif probe.mac is not None and entry.mac != probe.mac:
                # the claimant has taken the entry back: ask the previous holder again
                probe.flips += 1
                if probe.flips <= FLIPS:
                    self._kernel.set_probe(place[0], probe.index, probe.mac)
            elif entry.state & (Nud.REACHABLE | Nud.STALE | Nud.PERMANENT):
                # STALE too: from PROBE or INCOMPLETE it becomes that only when the host itself has just sent an ARP
                probe.answer.set_result(True)
        except OSError as error:
            log.warning("neighbour %s on %s cannot be read: %s", *place, error.strerror)

    async def _judge(self, place: Place, contest: _Contest) -> None:
        """Two hosts claim an address. It has moved only if the previous holder is silent (design: one probe)."""
        try:
            while await self._old_holder_answers(place, contest):
                log.warning("%s on %s is claimed by %s and by %s", *place, contest.old, contest.claimant)
                await asyncio.sleep(TRUCE_S)
                if self._neighbours.mac_of(*place) == contest.old:
                    break
        except OSError as error:
            log.warning("who has %s on %s cannot be asked: %s", *place, error.strerror)
        finally:
            self._contests.pop(place, None)
        now = self._neighbours.mac_of(*place)
        if now is None:
            self._tell(Gone(place[0], contest.old, place[1]))
        elif now != contest.old:
            self._tell(Moved(place[0], contest.old, now, place[1]))

    async def _old_holder_answers(self, place: Place, contest: _Contest) -> bool:
        """Asks the previous holder; if it is silent, leaves the entry with whoever does answer."""
        async with self._judging:
            if await self._probe(place, contest.index, contest.old, OLD_HOLDER_S):
                return True
            if not await self._probe(place, contest.index, contest.claimant, PROBE_S):
                await self._probe(place, contest.index, None, PROBE_S)
            return False
