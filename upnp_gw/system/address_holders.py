"""Finds the host that has an address: the only one that answers for it, or none while two claim it.

``Presence`` reads the kernel's neighbour entries. An entry proves little: any host can write it with one
forged frame, in the state REACHABLE too. So before an address counts as a host's, all hosts of the link are asked.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from upnp_gw.model.network import Link, Neighbour, Neighbours
from upnp_gw.system.address_contests import AddressContests, RunningContest
from upnp_gw.system.neighbour_events import (
    AddressContest,
    AddressContested,
    AddressMoved,
    AddressSettled,
    NeighbourEvent,
    NeighbourGone,
    Place,
)
from upnp_gw.system.neighbour_probe import NeighbourKernel
from upnp_gw.system.neighbour_queries import NOT_ALLOWED, NeighbourQuery, hear
from upnp_gw.system.rtnetlink import NeighbourState

log = logging.getLogger(__name__)

ALONE_S = 0.5
"""Seconds without an answer of another host after which the known one is alone. Reason: docs/network.md."""
ASK_AT_S = (0.0, 0.2, 0.4, 1.0, 2.0, 3.0)
"""Seconds at which all hosts are asked: one question may be lost, and a sleeping Wi-Fi host hears them
every 0.1 to 0.3 s."""
SECOND_LOOK_S = 3.0
"""Seconds for which a late answer of another host still counts, if something was opened meanwhile."""
SILENT_S = 4.0
"""Seconds of silence after which a host is gone, as long as the kernel's own probes take."""
FRESH_S = 10.0
"""Seconds after which a settled address is checked again, behind the request that needs it."""
NEEDED_AT_ONCE, OTHERS_AT_ONCE = 8, 4
"""Most addresses, with and without mappings, that are checked at a time, apart from requests."""
MOST_WAITING = 256
"""Most addresses without mappings that wait for a check. Any other is checked when it asks for something."""


class _Settled(NamedTuple):
    mac: str
    at: float
    """Loop time."""


@dataclass(slots=True)
class _Check:
    """Whether a host is alone in answering for an address."""

    mac: str
    result: asyncio.Future[bool]
    thorough: bool
    """The check waits for late answers, too."""
    begun: bool = False
    task: asyncio.Task[None] | None = None

    def end(self) -> None:
        """It is over without an outcome. A task that is cancelled before its first step tells nobody by itself."""
        if not self.result.done():
            self.result.set_result(False)
        if self.task is not None:
            self.task.cancel()


class AddressHolders:
    """All on the event loop. ``begin`` opens a question (None: the link has no neighbours), and may raise OSError.

    ``link``: the LAN link of this name as it is now, another object after each change.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        kernel: NeighbourKernel,
        begin: Callable[[Place], NeighbourQuery | None],
        link: Callable[[str], Link | None],
        tell: Callable[[NeighbourEvent], None],
    ) -> None:
        self.holder_of: Callable[[Place], str | None] = lambda place: None
        """The MAC address of the device whose mappings lead to this address."""
        self._neighbours = neighbours
        self._kernel = kernel
        self._begin = begin
        self._link = link
        self._tell = tell
        self._settled: dict[Place, _Settled] = {}
        self._checks: dict[Place, _Check] = {}
        self._contests = AddressContests(begin, lambda place: self.holder_of(place) is not None, self._over)
        self._rooms = {True: asyncio.Semaphore(NEEDED_AT_ONCE), False: asyncio.Semaphore(OTHERS_AT_ONCE)}

    @property
    def remembered(self) -> int:
        """Addresses that are known to be one host's."""
        return len(self._settled)

    async def close(self) -> None:
        for check in self._checks.values():
            check.end()
        tasks = [check.task for check in self._checks.values() if check.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._contests.close()

    # -- what is asked

    def contested(self, place: Place) -> bool:
        return place in self._contests

    def contests(self) -> list[AddressContest]:
        """All addresses that several hosts claim now."""
        return self._contests.all()

    def settled(self, place: Place) -> bool:
        """The host that the neighbour entry names has answered since the entry came, and no other one has."""
        settled = self._settled.get(place)
        return settled is not None and settled.mac == self._neighbours.mac_of(*place)

    async def settle(self, place: Place, fresh: bool = False) -> bool:
        """Asks all hosts where that was not done yet (``fresh``: in any case). True: one alone answers for it, the
        one that the neighbour entry names; where there is no entry, the one that has mappings to it."""
        if place in self._contests:
            return False
        mac = self._neighbours.mac_of(*place) or self.holder_of(place)
        if mac is None:
            return False
        settled = self._settled.get(place)
        known = settled is not None and settled.mac == mac
        if settled is not None and known and not fresh and self._now() - settled.at <= FRESH_S:
            return True
        check = self._check(place, mac, urgent=True, anew=fresh and self._is_over(place))
        check.thorough = True
        return True if known and not fresh else await asyncio.shield(check.result)

    def _is_over(self, place: Place) -> bool:
        """True where the running check only waits for late answers."""
        check = self._checks.get(place)
        return check is not None and check.result.done()

    # -- what the kernel's entries say

    def appeared(self, place: Place, mac: str) -> None:
        """Checks the address of a new neighbour entry, before its host asks for a mapping."""
        self._settled.pop(place, None)
        if len(self._checks) < MOST_WAITING or self.holder_of(place) is not None:
            self._check(place, mac, anew=True)

    def claimed(self, place: Place, mac: str, before: str | None) -> bool:
        """A host's frame wrote the entry; ``before``: the MAC address it had. True: the address is contested."""
        if place in self._contests:
            self._contests.claim(place, mac)
            return True
        holder = before or self.holder_of(place)
        if holder is None or holder == mac:
            return False
        self._contest(place, holder, [mac])
        return place in self._contests

    def pinned(self, place: Place, mac: str) -> None:
        """Gives the address to the host of the operator's permanent entry."""
        if place in self._contests:
            self._contests.decide(place, mac)
        elif not self.settled(place):
            self._settled[place] = _Settled(mac, self._now())
            self._tell(AddressSettled(Neighbour(place[0], mac, place[1])))

    def lost(self, place: Place, mac: str) -> None:
        """The entry is gone. The next host that answers would get its traffic, so all hosts are asked at once."""
        self._settled.pop(place, None)
        if place not in self._contests and place not in self._checks and self.holder_of(place) == mac:
            self._check(place, mac)

    # -- is it alone?

    def _check(self, place: Place, mac: str, urgent: bool = False, anew: bool = False) -> _Check:
        """``urgent``: without waiting for room. ``anew``: earlier answers do not count."""
        old = self._checks.get(place)
        if old is not None and old.begun and old.mac == mac and not anew:
            return old
        loop = asyncio.get_running_loop()
        needed = self.holder_of(place) is not None
        check = self._checks[place] = _Check(mac, loop.create_future(), thorough=needed)
        if old is not None:
            if old.mac == mac and not old.result.done():  # whoever waits for it waits for this one
                urgent, check.result, old.result = urgent or old.begun, old.result, check.result
                check.thorough |= old.thorough
            old.end()
        check.task = loop.create_task(self._run(place, check, None if urgent else self._rooms[needed]))
        return check

    async def _run(self, place: Place, check: _Check, room: asyncio.Semaphore | None) -> None:
        try:
            async with room or asyncio.Semaphore():
                await self._ask_around(place, check)
        except OSError as error:
            if error.errno in NOT_ALLOWED:  # the address is judged by the neighbour entry alone
                log.warning("cannot ask who has %s on %s: %s", *place, error.strerror)
                self._alone(place, check)
        finally:
            if self._checks.get(place) is check:
                del self._checks[place]
            if not check.result.done():
                check.result.set_result(False)

    async def _ask_around(self, place: Place, check: _Check) -> None:
        check.begun = True
        link = self._link(place[1])
        if link is None or not link.up:
            return
        entry = self._kernel.neighbour(place[0], link.index)
        if entry is not None and entry.state & (NeighbourState.PERMANENT | NeighbourState.NOARP):
            if entry.mac in (None, check.mac):
                self._alone(place, check)
            return
        question = self._begin(place)
        if question is None:
            self._alone(place, check)
            return
        if check.thorough and entry is not None and entry.mac == check.mac:
            self._have_kernel_probe(place, link)
        try:
            silent = not await self._hear_all(place, check, question)
        finally:
            question.close()
        # a link that was down meanwhile proves nothing
        if not silent or self._link(place[1]) is not link or place in self._contests:
            return
        if self._neighbours.mac_of(*place) == check.mac:
            self._have_kernel_probe(place, link)
        else:
            self._tell(NeighbourGone(place[0], check.mac, place[1]))

    def _have_kernel_probe(self, place: Place, link: Link) -> None:
        """Makes the kernel ask, too: it drops the entry of a host that is away, so that its return is noticed."""
        with suppress(OSError):  # the entry is gone already
            self._kernel.set_probe(place[0], link.index)

    async def _hear_all(self, place: Place, check: _Check, question: NeighbourQuery) -> bool:
        """True where any host answered."""
        begun, mac = self._now(), check.mac

        def others() -> set[str]:
            return set(question.answers) - {mac}

        def enough() -> bool:
            alone = mac in question.answers and self._now() >= begun + ALONE_S and not check.result.done()
            return alone or bool(others())

        for at in sorted({*ASK_AT_S, ALONE_S, SECOND_LOOK_S, SILENT_S}):
            while await hear(question, begun + at, enough) and not others():
                self._alone(place, check)
            if others():
                holder = mac if check.result.done() else self.holder_of(place) or mac
                self._contest(place, holder, [*question.answers])
                return True
            if mac in question.answers and at >= ALONE_S:
                self._alone(place, check)
                if not check.thorough or at >= SECOND_LOOK_S:
                    return True
            if at in ASK_AT_S:
                question.ask(mac)
        return bool(question.answers)

    def _alone(self, place: Place, check: _Check) -> None:
        self._remember(place, check.mac)
        if not check.result.done():
            check.result.set_result(True)
            self._belongs_to(place, check.mac)

    def _remember(self, place: Place, mac: str) -> None:
        """Without an entry it is of use only where mappings lead to the address."""
        if self._neighbours.mac_of(*place) is not None or self.holder_of(place) is not None:
            self._settled[place] = _Settled(mac, self._now())

    # -- two claim it

    def _contest(self, place: Place, holder: str, claims: Sequence[str]) -> None:
        self._settled.pop(place, None)
        check = self._checks.pop(place, None)
        if check is not None:
            check.end()
        if not self._contests.has_room(place):
            return
        self._contests.start(place, holder, claims)
        self._tell(AddressContested(*place))

    def _over(self, place: Place, contest: RunningContest, winner: str | None) -> None:
        """Gives the address to the winner; None: to nobody."""
        address, interface = place
        if winner is None:
            self._tell(NeighbourGone(address, contest.holder, interface))
            if self.holder_of(place) is not None:  # it may have been too busy to answer
                self._check(place, contest.holder)
            return
        self._remember(place, winner)
        if contest.holder != winner:
            self._tell(AddressMoved(address, contest.holder, winner, interface))
        self._belongs_to(place, winner)

    def _belongs_to(self, place: Place, mac: str) -> None:
        """Corrects the kernel's entry, which a forged frame may have left with a host that does not answer."""
        if self._neighbours.mac_of(*place) not in (None, mac):
            self._neighbours.learn(Neighbour(place[0], mac, place[1]))
        self._tell(AddressSettled(Neighbour(place[0], mac, place[1])))
        link = self._link(place[1])
        try:
            entry = self._kernel.neighbour(place[0], link.index) if link is not None else None
            if (
                link is not None
                and entry is not None
                and entry.mac != mac
                and not entry.state & NeighbourState.PERMANENT
            ):
                self._kernel.set_probe(place[0], link.index, mac)
        except OSError as error:
            log.warning("cannot set the neighbour entry of %s on %s: %s", *place, error.strerror)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
