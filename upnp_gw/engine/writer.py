"""The only way to a change: one task brings operations into the ledger, the kernel and the store, in this order.

All operations that wait form one batch: one transaction of the kernel and one of the store. An operation that is
refused is undone whole; if a batch is refused, each of its operations is tried alone.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from upnp_gw.engine.kernel_and_store import KernelAndStore
from upnp_gw.engine.measurements import Measurements
from upnp_gw.engine.persistence import Persistence
from upnp_gw.firewall.base import Cut, Firewall, FirewallSettings, Open, Refill, UpdateNetwork
from upnp_gw.ledger.events import Decided, Event, Events, FirewallHealed
from upnp_gw.ledger.filters import allowed_peers
from upnp_gw.ledger.forwards import forwards_of
from upnp_gw.ledger.transaction import Ledger, Transaction
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Refusal, Refused, Reply
from upnp_gw.system.process import collection_paused

log = logging.getLogger(__name__)

BATCH = 128
"""The most rows in one transaction of the kernel, so that no request waits long: 100 cost 0.9 ms."""
HEAL_RETRY_S = 1.0
UNDISTURBED_TRIES = 10
"""Attempts at a reading between the operations. After that they wait for it."""
TURNS = 2
"""Turns of the event loop before the log and the listeners take their time: in the first one the replies leave, in
the second one the connections of HTTP are closed, which many clients wait for."""

Operation = Callable[[Transaction], Reply | None]
T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    """One operation that waits for the writer, and who waits for its reply."""

    operation: Operation
    reply: "asyncio.Future[Reply | None]"
    rows: int
    """About so many rows change."""


class Writer:
    """``submit`` for operations; the other methods are for the kernel."""

    def __init__(
        self,
        ledger: Ledger,
        firewall: Firewall,
        persistence: Persistence,
        events: Events,
        settings: Callable[[], FirewallSettings],
        clock: Callable[[], Instant],
        measurements: Measurements,
        complete: Callable[[Transaction, Reply | None], Reply | None] = lambda transaction, reply: reply,
    ) -> None:
        """``complete`` is the last step of every operation, on its closed transaction. It returns the reply."""
        self._ledger = ledger
        self._firewall = firewall
        self._persistence = persistence
        self._events = events
        self._settings = settings
        self._clock = clock
        self._complete = complete
        self._kernel_and_store = KernelAndStore(ledger, firewall, persistence, measurements, self.on_foreign_change)
        self.update_hosts = self._kernel_and_store.update_hosts
        self.healed = 0
        """The number of times that our table was installed again after another program changed it."""
        self.deadlines_changed = asyncio.Event()
        """Set after a batch with a deadline before ``next_look``; the scheduler clears it."""
        self.next_look = float("-inf")
        """BOOTTIME seconds at which the scheduler looks at the deadlines next. It keeps this up to date; before its
        start it is in the past."""
        self._begun = 0
        """The number of times that the task began with something."""
        self._unpublished: deque[Event] = deque()
        """The events of the batch that is in the kernel and in the store."""
        self._jobs: deque[_Job] = deque()
        self._alone: deque[Callable[[], Awaitable[None]]] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._heal_error = ""
        """The reason why our table could not be installed again; until then, requests that open are refused."""
        self._retry: asyncio.TimerHandle | None = None

    # -- life

    async def install(self) -> None:
        """Installs our table, filled from the ledger. Raises FirewallError."""
        with collection_paused():
            await self._firewall.open(self._fitting(), self.on_foreign_change)
            await self._refill()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._write(), name="writer")

    async def stop(self, last: Operation, flush: bool = False) -> None:
        """Finishes what waits, and ``last``; the leases live on in the kernel, or end now (``flush``)."""
        if self._retry is not None:
            self._retry.cancel()
        if self._task is not None:
            self.submit(last)
            await self.settled()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._persistence.close()
        await self._firewall.close(flush)

    async def settled(self) -> None:
        """Returns when nothing waits for the writer."""
        await self._idle.wait()

    async def undisturbed(self, read: Callable[[], Awaitable[T]]) -> T:
        """The answer of ``read``, during which nothing was changed: ledger and kernel agree all the time. Where
        operations never cease, the last attempt makes them wait. Raises what ``read`` raises."""
        for _ in range(UNDISTURBED_TRIES):
            await self.settled()
            begun = self._begun
            found = await read()
            if self._begun == begun and self._idle.is_set():
                return found
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def alone() -> None:
            try:
                answer.set_result(await read())
            except Exception as error:
                answer.set_exception(error)

        self.run_alone(alone)
        return await answer

    # -- what others ask

    def submit(self, operation: Operation, rows: int = 1) -> "asyncio.Future[Reply | None]":
        """Puts an operation into the queue; the future is done when the kernel and the store have it.

        An operation whose future is cancelled before its turn does not happen. ``rows``: about so many rows change.
        """
        job = _Job(operation, asyncio.get_running_loop().create_future(), rows)
        self._jobs.append(job)
        self._idle.clear()
        self._wake.set()
        return job.reply

    async def remember(self) -> None:
        """Writes changed devices, incidents and questions, and the backlog of a failing disk."""
        await self._persistence.remember()
        if self._persistence.write_backlog:
            self.run_alone(self._persistence.flush)

    def on_foreign_change(self, reason: str) -> None:
        """Somebody else removed or changed our table: it is installed again before anything else is done."""
        self.run_alone(partial(self._heal, reason))

    def update_network(self) -> None:
        """The links or addresses changed: the kernel's sets of our own are renewed."""
        self.run_alone(self._update_network)

    def cut_due(self) -> None:
        """Ends the flows whose time has come."""
        self.run_alone(self._cut)

    def run_alone(self, call: Callable[[], Awaitable[None]]) -> None:
        """Calls it before the next operations."""
        self._alone.append(call)
        self._idle.clear()
        self._wake.set()

    # -- the task

    async def _write(self) -> None:
        while True:
            if not self._jobs and not self._alone:
                self._wake.clear()
                self._idle.set()
                await self._wake.wait()
            self._begun += 1
            if self._alone:
                call = self._alone[0]
                try:
                    await call()
                except Exception:
                    log.exception("an operation of the writer itself failed; the writer continues")
                finally:
                    self._alone.popleft()
                continue
            jobs = self._next_batch()
            try:
                # a caller that stopped waiting got a failure as its answer: the change must not happen after that
                await self._run_jobs([job for job in jobs if not job.reply.done()])
            except Exception:
                log.exception("%d operations failed; the writer continues", len(jobs))
                for job in jobs:
                    _answer(job, failed())
            for _ in jobs:
                self._jobs.popleft()
            self._note_deadlines()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._publish()

    def _note_deadlines(self) -> None:
        due = self._ledger.next_due()
        if due is not None and due < self.next_look:
            self.deadlines_changed.set()

    def _next_batch(self) -> list[_Job]:
        """The oldest jobs, with at most ``BATCH`` rows together; one at least."""
        jobs: list[_Job] = []
        rows = 0
        for job in self._jobs:
            rows += job.rows
            if jobs and rows > BATCH:
                break
            jobs.append(job)
        return jobs

    async def _run_jobs(self, jobs: Sequence[_Job]) -> None:
        replies = await self._attempt(jobs)
        if replies is None and len(jobs) > 1:
            for job in jobs:
                await self._run_jobs([job])
            return
        for job, reply in zip(jobs, replies or [failed()] * len(jobs), strict=True):
            _answer(job, reply)

    async def _attempt(self, jobs: Sequence[_Job]) -> list[Reply | None] | None:
        """The replies, once all of it is in the kernel and in the store; None where either refused it."""
        now = self._clock()
        transactions: list[Transaction] = []
        replies: list[Reply | None] = []
        for job in jobs:
            transaction = Transaction(self._ledger, now)
            try:
                reply = job.operation(transaction)
                transaction.close()
                replies.append(self._complete(transaction, reply))
            except Exception:
                log.exception("an operation failed; its request is refused")
                transaction.undo()
                transaction = Transaction(self._ledger, now)
                replies.append(failed())
            transactions.append(transaction)
        if not await self._kernel_and_store.write(transactions, now):
            return None
        for transaction in transactions:
            event = transaction.commit()
            self._unpublished += [event] if event is not None else []
            self._unpublished += map(Decided, transaction.records)
            self._unpublished += transaction.announcements
        return replies

    def _publish(self) -> None:
        """Publishes the events of the batch: its replies are on their way."""
        while self._unpublished:
            event = self._unpublished.popleft()
            try:
                self._events.publish(event)
            except Exception:
                log.exception("an event could not be published; the change that it is about stays")

    # -- alone: no operation is under way

    async def _refill(self) -> None:
        now = self._clock()
        table = self._ledger.table
        forwards = [f for mapping in table if mapping.active for f in forwards_of(mapping, table, now)]
        await self._firewall.apply([Refill(tuple(one for one in forwards if not one.screen.name))])
        # a long list of remote hosts takes a second: the others are open by then
        screened, hosts = [one for one in forwards if one.screen.name], self._settings().hosts
        if hosts:
            await self._kernel_and_store.update_hosts(hosts)
        for at in range(0, len(screened), BATCH):
            await self._firewall.apply([*map(Open, screened[at : at + BATCH])])

    def _fitting(self) -> FirewallSettings:
        """The settings, with room for all active mappings: a lowered limit must not prevent a start."""
        settings = self._settings()
        elements = sum(len(allowed_peers(m)) for m in self._ledger.table if m.active)
        return replace(settings, size=max(settings.size, elements))

    async def _heal(self, reason: str) -> None:
        if self._retry is not None:
            self._retry.cancel()
        try:
            await self.install()
        except FirewallError as error:
            if str(error) != self._heal_error:  # not once a second for as long as it lasts
                log.error("our table cannot be installed again: %s; tried every %.0f s", error, HEAL_RETRY_S)
            self._heal_error = str(error)
            self._retry = asyncio.get_running_loop().call_later(HEAL_RETRY_S, self.on_foreign_change, reason)
            return
        self._heal_error = ""
        self.healed += 1
        log.warning("%s: installed again with %d mappings", reason, len(self._ledger.table))
        self._events.publish(FirewallHealed(reason))

    async def _update_network(self) -> None:
        try:
            await self._firewall.apply([UpdateNetwork(self._settings().network)])
        except FirewallError as error:
            log.error("cannot update the links and addresses in the kernel: %s", error)
            await self._heal("the links changed")

    async def _cut(self) -> None:
        now = self._clock()
        due = self._ledger.cuts.due(now.boot, BATCH)
        if not due:
            return
        try:
            await self._firewall.apply([Cut(cut.forward()) for cut in due])
        except FirewallError as error:
            log.error("%d flows cannot be cut: %s; next try in %.0f s", len(due), error, HEAL_RETRY_S)
            self._ledger.cuts.postpone(due, now.boot + HEAL_RETRY_S)
            return
        for cut in due:
            self._ledger.cuts.drop(cut.number)
        if len(due) == BATCH:  # requests come first
            self.submit(self._more_cuts)
        self._persistence.write_backlog.cuts_done(due)
        await self._persistence.flush()

    def _more_cuts(self, transaction: Transaction) -> None:
        self.cut_due()


def _answer(job: _Job, reply: Reply | None) -> None:
    if not job.reply.done():
        job.reply.set_result(reply)


def failed() -> Refused:
    """The reply to an operation that the kernel, the disk or a fault of ours kept from being carried out."""
    return Refused(Refusal.BACKEND, "the gateway could not carry it out", None)
