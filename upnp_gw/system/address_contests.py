"""Ends conflicts about addresses that several hosts claim: asks all hosts again and again, until at most one of
them answers for the address.

Two hosts claim one address by a wrong configuration, by ARP spoofing, or because a host comes back to an address
that another one got meanwhile. ``address_holders`` acts on the outcome.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from upnp_gw.system.address_query import NOT_ALLOWED, AddressQuery, wait_for_answers
from upnp_gw.system.neighbour_events import AddressContest, Place

log = logging.getLogger(__name__)

QUERY_S = 1.5
"""Seconds that hosts have to answer."""
QUERY_AT_S = (0.0, 0.3, 0.6, 1.0)
"""Seconds after the start of a query at which all hosts are asked."""
PAUSE_S = 10.0
"""Seconds between queries while several hosts answer."""
RECENT_S = 60.0
"""An address that is contested again within this time is settled only after PAUSE_S without another claim. So the
first forged frame parks the mappings of its victim for 1.5 s, and a later one for 10 s."""
WARN_AGAIN_S = 600.0
"""Seconds between warnings about one address."""
MOST_WARNED = 8
"""Most addresses without mappings that the log names within WARN_AGAIN_S: one host can claim thousands."""
MAPPED_AT_ONCE, UNMAPPED_AT_ONCE = 8, 4
"""Most contested addresses with mappings, and without, that are queried at a time; others wait."""
MOST_RUNNING = 256
"""Most contested addresses without mappings: one host can claim thousands. Further ones stay unsettled, and are
checked when they ask for a mapping."""
MOST_REMEMBERED = 1024
MOST_CLAIMS = 8
"""Most hosts that are remembered as claimants of one address, and asked by unicast."""
NEVER = float("-inf")


@dataclass(slots=True)
class RunningContest:
    holder: str
    """MAC address of the host that had the address."""
    claims: dict[str, float]
    """MAC address -> loop time of its last claim."""
    answered: set[str] = field(default_factory=set)
    warned: bool = False
    """The log has a warning about it."""
    asking: bool = False
    """The kernel asks the hosts now, so changes of the neighbour entry are no claims."""
    task: asyncio.Task[None] | None = None

    def note(self, mac: str) -> None:
        """Notes a claim of this host. Answers of a host over MOST_CLAIMS count too."""
        if mac in self.claims or len(self.claims) < MOST_CLAIMS:
            self.claims[mac] = _now()


class _Past(NamedTuple):
    """An ended contest. Loop times."""

    ended_at: float
    warned_at: float


class AddressContests:
    """All methods on the event loop. ``open_query`` returns None if the link has no neighbours, and may raise
    OSError. ``has_mappings``: true for an address that mappings lead to. ``on_end`` gets the MAC address of the
    only host that answers; None: no host does."""

    def __init__(
        self,
        open_query: Callable[[Place], AddressQuery | None],
        has_mappings: Callable[[Place], bool],
        on_end: Callable[[Place, RunningContest, str | None], None],
    ) -> None:
        self._open_query = open_query
        self._has_mappings = has_mappings
        self._on_end = on_end
        self._running: dict[Place, RunningContest] = {}
        self._past: dict[Place, _Past] = {}
        self._warned: deque[float] = deque()
        """Loop time of the last warnings about addresses without mappings."""
        self._slots = {True: asyncio.Semaphore(MAPPED_AT_ONCE), False: asyncio.Semaphore(UNMAPPED_AT_ONCE)}

    async def close(self) -> None:
        tasks = [contest.task for contest in self._running.values() if contest.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    def __contains__(self, place: Place) -> bool:
        return place in self._running

    def all(self) -> list[AddressContest]:
        """The contested addresses, those with mappings first."""
        running = sorted(self._running.items(), key=lambda item: not self._has_mappings(item[0]))
        return [AddressContest(*place, tuple(sorted(contest.claims))) for place, contest in running]

    def has_room(self, place: Place) -> bool:
        """True if this address may become contested too (MOST_RUNNING)."""
        return self._has_mappings(place) or len(self._running) < MOST_RUNNING

    def start(self, place: Place, holder: str, claims: Sequence[str]) -> None:
        """``holder``: MAC address of the host that had the address; ``claims``: of the others."""
        contest = self._running[place] = RunningContest(holder, dict.fromkeys((*claims, holder), _now()))
        contest.task = asyncio.get_running_loop().create_task(self._run(place, contest))

    def claim(self, place: Place, mac: str) -> None:
        """Notes that a frame of this host claims a contested address."""
        contest = self._running[place]
        if not contest.asking:
            contest.note(mac)

    def assign(self, place: Place, winner: str) -> None:
        """Ends the contest for this host: the operator has set a permanent neighbour entry."""
        contest = self._running[place]
        if contest.task is not None:
            contest.task.cancel()
            contest.task = None  # no circle: see ``_Check.end``
        self._end(place, contest, winner)

    async def _run(self, place: Place, contest: RunningContest) -> None:
        try:
            winner = await self._find_winner(place, contest)
        except OSError as error:  # we may never ask: the last claim counts
            log.warning("cannot ask who has %s on %s: %s", *place, error.strerror)
            winner = max(contest.claims, key=lambda mac: (contest.claims[mac], mac != contest.holder))
        self._end(place, contest, winner)

    async def _find_winner(self, place: Place, contest: RunningContest) -> str | None:
        """Asks until at most one host answers, and returns it; None: no host answers."""
        past = self._past.get(place)
        again = past is not None and _now() - past.ended_at < RECENT_S
        while True:
            async with self._slots[self._has_mappings(place)]:
                answers = await self._answers(place, contest)
            if answers is not None:
                contest.answered |= answers & contest.claims.keys()
                last = max((at for mac, at in contest.claims.items() if mac not in answers), default=NEVER)
                if len(answers) < 2 and not (again and _now() - last < PAUSE_S):
                    return next(iter(answers), None)
                self._warn(place, contest)
            await asyncio.sleep(PAUSE_S)

    async def _answers(self, place: Place, contest: RunningContest) -> set[str] | None:
        """Asks all hosts, the claimants by unicast too. Returns those that answer; None: cannot ask now."""
        try:
            query = self._open_query(place)
            if query is None:
                return None
            contest.asking, begun_at = query.by_kernel, _now()
            try:
                for at in (*QUERY_AT_S, QUERY_S):
                    if await wait_for_answers(query, begun_at + at, lambda: len(query.answers) > 1):
                        break
                    if at < QUERY_S:
                        query.ask(*contest.claims)
            finally:
                contest.asking = False
                query.close()
        except OSError as error:
            if error.errno in NOT_ALLOWED:
                raise
            return None
        for mac in query.answers:
            if mac not in contest.claims:
                contest.note(mac)
        return set(query.answers)

    def _end(self, place: Place, contest: RunningContest, winner: str | None) -> None:
        past = self._past.pop(place, None)
        while len(self._past) >= MOST_REMEMBERED:
            del self._past[next(iter(self._past))]
        warned = past.warned_at if past is not None else NEVER
        self._past[place] = _Past(_now(), _now() if contest.warned else warned)
        if contest.warned and winner is not None:
            log.warning("%s on %s belongs to %s now: no other host answers for it", *place, winner)
        del self._running[place]
        self._on_end(place, contest, winner)

    def _warn(self, place: Place, contest: RunningContest) -> None:
        """Warns once for a contest, and at most every ten minutes for an address. Of addresses without mappings,
        names only the first ones (MOST_WARNED)."""
        past = self._past.get(place)
        if contest.warned or (past is not None and _now() - past.warned_at < WARN_AGAIN_S):
            return
        if not self._has_mappings(place) and not self._may_name():
            return
        contest.warned = True
        silent = sorted(set(contest.claims) - contest.answered)
        log.warning(
            "%s on %s is claimed by %s%s: nothing is open to it until only one of them answers for it",
            *place,
            " and by ".join(sorted(contest.claims)),
            f" ({', '.join(silent)} did not answer)" if silent else "",
        )

    def _may_name(self) -> bool:
        """True if the log may name one more address without mappings. Logs once that there are more."""
        while self._warned and _now() - self._warned[0] >= WARN_AGAIN_S:
            self._warned.popleft()
        if len(self._warned) <= MOST_WARNED:
            self._warned.append(_now())
            if len(self._warned) <= MOST_WARNED:
                return True
            log.warning("more addresses are claimed by several hosts: `upnp-gw status` says how many")
        return False


def _now() -> float:
    """Loop time."""
    return asyncio.get_running_loop().time()
