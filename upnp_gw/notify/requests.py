"""A message as the HTTP request that one target gets. Pure."""

import hashlib
import hmac
import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote_plus, urlsplit, urlunsplit

from upnp_gw import RELEASE
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.notify.messages import Message
from upnp_gw.system.files import read_any

LARGEST_SECRET = 4096
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MARKUP = frozenset({"text/html", "text/xml", "application/xml"})
USER_AGENT = f"upnp-gw/{RELEASE}"
NTFY_TAGS = {"question": ["question"], "incident": ["rotating_light"], "double-nat": ["warning"]}


@dataclass(frozen=True, slots=True)
class Post:
    """One POST request."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Secrets:
    """The contents of a target's files."""

    signing: bytes | None = None
    token: str | None = None


def read_secrets(target: NotifyTarget) -> Secrets:
    """Raises FileProblem; a file may end with a line break."""
    signing = target.secret.encode() if target.secret is not None else None
    if target.secret_file is not None:
        signing = _content(target.secret_file)
    return Secrets(
        signing, _content(target.token_file).decode("latin-1") if target.token_file is not None else None
    )


def _content(path: Path) -> bytes:
    return read_any(path, LARGEST_SECRET).strip(b"\r\n")


def post_of(message: Message, target: NotifyTarget, secrets: Secrets, unix_s: int) -> Post:
    """``unix_s``: the time of this attempt, which is signed."""
    url, kind, body = _content_of(message, target)
    headers = {
        "Content-Type": kind,
        "User-Agent": USER_AGENT,
        "X-Upnp-Gw-Event": message.event,
        "X-Upnp-Gw-Delivery": message.id,
        **target.headers,
    }
    if secrets.signing is not None:
        headers["X-Upnp-Gw-Signature"] = signature(secrets.signing, unix_s, body)
    if secrets.token is not None:
        headers["Authorization"] = f"Bearer {secrets.token}"
    return Post(url, headers, body)


def signature(secret: bytes, unix_s: int, body: bytes) -> str:
    """``t=1800000000,v1=HEX``: HMAC-SHA-256 of the time, a full stop and the body. A receiver refuses an old time,
    so that nobody can send a recorded message again."""
    digest = hmac.new(secret, b"%d." % unix_s + body, hashlib.sha256).hexdigest()
    return f"t={unix_s},v1={digest}"


def _content_of(message: Message, target: NotifyTarget) -> tuple[str, str, bytes]:
    """URL, Content-Type and body."""
    if target.body is not None:
        kind = target.content_type or JSON
        return target.url, kind, _filled(target.body, message, _escape_of(kind))
    if target.format == "ntfy":
        return _ntfy(message, target.url)
    if target.format == "text":
        return target.url, "text/plain; charset=utf-8", f"{message.title}\n{message.text}\n".encode()
    return target.url, JSON, _json(_values(message) | {"data": message.data})


def _values(message: Message) -> dict[str, object]:
    return {
        "event": message.event,
        "id": message.id,
        "at": message.at.isoformat().replace("+00:00", "Z"),
        "title": message.title,
        "text": message.text,
        "device": message.device,
        "priority": "high" if message.urgent else "normal",
    }


def _escape_of(content_type: str) -> Callable[[str], str]:
    """A device chooses a part of the text: it must stay within its place."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON or kind.endswith("+json"):
        return lambda text: json.dumps(text, ensure_ascii=False)[1:-1]
    if kind == FORM:
        return quote_plus
    if kind in MARKUP or kind.endswith("+xml"):
        return html.escape
    return str


def _filled(template: str, message: Message, escape: Callable[[str], str]) -> bytes:
    values = {word: escape(str(value)) for word, value in _values(message).items()}
    return Template(template).safe_substitute(values).encode()


def _ntfy(message: Message, url: str) -> tuple[str, str, bytes]:
    """ntfy takes JSON at the root of its server, with the topic in it. Headers could not have every character."""
    parts = urlsplit(url)
    above, _, topic = parts.path.rstrip("/").rpartition("/")
    body = {
        "topic": topic,
        "title": message.title,
        "message": message.text,
        "priority": 4 if message.urgent else 3,
        "tags": NTFY_TAGS.get(message.event, []),
    }
    return urlunsplit((parts.scheme, parts.netloc, f"{above}/", parts.query, "")), JSON, _json(body)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
