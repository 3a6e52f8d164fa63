"""Finds out which protocols the gateway above serves, and remembers it.

All of them are asked at once, by questions that change nothing. The first one of the order that answers is used: a
later one only if the earlier ones were silent for ``GRACE_S`` after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from upnp_gw.model.mapping import Via
from upnp_gw.upstream.outcome import NotServed

GRACE_S = 0.3
"""Seconds that a better protocol may answer later."""
ALL_S = 1.0
"""Seconds to wait for the answers of all protocols."""
QUESTION_S = 6.0
"""Seconds after which a question is given up, longer than any request waits."""
REMEMBER_S = 600.0
"""Seconds for which an answer is remembered: then a better protocol may be served (RFC 6886 section 1.1)."""
NOT_SERVED_S = 60.0
"""The same for one that is not served, or was silent."""

Question = Callable[[], Awaitable[object]]
"""Asks; ``NotServed`` is the only answer that says no."""


class AnsweringProtocols:
    """``questions``: protocol -> its question, in the order of use. ``now``: BOOTTIME seconds."""

    def __init__(self, questions: Mapping[Via, Question], now: Callable[[], float]) -> None:
        self._questions = questions
        self._now = now
        self._served: dict[Via, float] = {}
        self._not_served: dict[Via, tuple[float, NotServed]] = {}
        self._asking: dict[Via, asyncio.Task[bool]] = {}
        self._silent: dict[Via, float] = {}
        """Those that were silent although they seemed to be served, and since when: they come last for a while."""

    def forget(self) -> None:
        """Nothing is known any more: the gateway above began anew."""
        self._served.clear()
        self._not_served.clear()
        self._silent.clear()

    def close(self) -> None:
        """Ends the questions."""
        for task in self._asking.values():
            task.cancel()

    def served(self, via: Via) -> None:
        """It is served."""
        self._served.setdefault(via, self._now())  # not later: a better one may be served after ``REMEMBER_S``
        self._not_served.pop(via, None)

    def answered(self, via: Via) -> None:
        """It answered a request."""
        self._silent.pop(via, None)
        self.served(via)

    def not_served(self, via: Via, answer: NotServed) -> None:
        """It answered that it does not serve requests."""
        self._served.pop(via, None)
        self._not_served[via] = self._now(), answer

    def silent(self, via: Via, serves: bool) -> None:
        """A request over it was not answered. ``serves``: it had just answered the question, so another protocol
        may do better; else the gateway above may be silent as a whole."""
        if serves:
            self._served.pop(via, None)
            self._silent[via] = self._now()
        else:
            self._served.clear()

    def known(self) -> list[Via]:
        """Those that are known to be served now, in order."""
        now = self._now()
        self._served = {via: since for via, since in self._served.items() if now < since + REMEMBER_S}
        left = sorted(
            self._questions, key=lambda via: now < self._silent.get(via, now - NOT_SERVED_S) + NOT_SERVED_S
        )
        return [via for via in left if via in self._served]

    def reason(self) -> str:
        """The reason why none is served, in our words; empty: none has answered."""
        answers = [self._not_served[via][1].words for via in self._questions if via in self._not_served]
        return answers[-1] if answers else ""

    async def find(self, tried: frozenset[Via], preferred: Via | None = None) -> Via | None:
        """The protocol to use, without those that were tried; None: no other one is served. ``preferred``: used as
        long as it is not known that it is not served."""
        now = self._now()
        if preferred in self._questions and preferred not in tried and preferred not in self._not_served:
            return preferred
        known = [via for via in self.known() if via not in tried]
        if known:
            return known[0]
        left = [via for via in self._questions if via not in tried]
        left.sort(key=lambda via: now < self._silent.get(via, now - NOT_SERVED_S) + NOT_SERVED_S)
        lately = [via for via in left if via in self._not_served]
        asked = [via for via in left if via not in lately or now > self._not_served[via][0] + NOT_SERVED_S]
        return await self._first_of(asked or left)

    async def find_all(self) -> list[Via]:
        """All that are served, as far as they answer within ``ALL_S``."""
        if self._questions:
            await asyncio.wait([self._ask(via) for via in self._questions], timeout=ALL_S)
        return self.known()

    async def _first_of(self, asked: list[Via]) -> Via | None:
        asking = {via: self._ask(via) for via in asked}
        clock = asyncio.get_running_loop().time
        give_up: float | None = None
        while asking:
            done = [via for via, task in asking.items() if task.done()]
            yes = [via for via in done if not asking[via].cancelled() and asking[via].result()]
            asking = {via: task for via, task in asking.items() if via in yes or via not in done}
            if yes and give_up is None:
                give_up = clock() + GRACE_S
            if yes and (next(iter(asking)) in yes or (give_up is not None and clock() >= give_up)):
                return yes[0]
            waiting = [task for via, task in asking.items() if via not in yes]
            if waiting:
                left_s = None if give_up is None else max(0.0, give_up - clock())
                await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return None

    def _ask(self, via: Via) -> "asyncio.Task[bool]":
        """One question at a time, whoever waits for its answer."""
        task = self._asking.get(via)
        if task is None or task.done():
            task = self._asking[via] = asyncio.get_running_loop().create_task(self._answered(via))
        return task

    async def _answered(self, via: Via) -> bool:
        try:
            async with asyncio.timeout(QUESTION_S):
                answer: Any = await self._questions[via]()
        except TimeoutError:
            return False
        if isinstance(answer, NotServed):
            self.not_served(via, answer)
            return False
        self.served(via)
        return True
