"""Runs the outbox of every ``[[notify]]`` beside the page."""

import asyncio
import time
from contextlib import AsyncExitStack
from random import SystemRandom

from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient
from upnp_gw.notify.counts import counts_of
from upnp_gw.notify.delivery import Delivery
from upnp_gw.notify.messages import Message
from upnp_gw.notify.outbox import Outbox
from upnp_gw.notify.sources import EventSource


async def run(client: ControlClient, settings: PageSettings) -> None:
    """Tells every target until it is cancelled. Returns at once if there is none."""
    if not settings.notify:
        return
    counts, random = counts_of(client), SystemRandom()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        outboxes: list[Outbox] = []
        for number, target in enumerate(settings.notify):
            delivery = Delivery(target, time.time)
            stack.push_async_callback(delivery.close)
            outbox = Outbox(number, target, delivery.send, counts, time.monotonic, random)
            outboxes.append(outbox)
            group.create_task(outbox.run())

        def put(message: Message) -> None:
            for outbox in outboxes:
                outbox.put(message)

        await EventSource(client, put).run()
