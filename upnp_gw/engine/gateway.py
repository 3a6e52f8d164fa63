"""The path of every request: the device of its sender, then facts, decision and plan, then kernel, store and reply.

``handle`` waits until the requester and the internal client are known. The writer (``engine.writer``) then performs
the request with those before it already in the ledger, so that no two requests see the same port or quota as free.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING

from upnp_gw.engine import former_addresses
from upnp_gw.engine.above_rules import forget
from upnp_gw.engine.decider import Asked, Decider
from upnp_gw.engine.epoch import Epochs
from upnp_gw.engine.list_loading import ListLoading
from upnp_gw.engine.measurements import Measurements
from upnp_gw.engine.persistence import Persistence
from upnp_gw.engine.reevaluation import Reevaluation, log_revoked
from upnp_gw.engine.refresh import PlannedVerdict
from upnp_gw.engine.request_log import log_reply, log_request
from upnp_gw.engine.requests import RequestOperations
from upnp_gw.engine.writer import Operation, Writer, failed
from upnp_gw.ledger.events import DeviceSeen
from upnp_gw.ledger.leases import next_check
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import mac_of
from upnp_gw.model.mapping import Via
from upnp_gw.model.request import ChangeRequest, MapRequest, Refusal, Refused, Reply

if TYPE_CHECKING:
    from upnp_gw.engine.leases_above import LeasesAbove


class Gateway:
    """``handle`` for requests of control points and of the operator."""

    def __init__(
        self,
        decider: Decider,
        persistence: Persistence,
        writer: Writer,
        epochs: Epochs,
        measurements: Measurements,
        sweep: Callable[[], None] = lambda: None,
        above: "LeasesAbove | None" = None,
    ) -> None:
        """``sweep`` submits all due work before a request, if the scheduler is late: its timer stops during a
        suspend. ``above``: the leases at the gateway above; None: none is asked."""
        self._decider = decider
        self._requests = RequestOperations(decider)
        self._reevaluation = Reevaluation(decider)
        self._persistence = persistence
        self._writer = writer
        self._epochs = epochs
        self._measurements = measurements
        self._sweep = sweep
        self._above = above
        self.submit = writer.submit
        self.load_hosts = ListLoading(writer.update_hosts, writer.submit, writer.run_alone).load
        self.cut_due = writer.cut_due
        self.settled = writer.settled
        self.undisturbed = writer.undisturbed
        self.remember = writer.remember
        self.follow_external_address = epochs.follow_external
        self.begin_epoch = epochs.begin

    async def start(self) -> None:
        """Reads the store, decides every row again, fills the kernel from it.

        Raises FirewallError and StoreError.
        """
        decider, ledger = self._decider, self._decider.ledger
        now = decider.environment.clock()
        stored = await self._persistence.load(now, decider.environment.network)
        await self._epochs.load()
        transaction = Transaction(ledger, now)
        revoked = self._reevaluation.restore(transaction, stored)
        if self._above is not None:
            self._above.restore(transaction, stored)
        else:
            forget(transaction)
        transaction.close()
        await self._writer.install()
        await self._persistence.begin(transaction, now)
        log_revoked(revoked)
        for mapping in ledger.table:
            ledger.deadlines.set(mapping.id, next_check(mapping))
        self._writer.start()

    async def stop(self, flush: bool = False) -> None:
        """Finishes what waits, then lets go of the kernel: leases live on in it, or end now (``flush``)."""
        if self._above is not None:
            await self._above.stop()
        await self._writer.stop(self._reevaluation.record_counted_refusals, flush)

    @property
    def healed(self) -> int:
        """The number of times that our table was installed again after another program changed it."""
        return self._writer.healed

    async def handle(self, request: ChangeRequest) -> Reply:
        """The answer to a request. Never raises for what a client sends."""
        began = perf_counter_ns()
        log_request(request)
        reply = await self._answer(request)
        log_reply(request, reply)
        self._measurements.answered(request.via, reply, perf_counter_ns() - began)
        return reply

    async def _answer(self, request: ChangeRequest) -> Reply:
        decider, around, device, first = self._decider, self._decider.environment, "", False
        if request.via is not Via.OPERATOR:
            found = await around.identify(request.source)
            if found is None:
                return Refused(Refusal.ABSENT, "nobody answers for the requester's address", None)
            device = found
            first = decider.history.count_change(device, around.clock(), request.via.datagram)
        if isinstance(request, MapRequest):
            await around.resolve_target(request.internal.address, request.source)
            served = decider.as_served(request)
            await former_addresses.park_silent(decider, self.submit, served, decider.parties(served))
        if around.clock().boot >= self._writer.next_look:
            self._sweep()
        operation = partial(self._perform, request, device, first)
        if self._above is not None:
            return await self._above.answer(request, operation)
        return await self.submit(operation) or failed()

    async def approve(self, request: MapRequest) -> Reply | None:
        """Decides again about a request that the operator approved; no request of its device is counted."""
        return await self.submit_for(request, partial(self._approve, request))

    async def submit_for(self, request: MapRequest, operation: Operation) -> Reply | None:
        """The reply to an operation about a request that its device did not send now. It asks the gateway above,
        if there is one."""
        if self._above is not None:
            return await self._above.answer(request, operation)
        return await self.submit(operation)

    def trial(self, request: MapRequest) -> PlannedVerdict:
        """The answer that a request would get now. Changes nothing."""
        return self._requests.trial(request)

    def _perform(self, request: ChangeRequest, device: str, first: bool, transaction: Transaction) -> Reply:
        """``device``: the requester's before the request waited. Hosts can have left or changed meanwhile.
        ``first``: it is the device's first request."""
        began = perf_counter_ns()
        if first:
            transaction.announcements.append(DeviceSeen(device, request.source.address))
        reply = self._decide(request, device, transaction)
        self._measurements.decision_time.add(perf_counter_ns() - began)
        return reply

    def _decide(self, request: ChangeRequest, device: str, transaction: Transaction) -> Reply:
        decider = self._decider
        asked = decider.asked(request) if isinstance(request, MapRequest) else request
        if isinstance(asked, Asked):
            present = asked.parties.hosts.requester.device
        else:
            present = decider.device_of(request.source)
        if present != device and mac_of(device) is not None:
            return Refused(Refusal.ABSENT, "the requester left its link while it waited", None)
        if isinstance(asked, Asked) and request.via is not Via.OPERATOR and asked.claimed:
            return Refused(Refusal.ABSENT, "two hosts claim the address", None)
        return self._requests.perform(transaction, asked, present)

    def _approve(self, request: MapRequest, transaction: Transaction) -> Reply:
        return self._requests.map(transaction, self._decider.asked(request), "approve")
