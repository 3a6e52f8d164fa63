"""A test message to every target: one attempt each, and what came back."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify.delivery import Answer, Delivery
from upnp_gw.notify.messages import Message, trial


def try_targets(targets: Sequence[NotifyTarget]) -> list[Answer]:
    """The answers, in the order of the targets."""
    return asyncio.run(_try_all(targets))


async def _try_all(targets: Sequence[NotifyTarget]) -> list[Answer]:
    message = trial(datetime.now(UTC).replace(microsecond=0))
    return list(await asyncio.gather(*(_try(target, message) for target in targets)))


async def _try(target: NotifyTarget, message: Message) -> Answer:
    delivery = Delivery(target, time.time)
    try:
        return await delivery.send(message)
    finally:
        await delivery.close()
