"""The page's own Unix socket: ``upnp-gw open`` gets a sign-in link there, ``upnp-gw token`` manages tokens.

Who may open it is the operator: root, and the group that may use the daemon's control socket.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from upnp_gw import api
from upnp_gw.model.errors import ConfigError
from upnp_gw.page.request_checks import BODY_MAX
from upnp_gw.page.sessions import LINK_S, Links, Sessions
from upnp_gw.page.tokens import NAME_PATTERN, Token, TokenProblem, Tokens
from upnp_gw.system.files import FileProblem, own_directory

NAME = "page.sock"


class SignInLink(msgspec.Struct, frozen=True, kw_only=True):
    """A one-time link."""

    url: str
    good_s: int


class AskToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
    acts: bool = False
    for_s: api.For | None = None
    """null: until it is revoked."""


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    token: str


class ShownToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret."""

    name: str
    acts: bool
    created: str
    ends: str | None


class LocalSocket:
    """``url``: of the operator's page, without a path. ``ended``: called when sessions or a token have ended."""

    def __init__(
        self,
        directory: Path,
        url: str,
        links: Links,
        sessions: Sessions,
        tokens: Tokens,
        *,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = directory / NAME
        self._url = url
        self._links = links
        self._sessions = sessions
        self._tokens = tokens
        self._ended = ended

    def application(self) -> web.Application:
        application = web.Application(middlewares=[_problems], client_max_size=BODY_MAX)
        application.router.add_post("/link", self._link)
        application.router.add_delete("/sessions", self._end_sessions)
        application.router.add_get("/tokens", self._list)
        application.router.add_post("/tokens", self._create)
        application.router.add_delete("/tokens/{name}", self._revoke)
        return application

    def bind(self, like: Path) -> socket.socket:
        """Listens at the path. Its group is that of ``like``, the daemon's socket, if this user is in that group.
        Raises ConfigError."""
        try:
            own_directory(self.path.parent, 0o755)
            self.path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            before = os.umask(0o177)
            try:
                listener.bind(str(self.path))
            finally:
                os.umask(before)
            with suppress(OSError):  # no daemon yet, or its socket is its owner's alone
                if (status := like.stat()).st_mode & 0o060:
                    os.chown(self.path, -1, status.st_gid)
                    self.path.chmod(0o660)
            listener.listen(16)
        except FileProblem as error:
            raise ConfigError("page.runtime_dir", str(self.path.parent), error.problem) from None
        except OSError as error:
            problem = f"cannot make the socket of the page: {error.strerror}"
            raise ConfigError("page.runtime_dir", str(self.path.parent), problem) from None
        return listener

    async def _link(self, _: web.Request) -> web.Response:
        return _json(SignInLink(url=f"{self._url}/sign-in/{self._links.make()}", good_s=int(LINK_S)))

    async def _end_sessions(self, _: web.Request) -> web.Response:
        count = self._sessions.end_all()
        self._ended()
        return _json({"ended": count})

    async def _list(self, _: web.Request) -> web.Response:
        return _json([shown(token) for token in self._tokens.all()])

    async def _create(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=AskToken)
        return _json(MadeToken(token=self._tokens.create(asked.name, acts=asked.acts, for_s=asked.for_s)))

    async def _revoke(self, request: web.Request) -> web.Response:
        try:
            self._tokens.revoke(request.match_info["name"])
        finally:  # also if the file cannot be written: this process knows the token no longer
            self._ended()
        return _json({})


def shown(token: Token) -> ShownToken:
    ends = token.ends.isoformat() if token.ends is not None else None
    return ShownToken(name=token.name, acts=token.acts, created=token.created.isoformat(), ends=ends)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except TokenProblem as error:
        return _json(api.Problem(error="invalid", message=str(error)), 409)
    except FileProblem as error:
        return _json(api.Problem(error="internal", message=error.problem), 500)
    except msgspec.MsgspecError:
        accepted = "a name of letters, digits, dots, dashes and underscores"
        return _json(api.Problem(error="invalid", message=f"accepted: {accepted}, and a time of 60 s or more"), 400)
    except web.HTTPException as error:
        return _json(api.Problem(error="invalid", message=error.reason), error.status)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=api.encode(value), content_type="application/json")
