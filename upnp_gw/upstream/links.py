"""The links of every protocol from one of our addresses to the gateway above, and the order in which they are
asked."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from upnp_gw.model.above import AboveRequest
from upnp_gw.model.mapping import Via
from upnp_gw.model.network import Network
from upnp_gw.upstream.answering import AnsweringProtocols, Question
from upnp_gw.upstream.igd_link import IgdLink
from upnp_gw.upstream.outcome import Denial, NotServed, Outcome
from upnp_gw.upstream.port5351_link import OnUpdate, Port5351Link
from upnp_gw.upstream.watch import LossWatch
from upnp_gw.upstream.way import Way

R = TypeVar("R")
Spawn = Callable[[Coroutine[Any, Any, None]], object]
IGD = Via.IGD2
"""Stands for both versions, where the order is meant."""


class GatewayLinks:
    """From one source address. Its methods wait without end: the caller has a deadline."""

    def __init__(
        self,
        way: Way,
        vias: Sequence[Via],
        watch: LossWatch,
        network: Callable[[], Network],
        on_update: OnUpdate,
        spawn: Spawn,
        igd: IgdLink | None,
        now: Callable[[], float],
    ) -> None:
        """``vias``: the order; NAT-PMP is IPv4 alone. ``igd``: None: none from this address. Raises OSError."""
        self.way = way
        self.port5351 = Port5351Link(way, watch, network, on_update, spawn)
        self.igd = igd
        questions: dict[Via, Question] = {}
        for via in vias:
            if via is IGD and igd is not None:
                questions[via] = igd.answers
            elif via is Via.PCP or (via is Via.NATPMP and way.version == 4):
                questions[via] = partial(self.port5351.answers, via)
        self.protocols = AnsweringProtocols(questions, now)

    def close(self) -> None:
        """Ends every request."""
        self.protocols.close()
        self.port5351.close()

    def forget(self) -> None:
        """The gateway above began anew: its protocols and its control URLs may be others."""
        self.protocols.forget()
        if self.igd is not None:
            self.igd.forget()

    async def ask(self, request: AboveRequest) -> tuple[Via, Outcome]:
        """Over the protocol that is served and comes first; after ``NotServed`` over the next one, in the same
        attempt (CAS-016, CAS-017)."""
        return await self._over_each(request, self._ask)

    async def release(self, request: AboveRequest) -> tuple[Via, Denial | NotServed | None]:
        """Over the protocol that granted it."""

        async def over(via: Via, request: AboveRequest) -> Denial | NotServed | None:
            if via is IGD:
                return await self._igd.release(request)
            return await self.port5351.release(via, request)

        if request.via is not None:
            via = _order_of(request.via)
            return self.shown(via), await over(via, request)
        via, outcome = await self._over_each(request, over)
        return via, outcome

    async def question(self, via: Via) -> bool:
        """A harmless question over one protocol, for its epoch, BOOTID or external address; False: it is not served
        any more."""
        if via is IGD:
            return await self._igd.tell_address()
        return not isinstance(await self.port5351.answers(via), NotServed)

    async def _ask(self, via: Via, request: AboveRequest) -> Outcome:
        return await (self._igd.ask(request) if via is IGD else self.port5351.ask(via, request))

    async def _over_each(
        self, request: AboveRequest, over: Callable[[Via, AboveRequest], Awaitable[R]]
    ) -> tuple[Via, R | NotServed]:
        tried: frozenset[Via] = frozenset()
        last = NotServed(self.protocols.reason() or "it does not answer")
        kept: NotServed | None = None
        preferred = None if request.via is None else _order_of(request.via)
        while (via := await self.protocols.find(tried, preferred)) is not None:
            try:
                outcome = await over(via, request)
            except asyncio.CancelledError:  # its time is over
                self.protocols.silent(via)
                raise
            if not isinstance(outcome, NotServed):
                self.protocols.answered(via)
                return self.shown(via), outcome
            tried |= {via}
            if outcome.always:
                self.protocols.not_served(via, outcome)
                last = outcome
            else:
                kept = outcome
        return self.shown(IGD), kept or last

    def shown(self, via: Via) -> Via:
        """The version of IGD that it has, in place of the order's."""
        return self.igd.via if via is IGD and self.igd is not None else via

    @property
    def _igd(self) -> IgdLink:
        assert self.igd is not None, "IGD is in the order only where there is a link"
        return self.igd


def _order_of(via: Via) -> Via:
    """Both versions of IGD are one place of the order."""
    return IGD if via.protocol == IGD.protocol else via
