"""Events that do not arrive as they should."""

from dataclasses import dataclass, replace

from upnp_gw.protocols.gena.subscriptions import Delivery, DeliveryOutcome
from upnp_gw.testing.fault import Fault, Send
from upnp_gw.testing.outcomes import NOTIFY


@dataclass(eq=False)
class EventLost(Fault):
    """The event does not arrive, and the next one has a gap in SEQ."""

    actions = NOTIFY

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        return DeliveryOutcome.DELIVERED


@dataclass(eq=False)
class EventTwice(Fault):
    """The event arrives twice, with the same SEQ."""

    actions = NOTIFY

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        await send(delivery)
        return await send(delivery)


@dataclass(eq=False)
class EventsOutOfOrder(Fault):
    """An event waits for the next one of its subscription, and arrives after it."""

    actions = NOTIFY

    def __post_init__(self) -> None:
        self._waiting: dict[str, Delivery] = {}
        """Subscription -> the event that waits."""

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        earlier = self._waiting.pop(delivery.sid, None)
        if earlier is None:
            self._waiting[delivery.sid] = delivery
            return DeliveryOutcome.DELIVERED
        outcome = await send(delivery)
        await send(earlier)
        return outcome


@dataclass(eq=False)
class StaleEvent(Fault):
    """The event has the values that its subscription got before, where it got some."""

    actions = NOTIFY

    def __post_init__(self) -> None:
        self._before: dict[str, dict[str, str]] = {}
        """Subscription -> its first values."""

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        before = self._before.setdefault(delivery.sid, dict(delivery.values))
        values = {name: before.get(name, value) for name, value in delivery.values.items()}
        return await send(replace(delivery, values=values))


@dataclass(eq=False)
class SameSeq(Fault):
    """SEQ is 0 in every event, as if each were the first one."""

    actions = NOTIFY

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        return await send(replace(delivery, seq=0))
