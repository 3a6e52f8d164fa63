"""Answers searches, each answer at a random time within the delay that the search allows."""

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import NamedTuple

from upnp_gw.model.errors import WireError
from upnp_gw.model.mapping import Instant, IPAddress
from upnp_gw.protocols.peer import Peer
from upnp_gw.protocols.rate_limit import Rate, Throttle
from upnp_gw.protocols.ssdp.announcer import Uniform
from upnp_gw.protocols.ssdp.messages import MessageIdentity, build_answer
from upnp_gw.protocols.ssdp.search import parse_search
from upnp_gw.protocols.ssdp.targets import matching_targets

SOURCE = Rate(burst=36 * 1024, per_s=4 * 1024)
"""Bytes. A search of 100 bytes for ``ssdp:all`` gets 9 KiB of answers, and its source address may be forged. So the
answers are limited: four such sets at once, then one in two seconds (SR-11)."""
TOTAL = Rate(burst=256 * 1024, per_s=32 * 1024)
"""Bytes, for all sources together: enough for 30 hosts at once."""
QUEUE_MAX = 1024
ANSWER_BYTES = 448
"""Bytes that an answer counts as, more than any answer has, so that an answer beyond the limit need not be
built."""
SINGLE_SPREAD = 0.1
"""A single answer waits for at most this part of MX: there is nothing to spread, and clients with miniupnpc and a
short discovery delay send MX 1 and listen for 200 ms."""
SET_SPREAD = 0.9
"""A set of answers is spread over this part of MX, so that the last one is not late."""
SET_MAX_S = 0.8
"""Most seconds for all answers to a search. bupnp (Node) sends MX 10 and listens for one second."""


class SearchResponse(NamedTuple):
    """A datagram to send."""

    due: float
    order: int
    peer: Peer
    own: IPAddress
    """Its source address, the one in its LOCATION."""
    data: bytes


class Responder:
    """The searches of one socket. Times are ``Instant.boot``."""

    def __init__(
        self, identity: MessageIdentity, uniform: Uniform, throttle: Throttle[Hashable] | None = None
    ) -> None:
        self._identity = identity
        self._uniform = uniform
        self._throttle = Throttle[Hashable](SOURCE, TOTAL) if throttle is None else throttle
        self._queue: list[SearchResponse] = []
        self._count = 0

    def receive(
        self,
        data: bytes,
        peer: Peer,
        *,
        sender: Hashable,
        own: IPAddress,
        multicast: bool,
        boot_id: int,
        now: Instant,
    ) -> None:
        """Handles a datagram from the LAN. ``sender``: the key of its rate limit; ``own``: the gateway's address
        for the answer.

        Raises WireError where nothing will be sent: ``rate``, ``queue-full``, ``unknown-target`` and the reasons of
        ``parse_search``.
        """
        if not self._throttle.level(sender, now.boot) >= 1:
            raise WireError("rate")
        search = parse_search(data, multicast=multicast)
        rows = matching_targets(search.st, self._identity.roots)
        if not rows:
            raise WireError("unknown-target")
        if len(self._queue) + len(rows) > QUEUE_MAX:
            raise WireError("queue-full")
        if not self._throttle.spend(sender, len(rows) * ANSWER_BYTES, now.boot):
            raise WireError("rate")
        single = len(rows) == 1
        window = search.wait_s * SINGLE_SPREAD if single else min(search.wait_s * SET_SPREAD, SET_MAX_S)
        for row in rows:
            self._count += 1
            due = now.boot + self._uniform(0, window)
            message = build_answer(self._identity, row, own=own, boot_id=boot_id, wall=now.wall)
            heappush(self._queue, SearchResponse(due, self._count, peer, own, message))

    def next_deadline(self) -> float | None:
        """BOOTTIME seconds of the next answer; None: none is due."""
        return self._queue[0].due if self._queue else None

    def on_deadline(self, now: float) -> list[SearchResponse]:
        """The answers that are due, in order."""
        due: list[SearchResponse] = []
        while self._queue and self._queue[0].due <= now:
            due.append(heappop(self._queue))
        return due

    def forget(self) -> None:
        """Drops waiting answers: they have an address that the gateway no longer has. The clients search again."""
        self._queue.clear()
