"""The events that the emulator sent to subscribers."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.protocols.gena.subscriptions import Delivery, DeliveryOutcome
from upnp_gw.servers.http.gena_delivery import send
from upnp_gw.testing.changes import Changes
from upnp_gw.testing.journal import Request
from upnp_gw.testing.records import NEWEST
from upnp_gw.testing.rules import Rules


@dataclass(frozen=True, slots=True)
class SentEvent:
    """One NOTIFY, whose delivery is over."""

    client: str
    """The subscriber's address."""
    sid: str
    seq: int
    """0 for the first event of a subscription."""
    values: dict[str, str]
    """Variable -> value."""
    outcome: str
    """``delivered``; ``failed``: no callback accepted it; ``unknown-sid``: the client answered 412; ``lost``: a
    fault did not send it, or not yet."""
    at_s: float
    """Seconds since the emulator's start, by its own clock."""

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.values.items())
        return f"event {self.seq} to {self.client}: {values} ({self.outcome})"


class EventDelivery:
    """Sends events as the gateway does, notes each, and loses those that the test wants lost."""

    def __init__(self, rules: Rules, now_s: Callable[[], float], changes: Changes) -> None:
        self._rules = rules
        self._changes = changes
        self._now_s = now_s
        self._sent: deque[SentEvent] = deque(maxlen=NEWEST)

    async def __call__(self, delivery: Delivery, deadline_s: float) -> DeliveryOutcome:
        """Sends one event in the way of the newest fault that strikes it."""
        client = str(delivery.source.address)
        struck = self._rules.take(Request("gena", "NOTIFY", dict(delivery.values), client, b"", self._now_s()))
        sent: list[SentEvent] = []

        async def send_now(event: Delivery) -> DeliveryOutcome:
            outcome = await send(event, deadline_s, bound=False)
            sent.append(self._noted(event, outcome.value))
            return outcome

        if struck is None:
            return await send_now(delivery)
        await self._rules.delay(struck.delay_s)
        outcome = await struck.faults[-1].deliver(delivery, send_now)
        if not sent:
            self._noted(delivery, "lost")
        return outcome

    def _noted(self, event: Delivery, outcome: str) -> SentEvent:
        noted = SentEvent(
            str(event.source.address), event.sid, event.seq, dict(event.values), outcome, self._now_s()
        )
        self._sent.append(noted)
        self._changes.changed()
        return noted

    def events(self) -> tuple[SentEvent, ...]:
        """All of them so far, in the order in which they were delivered."""
        return tuple(self._sent)

    def clear(self) -> None:
        """Forgets the events."""
        self._sent.clear()
