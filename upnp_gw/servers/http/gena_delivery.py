"""Sends GENA events (NOTIFY) to subscribers. ``protocols.gena`` decides what to send and when.

A message is one short connection to the subscriber's own address, out of the interface on which it subscribed. No
name is looked up and no redirect is followed. Each subscription has at most one message on its way, so messages
of one subscriber stay in order, and a subscriber that does not answer delays no other (IGD-197).
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from uuid import uuid4

from upnp_gw.ledger.events import Event, Ipv6FirewallChanged, LanChanged, TableChanged, WanChanged
from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Source
from upnp_gw.protocols.gena.messages import Callback, EventAnswer, parse_status
from upnp_gw.protocols.gena.subscriptions import (
    ActiveSubscription,
    Delivery,
    DeliveryOutcome,
    Properties,
    Subscriptions,
)
from upnp_gw.protocols.igd_services import IgdVersion, Service
from upnp_gw.servers.logged_counter import LoggedCounter
from upnp_gw.servers.timer import DeadlineTimer
from upnp_gw.system.tasks import BackgroundTasks

log = logging.getLogger(__name__)

DEADLINE_S = 5.0
"""Seconds for connection and answer of one callback URL; then the next URL is tried."""
ANSWER_LIMIT = 2048
"""Most bytes read of a subscriber's answer: the status line and a few headers."""

Deliver = Callable[[Delivery, float], Awaitable[DeliveryOutcome]]
"""A message, seconds for each callback URL -> the outcome."""


class GenaDelivery:
    """Event subscriptions of all services. Use it on one event loop, between start and stop."""

    def __init__(
        self,
        properties: Properties,
        clock: Callable[[], Instant],
        host_of: Callable[[Source], str] = lambda source: str(source.address),
        deadline_s: float = DEADLINE_S,
        deliver: Deliver | None = None,
    ) -> None:
        """``deliver``: see ``servers.wire``."""
        self._deliver_message = deliver or send
        self._table = Subscriptions(properties, uuid4, host_of)
        self._clock = clock
        self._deadline_s = deadline_s
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._tasks = BackgroundTasks()
        self.timer = DeadlineTimer(clock, self._send_due)
        self._counter = LoggedCounter(log, clock)
        self._running = False

    @property
    def counts(self) -> Counter[str]:
        """``notified``, ``abandoned``, ``forgotten``, and refused subscriptions by reason."""
        return self._counter.counts

    async def start(self) -> None:
        self._running = True

    async def stop(self) -> None:
        """Ends every subscription and waits until the last connection is closed."""
        self.cancel_all()
        self._running = False
        await self._tasks.wait()

    def serve(
        self, method: str, igd_version: IgdVersion, service: Service, headers: Mapping[str, str], source: Source
    ) -> EventAnswer:
        """Answers SUBSCRIBE and UNSUBSCRIBE. The HTTP server has checked that ``source`` is on a LAN (IGD-200).

        If the answer has a ``sid``, call ``delivered`` with it when the answer has been written.
        """
        if not self._running:
            return EventAnswer(HTTPStatus.SERVICE_UNAVAILABLE, reason="stopped")
        answer = self._table.serve(method, igd_version, service, headers, source, self._clock())
        if answer.reason:
            reason = answer.reason
            self._counter.note(reason, "events: refused a subscription of %s: %s", source.address, reason)
        self._send_due()
        return answer

    def delivered(self, sid: str) -> None:
        """The 200 to this new subscription was written: sends the initial event (IGD-181)."""
        self._table.delivered(sid, self._clock())
        self._send_due()

    def on_event(self, event: Event) -> None:
        """A listener of ``Events``."""
        match event:
            case TableChanged() | WanChanged() | Ipv6FirewallChanged():
                self._table.changed()
                self._send_due()
            case LanChanged():
                self.cancel_all()

    def cancel_all(self) -> None:
        """Cancels every subscription, because the gateway has a new BOOTID (IGD section 7.3)."""
        self._table.cancel_all()
        self._send_due()

    @property
    def subscriptions(self) -> int:
        """The number of active subscriptions."""
        return len(self._table)

    def active(self) -> list[ActiveSubscription]:
        """The active subscriptions, the oldest first."""
        return self._table.active()

    def _send_due(self) -> None:
        """Sends due messages, cancels the deliveries of ended subscriptions, sets the timer."""
        if not self._running:
            return
        for delivery in self._table.due(self._clock()):
            self._deliveries[delivery.sid] = self._tasks.spawn(self._deliver(delivery))
        for sid in [sid for sid in self._deliveries if sid not in self._table]:
            self._deliveries.pop(sid).cancel()
        self.timer.set(self._table.next_deadline())

    async def _deliver(self, delivery: Delivery) -> None:
        outcome = DeliveryOutcome.FAILED
        try:
            outcome = await self._deliver_message(delivery, self._deadline_s)
        finally:
            if self._deliveries.pop(delivery.sid, None) is not None:
                self._table.finished(delivery.sid, outcome)
                self._count_outcome(delivery, outcome)
                self._send_due()

    def _count_outcome(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        subscriber = delivery.source.address
        match outcome:
            case DeliveryOutcome.DELIVERED:
                self.counts["notified"] += 1
            case DeliveryOutcome.FAILED:
                self._counter.note("abandoned", "events: cannot deliver to the subscriber at %s", subscriber)
            case DeliveryOutcome.UNKNOWN_SID:
                self._counter.note("forgotten", "events: %s has forgotten its subscription", subscriber)


async def send(delivery: Delivery, deadline_s: float = DEADLINE_S, bound: bool = True) -> DeliveryOutcome:
    """Sends a message to the callback URLs in order, until one answers 200..299 in time (IGD-191).

    ``bound``: out of the subscriber's interface. False for the emulator: not every system can do that.
    """
    for callback in delivery.callbacks:
        try:
            async with asyncio.timeout(deadline_s):
                interface = delivery.source.interface if bound else ""
                status = await _exchange(callback, interface, delivery.request(callback))
        except OSError:  # TimeoutError is one
            continue
        if status is not None and 200 <= status < 300:
            return DeliveryOutcome.DELIVERED
        if status == HTTPStatus.PRECONDITION_FAILED:
            return DeliveryOutcome.UNKNOWN_SID
    return DeliveryOutcome.FAILED


async def _exchange(callback: Callback, interface: str, request: bytes) -> int | None:
    """Sends one request over a new connection out of this interface (empty: any); returns the status of the
    answer."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if callback.address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        if interface:  # This also selects the zone of a link-local address.
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
