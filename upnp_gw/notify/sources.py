"""The events of the gateway for as long as the page runs, over restarts of the daemon, without gaps where possible.

At the start, and when events were missed, the present state is read: questions that wait, open incidents, double
NAT. Each is told once.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Declined, Unreachable
from upnp_gw.notify.messages import Message, message_of

log = logging.getLogger(__name__)

AGAIN_S = 2.0
"""Seconds until the daemon is asked again."""
MOST_TOLD = 2000


class EventSource:
    """``put`` gets every message once."""

    def __init__(self, client: ControlClient, put: Callable[[Message], None], again_s: float = AGAIN_S) -> None:
        self._client = client
        self._put = put
        self._again_s = again_s
        self._last: str | None = None
        """The id of the last event."""
        self._told: dict[str, None] = {}
        """Questions and incidents that were told, the newest at the end."""
        self._double_nat = ""
        """The address that was told."""

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except (Unreachable, Declined, msgspec.MsgspecError) as error:
                log.info("notify: %s; next try in %.0f s", error, self._again_s)
            await asyncio.sleep(self._again_s)

    async def _follow(self) -> None:
        """Until the stream ends."""
        async with self._client.events(after=self._last, hello=True) as events:
            async for event in events:
                if event.event == "hello" and (self._last is None or event.why is not None):
                    await self._tell_state()
                self._last = event.id or self._last
                self._tell(event)

    async def _tell_state(self) -> None:
        """Tells of questions, incidents and an unreachable address that are there now and were not told."""
        for question in await self._client.questions():
            self._tell(api.Event(event="question", at=question.last_asked, question=question))
        for incident in await self._client.incidents():
            self._tell(api.Event(event="incident", at=incident.began_at, incident=incident))
        wan = (await self._client.status()).wan
        address = wan.advertised or next(iter(wan.external_addresses), None)
        if address is not None and wan.address_kind in ("private", "shared"):
            kind = "private" if wan.address_kind == "private" else "shared by a carrier's NAT"
            why = f"the external address {address} is {kind}: the internet does not reach it"
            self._tell(api.Event(event="double-nat", at=datetime.now(UTC), address=address, why=why))

    def _tell(self, event: api.Event) -> None:
        key = self._key(event)
        if key in self._told:
            return
        message = message_of(event)
        if message is None:
            return
        if key:
            self._told[key] = None
            if len(self._told) > MOST_TOLD:
                del self._told[next(iter(self._told))]
        self._put(message)

    def _key(self, event: api.Event) -> str:
        """The subject of the event, if it can be told only once; empty: each event counts."""
        if event.question is not None:
            return f"question {event.question.number}"
        if event.incident is not None:
            return f"incident {event.incident.device} {event.incident.began_at}"
        if event.event == "double-nat":
            if event.address != self._double_nat:
                self._told.pop("double-nat", None)
            self._double_nat = event.address or ""
            return "double-nat"
        return ""
