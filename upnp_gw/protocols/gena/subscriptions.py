"""The table of event subscriptions: who is told what, in which order, and until when.

Pure: the shell (``servers.gena``) calls ``serve``, ``delivered``, ``changed`` and ``finished`` as things happen,
sends what ``due`` hands out, and calls again at ``next_deadline``.

A message is the difference between the values that a subscriber was last sent and those it sees now. So several
changes before the next message are one message, all variables of one operation go together, and a
change that a subscriber may not see (another device's mapping) makes no message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
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
"""Subscriptions in all; also the most deliveries under way at one time, as each has at most one (SR-8)."""
INTERVAL_S = 0.2
"""At most one message to a subscriber in this time; what changes meanwhile goes in the next."""
PENDING_S = 30.0
"""How long a subscription waits for its 200 to be written (UDA 1.1: answers within 30 s) before it is dropped."""
SEQ_MAX = 2**32 - 1

Properties = Callable[[IgdVersion, Service, Source], Mapping[str, str]]
"""All evented variables of a service as this subscriber may see them: name -> value, unescaped. Empty: none."""


class DeliveryOutcome(Enum):
    """How the delivery of one message ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """No URL took it: the message is abandoned, the subscription stays (IGD section 7.5)."""
    UNKNOWN_SID = "unknown-sid"
    """412: the subscriber has forgotten the subscription."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to be sent: to the first of the callbacks that takes it."""

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
    """Its 200 is not written yet: nothing may be sent (IGD-181)."""
    stale: bool = False
    """Something may have changed since the last message was made."""
    in_flight: Mapping[str, str] | None = None
    """The values of the message on its way."""
    sent: dict[str, str] = field(default_factory=dict)
    """What the subscriber knows, as far as we know. Empty at first: the initial message carries everything."""
    next_seq: int = 0
    next_at: float = 0.0
    """BOOTTIME seconds before which no message goes."""
    failing: bool = False
    """The last message was abandoned."""

    @property
    def waiting(self) -> bool:
        """A message may be due, now or at ``next_at``."""
        return self.stale and not self.pending and self.in_flight is None


class Subscriptions:
    """At most TOTAL rows; each method costs O(TOTAL) at most.

    ``host_of`` names the host that a source belongs to: one host has many IPv6 addresses, and one share.
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
        # A SID is good only at its own URL and for its own host: who overheard one cannot end it.
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
        self, asked: Subscribe, igd_version: IgdVersion, service: Service, source: Source, now: Instant
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
            asked.callbacks,
            asked.timeout_s,
            expires_at=now.boot + PENDING_S,
        )
        self._by_sid[sid] = row
        return EventAnswer(HTTPStatus.OK, _granted(row), sid)

    def _make_room(self, host: str) -> bool:
        """False where the caps leave no place. One that fails yields: a control point that was restarted
        without UNSUBSCRIBE would otherwise wait half an hour for its own leftovers."""
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
        """The 200 of a new subscription was written: its time runs, its initial message is due (IGD-181)."""
        row = self._by_sid.get(sid)
        if row is not None and row.pending:
            row.pending = False
            row.stale = True
            row.expires_at = now.boot + row.timeout_s

    def changed(self) -> None:
        """Some variable may have another value now."""
        for row in self._by_sid.values():
            row.stale = True

    def due(self, now: Instant) -> list[Delivery]:
        """The messages to send at this moment, at most one a subscription; each is awaited by ``finished``."""
        self._expire(now)
        made = (self._message(row, now) for row in self._by_sid.values() if row.waiting and now.boot >= row.next_at)
        return [delivery for delivery in made if delivery is not None]

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
        """The message on its way to this subscriber was taken, or abandoned.

        Abandoned values count as unknown to the subscriber again: they go with the next message.
        """
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
        """BOOTTIME seconds at which ``due`` should be called again; None: not before something happens."""
        rows = self._by_sid.values()
        moments = [row.expires_at for row in rows] + [row.next_at for row in rows if row.waiting]
        return min(moments, default=None)

    def cancel_all(self) -> None:
        """A new BOOTID, a byebye, the end: every subscription is void, and its SID unknown (IGD section 7.3)."""
        self._by_sid.clear()

    def _expire(self, now: Instant) -> None:
        for sid in [row.sid for row in self._by_sid.values() if row.expires_at <= now.boot]:
            del self._by_sid[sid]


def _granted(row: _Subscription) -> dict[str, str]:
    return {"SID": row.sid, "TIMEOUT": f"Second-{row.timeout_s}"}
