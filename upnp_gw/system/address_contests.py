"""Settles addresses that two hosts claim: asks all hosts, until only one answers for the address.

Two hosts claim one address by mistake, by ARP spoofing, or because a host is back at an address that was given to
another one meanwhile. ``Holders`` acts on the outcome.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from upnp_gw.system.neighbour_events import AddressContest, Place
from upnp_gw.system.neighbour_queries import NOT_ALLOWED, NeighbourQuery, hear

log = logging.getLogger(__name__)

JUDGE_S = 1.5
"""Seconds in which each host has to answer."""
JUDGE_AT_S = (0.0, 0.3, 0.6, 1.0)
"""Seconds after the start at which all hosts are asked."""
TRUCE_S = 10.0
"""Seconds until hosts are asked again after two of them answered."""
RECENT_S = 60.0
"""An address that is contested again so soon is settled only after TRUCE_S without another claim: the first forged
frame costs its owner 1.5 s, the next ones 10."""
WARN_AGAIN_S = 600.0
MOST_WARNED = 8
"""Most addresses without mappings that the log names in WARN_AGAIN_S, since one host can claim thousands."""
NEEDED_AT_ONCE, OTHERS_AT_ONCE = 8, 4
"""Most contested addresses, with and without mappings, that are asked for at a time; the rest wait."""
MOST_RUNNING = 256
"""Most contested addresses without mappings, since one host can claim thousands. Any other stays unsettled, and is
checked when it asks for something."""
MOST_REMEMBERED = 1024
MOST_CLAIMS = 8
"""Most hosts that are asked by their MAC address for one address."""
NEVER = float("-inf")


@dataclass(slots=True)
class RunningContest:
    """A contest."""

    holder: str
    """MAC address of the host that had the address."""
    claims: dict[str, float]
    """MAC address -> loop time of its last claim."""
    answered: set[str] = field(default_factory=set)
    told: bool = False
    """The operator was warned."""
    asking: bool = False
    """The kernel is asking them: changes of the neighbour entry meanwhile are no claims."""
    task: asyncio.Task[None] | None = None

    def note(self, mac: str) -> None:
        """Notes a claim of this host. One over MOST_CLAIMS is not remembered, but its answers still count."""
        if mac in self.claims or len(self.claims) < MOST_CLAIMS:
            self.claims[mac] = _now()


class _Past(NamedTuple):
    """A contest that is over."""

    ended: float
    warned: float


class AddressContests:
    """All on the event loop. ``begin`` opens a question (None: the link has no neighbours), and may raise OSError;
    ``needed``: mappings lead to this address. ``over`` gets the one host that answers in the end (None: nobody)."""

    def __init__(
        self,
        begin: Callable[[Place], NeighbourQuery | None],
        needed: Callable[[Place], bool],
        over: Callable[[Place, RunningContest, str | None], None],
    ) -> None:
        self._begin = begin
        self._needed = needed
        self._over = over
        self._running: dict[Place, RunningContest] = {}
        self._past: dict[Place, _Past] = {}
        self._warned: deque[float] = deque()
        """Loop time of the last warnings about addresses without mappings."""
        self._rooms = {True: asyncio.Semaphore(NEEDED_AT_ONCE), False: asyncio.Semaphore(OTHERS_AT_ONCE)}

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
        running = sorted(self._running.items(), key=lambda item: not self._needed(item[0]))
        return [AddressContest(*place, tuple(sorted(contest.claims))) for place, contest in running]

    def has_room(self, place: Place) -> bool:
        """Whether one more address may be contested."""
        return self._needed(place) or len(self._running) < MOST_RUNNING

    def start(self, place: Place, holder: str, claims: Sequence[str]) -> None:
        """``holder``: MAC address of the host that had the address, which is asked too."""
        contest = self._running[place] = RunningContest(holder, dict.fromkeys((*claims, holder), _now()))
        contest.task = asyncio.get_running_loop().create_task(self._judge(place, contest))

    def claim(self, place: Place, mac: str) -> None:
        """Notes another claim in this host's name to a contested address."""
        contest = self._running[place]
        if not contest.asking:
            contest.note(mac)

    def decide(self, place: Place, winner: str) -> None:
        """Ends the contest as the operator says."""
        contest = self._running[place]
        if contest.task is not None:
            contest.task.cancel()
        self._end(place, contest, winner)

    async def _judge(self, place: Place, contest: RunningContest) -> None:
        try:
            winner = await self._winner(place, contest)
        except OSError as error:  # we may not ask: the last claim counts
            log.warning("cannot ask who has %s on %s: %s", *place, error.strerror)
            winner = max(contest.claims, key=lambda mac: (contest.claims[mac], mac != contest.holder))
        self._end(place, contest, winner)

    async def _winner(self, place: Place, contest: RunningContest) -> str | None:
        """The one host that answers in the end; None: none does."""
        past = self._past.get(place)
        again = past is not None and _now() - past.ended < RECENT_S
        while True:
            async with self._rooms[self._needed(place)]:
                answers = await self._answers(place, contest)
            if answers is not None:
                contest.answered |= answers & contest.claims.keys()
                last = max((at for mac, at in contest.claims.items() if mac not in answers), default=NEVER)
                if len(answers) < 2 and not (again and _now() - last < TRUCE_S):
                    return next(iter(answers), None)
                self._warn(place, contest)
            await asyncio.sleep(TRUCE_S)

    async def _answers(self, place: Place, contest: RunningContest) -> set[str] | None:
        """The hosts that answer when all are asked; those that claim the address are also asked by MAC address.
        None: nobody can be asked now."""
        try:
            question = self._begin(place)
            if question is None:
                return None
            contest.asking, begun = question.by_kernel, _now()
            try:
                for at in (*JUDGE_AT_S, JUDGE_S):
                    if await hear(question, begun + at, lambda: len(question.answers) > 1):
                        break
                    if at < JUDGE_S:
                        question.ask(*contest.claims)
            finally:
                contest.asking = False
                question.close()
        except OSError as error:
            if error.errno in NOT_ALLOWED:
                raise
            return None
        for mac in question.answers:
            if mac not in contest.claims:
                contest.note(mac)
        return set(question.answers)

    def _end(self, place: Place, contest: RunningContest, winner: str | None) -> None:
        past = self._past.pop(place, None)
        while len(self._past) >= MOST_REMEMBERED:
            del self._past[next(iter(self._past))]
        warned = past.warned if past is not None else NEVER
        self._past[place] = _Past(_now(), _now() if contest.told else warned)
        if contest.told and winner is not None:
            log.warning("%s on %s belongs to %s: no other host answers for it any more", *place, winner)
        del self._running[place]
        self._over(place, contest, winner)

    def _warn(self, place: Place, contest: RunningContest) -> None:
        """Warns once for a contest, and not more often than every ten minutes for an address. Of addresses without
        mappings only the first ones are named."""
        past = self._past.get(place)
        if contest.told or (past is not None and _now() - past.warned < WARN_AGAIN_S):
            return
        if not self._needed(place) and not self._may_warn():
            return
        contest.told = True
        silent = sorted(set(contest.claims) - contest.answered)
        log.warning(
            "%s on %s is claimed by %s%s: nothing is open to it until only one of them answers for it",
            *place,
            " and by ".join(sorted(contest.claims)),
            f" ({', '.join(silent)} did not answer)" if silent else "",
        )

    def _may_warn(self) -> bool:
        """Whether one more address without mappings may be named. The first one too many is told without a name."""
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
