"""The leases at the gateway above, in step with the ledger: renewed, asked for again, released.

They are asked for one at a time. Clients' own requests (``asking_above``) do not wait for them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address

from upnp_gw.engine.above_changes import adjust, lose, take_back
from upnp_gw.engine.above_rules import LEAST_S, NONCE_BYTES, renewal_at
from upnp_gw.engine.asking_above import AskingAbove, Submit
from upnp_gw.engine.decider import Decider
from upnp_gw.ledger.events import Event, TableChanged
from upnp_gw.ledger.leases import Deadlines
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.above import (
    AboveGranted,
    AboveKey,
    AboveRefused,
    AboveReply,
    AboveRequest,
    AboveSilent,
    AboveState,
    GatewayAbove,
)
from upnp_gw.model.mapping import Endpoint, IPAddress, Mapping, MappingKind, Transport
from upnp_gw.system.tasks import BackgroundTasks

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""The most seconds between two looks at the deadlines: the loop's timers stop during a suspend."""
SILENCE_RETRY_S = 15.0
"""Seconds until a silent gateway above is asked again."""
SPREAD_S = 0.5
"""A gateway above that lost its state is asked again after a random time up to this, seconds. RFC 7648 allows five;
few gateways hang behind one of a home, and their mappings are closed meanwhile."""
LEARN_RETRY_S = 60.0
"""Seconds between questions for the address outside alone."""
EPHEMERAL = 49_152, 65_535
FLUSH_S = 3.0
"""Seconds that a stop waits for its deletes above."""
TOGETHER = 32
"""The most mappings in one operation of the writer."""


class LeasesAbove:
    """``AboveEvents`` of the gateway above, and the keeper of its leases."""

    def __init__(
        self,
        decider: Decider,
        submit: Submit,
        asking: AskingAbove,
        above: GatewayAbove,
        on_outermost: Callable[[IPv4Address], None] = lambda address: None,
    ) -> None:
        """``on_outermost``: called with the outermost address, when it is another than before."""
        self.state: Callable[[], AboveState] = above.state
        self.answer = asking.answer
        self.deadlines = Deadlines()
        self._decider = decider
        self._submit = submit
        self._asking = asking
        self._on_outermost = on_outermost
        self._outermost: IPv4Address | None = None
        self._left_behind: list[Mapping] = []
        """Leases that the last run left above: they are released once the gateway above can be asked."""
        self._uncertain: set[str] = set()
        """Mappings that the gateway above may have lost: a refusal closes them at once."""
        self._learn_at = 0.0
        self._silent = False
        """The last question had no answer."""
        self._wake = asyncio.Event()
        self._renewals = asyncio.Lock()
        self._tasks = BackgroundTasks()
        asking.answered = self._answered
        asking.stands = lambda mapping_id: mapping_id not in self._uncertain

    # -- life

    def restore(self, transaction: Transaction, stored: Sequence[Mapping]) -> None:
        """Part of the start's transaction, after the gate has decided again. Leases above of mappings that ended
        are released, the others are asked for again: the gateway above may have lost them meanwhile."""
        take_back(stored, transaction)
        freed = adjust(self._decider, transaction)
        table = self._decider.ledger.table
        self._left_behind = [row for row in stored if row.above is not None and table.get(row.id) is None] + freed
        self._ask_again(row.id for row in self._rows())
        for row in self._rows():
            self._note_outermost(row)

    def start(self) -> None:
        self._tasks.spawn(self._keep())

    async def stop(self, flush: bool = False) -> None:
        """Ends the questions. The leases above end by themselves, or now (``flush``). May be called again."""
        await self._tasks.cancel()
        if flush:
            self._release(self._rows())
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await self._asking.released()
        await self._asking.stop()

    async def settled(self) -> None:
        """Waits until nothing is asked or released. For tests."""
        async with self._renewals:
            await self._asking.settled()

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            await self.renew_due()
            now, due = self._now(), self.deadlines.next()
            wait_s = LOOK_S if due is None else min(LOOK_S, max(0.0, due - now))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _now(self) -> float:
        return self._decider.environment.clock().boot

    # -- renewals

    async def renew_due(self) -> None:
        """Asks for every lease that is due, one at a time."""
        async with self._renewals:
            left, self._left_behind = self._left_behind, []
            self._release(left)
            await self._learn_outermost()
            due = self.deadlines.pop_due(self._now())
            for place, mapping_id in enumerate(due):
                if not await self._renew(mapping_id):
                    await self._postpone(due[place:])
                    return

    async def _learn_outermost(self) -> None:
        """Asks for a mapping of a port that is not open here, and releases it: over PCP nothing else tells the
        address outside (RFC 6970 section 5.4). Many clients ask for that first."""
        now, network = self._now(), self._decider.environment.network
        if not network.behind or network.advertised is not None or now < self._learn_at:
            return
        self._learn_at = now + LEARN_RETRY_S
        if isinstance(told := self.state().external, IPv4Address):
            self.on_external_address(told)
            return
        table, random = self._decider.ledger.table, self._decider.random
        port = next(p for p in iter(lambda: random.randint(*EPHEMERAL), 0) if not table.on_port(Transport.UDP, p))
        own = Endpoint(network.external[0], port)
        nonce = random.randbytes(NONCE_BYTES)
        request = AboveRequest(Transport.UDP, own, None, False, LEAST_S, nonce, "the address outside")
        reply = await self._asking.question(request)
        if isinstance(reply, AboveGranted):
            self.on_external_address(reply.external.address)
        self._asking.release(request)

    async def _renew(self, mapping_id: str) -> bool:
        """Asks for one lease; False: the gateway above is silent."""
        row = self._decider.ledger.table.get(mapping_id)
        if row is None or row.above is None or row.waits:
            return True
        uncertain = mapping_id in self._uncertain
        if row.above.granted and not uncertain and renewal_at(row, self._now(), self._decider.random) is None:
            return True  # it ends with its client's lease
        await self._asking.ask(mapping_id)
        return not self._silent

    async def _postpone(self, ids: Sequence[str]) -> None:
        """The gateway above is silent: closes the mappings whose leases have ended, and tries again later."""
        now, table = self._now(), self._decider.ledger.table
        ended: list[str] = []
        for each in ids:
            row = table.get(each)
            if row is None or row.above is None:
                continue
            left_s = row.above.until - now
            if row.above.granted and left_s <= 0:
                ended.append(each)
            self.deadlines.set(each, now + (min(SILENCE_RETRY_S, left_s) if left_s > 0 else SILENCE_RETRY_S))
        reason = self.state().problem or "the gateway above does not answer"
        if ended:
            log.warning("%d mappings are parked, their leases above have ended: %s", len(ended), reason)
        for first in range(0, len(ended), TOGETHER):
            portion = ended[first : first + TOGETHER]
            await self._submit(partial(lose, self._decider, portion, reason))

    def _answered(self, mapping_id: str, reply: AboveReply) -> None:
        """The answer to a question, in the ledger by now: sets the time of the next one."""
        row = self._decider.ledger.table.get(mapping_id)
        was_silent, self._silent = self._silent, isinstance(reply, AboveSilent)
        if not self._silent:
            self._uncertain.discard(mapping_id)
        if was_silent and not self._silent:
            self._ask_again(one.id for one in self._rows() if one.above is not None and not one.above.granted)
        if row is None or row.above is None:
            self.deadlines.set(mapping_id, None)
            return
        if isinstance(reply, AboveGranted):
            self._note_outermost(row)
        self.deadlines.set(mapping_id, self._next_question(row, reply))
        self._wake.set()

    def _next_question(self, row: Mapping, reply: AboveReply) -> float | None:
        now, above = self._now(), row.above
        if isinstance(reply, AboveGranted) or above is None:
            return renewal_at(row, now, self._decider.random)
        retry_s = reply.retry_s if isinstance(reply, AboveRefused) else SILENCE_RETRY_S
        return min(now + retry_s, above.until) if above.granted and above.until > now else now + retry_s

    def _rows(self) -> list[Mapping]:
        """The mappings that need the gateway above, without those whose clients wait for it."""
        return [row for row in self._decider.ledger.table if row.above is not None and not row.waits]

    def _note_outermost(self, row: Mapping) -> None:
        above = row.above
        if above is None or above.external is None or row.kind is MappingKind.PINHOLE:
            return
        address = above.external.address
        if isinstance(address, IPv4Address):
            self.on_external_address(address)

    # -- events of the gateway above

    def on_state_lost(self) -> None:
        """Every lease is asked for again, one at a time (CAS-018)."""
        ids = [row.id for row in self._rows()]
        if ids:
            log.warning("the gateway above has lost its state: %d mappings are asked for again", len(ids))
        self._ask_again(ids, self._decider.random.uniform(0, SPREAD_S))

    def on_external_address(self, address: IPAddress) -> None:
        """The outermost address is another one: every lease with the old one is asked for again (CAS-020)."""
        if not isinstance(address, IPv4Address) or address == self._outermost:
            return
        before, self._outermost = self._outermost, address
        outside = {row.id: row.above.external for row in self._rows() if row.above is not None}
        self._ask_again(each for each, end in outside.items() if end is not None and end.address == before)
        self._on_outermost(address)

    def on_mapping_update(self, key: AboveKey, reply: AboveGranted | AboveRefused) -> None:
        """The gateway above changed a mapping, or ended it."""
        for row in self._rows_of(key):
            request = self._asking.request_of(row)
            if request is not None and request.key == key:
                self._asking.told(row.id, request, reply)

    def _rows_of(self, key: AboveKey) -> Iterable[Mapping]:
        table = self._decider.ledger.table
        return (*table.on_port(key.transport, key.internal.port), *table.to_internal(*key))

    def _ask_again(self, ids: Iterable[str], after_s: float = 0.0) -> None:
        at = self._now() + after_s
        for each in ids:
            self._uncertain.add(each)
            self.deadlines.set(each, at)
        self._wake.set()

    # -- events of this gateway

    def on_event(self, event: Event) -> None:
        """A mapping that ended here is released above."""
        if isinstance(event, TableChanged):
            self._release(row for row, _ in event.removed if row.above is not None)

    def _release(self, rows: Iterable[Mapping]) -> None:
        for row in rows:
            self.deadlines.set(row.id, None)
            self._uncertain.discard(row.id)
            request = self._asking.request_of(row)
            if request is not None:
                self._asking.release(request)

    async def network_changed(self) -> None:
        """The WAN has another address, or LANs have NAT now: everything is asked for from there (CAS-020)."""
        freed = list[Mapping]()

        def step(transaction: Transaction) -> None:
            freed[:] = adjust(self._decider, transaction)

        if await self._submit(step) is None:
            self._release(freed)
        self._ask_again(row.id for row in self._rows())
