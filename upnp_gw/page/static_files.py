"""The style, script and icons of the page: a fixed table, read once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from aiohttp import web

from upnp_gw.page.request_checks import refused

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
NAMES = ("style.css", "page.js", "icon.svg")
KEPT = "public, max-age=31536000, immutable"
"""The URL has a digest of the file: another version has another URL."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    body: bytes
    content_type: str
    url: str


def static_files() -> Mapping[str, StaticFile]:
    """Name -> file."""
    folder = files("upnp_gw.page").joinpath("static")
    found: dict[str, StaticFile] = {}
    for name in NAMES:
        body = folder.joinpath(name).read_bytes()
        stem, dot, ending = name.rpartition(".")
        digest = hashlib.sha256(body).hexdigest()[:12]
        found[name] = StaticFile(body, TYPES[dot + ending], f"/static/{stem}.{digest}.{ending}")
    return found


def add_static(application: web.Application, served: Mapping[str, StaticFile]) -> None:
    """Serves them. Any other name is not found: no path leads to the disk."""
    by_url = {file.url: file for file in served.values()}

    async def serve(request: web.Request) -> web.Response:
        file = by_url.get(request.path)
        if file is None:
            return refused(404, "There is no such file.")
        return web.Response(
            body=file.body, content_type=file.content_type, charset="utf-8", headers={"Cache-Control": KEPT}
        )

    application.router.add_get("/static/{name}", serve)
