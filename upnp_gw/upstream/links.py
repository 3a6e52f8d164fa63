"""The links of every protocol from one of our addresses to the gateway above, and the order in which they are
asked."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from upnp_gw.model.above import AboveKey, AboveRequest
from upnp_gw.model.mapping import Via
from upnp_gw.model.network import Network
from upnp_gw.upstream.answering import AnsweringProtocols, Question
from upnp_gw.upstream.igd_link import IgdLink
from upnp_gw.upstream.outcome import Denial, NotServed, Outcome
from upnp_gw.upstream.port5351_link import OnUpdate, Port5351Link
from upnp_gw.upstream.watch import LossWatch
from upnp_gw.upstream.way import Way

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
        igd: IgdLink | None,
        now: Callable[[], float],
    ) -> None:
        """``vias``: the order; NAT-PMP is IPv4 alone. ``igd``: None: none from this address."""
        self.way = way
        self.port5351 = Port5351Link(way, watch, network, on_update)
        self.igd = igd
        self._unanswered: dict[AboveKey, Via] = {}
        """Requests that were not answered yet, or in their time: a mapping may be there."""
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
        """Over the protocol that granted it, else over the first one that is served. After ``NotServed`` over the
        next one, in the same attempt (CAS-016, CAS-017)."""
        tried: frozenset[Via] = frozenset()
        last = NotServed(self.protocols.reason() or "it does not answer")
        kept: NotServed | None = None
        granted_over = None if request.via is None else _order_of(request.via)
        known = self.protocols.known()
        while (via := await self.protocols.find(tried, granted_over)) is not None:
            self._unanswered[request.key] = via
            try:
                outcome = await (self._igd.ask(request) if via is IGD else self.port5351.ask(via, request))
            except asyncio.CancelledError:  # its time is over
                self.protocols.silent(via, serves=via not in known and via is not granted_over)
                raise
            self._unanswered.pop(request.key, None)  # a delete of the same mapping may have taken it
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

    async def release(self, request: AboveRequest) -> tuple[Via, Denial | NotServed | None]:
        """Over the protocol that granted it, or that did not answer the request for it. If neither is known, as
        after a restart, over each that is served."""
        granted_over = None if request.via is None else _order_of(request.via)
        over = granted_over or self._unanswered.pop(request.key, None)
        if over is not None:
            return self.shown(over), await self._release(over, request)
        released = [(via, await self._release(via, request)) for via in await self.protocols.find_all()]
        silent = (IGD, NotServed(self.protocols.reason() or "it does not answer"))
        via, outcome = next((one for one in released if one[1] is None), (*released, silent)[0])
        return self.shown(via), outcome

    async def question(self, via: Via) -> bool:
        """A harmless question over one protocol, for its epoch, BOOTID or external address; False: it is not served
        any more."""
        if via is IGD:
            return await self._igd.tell_address()
        return not isinstance(await self.port5351.answers(via), NotServed)

    async def _release(self, via: Via, request: AboveRequest) -> Denial | NotServed | None:
        return await (self._igd.release(request) if via is IGD else self.port5351.release(via, request))

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
