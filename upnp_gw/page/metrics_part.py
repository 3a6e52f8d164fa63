"""The listener of ``[metrics]``: ``/metrics`` for all who can connect there, and nothing else."""

from aiohttp import web

from upnp_gw import metrics
from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient
from upnp_gw.page.connections import Connections
from upnp_gw.page.request_checks import (
    SERVER,
    accepts_addresses,
    headers_of_answers,
    own_hosts,
    whole_requests,
)


class MetricsPart:
    """Builds the application. No browser needs it, so a Host that is a name must be one of the page's."""

    def __init__(self, settings: PageSettings, client: ControlClient) -> None:
        self._settings = settings
        self._client = client
        self.connections = Connections()

    def application(self) -> web.Application:
        """One route."""
        application = web.Application(
            middlewares=[
                headers_of_answers(SERVER),
                own_hosts(accepts_addresses(self._settings.names)),
                whole_requests(self.connections),
            ],
            client_max_size=1024,
        )
        metrics.add_routes(application, self._client, self._settings)
        return application
