"""The faults in force: which ones strike a request."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from upnp_gw.testing.fault import Fault, Strikes
from upnp_gw.testing.journal import Request
from upnp_gw.testing.outcomes import Outcome, outcome_of
from upnp_gw.testing.records import NEWEST


@dataclass(eq=False, slots=True)
class Rule:
    """Some faults, for the requests of one action or of all that they can strike."""

    faults: tuple[Fault, ...]
    action: str | None = None
    """None: every action that the faults can strike."""
    left: int | None = None
    """The number of requests that it still strikes; None: until it is taken back."""
    after: bool | None = None
    """True: the gateway makes the change before. False: it never sees the request. None: as is usual for the
    fault."""
    name: str = ""
    struck: deque[Request] = field(default_factory=lambda: deque(maxlen=NEWEST))

    @property
    def lasting(self) -> bool:
        """True: it is in force for every request, and strikes none by itself."""
        return not any(fault.actions for fault in self.faults)

    @property
    def at_once(self) -> bool:
        """True: it comes into force, and is taken back, without waiting for the router."""
        return not any(fault.waits for fault in self.faults)

    def fits(self, action: str) -> bool:
        """True if it strikes this action."""
        return action == self.action if self.action else all(fault.fits(action) for fault in self.faults)

    @property
    def answers(self) -> bool:
        """True: it answers some requests in place of the gateway, and leaves others alone."""
        return any(type(fault).reply is not Fault.reply for fault in self.faults)

    def keeps_away(self, replied: bool) -> bool:
        """True: the gateway does not see the request that it strikes, and that it answers itself or not."""
        if self.after is not None:
            return not self.after
        return replied and any(fault.strikes in (Strikes.BEFORE, Strikes.EITHER) for fault in self.faults)


@dataclass(frozen=True, slots=True)
class Struck:
    """The faults of one request."""

    faults: tuple[Fault, ...]
    outcome: Outcome = (None, None)
    before: bool = False
    """True: the gateway does not see the request."""
    delay_s: float = 0

    @property
    def own(self) -> bool:
        """True for the gateway's own answer."""
        return self.outcome == (None, None)

    @property
    def silent(self) -> bool:
        """True: nothing is sent."""
        return any(fault.silent for fault in self.faults)


class Rules:
    """The newest rule with an answer for a request answers it. The other faults act one after the other, the oldest
    first."""

    def __init__(self, sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep) -> None:
        """``sleep`` waits for so many seconds."""
        self._sleep = sleep
        self._rules: list[Rule] = []
        self._stopping = asyncio.Event()

    async def delay(self, seconds: float) -> None:
        """Returns after so many seconds, or when the gateway stops."""
        if not seconds:
            return
        waits = asyncio.create_task(self._sleep(seconds)), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def release(self) -> None:
        """Ends every delay: the gateway stops. It may start again."""
        self._stopping.set()
        self._stopping = asyncio.Event()

    def add(self, rule: Rule, place: int | None = None) -> None:
        """Puts it in force, as the newest, or as number ``place`` from the oldest."""
        self._rules.insert(len(self._rules) if place is None else place, rule)

    def remove(self, rule: Rule) -> bool:
        """Takes it back; False: it is not in force any more."""
        if rule not in self._rules:
            return False
        self._rules.remove(rule)
        return True

    def all(self) -> tuple[Rule, ...]:
        """The oldest first."""
        return tuple(self._rules)

    @property
    def lasting(self) -> Iterator[Fault]:
        """The faults that are in force for every request."""
        return (fault for rule in self._rules if rule.lasting for fault in rule.faults)

    def take(self, request: Request) -> Struck | None:
        """The faults for a request, which uses up each rule once; None: the gateway answers as usual."""
        if not self._rules:
            return None
        outcome: Outcome = (None, None)
        taken: list[Rule] = []
        answered = before = False
        for rule in reversed(self.all()):
            if not rule.lasting and not rule.fits(request.action):
                continue
            reply = next((r for fault in rule.faults if (r := fault.reply(request)) is not None), None)
            if not rule.lasting and rule.answers and (answered or reply is None):
                continue
            if reply is not None and not answered:
                outcome, answered = outcome_of(request.action, reply), True
                before |= rule.keeps_away(True)
            elif not rule.answers:
                before |= rule.keeps_away(False)
            taken.append(rule)
            self._used(rule, request)
        faults = tuple(fault for rule in reversed(taken) for fault in rule.faults)
        return Struck(faults, outcome, before, sum(fault.delay_s() for fault in faults)) if faults else None

    def _used(self, rule: Rule, request: Request) -> None:
        rule.struck.append(request)
        if rule.left is not None:
            rule.left -= 1
            if not rule.left:
                self.remove(rule)
