"""Keeps a port open for as long as it runs: renews the lease, requests it again if it is lost, releases it at the
end."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

from upnp_gw.client.ask import request_mapping
from upnp_gw.client.mapping_request import MappingLease, NoAnswer, RequestedMapping, RequestRefused
from upnp_gw.client.options import ClientLink, ClientOptions
from upnp_gw.protocols.client_times import Uniform, renew_in

RETRY_S = (2.0, 60.0)
"""First and longest wait after a failed request, seconds."""
RELEASE_S = 3.0
"""Seconds to wait for the answer to the release."""


class LeaseHolder:
    """``on_lease`` gets each lease whose external address, port or protocol is new; ``on_failure`` gets the reason
    if the port is lost."""

    def __init__(
        self,
        options: ClientOptions,
        request: RequestedMapping,
        on_lease: Callable[[MappingLease], None],
        on_failure: Callable[[Exception], None],
        uniform: Uniform = random.uniform,
    ) -> None:
        self._options = options
        self._request = request
        self._on_lease = on_lease
        self._on_failure = on_failure
        self._uniform = uniform
        self._reported: MappingLease | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until ``stop`` is set. Raises RequestRefused or NoAnswer if the first request fails. A later failure
        goes to ``on_failure``, and the request is tried again."""
        wait = 0.0
        while not stop.is_set():
            try:
                async with request_mapping(self._options, self._request) as (link, lease):
                    wait = 0.0
                    await self._keep(link, lease, stop)
            except (RequestRefused, NoAnswer) as error:
                if self._reported is None:
                    raise
                self._on_failure(error)
                wait = min(max(RETRY_S[0], wait * 2), RETRY_S[1])
                await _sleep(wait, stop)

    async def _keep(self, link: ClientLink, lease: MappingLease, stop: asyncio.Event) -> None:
        """Renews the lease over one link until ``stop`` is set. Raises NoAnswer or RequestRefused if it is lost."""
        self._report(lease)
        since, failures = time.monotonic(), 0
        while True:
            due = since + renew_in(lease.lifetime_s, failures, self._uniform)
            await self._wait(link, lease, max(0.0, due - time.monotonic()), stop)
            if stop.is_set():
                with contextlib.suppress(RequestRefused, NoAnswer):
                    await link.release(self._request, lease, RELEASE_S)
                return
            try:
                lease = await link.ask(self._request, lease, self._options.timeout_s)
            except NoAnswer:
                failures += 1
                if time.monotonic() >= since + lease.lifetime_s or failures > 3:
                    raise
                continue
            self._report(lease)
            since, failures = time.monotonic(), 0

    async def _wait(self, link: ClientLink, lease: MappingLease, seconds: float, stop: asyncio.Event) -> None:
        """Waits until the renewal is due, the gateway reports a change, or ``stop`` is set."""
        waiting = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(link.wait_for_change(self._request, lease)),
        ]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _report(self, lease: MappingLease) -> None:
        before = self._reported
        if before is None or (before.external, before.via) != (lease.external, lease.via):
            self._reported = lease
            self._on_lease(lease)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
