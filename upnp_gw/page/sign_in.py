"""Sign-in of the operator: one-time links, the cookie of a session, tokens of scripts, the tokens of forms."""

from collections.abc import Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from upnp_gw.page.request_checks import SAFE, form_of, from_elsewhere, refused, see_other
from upnp_gw.page.sessions import LINK_S, Brake, Links, Session, Sessions
from upnp_gw.page.tokens import Token, Tokens
from upnp_gw.page.views import Frame, Renderer, View

SESSION = web.RequestKey("session", Session)
TOKEN = web.RequestKey("token", Token)
"""The session or the token that let a request through."""
PUBLIC = ("/sign-in", "/static/")
"""Paths that need no sign-in begin so."""
SCRIPTS = "/v1/"
"""Changes with a token are here only: the pages are for people."""
LONGEST_SECRET = 256


class SignIn:
    """``secure``: the page is served over TLS. ``ended``: called when a session has ended."""

    def __init__(
        self,
        sessions: Sessions,
        links: Links,
        tokens: Tokens,
        brake: Brake,
        renderer: Renderer,
        *,
        secure: bool,
        ended: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._links = links
        self._tokens = tokens
        self._brake = brake
        self._renderer = renderer
        self._secure = secure
        self._ended = ended
        # a cookie of that name cannot be set over plain HTTP, nor by a page of another port without TLS
        self.cookie = "__Host-upnp-gw" if secure else "upnp-gw"

    def add_routes(self, application: web.Application) -> None:
        application.router.add_get("/sign-in", self._explain)
        application.router.add_get("/sign-in/{secret}", self._ask)
        application.router.add_post("/sign-in", self._sign_in)
        application.router.add_post("/sign-out", self._sign_out)

    def middleware(self) -> Middleware:
        """Lets a request through that has a session or a token. Changes of a session need the token of a form."""

        @web.middleware
        async def require(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith(PUBLIC):
                return await handler(request)
            bearer = request.headers.get(hdrs.AUTHORIZATION)
            if bearer is not None:
                return await self._with_token(request, handler, bearer)
            session = self._session(request)
            if session is None:
                return self._not_signed_in(request)
            request[SESSION] = session
            if request.method not in SAFE and not await self._comes_from_a_form(request, session):
                return refused(403, "The form is too old, or it is not from this page. Go back and load it again.")
            return await handler(request)

        return require

    def allowed(self, request: web.Request) -> bool:
        """True while the session or the token of a live page is good."""
        token = request.get(TOKEN)
        return self._tokens.holds(token) if token is not None else self._session(request) is not None

    def _session(self, request: web.Request) -> Session | None:
        cookie = request.cookies.get(self.cookie, "")
        use = not request.path.startswith("/live")
        return self._sessions.find(cookie, use=use) if 0 < len(cookie) <= LONGEST_SECRET else None

    def _end_session(self, request: web.Request) -> None:
        self._sessions.end(request.cookies.get(self.cookie, ""))
        self._ended()

    async def _comes_from_a_form(self, request: web.Request, session: Session) -> bool:
        if from_elsewhere(request):
            return False
        form = await form_of(request)
        return session.accepts(form.get("form_token"))

    async def _with_token(self, request: web.Request, handler: Handler, header: str) -> web.StreamResponse:
        scheme, _, secret = header.partition(" ")
        short = len(header) <= LONGEST_SECRET
        token = self._tokens.check(secret.strip()) if short and scheme.lower() == "bearer" else None
        if token is None:
            if (wait := self._brake.failed(request.remote or "")) > 0:
                return _later(wait)
            return refused(401, "The token is not good.", WWW_Authenticate="Bearer")
        if request.method not in SAFE and not (token.acts and request.path.startswith(SCRIPTS)):
            return refused(403, "This token only reads.")
        request[TOKEN] = token
        return await handler(request)

    def _not_signed_in(self, request: web.Request) -> web.Response:
        if request.method in SAFE and "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            return see_other("/sign-in")
        return refused(401, "Sign in first: upnp-gw open. Scripts: upnp-gw token.", WWW_Authenticate="Bearer")

    # -- routes

    async def _explain(self, request: web.Request) -> web.Response:
        return self._page(View("sign_in.html", {"secret": "", "failed": False}))

    async def _ask(self, request: web.Request) -> web.Response:
        """The link leads here. A program that looks at links in advance does not use it up: a button does."""
        return self._page(
            View("sign_in.html", {"secret": request.match_info["secret"][:LONGEST_SECRET], "failed": False})
        )

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        if from_elsewhere(request):
            return refused(403, "The form is not from this page.")
        secret = (await form_of(request)).get("secret")
        if not isinstance(secret, str) or not self._links.use(secret[:LONGEST_SECRET]):
            if (wait := self._brake.failed(request.remote or "")) > 0:
                return _later(wait)
            return self._page(View("sign_in.html", {"secret": "", "failed": True}, status=403))
        self._end_session(request)
        answer = see_other("/")
        answer.set_cookie(
            self.cookie, self._sessions.begin(), path="/", secure=self._secure, httponly=True, samesite="Strict"
        )
        return answer

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        self._end_session(request)
        answer = see_other("/sign-in")
        answer.del_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="Strict")
        return answer

    def _page(self, view: View) -> web.Response:
        frame = Frame(minutes=round(LINK_S / 60))
        return web.Response(status=view.status, text=self._renderer.whole(view, frame), content_type="text/html")


def _later(wait_s: float) -> web.Response:
    return refused(429, "Too many failed tries. Wait a minute.", Retry_After=str(int(wait_s) + 1))
