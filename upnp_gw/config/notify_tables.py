"""``[[notify]]``: who is told what, and how. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from upnp_gw.config.values import InvalidValue
from upnp_gw.model.errors import ConfigError

EVENTS = ("question", "incident", "new-device", "first-mapping", "policy-refused", "double-nat")
"""Events of the control API that can be told."""
FORMATS = ("json", "ntfy", "text")
PLACEHOLDERS = ("event", "title", "text", "at", "device", "priority")
"""Words that ``body`` can have, as ``$title``."""
OWN_HEADERS = frozenset({"content-length", "host", "transfer-encoding", "connection", "authorization"})
LONGEST_BODY = 4000
SHORTEST_SECRET = 5
"""Characters of a part of a URL. A shorter one is nobody's secret, and its replacement would spoil messages."""


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """One ``[[notify]]``."""

    url: str
    """http or https."""
    events: tuple[str, ...] = EVENTS
    format: str = "json"
    """json: our own object; ntfy: a message for the topic at the end of the URL; text: plain text."""
    body: str | None = None
    """A text with placeholders in place of a format."""
    content_type: str | None = None
    """Of ``body``; None: JSON. The placeholders' values are escaped for JSON, forms, HTML and XML."""
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = None
    """Key of the signature; None: see ``secret_file``, without both no signature."""
    secret_file: Path | None = None
    token_file: Path | None = None
    """A file with a token for ``Authorization: Bearer``."""
    ca_file: Path | None = None
    """Certificates that are trusted in place of the system's, PEM."""

    @property
    def shown(self) -> str:
        """Scheme, host and port. The path is often a secret: the topic of ntfy, the id of a webhook."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def without_path(self, text: str) -> str:
        """The text for a log: receivers repeat the path of a request, and errors the URL."""
        parts = urlsplit(self.url)
        last = parts.path.rstrip("/").rpartition("/")[2]
        query = f"{parts.path}?{parts.query}" if parts.query else ""
        for secret in (query, parts.path, parts.query, last):
            if len(secret) >= SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text


PATHS = ("secret_file", "token_file", "ca_file")


def target_url(value: object) -> str:
    accepted = "an http or https URL"
    if not isinstance(value, str):
        raise InvalidValue(accepted)
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - raises for a wrong port
    except ValueError:
        raise InvalidValue(accepted) from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not value.isascii()
        or not value.isprintable()
    ):
        raise InvalidValue(accepted)
    if parts.username is not None or parts.fragment or " " in value:
        raise InvalidValue(f"{accepted} without a user and without #")
    return value


def template(value: object) -> str:
    """A text with ``$`` words of ``PLACEHOLDERS``; ``$$`` is a dollar sign."""
    from string import Template

    accepted = f"a text of at most {LONGEST_BODY} characters with {', '.join('$' + word for word in PLACEHOLDERS)}"
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_BODY:
        raise InvalidValue(accepted)
    made = Template(value)
    if not made.is_valid() or not set(made.get_identifiers()) <= set(PLACEHOLDERS):
        raise InvalidValue(f"{accepted}; a dollar sign is written as $$")
    return value


def header_table(value: object) -> dict[str, str]:
    accepted = "a table of header names and texts"
    if not isinstance(value, dict):
        raise InvalidValue(accepted)
    for name, text in value.items():
        word = name.replace("-", "").replace("_", "")
        if not word.isascii() or not word.isalnum() or name.lower() in OWN_HEADERS:
            raise InvalidValue(f"{accepted}; of names that the page does not set itself")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise InvalidValue(f"{accepted}; texts of printable ASCII characters")
    return dict(value)


def made_target(where: str, place: str, given: Mapping[str, Any]) -> NotifyTarget:
    """The target of one table. ``place``: its key path. Raises ConfigError."""
    if "url" not in given:
        raise ConfigError(where, f"{place}.url", 'missing; write url = "https://ntfy.sh/my-topic"')
    target = NotifyTarget(**given)
    if target.secret is not None and target.secret_file is not None:
        raise ConfigError(where, f"{place}.secret", "secret and secret_file are given; accepted: one of the two")
    if target.body is not None and "format" in given:
        raise ConfigError(where, f"{place}.format", "format and body are given; accepted: one of the two")
    if target.content_type is not None and target.body is None:
        raise ConfigError(where, f"{place}.content_type", "there is no body; accepted: content_type beside body")
    if target.format == "ntfy" and not urlsplit(target.url).path.strip("/"):
        raise ConfigError(
            where, f"{place}.url", "the topic is missing; accepted: a URL such as https://ntfy.sh/my-topic"
        )
    if target.token_file is not None and target.url.startswith("http:") and not _near(target.url):
        raise ConfigError(
            where, f"{place}.token_file", "the token would be sent in the clear; accepted: an https URL"
        )
    return target


def _near(url: str) -> bool:
    """True if the host is this machine."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
