"""``/metrics`` at the operator's page, for a token, and at ``[metrics] listen``, for all who can connect there."""

import asyncio
import logging
from weakref import WeakKeyDictionary

from aiohttp import web

from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient
from upnp_gw.metrics.exposition import CONTENT_TYPE, Exposition
from upnp_gw.notify.counts import counts_of

log = logging.getLogger(__name__)

_EXPOSITIONS: "WeakKeyDictionary[ControlClient, Exposition]" = WeakKeyDictionary()


def add_routes(application: web.Application, client: ControlClient, settings: PageSettings) -> None:
    """Adds ``/metrics``. Who may read it is the application's business."""
    exposition = _exposition(client, settings)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=await exposition.text(), headers={"Content-Type": CONTENT_TYPE})

    application.router.add_get("/metrics", metrics)


async def run(client: ControlClient, settings: PageSettings) -> None:
    """Serves ``[metrics] listen`` until it is cancelled; returns at once without it."""
    listen = settings.metrics_listen
    if listen is None:
        return
    application = web.Application()
    add_routes(application, client, settings)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, str(listen.address), listen.port).start()
        log.info("metrics at http://%s/metrics", listen)
        await asyncio.get_running_loop().create_future()
    except OSError as error:
        log.error("metrics.listen: cannot listen at %s: %s", listen, error.strerror)
    finally:
        await runner.cleanup()


def _exposition(client: ControlClient, settings: PageSettings) -> Exposition:
    """One for both listeners: the devices with metrics of their own are the same at both."""
    if client not in _EXPOSITIONS:
        _EXPOSITIONS[client] = Exposition(client, settings.metrics_devices, counts_of(client))
    return _EXPOSITIONS[client]
