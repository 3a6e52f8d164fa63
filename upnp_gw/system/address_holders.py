"""Finds out which host of a LAN link has an address: the only one that answers for it, and none while several claim
it.

The kernel's neighbour entry does not prove it: any host can write an entry with one forged frame, in the state
REACHABLE too. So all hosts of the link are asked (``who_has``). If only the host of the entry answers, the address
is settled. If another one answers or claims the address, ``address_contests`` asks until only one is left.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from upnp_gw.model.network import Link, Neighbour, Neighbours
from upnp_gw.system.address_contests import AddressContests, RunningContest
from upnp_gw.system.address_query import NOT_ALLOWED, AddressQuery, wait_for_answers
from upnp_gw.system.neighbour_events import (
    AddressContest,
    AddressContested,
    AddressMoved,
    AddressSettled,
    NeighbourEvent,
    NeighbourGone,
    Place,
)
from upnp_gw.system.neighbour_table import NeighbourKernel
from upnp_gw.system.rtnetlink import NeighbourState

log = logging.getLogger(__name__)

UNCONTESTED_S = 0.5
"""Seconds that another host has to answer. After that the address is settled. Reason: docs/network.md."""
QUERY_AT_S = (0.0, 0.2, 0.4, 1.0, 2.0, 3.0)
"""Seconds after the start at which all hosts are asked. One packet may be lost, and a sleeping Wi-Fi host receives
broadcasts only every 0.1 to 0.3 s."""
LATE_ANSWER_S = 3.0
"""Seconds for which a late answer of another host counts, if a mapping was opened meanwhile."""
SILENT_S = 4.0
"""Seconds without an answer after which the host is gone. The kernel's own probes take as long."""
RECHECK_S = 10.0
"""Age in seconds at which a settled address is checked again. The request that needs it does not wait for that."""
MAPPED_AT_ONCE, UNMAPPED_AT_ONCE = 8, 4
"""Most addresses with mappings, and without, that are checked at a time; checks for requests are not counted."""
FEW_SETTLED = 1024
"""So many settled addresses are not looked through for those that have neither a neighbour entry nor a mapping."""
MOST_WAITING = 256
"""Most addresses without mappings that wait for a check. Further ones are checked when they ask for a mapping."""


class _Settled(NamedTuple):
    mac: str
    at: float
    """Loop time."""


@dataclass(slots=True)
class _Check:
    """A running check whether this host is the only one that answers for the address."""

    mac: str
    result: asyncio.Future[bool]
    thorough: bool
    """The check waits for late answers too (LATE_ANSWER_S)."""
    begun: bool = False
    task: asyncio.Task[None] | None = None

    def end(self) -> None:
        """Ends it without an outcome. A task that is cancelled before its first step runs no ``finally``."""
        if not self.result.done():
            self.result.set_result(False)
        if self.task is not None:
            self.task.cancel()
            self.task = None  # its error has this object: a circle, which ``gc.freeze`` would keep for ever


class AddressHolders:
    """All methods on the event loop. ``open_query`` returns None if the link has no neighbours, and may raise
    OSError.

    ``link``: name -> the LAN link as it is now, another object after each change. ``emit`` gets the events.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        kernel: NeighbourKernel,
        open_query: Callable[[Place], AddressQuery | None],
        link: Callable[[str], Link | None],
        emit: Callable[[NeighbourEvent], None],
    ) -> None:
        self.holder_of: Callable[[Place], str | None] = lambda place: None
        """The MAC address of the device whose mappings lead to this address."""
        self._neighbours = neighbours
        self._kernel = kernel
        self._open_query = open_query
        self._link = link
        self._emit = emit
        self._settled: dict[Place, _Settled] = {}
        self._most_settled = FEW_SETTLED
        self._checks: dict[Place, _Check] = {}
        self._contests = AddressContests(
            open_query, lambda place: self.holder_of(place) is not None, self._on_contest_end
        )
        self._slots = {True: asyncio.Semaphore(MAPPED_AT_ONCE), False: asyncio.Semaphore(UNMAPPED_AT_ONCE)}

    @property
    def remembered(self) -> int:
        """The number of settled addresses."""
        return len(self._settled)

    async def close(self) -> None:
        tasks = [check.task for check in self._checks.values() if check.task is not None]
        for check in self._checks.values():
            check.end()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._contests.close()

    # -- state of an address

    def contested(self, place: Place) -> bool:
        return place in self._contests

    def contests(self) -> list[AddressContest]:
        """All contested addresses."""
        return self._contests.all()

    def settled(self, place: Place) -> bool:
        """True if the host of the neighbour entry has answered since the entry was made, and no other host has."""
        settled = self._settled.get(place)
        return settled is not None and settled.mac == self._neighbours.mac_of(*place)

    def settled_lately(self, place: Place) -> bool:
        """``settled``, and no check is due."""
        return self.settled(place) and self._now() - self._settled[place].at <= RECHECK_S

    async def settle(self, place: Place, fresh: bool = False) -> bool:
        """Checks the address if it is not settled (``fresh``: in any case). True: only the host of the neighbour
        entry answers for it. Without an entry: only the host that has mappings to it."""
        if place in self._contests:
            return False
        mac = self._neighbours.mac_of(*place) or self.holder_of(place)
        if mac is None:
            return False
        settled = self._settled.get(place)
        known = settled is not None and settled.mac == mac
        if settled is not None and known and not fresh and self._now() - settled.at <= RECHECK_S:
            return True
        check = self._check(place, mac, urgent=True, again=fresh and self._only_late_answers(place))
        check.thorough = True
        return True if known and not fresh else await asyncio.shield(check.result)

    def _only_late_answers(self, place: Place) -> bool:
        """True if a running check only waits for late answers."""
        check = self._checks.get(place)
        return check is not None and check.result.done()

    # -- changes of the kernel's neighbour entries

    def on_new_entry(self, place: Place, mac: str) -> None:
        """Checks the address of a new entry, before its host asks for a mapping."""
        self._settled.pop(place, None)
        if len(self._checks) < MOST_WAITING or self.holder_of(place) is not None:
            self._check(place, mac, again=True)

    def on_claim(self, place: Place, mac: str, before: str | None) -> bool:
        """A frame of this host wrote the entry; ``before``: its old MAC address. True: the address is contested
        now."""
        if place in self._contests:
            self._contests.claim(place, mac)
            return True
        holder = before or self.holder_of(place)
        if holder is None or holder == mac:
            return False
        self._contest(place, holder, [mac])
        return place in self._contests

    def on_permanent_entry(self, place: Place, mac: str) -> None:
        """The operator has set a permanent entry: the address belongs to its host."""
        if place in self._contests:
            self._contests.assign(place, mac)
        elif not self.settled(place):
            self._settled[place] = _Settled(mac, self._now())
            self._emit(AddressSettled(Neighbour(place[0], mac, place[1])))

    def on_entry_lost(self, place: Place, mac: str) -> None:
        """The entry has ended. The next host that answers would get the traffic of its mappings, so asks all hosts
        now."""
        self._settled.pop(place, None)
        if place not in self._contests and place not in self._checks and self.holder_of(place) == mac:
            self._check(place, mac)

    # -- checks

    def _check(self, place: Place, mac: str, urgent: bool = False, again: bool = False) -> _Check:
        """Starts a check, or returns the running one. ``urgent``: not limited by MAPPED_AT_ONCE. ``again``: earlier
        answers do not count."""
        old = self._checks.get(place)
        if old is not None and old.begun and old.mac == mac and not again:
            return old
        loop = asyncio.get_running_loop()
        mapped = self.holder_of(place) is not None
        check = self._checks[place] = _Check(mac, loop.create_future(), thorough=mapped)
        if old is not None:
            if old.mac == mac and not old.result.done():  # its waiters wait for the new one
                urgent, check.result, old.result = urgent or old.begun, old.result, check.result
                check.thorough |= old.thorough
            old.end()
        check.task = loop.create_task(self._run(place, check, None if urgent else self._slots[mapped]))
        return check

    async def _run(self, place: Place, check: _Check, slot: asyncio.Semaphore | None) -> None:
        try:
            async with slot or asyncio.Semaphore():
                await self._query_hosts(place, check)
        except OSError as error:
            if error.errno in NOT_ALLOWED:  # trust the neighbour entry
                log.warning("cannot ask who has %s on %s: %s", *place, error.strerror)
                self._settle(place, check)
        finally:
            if self._checks.get(place) is check:
                del self._checks[place]
            if not check.result.done():
                check.result.set_result(False)

    async def _query_hosts(self, place: Place, check: _Check) -> None:
        check.begun = True
        link = self._link(place[1])
        if link is None or not link.up:
            return
        entry = self._kernel.neighbour(place[0], link.index)
        if entry is not None and entry.state & (NeighbourState.PERMANENT | NeighbourState.NOARP):
            if entry.mac in (None, check.mac):
                self._settle(place, check)
            return
        query = self._open_query(place)
        if query is None:
            self._settle(place, check)
            return
        if check.thorough and entry is not None and entry.mac == check.mac:
            self._start_kernel_probe(place, link)
        try:
            silent = not await self._collect_answers(place, check, query)
        finally:
            query.close()
        # if the link was down meanwhile the silence proves nothing
        if not silent or self._link(place[1]) is not link or place in self._contests:
            return
        if self._neighbours.mac_of(*place) == check.mac:
            self._start_kernel_probe(place, link)
        else:
            self._emit(NeighbourGone(place[0], check.mac, place[1]))

    def _start_kernel_probe(self, place: Place, link: Link) -> None:
        """Makes the kernel probe the host too: it drops the entry of an absent host, so that its return causes an
        event."""
        with suppress(OSError):  # the entry has ended already
            self._kernel.set_probe(place[0], link.index)

    async def _collect_answers(self, place: Place, check: _Check, query: AddressQuery) -> bool:
        """Asks until the outcome is known. True: some host has answered."""
        begun_at, mac = self._now(), check.mac

        def others() -> set[str]:
            return set(query.answers) - {mac}

        def enough() -> bool:
            settled = mac in query.answers and self._now() >= begun_at + UNCONTESTED_S and not check.result.done()
            return settled or bool(others())

        for at in sorted({*QUERY_AT_S, UNCONTESTED_S, LATE_ANSWER_S, SILENT_S}):
            while await wait_for_answers(query, begun_at + at, enough) and not others():
                self._settle(place, check)
            if others():
                holder = mac if check.result.done() else self.holder_of(place) or mac
                self._contest(place, holder, [*query.answers])
                return True
            if mac in query.answers and at >= UNCONTESTED_S:
                self._settle(place, check)
                if not check.thorough or at >= LATE_ANSWER_S:
                    return True
            if at in QUERY_AT_S:
                query.ask(mac)
        return bool(query.answers)

    def _settle(self, place: Place, check: _Check) -> None:
        self._remember(place, check.mac)
        if not check.result.done():
            check.result.set_result(True)
            self._assign(place, check.mac)

    def _remember(self, place: Place, mac: str) -> None:
        """An address without an entry is remembered only as long as mappings lead to it: a host could make up
        addresses, one after the other."""
        if self._needed(place):
            self._settled[place] = _Settled(mac, self._now())
        if len(self._settled) > self._most_settled:
            self._settled = {each: settled for each, settled in self._settled.items() if self._needed(each)}
            self._most_settled = max(FEW_SETTLED, 2 * len(self._settled))

    def _needed(self, place: Place) -> bool:
        return self._neighbours.mac_of(*place) is not None or self.holder_of(place) is not None

    # -- contests

    def _contest(self, place: Place, holder: str, claims: Sequence[str]) -> None:
        self._settled.pop(place, None)
        check = self._checks.pop(place, None)
        if check is not None:
            check.end()
        if not self._contests.has_room(place):
            return
        self._contests.start(place, holder, claims)
        self._emit(AddressContested(*place))

    def _on_contest_end(self, place: Place, contest: RunningContest, winner: str | None) -> None:
        """The address belongs to the winner now; None: to no host."""
        address, interface = place
        if winner is None:
            self._emit(NeighbourGone(address, contest.holder, interface))
            if self.holder_of(place) is not None:  # maybe it was too busy to answer
                self._check(place, contest.holder)
            return
        self._remember(place, winner)
        if contest.holder != winner:
            self._emit(AddressMoved(address, contest.holder, winner, interface))
        self._assign(place, winner)

    def _assign(self, place: Place, mac: str) -> None:
        """Reports the holder, and corrects the kernel's entry, which a forged frame may have changed."""
        if self._neighbours.mac_of(*place) not in (None, mac):
            self._neighbours.learn(Neighbour(place[0], mac, place[1]))
        self._emit(AddressSettled(Neighbour(place[0], mac, place[1])))
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
