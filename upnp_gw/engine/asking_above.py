"""Requests that need the gateway above: the answer of the gate first, then the gateway above, then the client.

Nobody else waits meanwhile: the mapping is reserved in the ledger and the store, and the writer serves others. All
requests for one mapping wait for one question.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from upnp_gw.engine.above_changes import OTHER_PORT, AskedAbove, conclude, withdraw
from upnp_gw.engine.above_rules import AboveRules, came_back, has_own_address
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.writer import TURNS, Operation, failed
from upnp_gw.ledger.events import FirstMapping
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.above import AboveGranted, AboveKey, AboveReply, AboveRequest, AboveSilent, GatewayAbove
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.records import DecisionRecord
from upnp_gw.model.request import (
    ChangeRequest,
    Granted,
    MapRequest,
    PortChoice,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
)
from upnp_gw.system.tasks import BackgroundTasks

log = logging.getLogger(__name__)

MOST_QUESTIONS = 64
"""The most questions at once. Further clients are refused at once: a silent gateway above must not collect them."""
MOST_OF_DEVICE = MOST_QUESTIONS // 2
"""The most of them for one device: it cannot keep all others from the gateway above."""

TOO_MANY = Refused(Refusal.GATEWAY_ABOVE, "too many requests wait for the gateway above", None, retry_s=10)
ELSEWHERE = Refused(Refusal.CONFLICT, OTHER_PORT, None)
LOOP = Refused(Refusal.NO_EXTERNAL_ADDRESS, "the gateway above leads back to this gateway", None, retry_s=60)
NO_ADDRESS = AboveSilent(None, "the WAN has no address now")

Submit = Callable[[Operation], "asyncio.Future[Reply | None]"]


class AskingAbove:
    """One for each gateway. ``answered`` is called with each mapping's id and the answer of the gateway above."""

    def __init__(self, decider: Decider, submit: Submit, rules: AboveRules, above: GatewayAbove) -> None:
        self._decider = decider
        self._submit = submit
        self._rules = rules
        self._above = above
        self._asked: dict[str, asyncio.Task[Refused | None]] = {}
        """Mapping -> the question that is under way."""
        self._releases: dict[AboveKey, asyncio.Task[None]] = {}
        self._tasks = BackgroundTasks()
        self.answered: Callable[[str, AboveReply], None] = lambda mapping_id, reply: None
        self.stands: Callable[[str], bool] = lambda mapping_id: True
        """False: the gateway above may have lost this mapping, and a refusal closes it at once."""

    async def stop(self) -> None:
        """Cancels the questions. What waits is in the store: the next start takes it back."""
        asked = tuple(self._asked.values())
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await self._tasks.cancel()

    async def released(self) -> None:
        """Waits until no delete is under way."""
        await self._tasks.wait()

    async def settled(self) -> None:
        """Waits until no question and no release is under way."""
        while self._asked or len(self._tasks):
            await asyncio.gather(*self._asked.values(), return_exceptions=True)
            await self._tasks.wait()

    # -- clients

    async def answer(self, request: ChangeRequest | None, operation: Operation) -> Reply:
        """The reply to a request, whose own transaction is ``operation``. ``request``: as its client sent it."""
        if isinstance(request, MapRequest):
            if self._comes_round(request):
                return LOOP
            if self._is_elsewhere(request):
                return ELSEWHERE
        records: list[DecisionRecord] = []
        first: list[FirstMapping] = []

        def step(transaction: Transaction) -> Reply | None:
            reply = operation(transaction)
            records[:] = transaction.records[-1:]
            if isinstance(reply, Granted) and reply.mapping.waits:
                first[:] = [one for one in transaction.announcements if isinstance(one, FirstMapping)]
                for one in first:
                    transaction.announcements.remove(one)
            return reply

        reply = await self._submit(step) or failed()
        if isinstance(request, ReleaseRequest) and isinstance(reply, Removed) and not reply.mappings:
            unknown = self._rules.delete_without_row(request, self._decider.environment.network)
            if unknown is not None:
                self.release(unknown)
        if not isinstance(reply, Granted) or not isinstance(request, MapRequest):
            return reply
        now = self._decider.environment.clock().boot
        if self._rules.is_fresh(reply.mapping, request.lifetime_s, now):
            return reply
        mapping_id = reply.mapping.id
        if mapping_id not in self._asked and self._is_crowded(reply.mapping.device):
            await self._submit(partial(withdraw, self._decider, mapping_id))
            return TOO_MANY
        task = self.ask(mapping_id, request, records[0] if records else None, first[0] if first else None)
        refused = await asyncio.shield(task)
        return refused or self._granted(reply, request)

    def _is_crowded(self, device: str) -> bool:
        """True if too many questions wait, or too many of this device."""
        rows = map(self._decider.ledger.table.get, self._asked)
        of_device = sum(row is not None and row.device == device for row in rows)
        return len(self._asked) >= MOST_QUESTIONS or of_device >= MOST_OF_DEVICE

    def _comes_round(self, request: MapRequest) -> bool:
        """True for a request of the gateway above itself, and for one of ours that came back through it."""
        if request.source.address == self._above.state().gateway:
            return True
        if not self._asked:
            return False
        waiting = [row for each in self._asked if (row := self._decider.ledger.table.get(each)) is not None]
        if not came_back(waiting, request):
            return False
        self._above.leads_back()
        return True

    def _is_elsewhere(self, request: MapRequest) -> bool:
        """True if the client wants this external port and no other, and the mapping that has it here has another
        one at the gateway above."""
        if request.choice is not PortChoice.EXACT or request.pinhole:
            return False
        rows = self._decider.ledger.table.on_port(request.transport, request.external_port)
        return any(row.outside_port != request.external_port and row.key.remote == request.remote for row in rows)

    def _granted(self, reply: Granted, request: MapRequest) -> Reply:
        """The reply after the gateway above has granted it."""
        row = self._decider.ledger.table.get(reply.mapping.id)
        if row is None or (row.above is not None and not row.above.granted):
            return Refused(Refusal.GATEWAY_ABOVE, "the gateway above granted it no more", None)
        if request.choice is PortChoice.EXACT and row.outside_port != request.external_port:
            return ELSEWHERE  # another client asked for this mapping first, and took any port
        hold, now = row.hold_of(request.via.protocol), self._decider.environment.clock()
        until = hold.until if hold is not None else row.until
        if row.above is not None and request.via.datagram:
            until = min(until, row.above.until)
        external = self._decider.external_address(row)
        return Granted(row, max(1, round(until - now.boot)), external, reply.refreshed, reply.crosses)

    # -- questions

    def ask(
        self,
        mapping_id: str,
        request: MapRequest | None = None,
        record: DecisionRecord | None = None,
        first: FirstMapping | None = None,
    ) -> "asyncio.Task[Refused | None]":
        """Asks the gateway above for a mapping, or joins the question that is under way. The task gives the
        refusal; None: it is granted. ``request``: the client's; None: the gateway renews it."""
        task = self._asked.get(mapping_id)
        if task is None:
            work = self._ask(mapping_id, request, record, first)
            task = self._asked[mapping_id] = asyncio.get_running_loop().create_task(work)
            task.add_done_callback(partial(self._done, mapping_id))
        return task

    def _done(self, mapping_id: str, task: "asyncio.Task[Refused | None]") -> None:
        del self._asked[mapping_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a question to the gateway above failed", exc_info=error)

    async def _ask(
        self,
        mapping_id: str,
        request: MapRequest | None,
        record: DecisionRecord | None,
        first: FirstMapping | None,
    ) -> Refused | None:
        for _ in range(TURNS + 1):  # a delete in the same batch is published first: it releases the port above
            await asyncio.sleep(0)
        row, network = self._decider.ledger.table.get(mapping_id), self._decider.environment.network
        if row is None or row.above is None:
            return None
        asked = AskedAbove(mapping_id, row.above.nonce, None, record, first, self.stands(mapping_id))
        if not has_own_address(row, network):
            return await self._conclude(asked, NO_ADDRESS)
        wanted = self._rules.request(row, network, self._decider.environment.clock().boot, request)
        asked.request = wanted
        if (release := self._releases.get(wanted.key)) is not None:
            await asyncio.wait([release])
        return await self._conclude(asked, await self._above.ask(wanted, self._rules.timeout_s))

    async def question(self, request: AboveRequest) -> AboveReply:
        """A question about no mapping of the ledger."""
        return await self._above.ask(request, self._rules.timeout_s)

    async def _conclude(self, asked: AskedAbove, reply: AboveReply) -> Refused | None:
        """Brings an answer into the ledger, the kernel and the store."""
        done = await self._submit(partial(conclude, self._decider, asked, reply))
        if done is not None:  # the kernel or the disk refused it
            await self._submit(partial(withdraw, self._decider, asked.mapping_id))
            asked.refused = done if isinstance(done, Refused) else failed()
            asked.unwanted = isinstance(reply, AboveGranted) and self._is_gone(asked)
        if asked.unwanted and asked.request is not None:
            self.release(asked.request)
        self.answered(asked.mapping_id, reply)
        if not isinstance(reply, AboveGranted) and (asked.record is not None or asked.closed):
            what = "is parked" if asked.closed else "is not granted"
            log.info("%s %s: %s", asked.mapping_id, what, reply.reason)
        return asked.refused

    def _is_gone(self, asked: AskedAbove) -> bool:
        row = self._decider.ledger.table.get(asked.mapping_id)
        return row is None or row.above is None or row.above.nonce != asked.nonce

    def told(self, mapping_id: str, request: AboveRequest, reply: AboveReply) -> None:
        """Brings an answer that nobody asked for into the ledger: a mapping update (CAS-021)."""

        async def conclude_it() -> None:
            await self._conclude(AskedAbove(mapping_id, request.nonce, request, stands=False), reply)

        self._tasks.spawn(conclude_it())

    def request_of(self, mapping: Mapping) -> AboveRequest | None:
        """The request that renews or deletes a mapping above; None: none does now."""
        network, now = self._decider.environment.network, self._decider.environment.clock().boot
        if mapping.above is None or not has_own_address(mapping, network):
            return None
        return self._rules.request(mapping, network, now, None)

    def release(self, request: AboveRequest) -> None:
        """Deletes a mapping above, in the background."""
        self._tasks.spawn(self._release(request))

    async def _release(self, request: AboveRequest) -> None:
        task = asyncio.current_task()
        assert task is not None
        before = self._releases.get(request.key)
        self._releases[request.key] = task
        try:
            if before is not None:
                await asyncio.wait([before])
            problem = await self._above.release(request, self._rules.timeout_s)
            if problem is not None:
                log.info("port %d is not released above: %s", request.internal.port, problem.reason)
        finally:
            if self._releases.get(request.key) is task:
                del self._releases[request.key]
