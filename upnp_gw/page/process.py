"""Builds the parts of the page, starts them in order, and stops them in the reverse order."""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import uvloop
from aiohttp import web

from upnp_gw import __version__, metrics, notify
from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient
from upnp_gw.model.errors import ConfigError
from upnp_gw.page.operator_part import operator_application
from upnp_gw.page.readings import Readings
from upnp_gw.system import sd_notify
from upnp_gw.system.sd_notify import READY, STOPPING
from upnp_gw.system.signals import Signals

log = logging.getLogger(__name__)

AddRoutes = Callable[[web.Application, ControlClient, PageSettings], None]
"""Adds routes to the operator's part, before it starts. They need a sign-in or a token like every other route."""
Run = Callable[[ControlClient, PageSettings], Awaitable[None]]
"""Runs beside the page until it is cancelled."""
MORE_ROUTES: tuple[AddRoutes, ...] = (metrics.add_routes,)
MORE_TASKS: tuple[Run, ...] = (metrics.run, notify.run)


class Page:
    """One page. ``run`` returns after a request to stop."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        self._signals = Signals()
        self._stack = AsyncExitStack()

    async def run(self) -> None:
        """Raises ConfigError if it cannot start."""
        with self._signals.handled():
            async with self._stack:
                await self._start()
                sd_notify.notify(os.environ, READY, f"upnp-gw page {__version__} at {self.settings.listen}")
                print(f"upnp-gw page {__version__}: http://{self.settings.listen}/", flush=True)
                await self._signals.stop.wait()
                sd_notify.notify(os.environ, STOPPING)

    async def _start(self) -> None:
        client = ControlClient(self.settings.control_dir)
        self._stack.push_async_callback(client.close)
        readings = Readings(client)
        application = operator_application(readings)
        for add_routes in MORE_ROUTES:
            add_routes(application, client, self.settings)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        listen = self.settings.listen
        family = socket.AF_INET6 if listen.address.version == 6 else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((str(listen.address), listen.port))
        except OSError as error:
            listener.close()
            raise ConfigError("page.listen", str(listen), f"cannot listen there: {error.strerror}") from None
        await web.SockSite(runner, listener).start()
        for run in MORE_TASKS:
            task = asyncio.create_task(_logged(run(client, self.settings)))
            self._stack.push_async_callback(_ended, task)


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        log.exception("a task of the page has failed; the rest goes on")


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def run_page(settings: PageSettings) -> None:
    """Runs the page until it is asked to stop. Raises ConfigError before the start."""
    os.umask(0o077)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Page(settings).run())
