"""The path of every change: facts, decision, plan, kernel, store, reply. There is no second road to the kernel.

One task, the writer, takes what waits in order, up to ``BATCH`` operations at once. Each runs against the ledger
with those before it already in it, so that no two see the same port or quota as free. Then one transaction of the
kernel, one of the store, then the replies. What is refused is undone whole; of a refused batch each is tried alone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from upnp_gw.engine import former_addresses
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.device_persistence import DevicePersistence
from upnp_gw.engine.epoch import Epochs
from upnp_gw.engine.persistence import Persistence
from upnp_gw.engine.reevaluation import Reevaluation, tell
from upnp_gw.engine.requests import RequestOperations
from upnp_gw.firewall.base import Change, Cut, Firewall, FirewallSettings, Refill, UpdateNetwork
from upnp_gw.ledger.events import Decided, Events, FirewallHealed
from upnp_gw.ledger.filters import reach
from upnp_gw.ledger.forwards import forwards_of, kernel_changes
from upnp_gw.ledger.leases import next_look
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.device import mac_of
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant, Via
from upnp_gw.model.request import ChangeRequest, MapRequest, Refusal, Refused, Reply
from upnp_gw.store.store import Store

log = logging.getLogger(__name__)

BATCH = 128
"""Operations in one transaction of the kernel: 100 cost 0.9 ms."""
HEAL_RETRY_S = 1.0

Step = Callable[[Transaction], Reply | None]


@dataclass(slots=True)
class _Job:
    """One operation that waits for the writer, and who waits for its reply."""

    step: Step
    reply: "asyncio.Future[Reply | None]"


class Gateway:
    """``handle`` for requests, ``submit`` for the gateway's own duties, the rest for the kernel."""

    def __init__(
        self,
        decider: Decider,
        firewall: Firewall,
        store: Store,
        events: Events,
        settings: Callable[[], FirewallSettings],
    ) -> None:
        self.decider = decider
        self.requests = RequestOperations(decider)
        self.reevaluation = Reevaluation(decider)
        self.ledger: Ledger = decider.ledger
        self.events = events
        self.healed = 0
        self._firewall = firewall
        self._settings = settings
        self._jobs: deque[_Job] = deque()
        self._alone: deque[Callable[[], Awaitable[None]]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._unhealed = ""
        """Why our table could not be installed again; requests go on meanwhile, and are refused where they open."""
        self._retry: asyncio.TimerHandle | None = None
        self._clock = decider.environment.clock
        self.books = Persistence(
            store, self.ledger, DevicePersistence(decider.history, decider.questions), self._clock
        )
        around = decider.environment
        self.epochs = Epochs(self.ledger, store, self._clock, lambda: around.network.advertised)
        self.on_deadline_changed: Callable[[], None] = lambda: None
        self.before_request: Callable[[], None] = lambda: None
        """What is due goes to the writer before the request does: after a suspend much can be."""

    # -- life

    async def start(self) -> None:
        """Reads the store, decides every row again, fills the kernel from it.

        Raises FirewallError and StoreError.
        """
        now = self._clock()
        stored = await self.books.load(now, self.decider.environment.network)
        await self.epochs.load()
        transaction = Transaction(self.ledger, now)
        fallen = self.reevaluation.restore(transaction, stored)
        transaction.close()
        await self._firewall.open(self._fitting(), self.on_foreign_change)
        await self._refill()
        await self.books.begin(transaction, now)
        tell(fallen)
        for mapping in self.ledger.table:
            self.ledger.deadlines.set(mapping.id, next_look(mapping))
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="writer")

    async def stop(self, flush: bool = False) -> None:
        """Finishes what waits, then lets go of the kernel: leases live on in it, or end now (``flush``)."""
        if self._retry is not None:
            self._retry.cancel()
        if self._writer is not None:
            self.submit(self.reevaluation.tell_floods)
            await self.settled()
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            await self.books.close()
        await self._firewall.close(flush)

    async def settled(self) -> None:
        """Returns when nothing waits for the writer."""
        await self._idle.wait()

    # -- what others ask

    async def handle(self, request: ChangeRequest) -> Reply:
        """The answer to a request. Never raises for what a client sends."""
        around, device = self.decider.environment, ""
        if request.via is not Via.OPERATOR:
            around.meet(request.source)
            if not await around.introduce(request.source.address, request.source.interface):
                return Refused(Refusal.ABSENT, "nobody answers for the requester's address", None)
            device = self.decider.device_of(request.source)
            self.decider.history.count_change(device, self._clock(), request.via.datagram)
        if isinstance(request, MapRequest):
            await around.introduce_target(request.internal.address, request.source)
            await former_addresses.look(self.decider, self.submit, request, device)
        self.before_request()
        return await self.submit(partial(self._perform, request, device)) or _failed()

    def _perform(self, request: ChangeRequest, device: str, transaction: Transaction) -> Reply:
        if mac_of(device) is not None and self.decider.device_of(request.source) != device:
            return Refused(Refusal.ABSENT, "the requester left its link while it waited", None)
        around, asks = self.decider.environment, request.via is not Via.OPERATOR
        if asks and isinstance(request, MapRequest) and around.either_contested(request.source, request.internal):
            return Refused(Refusal.ABSENT, "two hosts claim the address", None)
        return self.requests.perform(transaction, request)

    def submit(self, step: Step) -> "asyncio.Future[Reply | None]":
        """Puts one operation into the writer's queue, now; done when it is in the kernel and in the store.

        One whose future is cancelled before its turn does not happen.
        """
        job = _Job(step, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._idle.clear()
        self._wake.set()
        return job.reply

    async def remember(self) -> None:
        """Writes what changed of devices, incidents and questions, and what the store is owed."""
        await self.books.remember()
        if self.books.write_backlog:
            self._run_alone(self.books.pay)

    def on_foreign_change(self, what: str) -> None:
        """Somebody else removed or changed our table: it is installed again before anything else is done."""
        self._run_alone(partial(self._heal, what))

    def rewire(self) -> None:
        """The links or addresses changed: the kernel's sets of our own are renewed."""
        self._run_alone(self._rewire)

    def cut_due(self) -> None:
        """Ends the flows whose time has come."""
        self._run_alone(self._cut)

    def _run_alone(self, call: Callable[[], Awaitable[None]]) -> None:
        self._alone.append(call)
        self._idle.clear()
        self._wake.set()

    # -- the writer

    async def _write(self) -> None:
        while True:
            if not self._jobs and not self._alone:
                self._wake.clear()
                self._idle.set()
                await self._wake.wait()
            if self._alone:
                call = self._alone[0]
                try:
                    await call()
                except Exception:
                    log.exception("the writer's own duty failed; it goes on")
                finally:
                    self._alone.popleft()
                continue
            taken = [self._jobs[i] for i in range(min(BATCH, len(self._jobs)))]
            try:
                # whoever waited no longer was told that it failed: it must not happen after all
                await self._run_jobs([job for job in taken if not job.reply.done()])
            except Exception:
                log.exception("%d operations failed; the writer goes on", len(taken))
                for job in taken:
                    _answer(job, _failed())
            for _ in taken:
                self._jobs.popleft()
            self.on_deadline_changed()

    async def _run_jobs(self, jobs: Sequence[_Job]) -> None:
        replies = await self._attempt(jobs)
        if replies is None and len(jobs) > 1:
            for job in jobs:
                await self._run_jobs([job])
            return
        for job, reply in zip(jobs, replies or [_failed()] * len(jobs), strict=True):
            _answer(job, reply)

    async def _attempt(self, jobs: Sequence[_Job]) -> list[Reply | None] | None:
        """The replies, once all of it is in the kernel and in the store; None where either refused it."""
        now = self._clock()
        transactions: list[Transaction] = []
        replies: list[Reply | None] = []
        for job in jobs:
            transaction = Transaction(self.ledger, now)
            try:
                replies.append(self.reevaluation.hold_back(transaction, job.step(transaction)))
            except Exception:
                log.exception("an operation failed; its request is refused")
                transaction.undo()
                transaction = Transaction(self.ledger, now)
                replies.append(_failed())
            transaction.close()
            transactions.append(transaction)
        if not await self._make_true(transactions, now):
            return None
        for transaction in transactions:
            event = transaction.commit()
            if event is not None:
                self.events.publish(event)
            for record in transaction.records:
                self.events.publish(Decided(record))
            for told in transaction.told:
                self.events.publish(told)
        return replies

    async def _make_true(self, transactions: Sequence[Transaction], now: Instant) -> bool:
        """One transaction of the kernel, then one of the store; False: neither holds it, the turns are undone."""
        pairs = [pair for transaction in transactions for pair in transaction.pairs]
        changes = kernel_changes(pairs, self.ledger.table, now)
        try:
            if changes:
                await self._firewall.apply(changes)
        except FirewallError as error:
            log.error("the kernel refused %d changes: %s", len(changes), error)
            self._undo(transactions)
            return False
        except Exception:
            log.exception("the firewall failed; all of it is installed again")
            self._undo(transactions)
            self.on_foreign_change("a fault of ours")
            return False
        try:
            written = await self.books.write(transactions, now)
        except Exception:
            log.exception("the books could not be kept")
            written = False
        if written:
            return True
        self._undo(transactions)
        undone = [(after, before) for before, after in reversed(pairs)]
        await self._apply_quietly(kernel_changes(undone, self.ledger.table, now))
        return False

    def _undo(self, transactions: Sequence[Transaction]) -> None:
        for transaction in reversed(transactions):
            transaction.undo()

    async def _apply_quietly(self, changes: Sequence[Change]) -> None:
        """Takes back what the store did not take. Where that fails too, the whole is installed again."""
        try:
            if changes:
                await self._firewall.apply(changes)
        except FirewallError as error:
            self.on_foreign_change(f"a change could not be taken back ({error})")

    # -- alone: no operation is under way

    async def _refill(self) -> None:
        now = self._clock()
        table = self.ledger.table
        forwards = tuple(f for mapping in table if mapping.active for f in forwards_of(mapping, table, now))
        await self._firewall.apply([Refill(forwards)])

    def _fitting(self) -> FirewallSettings:
        """The settings, with room for all that stands: a limit that was lowered must not keep us from starting."""
        settings = self._settings()
        standing = sum(len(reach(m)) for m in self.ledger.table if m.active)
        return replace(settings, size=max(settings.size, standing))

    async def _heal(self, what: str) -> None:
        if self._retry is not None:
            self._retry.cancel()
        try:
            await self._firewall.open(self._fitting(), self.on_foreign_change)
            await self._refill()
        except FirewallError as error:
            if str(error) != self._unhealed:  # not once a second for as long as it lasts
                log.error("our table cannot be installed again: %s; tried every %.0f s", error, HEAL_RETRY_S)
            self._unhealed = str(error)
            self._retry = asyncio.get_running_loop().call_later(HEAL_RETRY_S, self.on_foreign_change, what)
            return
        self._unhealed = ""
        self.healed += 1
        log.warning("%s: installed again with %d mappings", what, len(self.ledger.table))
        self.events.publish(FirewallHealed(what))

    async def _rewire(self) -> None:
        try:
            await self._firewall.apply([UpdateNetwork(self._settings().network)])
        except FirewallError as error:
            log.error("the kernel did not take the new links: %s", error)
            await self._heal("the links changed")

    async def _cut(self) -> None:
        now = self._clock()
        due = self.ledger.cuts.due(now.boot)
        if not due:
            return
        try:
            await self._firewall.apply([Cut(cut.forward()) for cut in due])
        except FirewallError as error:
            log.error("%d flows cannot be cut: %s; next try in %.0f s", len(due), error, HEAL_RETRY_S)
            self.ledger.cuts.postpone(due, now.boot + HEAL_RETRY_S)
            return
        for cut in due:
            self.ledger.cuts.drop(cut.number)
        self.books.write_backlog.cuts_done(due)
        await self.books.pay()


def _answer(job: _Job, reply: Reply | None) -> None:
    if not job.reply.done():
        job.reply.set_result(reply)


def _failed() -> Refused:
    return Refused(Refusal.BACKEND, "the gateway could not carry it out", None)
