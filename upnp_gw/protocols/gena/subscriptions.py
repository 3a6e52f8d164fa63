"""The table of event subscriptions, and the messages that are due. Pure.

``servers.http.gena_delivery`` calls ``serve``, ``delivered``, ``changed`` and ``finished`` as these happen, sends
the messages of ``due``, and calls it again at ``next_deadline``.

A message has the variables whose values differ from those last sent to this subscriber. So several changes become
one message, the variables of one operation stay together, and a change that a subscriber may not see (of another
device's mapping) makes no message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from upnp_gw.model.mapping import Instant
from upnp_gw.model.request import Source
from upnp_gw.protocols.gena.messages import (
    Callback,
    EventAnswer,
    RejectedRequest,
    Renew,
    Subscribe,
    Unsubscribe,
    build_notify,
    parse_request,
)
from upnp_gw.protocols.igd_services import IgdVersion, Service

PER_HOST = 8
TOTAL = 64
"""Most subscriptions, and most deliveries at the same time: each subscription has at most one (SR-8)."""
INTERVAL_S = 0.2
"""At most one message to a subscriber in this time; later changes go into the next one."""
PENDING_S = 30.0
"""A subscription is dropped if its 200 is not written within this time (UDA 1.1: answers within 30 s)."""
SEQ_MAX = 2**32 - 1

Properties = Callable[[IgdVersion, Service, Source], Mapping[str, str]]
"""The evented variables of a service as this subscriber may see them: name -> value, unescaped."""


class DeliveryOutcome(Enum):
    """The outcome of the delivery of one message."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """No URL accepted it: the message is dropped, the subscription stays (IGD section 7.5)."""
    UNKNOWN_SID = "unknown-sid"
    """412: the subscriber does not know the subscription any more."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to send, to the first callback that accepts it."""

    sid: str
    seq: int
    source: Source
    callbacks: tuple[Callback, ...]
    values: Mapping[str, str]

    def request(self, callback: Callback) -> bytes:
        """The NOTIFY request for one of the callbacks."""
        return build_notify(callback, self.sid, self.seq, self.values)


@dataclass(slots=True)
class _Subscription:
    sid: str
    igd_version: IgdVersion
    service: Service
    source: Source
    host: str
    callbacks: tuple[Callback, ...]
    timeout_s: int
    expires_at: float
    """BOOTTIME seconds."""
    pending: bool = True
    """True: its 200 has not been written yet, so nothing may be sent (IGD-181)."""
    stale: bool = False
    """True: a value may have changed since the last message was made."""
    in_flight: Mapping[str, str] | None = None
    """The values of the message that is being sent."""
    sent: dict[str, str] = field(default_factory=dict)
    """The values that the subscriber has. Empty at first: the initial message has all variables."""
    next_seq: int = 0
    next_at: float = 0.0
    """BOOTTIME seconds before which no message is sent."""
    failing: bool = False
    """True: the last message failed."""

    @property
    def waiting(self) -> bool:
        """A message may be due, now or at ``next_at``."""
        return self.stale and not self.pending and self.in_flight is None


class ActiveSubscription(NamedTuple):
    """One subscription, for those who only read."""

    sid: str
    igd_version: IgdVersion
    service: Service
    source: Source
    callbacks: tuple[Callback, ...]
    next_seq: int
    expires_at: float
    """BOOTTIME seconds."""


class Subscriptions:
    """At most TOTAL subscriptions; each method costs O(TOTAL) at most.

    ``host_of``: the host of a source address. One host has many IPv6 addresses, and one share.
    """

    def __init__(
        self, properties: Properties, new_uuid: Callable[[], UUID], host_of: Callable[[Source], str]
    ) -> None:
        self._properties = properties
        self._new_uuid = new_uuid
        self._host_of = host_of
        self._by_sid: dict[str, _Subscription] = {}

    def __len__(self) -> int:
        return len(self._by_sid)

    def active(self) -> list[ActiveSubscription]:
        """All of them, the oldest first."""
        return [
            ActiveSubscription(
                row.sid, row.igd_version, row.service, row.source, row.callbacks, row.next_seq, row.expires_at
            )
            for row in self._by_sid.values()
        ]

    def __contains__(self, sid: str) -> bool:
        return sid in self._by_sid

    def serve(
        self,
        method: str,
        igd_version: IgdVersion,
        service: Service,
        headers: Mapping[str, str],
        source: Source,
        now: Instant,
    ) -> EventAnswer:
        """Answers SUBSCRIBE and UNSUBSCRIBE on the event URL of a service: 200, 400, 404, 412 or 503."""
        self._expire(now)
        message = parse_request(method, headers, source.address)
        match message:
            case RejectedRequest(status, reason):
                return EventAnswer(status, reason=reason)
            case Subscribe():
                return self._subscribe(message, igd_version, service, source, now)
        row = self._by_sid.get(message.sid)
        # A SID is valid only at its own URL and for its own host, so that another host cannot end the subscription.
        if row is None or (row.igd_version, row.service, row.source) != (igd_version, service, source):
            return EventAnswer(HTTPStatus.PRECONDITION_FAILED, reason="sid-unknown")
        match message:
            case Renew(_, timeout_s):
                row.timeout_s = timeout_s
                row.expires_at = now.boot + timeout_s
                return EventAnswer(HTTPStatus.OK, _granted(row))
            case Unsubscribe(sid):
                del self._by_sid[sid]
                return EventAnswer(HTTPStatus.OK)

    def _subscribe(
        self, request: Subscribe, igd_version: IgdVersion, service: Service, source: Source, now: Instant
    ) -> EventAnswer:
        if not self._properties(igd_version, service, source):
            return EventAnswer(HTTPStatus.NOT_FOUND, reason="nothing-evented")
        host = self._host_of(source)
        if not self._make_room(host):
            return EventAnswer(HTTPStatus.SERVICE_UNAVAILABLE, reason="full")
        sid = f"uuid:{self._new_uuid()}"
        row = _Subscription(
            sid,
            igd_version,
            service,
            source,
            host,
            request.callbacks,
            request.timeout_s,
            expires_at=now.boot + PENDING_S,
        )
        self._by_sid[sid] = row
        return EventAnswer(HTTPStatus.OK, _granted(row), sid)

    def _make_room(self, host: str) -> bool:
        """False where a limit is reached. Drops a subscription whose messages fail: a control point that restarted
        without UNSUBSCRIBE would otherwise have to wait half an hour for its old ones to expire."""
        rows = list(self._by_sid.values())
        same_host = [row for row in rows if row.host == host]
        for crowd, cap in ((same_host, PER_HOST), (rows, TOTAL)):
            if len(crowd) < cap:
                continue
            leftover = next((row.sid for row in crowd if row.failing), None)
            if leftover is None:
                return False
            del self._by_sid[leftover]
            return True
        return True

    def delivered(self, sid: str, now: Instant) -> None:
        """The 200 of a new subscription was written: its duration begins, and its initial message is due
        (IGD-181)."""
        row = self._by_sid.get(sid)
        if row is not None and row.pending:
            row.pending = False
            row.stale = True
            row.expires_at = now.boot + row.timeout_s

    def changed(self) -> None:
        """A variable may have changed."""
        for row in self._by_sid.values():
            row.stale = True

    def due(self, now: Instant) -> list[Delivery]:
        """The messages to send now, at most one for each subscription. The caller reports each to ``finished``."""
        self._expire(now)
        messages = (
            self._message(row, now) for row in self._by_sid.values() if row.waiting and now.boot >= row.next_at
        )
        return [delivery for delivery in messages if delivery is not None]

    def _message(self, row: _Subscription, now: Instant) -> Delivery | None:
        row.stale = False
        values = self._properties(row.igd_version, row.service, row.source)
        changes = {name: value for name, value in values.items() if row.sent.get(name) != value}
        if not changes:
            return None
        delivery = Delivery(row.sid, row.next_seq, row.source, row.callbacks, changes)
        row.sent.update(changes)
        row.in_flight = changes
        row.next_seq = 1 if row.next_seq == SEQ_MAX else row.next_seq + 1
        row.next_at = now.boot + INTERVAL_S
        return delivery

    def finished(self, sid: str, outcome: DeliveryOutcome) -> None:
        """The outcome of the message to this subscriber. Values of a failed message go into the next one."""
        row = self._by_sid.get(sid)
        if row is None or row.in_flight is None:
            return
        if outcome is DeliveryOutcome.UNKNOWN_SID:
            del self._by_sid[sid]
            return
        row.failing = outcome is DeliveryOutcome.FAILED
        if row.failing:
            for name in row.in_flight:
                row.sent.pop(name, None)
        row.in_flight = None

    def next_deadline(self) -> float | None:
        """BOOTTIME seconds at which to call ``due`` again; None: not before the next change."""
        rows = self._by_sid.values()
        moments = [row.expires_at for row in rows] + [row.next_at for row in rows if row.waiting]
        return min(moments, default=None)

    def cancel_all(self) -> None:
        """Drops every subscription, at a new BOOTID, a byebye or the end (IGD section 7.3)."""
        self._by_sid.clear()

    def _expire(self, now: Instant) -> None:
        for sid in [row.sid for row in self._by_sid.values() if row.expires_at <= now.boot]:
            del self._by_sid[sid]


def _granted(row: _Subscription) -> dict[str, str]:
    return {"SID": row.sid, "TIMEOUT": f"Second-{row.timeout_s}"}
