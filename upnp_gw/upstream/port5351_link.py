"""PCP and NAT-PMP with the gateway above, over one socket and one IP version."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from upnp_gw.model.above import AboveKey, AboveRequest
from upnp_gw.model.mapping import Endpoint, Via
from upnp_gw.model.network import Network
from upnp_gw.model.request import Refusal
from upnp_gw.upstream import natpmp, pcp
from upnp_gw.upstream.exchange import Exchange, NotListening
from upnp_gw.upstream.outcome import NO_ADDRESS, Denial, Lease, NotServed, Outcome, checked, is_believed, leads_back
from upnp_gw.upstream.watch import LossWatch
from upnp_gw.upstream.way import Way

UNDO_S = 2.0
"""Seconds for deleting a mapping that nobody wants. It ends by itself anyway."""
NOT_LISTENING = NotServed("nothing listens on UDP port 5351")
OnUpdate = Callable[[AboveKey, bytes, Lease | Denial], bool]
"""Key, nonce and outcome of a mapping update; False: nobody asked for this mapping, or with another nonce."""


class Port5351Link:
    """``ask`` and ``release`` wait without end: the caller has a deadline. Neither raises."""

    def __init__(
        self,
        way: Way,
        watch: LossWatch,
        network: Callable[[], Network],
        on_update: OnUpdate,
    ) -> None:
        """The first request opens the socket."""
        self.way = way
        self._watch = watch
        self._network = network
        self._on_update = on_update
        self._exchange = Exchange(way, self._on_unasked)

    def close(self) -> None:
        """Ends every request that waits."""
        self._exchange.close()

    # -- is it served?

    async def answers(self, via: Via) -> NotServed | None:
        """A harmless question; None where the protocol is served."""
        try:
            if via is Via.PCP:
                announced = await self._exchange.ask(pcp.read_announce, pcp.build_announce(self.way.source))
                self._saw_pcp(announced)
                return announced.outcome if isinstance(announced.outcome, NotServed) else None
            told = await self._exchange.ask(natpmp.read_address, natpmp.ADDRESS)
        except NotListening:
            return NOT_LISTENING
        if isinstance(told, natpmp.ToldAddress):
            self._note_address(told)
            return None
        return told if isinstance(told, NotServed) else None

    # -- mappings

    async def ask(self, via: Via, request: AboveRequest) -> Outcome:
        """Requests or renews. A mapping that cannot be used is deleted again."""
        try:
            outcome = await (self._map(request) if via is Via.PCP else self._map_natpmp(request))
        except NotListening:
            return NOT_LISTENING
        found = checked(outcome, request, self._network())
        if isinstance(found, Denial) and found.undo:
            await self._undo(via, request)
        return found

    async def release(self, via: Via, request: AboveRequest) -> Denial | NotServed | None:
        """Deletes; None: it is gone."""
        try:
            if via is Via.PCP:
                datagram = pcp.build_map(request, self.way.source, 0)
                answer = await self._exchange.ask(lambda data: pcp.read_map(data, request, delete=True), datagram)
                self._saw_pcp(answer)
                return None if isinstance(answer.outcome, Lease) else answer.outcome
            if request.internal.address != self.way.source:
                return None
            datagram = natpmp.build_mapping(request, 0)
            deleted: natpmp.Mapped = await self._exchange.ask(
                lambda data: natpmp.read_mapping(data, request, delete=True), datagram
            )
        except NotListening:
            return NOT_LISTENING
        return deleted if isinstance(deleted, Denial | NotServed) else None

    async def _map(self, request: AboveRequest) -> Outcome:
        def read(data: bytes) -> pcp.PcpAnswer | None:
            return pcp.read_map(data, request)

        datagram = pcp.build_map(request, self.way.source, request.lifetime_s)
        answer = await self._exchange.ask(read, datagram)
        if answer.without_option and request.exact:  # it knows no PREFER_FAILURE: ask, compare, undo
            datagram = pcp.build_map(request, self.way.source, request.lifetime_s, prefer_failure=False)
            answer = await self._exchange.ask(read, datagram)
        self._saw_pcp(answer)
        return answer.outcome

    async def _map_natpmp(self, request: AboveRequest) -> Outcome:
        """Both questions at once, as the client of this gateway waits for their answers. As long as no address is
        known, the address comes first: a gateway above that has none, or leads back to us, is asked for nothing."""
        if request.internal.address != self.way.source:
            return NotServed("NAT-PMP maps only to its sender", always=False)
        if self._watch.external is None:
            first: natpmp.ToldAddress | natpmp.Failure
            first = await self._exchange.ask(natpmp.read_address, natpmp.ADDRESS)
            if not isinstance(first, natpmp.ToldAddress):
                return first
            self._note_address(first)
            if first.address != self.way.source and leads_back(first.address, self._network()):
                return Denial(Refusal.NO_EXTERNAL_ADDRESS, "it leads back to this gateway", loop=True)
        asking = asyncio.ensure_future(self._exchange.ask(natpmp.read_address, natpmp.ADDRESS))
        try:
            datagram = natpmp.build_mapping(request, request.lifetime_s)
            granted: natpmp.Mapped = await self._exchange.ask(
                lambda data: natpmp.read_mapping(data, request), datagram
            )
            if not isinstance(granted, natpmp.GrantedPort):
                return granted
            self._saw_natpmp(granted.epoch_s)
            told = await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        if not isinstance(told, natpmp.ToldAddress):
            return replace(NO_ADDRESS, undo=True)
        return Lease(Endpoint(told.address, granted.external_port), granted.lifetime_s)

    async def _undo(self, via: Via, request: AboveRequest) -> None:
        try:
            async with asyncio.timeout(UNDO_S):
                await self.release(via, request)
        except TimeoutError:
            return

    # -- unasked

    def heard(self, data: bytes) -> None:
        """An announcement to all hosts, from port 5351 of the gateway above."""
        if isinstance(epoch_s := pcp.read_update(data, self.way.source), int):
            self._watch.epoch(Via.PCP, self.way.version, epoch_s)
        elif isinstance(told := natpmp.read_address(data), natpmp.ToldAddress) and self.way.version == 4:
            self._note_address(told)

    def _on_unasked(self, data: bytes) -> None:
        """A mapping update, an ANNOUNCE to us alone, or an answer that nobody waits for any more."""
        update = pcp.read_update(data, self.way.source)
        if not isinstance(update, tuple):
            self.heard(data)
            return
        key, nonce, outcome, epoch_s = update
        late = isinstance(outcome, Lease) and outcome.lifetime_s == 0  # the answer to a delete
        if isinstance(outcome, NotServed) or late:
            return
        if self._on_update(key, nonce, outcome):
            self._watch.epoch(Via.PCP, self.way.version, epoch_s)

    def _note_address(self, told: natpmp.ToldAddress) -> None:
        self._saw_natpmp(told.epoch_s)
        if is_believed(told.address, self.way.source, self._network()):
            self._watch.external_told(told.address)

    def _saw_pcp(self, answer: pcp.PcpAnswer) -> None:
        if answer.epoch_s is not None:
            self._watch.epoch(Via.PCP, self.way.version, answer.epoch_s)

    def _saw_natpmp(self, epoch_s: int) -> None:
        self._watch.epoch(Via.NATPMP, self.way.version, epoch_s)
