"""Keeps a port open for as long as it runs: renews, asks again when the gateway lost it, lets go at the end."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

from upnp_gw.client.ask import first_answer
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.options import ClientLink, ClientOptions
from upnp_gw.client.schedule import Uniform, renew_in

AGAIN_S = (2.0, 60.0)
"""First and longest wait after nobody gave the port."""
LET_GO_S = 3.0


class LeaseHolder:
    """``tell`` hears of each port that is another than before, ``complain`` why there is none."""

    def __init__(
        self,
        options: ClientOptions,
        requested: RequestedMapping,
        tell: Callable[[MappingLease], None],
        complain: Callable[[Exception], None],
        uniform: Uniform = random.uniform,
    ) -> None:
        self._manner = options
        self._wish = requested
        self._tell = tell
        self._complain = complain
        self._uniform = uniform
        self._told: MappingLease | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``. The first answer decides: where it is a refusal or none, that is raised; later ones are
        complained of, and tried again."""
        wait = 0.0
        while not stop.is_set():
            try:
                async with first_answer(self._manner, self._wish) as (link, got):
                    wait = 0.0
                    await self._keep(link, got, stop)
            except (RequestRefused, NoAnswer) as no:
                if self._told is None:
                    raise
                self._complain(no)
                wait = min(max(AGAIN_S[0], wait * 2), AGAIN_S[1])
                await _sleep(wait, stop)

    async def _keep(self, link: ClientLink, got: MappingLease, stop: asyncio.Event) -> None:
        """Holds it over one link until it is to be let go, or is lost: then Silent or Refused."""
        self._heard(got)
        since, failures = time.monotonic(), 0
        while True:
            due = since + renew_in(got.lifetime_s, failures, self._uniform)
            await self._wait(link, got, max(0.0, due - time.monotonic()), stop)
            if stop.is_set():
                with contextlib.suppress(RequestRefused, NoAnswer):
                    await link.release(self._wish, got, LET_GO_S)
                return
            try:
                got = await link.ask(self._wish, got, self._manner.patience_s)
            except NoAnswer:
                failures += 1
                if time.monotonic() >= since + got.lifetime_s or failures > 3:
                    raise
                continue
            self._heard(got)
            since, failures = time.monotonic(), 0

    async def _wait(self, link: ClientLink, got: MappingLease, seconds: float, stop: asyncio.Event) -> None:
        """Until it is time to ask again, the gateway gives cause to, or it is to be let go."""
        waiting = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(link.changed(self._wish, got))]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _heard(self, got: MappingLease) -> None:
        before = self._told
        if before is None or (before.external, before.via) != (got.external, got.via):
            self._told = got
            self._tell(got)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
