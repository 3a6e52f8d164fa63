"""The events that the emulator sent to subscribers."""

from collections.abc import Callable
from dataclasses import dataclass

from upnp_gw.protocols.gena.subscriptions import Delivery, DeliveryOutcome
from upnp_gw.servers.http.gena_delivery import send
from upnp_gw.testing.records import Records


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
    """``delivered``; ``failed``: no callback accepted it; ``unknown-sid``: the client answered 412; ``lost``: by
    ``Emulator.lose_events`` it was not sent."""
    at_s: float
    """Seconds since the emulator's start, by its own clock."""

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.values.items())
        return f"event {self.seq} to {self.client}: {values} ({self.outcome})"


class EventDelivery:
    """Sends events as the gateway does, notes each, and loses those that the test wants lost."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._sent: list[SentEvent] = []
        self._to_lose = 0

    async def __call__(self, delivery: Delivery, deadline_s: float) -> DeliveryOutcome:
        outcome = DeliveryOutcome.DELIVERED
        lost, self._to_lose = self._to_lose > 0, max(0, self._to_lose - 1)
        if not lost:
            outcome = await send(delivery, deadline_s)
        self._sent.append(
            SentEvent(
                str(delivery.source.address),
                delivery.sid,
                delivery.seq,
                dict(delivery.values),
                "lost" if lost else outcome.value,
                self._now_s(),
            )
        )
        return outcome

    def lose(self, number: int) -> None:
        """The next so many events are not sent, and the gateway takes them for delivered."""
        self._to_lose = number

    def events(self) -> Records[SentEvent]:
        """All of them so far, in the order in which they were delivered."""
        return Records(SentEvent, "event", tuple(self._sent))

    def clear(self) -> None:
        """Forgets the events, and loses no more."""
        self._sent.clear()
        self._to_lose = 0
