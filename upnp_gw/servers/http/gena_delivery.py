"""GENA's shell: sends NOTIFY requests, keeps the one timer, listens to the gateway's events.

A message is one short connection to the subscriber's own address, out of the interface on which it subscribed. No
name is looked up and no redirect followed. Each subscription has at most one message on its way, so messages
of one subscriber stay in order and a dead one delays nobody else (IGD-197).
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from uuid import uuid4

from upnp_gw.ledger.events import Event, Ipv6FirewallChanged, LanChanged, TableChanged, WanChanged
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Source
from upnp_gw.protocols.gena.messages import Callback, EventAnswer, parse_status
from upnp_gw.protocols.gena.subscriptions import Delivery, DeliveryOutcome, Properties, Subscriptions
from upnp_gw.protocols.igd_services import IgdVersion, Service

log = logging.getLogger(__name__)

DEADLINE_S = 5.0
"""For connection and answer of one URL; then the next one is tried."""
ANSWER_LIMIT = 2048
"""Bytes read of a subscriber's answer: its status line and what little follows."""
LOG_INTERVAL_S = 60.0
"""At most one line of each kind in this time."""


class GenaDelivery:
    """Event subscriptions of all faces and services. Use it on one event loop, between start and stop."""

    def __init__(
        self,
        properties: Properties,
        clock: Callable[[], Instant],
        host_of: Callable[[Source], str] = lambda source: str(source.address),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How often: ``notified``, ``abandoned``, ``forgotten``, and every reason for which one was refused."""
        self._table = Subscriptions(properties, uuid4, host_of)
        self._clock = clock
        self._deadline_s = deadline_s
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._logged_at: dict[str, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Ends every subscription and waits until the last connection is closed."""
        self.cancel_all()
        self._loop = None
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def serve(
        self, method: str, igd_version: IgdVersion, service: Service, headers: Mapping[str, str], source: Source
    ) -> EventAnswer:
        """Answers SUBSCRIBE and UNSUBSCRIBE. ``source`` is on a LAN: the HTTP server has made sure (IGD-200).

        Where the answer has a ``sid``, call ``delivered`` with it once the answer has been written.
        """
        if self._loop is None:
            return EventAnswer(HTTPStatus.SERVICE_UNAVAILABLE, reason="stopped")
        answer = self._table.serve(method, igd_version, service, headers, source, self._clock())
        if answer.reason:
            self._count(answer.reason, "refused a subscription of %s: %s", source.address, answer.reason)
        self._pump()
        return answer

    def delivered(self, sid: str) -> None:
        """The 200 of this new subscription was written: the initial event goes (IGD-181)."""
        self._table.delivered(sid, self._clock())
        self._pump()

    def on_event(self, event: Event) -> None:
        """A listener of ``Events``."""
        match event:
            case TableChanged() | WanChanged() | Ipv6FirewallChanged():
                self._table.changed()
                self._pump()
            case LanChanged():
                self.cancel_all()

    def cancel_all(self) -> None:
        """The gateway has a new BOOTID, which voids every subscription (IGD section 7.3)."""
        self._table.cancel_all()
        self._pump()

    @property
    def subscriptions(self) -> int:
        """How many there are."""
        return len(self._table)

    def _pump(self) -> None:
        """Sends what is due, ends the deliveries of subscriptions that are gone, sets the timer."""
        if self._loop is None:
            return
        for delivery in self._table.due(self._clock()):
            task = self._loop.create_task(self._deliver(delivery))
            self._deliveries[delivery.sid] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for sid in [sid for sid in self._deliveries if sid not in self._table]:
            self._deliveries.pop(sid).cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (deadline := self._table.next_deadline()) is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - self._clock().boot), self._pump)

    async def _deliver(self, delivery: Delivery) -> None:
        outcome = DeliveryOutcome.FAILED
        try:
            outcome = await send(delivery, self._deadline_s)
        finally:
            if self._deliveries.pop(delivery.sid, None) is not None:
                self._table.finished(delivery.sid, outcome)
                self._count_outcome(delivery, outcome)
                self._pump()

    def _count_outcome(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        match outcome:
            case DeliveryOutcome.DELIVERED:
                self.counts["notified"] += 1
            case DeliveryOutcome.FAILED:
                self._count("abandoned", "a subscriber took no event: %s", delivery.source.address)
            case DeliveryOutcome.UNKNOWN_SID:
                self._count("forgotten", "a subscriber forgot its subscription: %s", delivery.source.address)

    def _count(self, kind: str, message: str, *arguments: object) -> None:
        """Counts each, logs one a minute of each kind. The arguments are addresses and words of our own."""
        self.counts[kind] += 1
        now = self._clock().boot
        if now - self._logged_at.get(kind, -LOG_INTERVAL_S) >= LOG_INTERVAL_S:
            self._logged_at[kind] = now
            log.info(message, *arguments)


async def send(delivery: Delivery, deadline_s: float = DEADLINE_S) -> DeliveryOutcome:
    """Sends a message to the first callback that answers 200..299 in time (IGD-191)."""
    for callback in delivery.callbacks:
        try:
            async with asyncio.timeout(deadline_s):
                status = await _exchange(callback, delivery.source.interface, delivery.request(callback))
        except OSError:  # TimeoutError is one
            continue
        if status is not None and 200 <= status < 300:
            return DeliveryOutcome.DELIVERED
        if status == HTTPStatus.PRECONDITION_FAILED:
            return DeliveryOutcome.UNKNOWN_SID
    return DeliveryOutcome.FAILED


async def _exchange(callback: Callback, interface: str, request: bytes) -> int | None:
    """One request and the status of its answer, over a connection of its own out of this interface."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if callback.address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        # It is also the zone of a link-local address: none has to be named.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        await loop.sock_connect(connection, (str(callback.address), callback.port))
        await loop.sock_sendall(connection, request)
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < ANSWER_LIMIT:
            chunk = await loop.sock_recv(connection, ANSWER_LIMIT)
            if not chunk:
                break
            answer += chunk
        return parse_status(answer)
