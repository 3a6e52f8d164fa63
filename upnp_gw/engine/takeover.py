"""Takes over the leases of the gateway that ran here before, each as the request of its internal client.

Each passes the gate and the writer like a request of a control point. The device did not ask this gateway: a
refusal is no evidence against it, and its rate of requests stays as it is. A mapping that stands already is not
changed, so that the same leases can be taken over again, as when a device was away the first time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.requests import RequestOperations
from upnp_gw.engine.writer import failed
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.request import Granted, MapRequest, Refusal, Refused, Reply, Source

ACTION = "import"
"""``DecisionRecord.action`` of these decisions."""
AT_ONCE = 16
"""Leases that wait for the writer together. Requests of control points wait for no more than these."""
HOSTS_AT_ONCE = 8
"""Internal clients that are looked for at once: the places of requesters are for those that ask now."""

NOBODY = "nobody answers for the internal client's address now"
TWO_HOSTS = "two hosts claim the internal client's address"


Outcome = Literal["taken", "stands", "asked", "refused", "absent"]
"""The fate of a lease. stands: its client has a mapping of this port here already; asked: the operator is asked;
absent: its client does not answer now, and nothing was decided."""


@dataclass(frozen=True, slots=True)
class TakenLease:
    """The answer about one lease. After a preview: what it would be."""

    outcome: Outcome
    reply: Reply
    rule: str | None = None
    """The rule that allowed it or refused it; None: the floor, a limit, or no rule."""


class Takeover:
    """``take`` and ``preview``, for some leases at a time."""

    def __init__(self, decider: Decider, gateway: Gateway) -> None:
        self._decider = decider
        self._gateway = gateway
        self._requests = RequestOperations(decider)

    async def take(self, requests: Sequence[MapRequest]) -> list[TakenLease]:
        """Takes leases over: the answers, in the same order. Their internal clients are the requesters."""
        absent = await self._absent(requests)
        taken: list[TakenLease] = []
        for at in range(0, len(requests), AT_ONCE):
            some = requests[at : at + AT_ONCE]
            taken += await asyncio.gather(*(self._take(one, one.source in absent) for one in some))
        return taken

    async def preview(self, requests: Sequence[MapRequest]) -> list[TakenLease]:
        """The same answers, each with those before it taken over; nothing is changed."""
        absent = await self._absent(requests)
        numbers = self._decider.ledger.numbers
        before = replace(numbers)
        transaction = Transaction(self._decider.ledger, self._decider.environment.clock())
        try:
            return [
                _missing(NOBODY) if one.source in absent else self._decided(one, transaction) for one in requests
            ]
        finally:
            transaction.undo()
            numbers.mapping, numbers.decision, numbers.cut = before.mapping, before.decision, before.cut

    async def _take(self, request: MapRequest, absent: bool) -> TakenLease:
        if absent:
            return _missing(NOBODY)
        found: list[TakenLease] = []

        def operation(transaction: Transaction) -> Reply:
            found[:] = [self._decided(request, transaction)]
            return found[0].reply

        reply = await self._gateway.submit_for(request, operation) or failed()
        if found and (reply is found[0].reply or isinstance(reply, Granted)):
            return replace(found[0], reply=reply)
        return TakenLease("refused", reply)  # by the kernel, the disk or the gateway above

    def _decided(self, request: MapRequest, transaction: Transaction) -> TakenLease:
        """The lease as a request at its turn."""
        decider = self._decider
        asked = decider.asked(request)
        if asked.claimed:
            return _missing(TWO_HOSTS)
        own = decider.planner(transaction, asked).own_row(asked.request, asked.parties.owner)
        if own is not None:
            return TakenLease("stands", self._standing(own, transaction), own.rule)
        reply = self._requests.map(transaction, asked, ACTION)
        record = transaction.records[-1] if transaction.records else None
        rule = record.rule if record is not None else None
        if isinstance(reply, Granted):
            return TakenLease("taken", reply, rule)
        assert isinstance(reply, Refused)
        if record is not None and record.refusal is not None:  # a PCP client is told that another port may do
            reply = replace(reply, refusal=Refusal(record.refusal), reason=record.reasons[-1])
        if reply.refusal is Refusal.ABSENT:
            return TakenLease("absent", reply)
        return TakenLease("asked" if reply.refusal is Refusal.ASK else "refused", reply, rule)

    def _standing(self, own: Mapping, transaction: Transaction) -> Granted:
        left_s = max(1, round(own.until - transaction.now.boot))
        return Granted(own, left_s, self._decider.external_address(own), refreshed=True)

    async def _absent(self, requests: Sequence[MapRequest]) -> set[Source]:
        """The internal clients for which nobody answers. Each is looked for once."""
        free = asyncio.Semaphore(HOSTS_AT_ONCE)
        sources = list(dict.fromkeys(request.source for request in requests))
        found = await asyncio.gather(*(self._answers(source, free) for source in sources))
        return {source for source, answers in zip(sources, found, strict=True) if not answers}

    async def _answers(self, source: Source, free: asyncio.Semaphore) -> bool:
        around = self._decider.environment
        async with free:
            if await around.identify(source) is None:
                return False
            await around.resolve_target(source.address, source)
            return True


def _missing(reason: str) -> TakenLease:
    return TakenLease("absent", Refused(Refusal.ABSENT, reason, None))
