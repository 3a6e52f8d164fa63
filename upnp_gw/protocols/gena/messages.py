"""GENA messages: SUBSCRIBE and UNSUBSCRIBE headers, the NOTIFY request, the subscriber's status line.

UPnP Device Architecture 1.1 section 4 (IGD section 7). A callback may lead only to the host that subscribed (SR-8,
CVE-2020-12695). ``subscriptions`` has the table of subscriptions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from upnp_gw.model.mapping import IPAddress

TIMEOUT_MIN_S = 1800
"""The shortest duration of a subscription, and the default (IGD section 7.3)."""
TIMEOUT_MAX_S = 86400
CALLBACK_LIMIT = 2048
"""Most characters of a CALLBACK header."""
CALLBACKS_MAX = 4
"""Most URLs of one subscription: each can cost a connection and a timeout for every message."""
LOWEST_PORT = 1024

_URL_IN_BRACKETS = re.compile(r"<([^<>]*)>")
# Does not match a host name, userinfo, a fragment, white space or control characters.
_CALLBACK_URL = re.compile(
    r"http://(?:\[(?P<v6>[0-9a-f:.]+)(?:%[0-9a-z_.%-]{1,32})?\]|(?P<v4>[0-9.]+))"
    r":(?P<port>[0-9]{1,5})(?P<target>/[!$-;=?-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_TIMEOUT = re.compile(r"second-([0-9]+)", re.IGNORECASE | re.ASCII)
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] +([1-5][0-9][0-9])(?![0-9])")
_HEADERS = frozenset({"sid", "nt", "callback", "timeout"})


@dataclass(frozen=True, slots=True)
class Callback:
    """A URL for NOTIFY, with the subscriber's own address as host."""

    address: IPAddress
    port: int
    """1024..65535"""
    target: str
    """Path and query, ``/`` first; visible ASCII."""

    @property
    def host(self) -> str:
        """The value of HOST."""
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A request for a new subscription."""

    callbacks: tuple[Callback, ...]
    """1 to CALLBACKS_MAX, in the subscriber's order."""
    timeout_s: int
    """Seconds to grant, TIMEOUT_MIN_S..TIMEOUT_MAX_S."""


@dataclass(frozen=True, slots=True)
class Renew:
    """A renewal. ``timeout_s``: seconds to grant, TIMEOUT_MIN_S..TIMEOUT_MAX_S (IGD-185)."""

    sid: str
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """The end of a subscription (IGD section 7.2)."""

    sid: str


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """Headers that are not a valid SUBSCRIBE or UNSUBSCRIBE."""

    status: HTTPStatus
    reason: str
    """A short, fixed word for counters and logs."""


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """The answer to SUBSCRIBE or UNSUBSCRIBE; its body is empty. DATE and SERVER are the HTTP server's."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    sid: str | None = None
    """Set only for a new subscription: its initial event waits until this answer has been written."""
    reason: str = ""
    """The reason of a refusal: a short, fixed word for counters and logs."""


def parse_request(
    method: str, headers: Mapping[str, str], subscriber: IPAddress
) -> Subscribe | Renew | Unsubscribe | RejectedRequest:
    """The request to an event URL. ``subscriber``: the source address of the connection.

    Header names are case-insensitive; of a multi-dict all values are read. The checks are in the order of IGD
    section 7.1 and 7.2: 400 for headers that exclude each other (IGD-184, IGD-187), then 412.
    """
    fields: dict[str, str] = {}
    for name, value in headers.items():
        if (key := name.lower()) in _HEADERS:
            if key in fields:  # a proxy and this server could each use another one
                return RejectedRequest(HTTPStatus.BAD_REQUEST, "duplicate-header")
            fields[key] = value.strip()
    renewal = "sid" in fields
    if (renewal or method == "UNSUBSCRIBE") and ("nt" in fields or "callback" in fields):
        return RejectedRequest(HTTPStatus.BAD_REQUEST, "incompatible-headers")
    if renewal or method == "UNSUBSCRIBE":
        if not (sid := fields.get("sid", "")):
            return RejectedRequest(HTTPStatus.PRECONDITION_FAILED, "sid-missing")
        return Unsubscribe(sid) if method == "UNSUBSCRIBE" else Renew(sid, _granted_s(fields))
    if fields.get("nt") != "upnp:event":
        return RejectedRequest(HTTPStatus.PRECONDITION_FAILED, "nt")
    if not fields.get("callback"):
        return RejectedRequest(HTTPStatus.PRECONDITION_FAILED, "callback-missing")
    if not (callbacks := parse_callbacks(fields["callback"], subscriber)):
        return RejectedRequest(HTTPStatus.PRECONDITION_FAILED, "callback-refused")
    return Subscribe(callbacks, _granted_s(fields))


def _granted_s(fields: Mapping[str, str]) -> int:
    """The duration, seconds. ``Second-infinite`` and unreadable values count as missing (IGD-182)."""
    match = _TIMEOUT.fullmatch(fields.get("timeout", ""))
    if match is None:
        return TIMEOUT_MIN_S
    digits = match[1].lstrip("0")
    requested_s = int(digits or 0) if len(digits) <= len(str(TIMEOUT_MAX_S)) else TIMEOUT_MAX_S
    return min(max(requested_s, TIMEOUT_MIN_S), TIMEOUT_MAX_S)


def parse_callbacks(text: str, subscriber: IPAddress) -> tuple[Callback, ...]:
    """The URLs of a CALLBACK header that lead to the subscriber itself, in order, without duplicates (SR-8).

    Other URLs are dropped. The host must equal the source address of an established connection from the LAN, so no
    URL can lead to another host, a host name, a loopback, multicast or WAN address, or the gateway.
    """
    if len(text) > CALLBACK_LIMIT:
        return ()
    kept: dict[Callback, None] = {}
    for url in _URL_IN_BRACKETS.findall(text):
        if (callback := _parse_callback(url.strip(), subscriber)) is not None:
            kept[callback] = None
    return tuple(kept)[:CALLBACKS_MAX]


def _parse_callback(url: str, subscriber: IPAddress) -> Callback | None:
    match = _CALLBACK_URL.fullmatch(url)
    if match is None:
        return None
    try:
        # ipaddress accepts no short, octal or hexadecimal form. A zone has a meaning only on the subscriber.
        address = ip_address(match["v6"] or match["v4"])
    except ValueError:
        return None
    if address != subscriber or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None):
        return None
    port = int(match["port"])
    if not LOWEST_PORT <= port <= 65535:
        return None
    return Callback(address, port, match["target"] or "/")


def build_notify(callback: Callback, sid: str, seq: int, values: Mapping[str, str]) -> bytes:
    """The whole NOTIFY request (IGD-198). ``values``: variable -> value, unescaped."""
    body = build_propertyset(values)
    head = (
        f"NOTIFY {callback.target} HTTP/1.1",
        f"HOST: {callback.host}",
        'CONTENT-TYPE: text/xml; charset="utf-8"',
        "NT: upnp:event",
        "NTS: upnp:propchange",
        f"SID: {sid}",
        f"SEQ: {seq}",
        f"CONTENT-LENGTH: {len(body)}",
        "CONNECTION: close",
    )
    return "\r\n".join((*head, "", "")).encode("ascii") + body


def build_propertyset(values: Mapping[str, str]) -> bytes:
    """The body of NOTIFY: variables without a namespace, values escaped once (IGD section 7.5)."""
    properties = "".join(
        f"<e:property><{name}>{escape(value, quote=False)}</{name}></e:property>\n"
        for name, value in values.items()
    )
    return (
        '<?xml version="1.0"?>\n<e:propertyset xmlns:e="urn:schemas-upnp-org:event-1-0">\n'
        f"{properties}</e:propertyset>\n"
    ).encode()


def parse_status(answer: bytes) -> int | None:
    """The status code of a subscriber's answer, 100..599; None: it has none."""
    match = _STATUS_LINE.match(answer)
    return int(match[1]) if match else None
