"""The control API for scripts with a token (``upnp-gw token``): the same routes and bodies, without the stream."""

from aiohttp import web

from upnp_gw import api
from upnp_gw.control_client import ControlClient, Unreachable
from upnp_gw.page.request_checks import refused
from upnp_gw.page.sign_in import TOKEN

JSON = "application/json"


def add_script_api(application: web.Application, client: ControlClient) -> None:
    """Serves every route of ``api.ROUTES``, except streams and ``local`` ones. The answers are the daemon's."""

    async def pass_on(request: web.Request) -> web.Response:
        if TOKEN not in request:
            return refused(403, "This is for scripts with a token: upnp-gw token.")
        body = await request.read()
        try:
            query = {name: value for name, value in request.query.items() if name != "page_port"}
            path = request.rel_url.raw_path
            status, answer = await client.request(request.method, path, body or None, query)
        except Unreachable as error:
            problem = api.Problem(error="unreachable", message=str(error))
            return web.Response(status=503, body=api.encode(problem), content_type=JSON)
        return web.Response(status=status, body=answer, content_type=JSON)

    for route in api.ROUTES.values():
        if not route.stream and not route.local:
            application.router.add_route(route.method, route.path, pass_on)
