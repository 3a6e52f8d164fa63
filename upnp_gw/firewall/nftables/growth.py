"""The growth of the counters, read on a thread of its own while the other threads go on.

A kernel dump of 36,000 elements takes 0.1 s and most elements are idle. So a message is searched for counters that
are not zero, and Python looks only at those. The thread sleeps between two messages: a request never waits longer
for the interpreter than the parsing of one message takes.
"""

import asyncio
import re
import time
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from upnp_gw.firewall.base import Counters, Exchanges, OverShare
from upnp_gw.firewall.netlink import attributes_of
from upnp_gw.firewall.nftables.counters import (
    ElementReader,
    parse_elements,
    read_exchanges,
    read_over_share,
)
from upnp_gw.firewall.nftables.elements import slot_of
from upnp_gw.firewall.nftables.ruleset import CARRYING, OPENING
from upnp_gw.firewall.nftables.ruleset_delta import RulesetDelta
from upnp_gw.firewall.nftables.totals import Increases, Pair, Tally, Totals
from upnp_gw.system.netlink import InterruptedDump, NetlinkMessage

T = TypeVar("T")

PAUSE_S = 0.001
"""Seconds of sleep after each large message, until the gateway stops."""
LARGE = 8192
"""Bytes. The kernel sends a large dump in messages of up to 32 KiB; the last one may be smaller."""
TRIES = 2
"""Attempts at a dump. A change interrupts it; counts that it missed are in the next reading."""

MOST_BEFORE_COUNTER = 256
"""Bytes of a message before its first counter: table, set, one key and its data."""
_HEAD = re.escape(b"\x2c\0\x07\0\x0c\0\x01\0counter\0\x1c\0\x02\0\x0c\0\x01\0")
"""The attributes of an element's counter, up to its bytes. No key is a match: clients choose at most 18 bytes of it
in a row."""
_IDLE = re.escape(bytes(8) + b"\x0c\0\x02\0" + bytes(8))
_END = rb"(?:\x0c\0\x04\0.{8})?(?:\x0c\0\x05\0.{8})?.\0\x06\0\0.([a-z0-9-]{1,32})\0"
"""Timeout, time left, and the comment in the user data."""
_COUNTER = re.compile(_HEAD + rb"(.{8})\x0c\0\x02\0(.{8})" + _END, re.DOTALL)
_USED = re.compile(_HEAD + rb"(?!" + _IDLE + rb")(.{8})\x0c\0\x02\0(.{8})" + _END, re.DOTALL)


def used_elements(message: NetlinkMessage) -> Iterator[tuple[str, Pair]]:
    """(comment, counter) of the elements in a message of a dump that have counted anything.

    The kernel writes all elements of a set alike. Where the first one is not as on common kernels (padding of old
    processors, other attributes), the whole message is parsed attribute by attribute.
    """
    body = message.body
    first = _COUNTER.search(body)
    if first is not None and first.start() <= MOST_BEFORE_COUNTER:
        for volume, packets, comment in _USED.findall(body):
            yield comment.decode("ascii"), (int.from_bytes(packets, "big"), int.from_bytes(volume, "big"))
        return
    for seen in parse_elements(attributes_of(message)):
        if seen.count.packets or seen.count.bytes:
            yield seen.comment, (seen.count.packets, seen.count.bytes)


class ElementChange:
    """Counts the elements that a transaction replaces. Call ``done`` in the ``with`` block after it."""

    def __init__(self, totals: Totals, delta: RulesetDelta, elements: ElementReader) -> None:
        self._totals = totals
        self._delta = delta
        self._elements = elements
        self._opened: dict[str, Pair] = {}
        self._volume: dict[str, Pair] = {}
        self._done = False

    def __enter__(self) -> Self:
        self._totals.begin(self._delta.touched, self._delta.refilled)
        try:
            self._read()
        except OSError:  # the table is gone, and the transaction will say so
            self._opened, self._volume = {}, {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._done:
            self._totals.failed()

    def _read(self) -> None:
        """Reads the counts that the transaction will discard."""
        if self._delta.refilled:
            for name in (*OPENING, *self._delta.edits.screened):
                self._opened.update(self._used(name))
            for name in CARRYING.values():
                self._volume.update(self._used(name))
            return
        for forward in self._delta.renewed:
            slot = slot_of(forward)
            self._opened[forward.id] = self._elements.count(slot.map, slot.key).pair
            self._volume[forward.id] = self._elements.count(CARRYING[slot.map], slot.key).pair

    def _used(self, name: str) -> dict[str, Pair]:
        for tries_left in reversed(range(TRIES)):
            try:
                return dict(used for message in self._elements.messages(name) for used in used_elements(message))
            except InterruptedDump:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    def done(self, present: Container[str]) -> None:
        """The transaction is in force. ``present``: the ids of all forwards now."""
        if self._delta.refilled:
            self._totals.keep(present)
            forgotten: list[str] = []
        else:
            renewed = {forward.id for forward in self._delta.renewed if forward.id in present}
            forgotten = [one for one in self._delta.touched if one not in renewed]
        opened, volume = (
            {one: count for one, count in counts.items() if one in present}
            for counts in (self._opened, self._volume)
        )
        self._totals.end(opened, volume, forgotten)
        self._done = True


class GrowthReader:
    """Reads on a thread in the network namespace of the thread that first calls ``read``."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="counters")
        self._elements: ElementReader | None = None
        self._one_caller = asyncio.Lock()
        self._grown: dict[str, Counters] = {}
        """Increases that no caller has got yet."""
        self._pauses = True

    async def close(self) -> None:
        await self._run(self._disconnect)
        self._thread.shutdown()

    async def read(
        self, at_stop: bool = False, screened: Sequence[str] = ()
    ) -> tuple[dict[str, Counters], tuple[OverShare, ...]]:
        """Forward id -> increase, and the LAN hosts over their share. ``at_stop``: no reading pauses from now on,
        not even one that is under way. ``screened``: the maps and sets of the screens. Raises OSError."""
        self._pauses = not at_stop
        async with self._one_caller:
            over_share = await self._run(lambda: self._read(screened))
            grown, self._grown = self._grown, {}
        return grown, over_share

    async def exchanges(self) -> Exchanges:
        """The exchanges in the sets now. Raises OSError."""
        return await self._run(lambda: read_exchanges(self._reader()))

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    # On the thread:

    def _reader(self) -> ElementReader:
        if self._elements is None:
            self._elements = ElementReader()
        return self._elements

    def _disconnect(self) -> None:
        if self._elements is not None:
            self._elements.close()

    def _read(self, screened: Sequence[str]) -> tuple[OverShare, ...]:
        totals, elements = self._totals, self._reader()
        replaced = totals.begin_reading()
        opening = (*OPENING, *screened)
        for tally, names in ((totals.opened, opening), (totals.volume, tuple(CARRYING.values()))):
            self._add(tally, totals.count_replaced(tally, replaced))
            for name in names:
                self._count(elements, name, tally)
        return read_over_share(elements)

    def _count(self, elements: ElementReader, name: str, tally: Tally) -> None:
        for _ in range(TRIES):
            try:
                for message in elements.messages(name):
                    self._add(tally, self._totals.count(tally, used_elements(message)))
                    if self._pauses and len(message.body) >= LARGE:
                        time.sleep(PAUSE_S)
                return
            except InterruptedDump:
                continue

    def _add(self, tally: Tally, increases: Increases) -> None:
        for forward_id, (packets, volume) in increases:
            more = Counters(packets if tally is self._totals.opened else 0, volume, packets)
            before = self._grown.get(forward_id)
            self._grown[forward_id] = more if before is None else before.plus(more)
