"""Ends and reads flows on a thread of its own, so that no request waits. Flows of a short time are ended
together, and all of it takes a small share of one processor."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from upnp_gw.firewall.base import Forward
from upnp_gw.firewall.conntrack import end_flows, remote_hosts_of
from upnp_gw.firewall.flows import Flows, FlowsToEnd
from upnp_gw.firewall.netlink import NfnetlinkSocket
from upnp_gw.firewall.nftables.elements import HeldForward
from upnp_gw.model.mapping import IPAddress, Transport

GATHER_S = 0.05
"""Seconds that a pass waits for more flows to end."""
SHARE = 20
"""After a pass no other one begins for so many times its processor time. A walk over the kernel's table costs 8 ms
and more on a large machine, and many changes in a row could ask for one each."""
SHORT_S = 0.005
"""Processor time of a pass that nobody notices. After a longer one the next waits longer in proportion: as long as
the kernel walks, its processor does nothing else, and a request or a packet may wait for all of it."""
LATEST_S = 10.0
"""Seconds after which flows are ended all the same."""
MOST_WAITING = 8192
"""Entries that wait for a pass; it begins at once when there are more. At 1,400 changes a second, with some three
entries each, 40,000 would wait in ten seconds. So it is about 3 MB, and a pass then comes every two seconds.
A lower number would have the kernel walk more often, and each walk may hold up a request."""

log = logging.getLogger(__name__)
T = TypeVar("T")
Place = tuple[Transport, int]
"""Transport and external port."""


class FlowTeardown:
    """One worker. Its thread is in the network namespace of the thread that first calls ``end``."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conntrack")
        self._netlink: NfnetlinkSocket | None = None
        """Kept open: when such a socket is closed, the kernel waits some 20 ms for what nftables deletes, and no
        transaction of nftables begins meanwhile (nft_rcv_nl_event)."""
        self._waiting: list[FlowsToEnd] = []
        self._ending: list[FlowsToEnd] = []
        """Those of the pass that is under way."""
        self._waiting_at: dict[Place, list[Flows]] = {}
        """Those that a new mapping may have to wait for, without those that they spare."""
        self._ending_at: dict[Place, list[Flows]] = {}
        self._task: asyncio.Task[None] | None = None
        self._at_once = asyncio.Event()
        """The next pass begins at once."""
        self._passed = asyncio.Event()
        """Set for a moment at the end of each pass."""
        self._rested_at = 0.0
        """Monotonic second before which no pass begins, unless it is due at once."""

    def end(self, flows: Sequence[FlowsToEnd], at_once: bool = False) -> None:
        """Returns at once. ``at_once``: the kernel lets these flows through until they are ended."""
        self._waiting += flows
        for one in flows:
            if isinstance(one, Flows) and one.internal is not None:
                self._waiting_at.setdefault((one.transport, one.port), []).append(replace(one, spared=()))
        if at_once or len(self._waiting) > MOST_WAITING:
            self._at_once.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    async def settled_for(self, forwards: Iterable[Forward]) -> None:
        """Returns when no flow through one of these is still to be ended, and none through its external port to
        another host, which the kernel lets through as its own: what comes through from now on is new."""
        if not self._working:
            return
        opening = [Flows.through(forward) for forward in forwards]
        while self._working and any(map(self._in_the_way, opening)):
            await self._pass()

    def _in_the_way(self, opening: Flows) -> bool:
        place = opening.transport, opening.port
        for doomed in (*self._waiting_at.get(place, ()), *self._ending_at.get(place, ())):
            # the kernel knows the flows of a pinhole by its host
            other_host = opening.translated and doomed.translated and opening.host != doomed.host
            if other_host or doomed == opening:
                return True
        return False

    async def peers(self, held: Sequence[HeldForward], now: float) -> dict[str, frozenset[IPAddress]] | None:
        """The remote hosts with a flow through each forward now; None: the kernel gives no answer. ``now``: the
        monotonic second."""
        try:  # the forwards are made on the thread: 36,000 of them would hold up the event loop for 0.1 s
            return await self._run(
                lambda: self._twice(lambda netlink: remote_hosts_of(netlink, [one.forward(now) for one in held]))
            )
        except OSError as error:
            log.warning("cannot read the flows of mappings: %s", error)
            return None

    async def settled(self) -> None:
        """Returns when all that was asked for is done."""
        while self._working:
            await self._pass()

    async def close(self) -> None:
        await self.settled()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    @property
    def _working(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _pass(self) -> None:
        """Has the next pass begin at once. Returns at the end of this pass, or of the one that is under way."""
        self._at_once.set()
        await self._passed.wait()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._rest()
                self._at_once.clear()
                self._ending, self._waiting = self._waiting, []
                self._ending_at, self._waiting_at = self._waiting_at, {}
                await self._end()
                self._end_of_pass()
        finally:
            self._end_of_pass()

    def _end_of_pass(self) -> None:
        self._ending, self._ending_at = [], {}
        self._passed.set()  # all that wait go on, even if it is cleared at once
        self._passed.clear()

    async def _end(self) -> None:
        flows = self._ending
        ended, spent_s = await self._run(lambda: self._end_flows(flows))
        self._rested_at = time.monotonic() + share_s(spent_s)
        if isinstance(ended, OSError):
            log.error("cannot end the flows of closed mappings, they go on until they are idle: %s", ended)
            return
        if ended:
            log.info("ended %d flows of %d mappings", ended, len(flows))

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    # On the thread:

    def _end_flows(self, flows: Sequence[FlowsToEnd]) -> tuple[int | OSError, float]:
        """The number of ended flows or the error, and the seconds of processor time that it took."""
        begun = time.thread_time()
        ended: int | OSError
        try:
            ended = self._twice(lambda netlink: end_flows(netlink, flows))
        except OSError as error:
            ended = error
        return ended, time.thread_time() - begun

    def _twice(self, function: Callable[[NfnetlinkSocket], T]) -> T:
        """Calls it, and after an error once more with a new socket: a change may interrupt a dump, or the kernel
        has no memory for a moment, and nobody asks for these flows again. Raises OSError after the second one."""
        try:
            return self._with_socket(function)
        except OSError as error:
            log.debug("connection tracking is read once more: %s", error)
            return self._with_socket(function)

    def _with_socket(self, function: Callable[[NfnetlinkSocket], T]) -> T:
        if self._netlink is None:
            self._netlink = NfnetlinkSocket()
        try:
            return function(self._netlink)
        except BaseException:
            self._disconnect()  # the rest of a dump may be in it
            raise

    def _disconnect(self) -> None:
        netlink, self._netlink = self._netlink, None
        if netlink is not None:
            netlink.close()

    # On the event loop:

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rest_s(self._rested_at - time.monotonic())):
                await self._at_once.wait()


def share_s(spent_s: float) -> float:
    """Seconds after a pass of so much processor time until the next one."""
    return spent_s * SHARE * max(1.0, spent_s / SHORT_S)


def rest_s(left_s: float) -> float:
    """Seconds until the next pass, ``left_s`` before the share of the last one is used up (< 0: after it)."""
    return min(max(GATHER_S, left_s), LATEST_S)
