"""The operator's part of the page: every route needs a sign-in or a token, except the sign-in itself."""

from collections.abc import Callable, Mapping

from aiohttp import web

from upnp_gw.config.page_settings import PageSettings
from upnp_gw.control_client import ControlClient, Declined, Unreachable
from upnp_gw.page.connections import Connections
from upnp_gw.page.decisions import LogPages
from upnp_gw.page.devices import DeviceActions, DevicePages
from upnp_gw.page.feed import Feed
from upnp_gw.page.forms import Act, add_action
from upnp_gw.page.mappings import MappingPages
from upnp_gw.page.overview import OverviewPage
from upnp_gw.page.policy_pages import PolicyPages
from upnp_gw.page.questions import QuestionPages
from upnp_gw.page.readings import Readings
from upnp_gw.page.rendering import Texts
from upnp_gw.page.request_checks import BODY_MAX, SERVER, accepts_own, headers_of_answers, own_hosts, whole_requests
from upnp_gw.page.script_api import add_script_api
from upnp_gw.page.serving import Produce, Serving
from upnp_gw.page.sessions import Brake, Links, Notice, Session, Sessions
from upnp_gw.page.sign_in import SESSION, SignIn
from upnp_gw.page.static_files import StaticFile, add_static
from upnp_gw.page.tokens import Tokens
from upnp_gw.page.views import Frame, Renderer, View


class OperatorPart:
    """Builds the application. ``serving`` has its open streams."""

    def __init__(
        self,
        settings: PageSettings,
        client: ControlClient,
        readings: Readings,
        feed: Feed,
        renderer: Renderer,
        texts: Texts,
        tokens: Tokens,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._client = client
        self._readings = readings
        self._feed = feed
        self._texts = texts
        self.sessions = Sessions(clock)
        self.links = Links(clock)
        self.connections = Connections()
        self.sign_in = SignIn(
            self.sessions, self.links, tokens, Brake(clock), renderer, secure=settings.tls, ended=feed.touch
        )
        self.serving = Serving(renderer, feed, self._frame, self.sign_in.allowed, SERVER)

    def application(self, static: Mapping[str, StaticFile]) -> web.Application:
        """The routes and middlewares. Not started."""
        application = web.Application(
            middlewares=[
                headers_of_answers(SERVER),
                own_hosts(accepts_own(self._settings.names)),
                whole_requests(self.connections),
                self.sign_in.middleware(),
            ],
            client_max_size=BODY_MAX,
        )
        self.sign_in.add_routes(application)
        add_static(application, static)
        add_script_api(application, self._client)
        self._add_pages(application)
        return application

    def _add_pages(self, application: web.Application) -> None:
        client, readings, texts = self._client, self._readings, self._texts
        add = self.serving.add
        add(application, "/", OverviewPage(readings), "overview")
        devices, mappings = DevicePages(client, readings), MappingPages(client, readings, texts)
        add(application, "/devices", devices.all, "devices")
        add(application, "/devices/{device}", devices.one, "devices")
        add(application, "/mappings", mappings.all, "mappings")
        add(application, "/mappings/{id}", mappings.one, "mappings")
        add(application, "/questions", QuestionPages(client, readings, texts).all, "questions")
        log, policy = LogPages(client), PolicyPages(client)
        add(application, "/log", log.all, "log")
        add(application, "/log/{id}", log.one, "log", live=False)
        add(application, "/policy", policy.in_force, "policy")
        add(application, "/policy/suggest", policy.suggestion, "policy", live=False)
        add(application, "/policy/stale", policy.stale, "policy", live=False)
        add(application, "/policy/try", policy.trial, "policy", live=False)
        self._add_actions(application)

    def _add_actions(self, application: web.Application) -> None:
        devices = DeviceActions(self._client, self._texts)
        mappings = MappingPages(self._client, self._readings, self._texts)
        questions = QuestionPages(self._client, self._readings, self._texts)
        actions: list[tuple[str, str, Produce, Act]] = [
            ("/devices/{device}/name", "devices", devices.name_form, devices.name),
            ("/devices/{device}/allow", "devices", devices.allow_form, devices.allow),
            ("/devices/{device}/block", "devices", devices.block_form, devices.block),
            ("/devices/{device}/release", "devices", devices.release_form, devices.release),
            ("/devices/{device}/revoke", "devices", devices.revoke_form, devices.revoke),
            ("/rules/{rule}/retract", "policy", devices.retract_form, devices.retract),
            ("/mappings/{id}/end", "mappings", mappings.end_form, mappings.end),
            ("/mappings/{id}/longer", "mappings", mappings.longer_form, mappings.longer),
            ("/questions/{number}/approve", "questions", questions.approve_form, questions.approve),
            ("/questions/{number}/deny", "questions", questions.deny_form, questions.deny),
        ]
        for route, section, form, act in actions:
            self.serving.add(application, route, form, section, live=False)
            add_action(application, route, self._and_look_again(act), self._problem)

    def _and_look_again(self, act: Act) -> Act:
        """The next page, and all open ones, show what was changed."""

        async def acting(request: web.Request, fields: Mapping[str, str]) -> tuple[str, Notice]:
            try:
                return await act(request, fields)
            finally:
                self._readings.forget()
                self._feed.touch()

        return acting

    async def _problem(self, request: web.Request, view: View) -> web.Response:
        return self.serving.answer(view, await self._frame(request, ""))

    async def _frame(self, request: web.Request, section: str) -> Frame:
        session: Session | None = request.get(SESSION)
        try:
            waiting, incidents = len(await self._readings.questions()), len(await self._readings.incidents())
        except (Declined, Unreachable):
            waiting = incidents = 0
        live = request.path.startswith("/live")
        return Frame(
            form_token=session.form_token if session is not None else "",
            section=section,
            waiting=waiting,
            incidents=incidents,
            notices=session.told() if session is not None and not live else (),
        )
