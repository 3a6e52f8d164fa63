"""Follows the daemon's events over one connection, for all open pages, and tells the daemon that the page runs."""

import asyncio
import logging

from upnp_gw.control_client import ControlClient, Declined, Unreachable

log = logging.getLogger(__name__)

AGAIN_S = 2.0
"""Seconds until the next try if the daemon does not answer."""


class Feed:
    """``version`` grows with each change. ``run`` keeps it, until it is cancelled."""

    def __init__(self, client: ControlClient, lan_port: int) -> None:
        """``lan_port``: of the page for the LAN, which the daemon leads to; 0: there is none."""
        self._client = client
        self._query = {"page_port": str(lan_port)} if lan_port else {}
        self._changed = asyncio.Event()
        self.version = 0
        self.connected = False

    async def run(self) -> None:
        while True:
            try:
                async with self._client.events(self._query) as events:
                    self._now(connected=True)
                    async for _ in events:
                        self._advance()
                problem = "the daemon ended the event stream"
            except (Unreachable, Declined) as error:
                problem = str(error)
            if self.connected or not self.version:
                log.warning("%s; trying again every %.0f s", problem, AGAIN_S)
            self._now(connected=False)
            await asyncio.sleep(AGAIN_S)

    async def wait(self, seen: int, timeout_s: float) -> int:
        """Waits until the version is another one than ``seen``, at most so long. Returns it."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.version == seen:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.version

    def touch(self) -> None:
        """The page itself has changed something: all open pages look again."""
        self._advance()

    def _now(self, *, connected: bool) -> None:
        if connected != self.connected or not self.version:
            self.connected = connected
            self._advance()

    def _advance(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed.clear()
