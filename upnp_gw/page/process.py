"""Builds the parts of the page, starts them in order, and stops them in the reverse order."""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import uvloop
from aiohttp import web

from upnp_gw import __version__, api, metrics, notify
from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient, Declined, Unreachable
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Endpoint
from upnp_gw.page.connections import Connections
from upnp_gw.page.feed import Feed
from upnp_gw.page.formats import Formats
from upnp_gw.page.http_protocol import protocols
from upnp_gw.page.lan_part import LanPart
from upnp_gw.page.lan_sockets import LOOK_S, LanSockets
from upnp_gw.page.listeners import configured_listener, tls_context
from upnp_gw.page.local_socket import LocalSocket
from upnp_gw.page.metrics_part import MetricsPart
from upnp_gw.page.operator_part import OperatorPart
from upnp_gw.page.readings import Readings
from upnp_gw.page.rendering import Texts, environment
from upnp_gw.page.static_files import static_files
from upnp_gw.page.tokens import Tokens
from upnp_gw.page.views import Renderer
from upnp_gw.system import sd_notify
from upnp_gw.system.files import FileProblem, own_directory
from upnp_gw.system.sd_notify import READY, STOPPING, keep_watchdog
from upnp_gw.system.signals import Signals

log = logging.getLogger(__name__)

AddRoutes = Callable[[web.Application, ControlClient, PageSettings], None]
"""Adds routes to the operator's part, before it starts. They need a sign-in or a token like every other route."""
Run = Callable[[ControlClient, PageSettings], Coroutine[Any, Any, None]]
"""Runs beside the page until it is cancelled."""
MORE_ROUTES: tuple[AddRoutes, ...] = (metrics.add_routes,)
MORE_TASKS: tuple[Run, ...] = (notify.run,)

HANDSHAKE_S = 10.0


class Page:
    """One page. ``run`` returns after a request to stop."""

    def __init__(self, settings: PageSettings) -> None:
        self.settings = settings
        self._signals = Signals()
        self._stack = AsyncExitStack()

    async def run(self) -> None:
        """Raises ConfigError if it cannot start."""
        with self._signals.handled():
            async with self.started() as line:
                print(line, flush=True)
                sd_notify.notify(os.environ, READY, line)
                await self._signals.stop.wait()
                sd_notify.notify(os.environ, STOPPING)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[str]:
        """Serves within the block. Gives a line that says where. Raises ConfigError."""
        async with self._stack:
            yield await self._start()

    async def _start(self) -> str:
        settings = self.settings
        client = self._client = ControlClient(settings.control_dir)
        self._stack.push_async_callback(client.close)
        readings = Readings(client)
        lan_port = 0 if settings.lan == "off" else settings.port
        self.feed = Feed(client, lan_port)
        static = static_files()
        texts = Texts()
        renderer = Renderer(
            environment(texts, Formats(texts).filters(), {name: f.url for name, f in static.items()})
        )
        tokens = self.tokens = self._tokens()
        part = self.part = OperatorPart(
            settings, client, readings, self.feed, renderer, texts, tokens, time.monotonic
        )
        application = self.application = part.application(static)
        for add_routes in MORE_ROUTES:
            add_routes(application, client, settings)
        tls = tls_context(settings)
        lans = await self._lans()
        listener = configured_listener("page.listen", settings.listen, lans)
        await self._serve(application, part.connections, listener, tls)
        self._stack.push_async_callback(part.serving.close)
        url = f"{'https' if tls else 'http'}://{settings.listen}"
        local = LocalSocket(settings.runtime_dir, url, part.links, part.sessions, tokens, ended=self.feed.touch)
        await self._serve_locally(local)
        where = "no page for the LAN"
        if lan_port:
            lan = LanPart(settings, client, readings, self.feed, renderer)
            sockets = LanSockets(lan.application(static), lan.connections, lan_port)
            self._stack.push_async_callback(sockets.close)
            self._stack.push_async_callback(lan.serving.close)
            await sockets.start()
            self._spawn(sockets.follow(readings, self.feed))
            where = f"for the LAN port {lan_port}"
        listen = settings.metrics_listen
        if listen is not None and not await self._serve_metrics(listen, lans):
            self._spawn(_logged(self._serve_metrics_later(listen)))
        self._spawn(self.feed.run())
        self._spawn(keep_watchdog())
        for run in MORE_TASKS:
            self._spawn(_logged(run(client, settings)))
        return f"upnp-gw page {__version__}: {url} ({where}); sign in: upnp-gw open"

    def _tokens(self) -> Tokens:
        try:
            own_directory(self.settings.state_dir, 0o700)
            return Tokens(self.settings.state_dir)
        except FileProblem as error:
            raise ConfigError("page.state_dir", str(error.path), error.problem) from None

    async def _lans(self) -> list[api.LanState] | None:
        try:
            return (await self._client.status()).lan
        except (Declined, Unreachable) as error:
            log.warning("%s", error)
            return None

    async def _serve(
        self,
        application: web.Application,
        connections: Connections,
        listener: socket.socket,
        tls: ssl.SSLContext | None,
    ) -> None:
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=2.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        more: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": HANDSHAKE_S} if tls is not None else {}
        factory = connections.guarded(protocols(runner.server))
        server = await asyncio.get_running_loop().create_server(factory, sock=listener, **more)
        self._stack.callback(server.close)

    async def _serve_metrics(self, listen: Endpoint, lans: list[api.LanState] | None) -> bool:
        """``[metrics] listen``. The page runs on if nothing can listen there. False: to be tried again when the
        daemon answers, which knows the interface of the address."""
        if lans is None and not listen.address.is_loopback:
            return False
        part = MetricsPart(self.settings, self._client)
        try:
            listener = configured_listener("metrics.listen", listen, lans)
        except ConfigError as error:
            log.error("%s", error)
            return True
        await self._serve(part.application(), part.connections, listener, None)
        log.info("metrics at http://%s/metrics", listen)
        return True

    async def _serve_metrics_later(self, listen: Endpoint) -> None:
        seen = self.feed.version
        while not (self.feed.connected and await self._serve_metrics(listen, await self._lans())):
            seen = await self.feed.wait(seen, LOOK_S)

    async def _serve_locally(self, local: LocalSocket) -> None:
        runner = web.AppRunner(local.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, local.bind(self._client.path)).start()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._stack.push_async_callback(_ended, asyncio.create_task(work))


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
