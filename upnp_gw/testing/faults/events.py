"""Events that do not arrive as they should."""

from dataclasses import dataclass

from upnp_gw.protocols.gena.subscriptions import Delivery, DeliveryOutcome
from upnp_gw.testing.fault import Fault, Send
from upnp_gw.testing.outcomes import NOTIFY


@dataclass(eq=False)
class EventLost(Fault):
    """The event does not arrive, and the next one has a gap in SEQ."""

    actions = NOTIFY

    async def deliver(self, delivery: Delivery, send: Send) -> DeliveryOutcome:
        return DeliveryOutcome.DELIVERED
