"""The operator's part of the page: every route needs a sign-in or a token, except those that say otherwise."""

from aiohttp import web

from upnp_gw.page.overview import OverviewPage
from upnp_gw.page.readings import Readings
from upnp_gw.page.rendering import Texts, environment
from upnp_gw.page.views import Renderer


def operator_application(readings: Readings) -> web.Application:
    """The routes of the operator. Not started."""
    renderer = Renderer(environment(Texts()))
    application = web.Application()
    overview = OverviewPage(readings)

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=renderer.whole(await overview(request)), content_type="text/html")

    application.router.add_get("/", index)
    return application
