"""The route ``/metrics``: of the operator's page, and of the listener of ``[metrics]``."""

from weakref import WeakKeyDictionary

from aiohttp import web

from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient
from upnp_gw.metrics.exposition import CONTENT_TYPE, Exposition
from upnp_gw.notify.counts import counts_of

_EXPOSITIONS: "WeakKeyDictionary[ControlClient, Exposition]" = WeakKeyDictionary()


def add_routes(application: web.Application, client: ControlClient, settings: PageSettings) -> None:
    """Adds ``/metrics``. Who may read it is the application's business."""
    exposition = _exposition(client, settings)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=await exposition.text(), headers={"Content-Type": CONTENT_TYPE})

    application.router.add_get("/metrics", metrics)


def _exposition(client: ControlClient, settings: PageSettings) -> Exposition:
    """One for both listeners: the devices with metrics of their own are the same at both."""
    if client not in _EXPOSITIONS:
        _EXPOSITIONS[client] = Exposition(client, settings.metrics_devices, counts_of(client))
    return _EXPOSITIONS[client]
