"""GENA on the wire: SUBSCRIBE and UNSUBSCRIBE headers, the NOTIFY request, the subscriber's status line.

UPnP Device Architecture 1.1 section 4 (IGD section 7). Who may be notified where is decided here too: a callback
leads back to the host that subscribed and to nowhere else (SR-8, CVE-2020-12695). ``subscriptions`` holds what
was granted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from upnp_gw.model.mapping import IPAddress

TIMEOUT_MIN_S = 1800
"""The shortest time granted, and what a control point gets that asks for none (IGD section 7.3)."""
TIMEOUT_MAX_S = 86400
CALLBACK_LIMIT = 2048
"""Characters of a CALLBACK header; a longer one is refused."""
CALLBACKS_MAX = 4
"""URLs kept of one subscription: each costs up to a connection and a deadline for every message."""
LOWEST_PORT = 1024

_URL_IN_BRACKETS = re.compile(r"<([^<>]*)>")
# A host that is no literal, userinfo, a fragment, white space, controls: none of them matches.
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
    """One place to which NOTIFY goes: always an address literal of the subscriber itself."""

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
    """A new subscription is asked for."""

    callbacks: tuple[Callback, ...]
    """1 to CALLBACKS_MAX, in the subscriber's order."""
    timeout_s: int
    """Seconds to grant, TIMEOUT_MIN_S..TIMEOUT_MAX_S."""


@dataclass(frozen=True, slots=True)
class Renew:
    sid: str
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    sid: str


@dataclass(frozen=True, slots=True)
class RejectedRequest:
    """Headers that are no such request."""

    status: HTTPStatus
    reason: str
    """A short, fixed word for counters and logs."""


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """The answer to SUBSCRIBE or UNSUBSCRIBE; its body is empty. DATE and SERVER are the HTTP server's."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    sid: str | None = None
    """Set for a new subscription alone: its initial event waits until this answer has been written."""
    reason: str = ""
    """Why not: a short, fixed word for counters and logs."""


def parse_request(
    method: str, headers: Mapping[str, str], subscriber: IPAddress
) -> Subscribe | Renew | Unsubscribe | RejectedRequest:
    """What a control point asks of an event URL. ``subscriber`` is the connection's source address.

    Header names in any case; a multi-dict is read with all its values. The order of the checks is that of
    IGD section 7.1 and 7.2: 400 for headers that exclude each other (IGD-184, IGD-187), then 412.
    """
    fields: dict[str, str] = {}
    for name, value in headers.items():
        if (key := name.lower()) in _HEADERS:
            if key in fields:
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
    """The time to grant. ``Second-infinite`` and anything unreadable count as absent (IGD-182)."""
    match = _TIMEOUT.fullmatch(fields.get("timeout", ""))
    if match is None:
        return TIMEOUT_MIN_S
    digits = match[1].lstrip("0")
    requested_s = int(digits or 0) if len(digits) <= len(str(TIMEOUT_MAX_S)) else TIMEOUT_MAX_S
    return min(max(requested_s, TIMEOUT_MIN_S), TIMEOUT_MAX_S)


def parse_callbacks(text: str, subscriber: IPAddress) -> tuple[Callback, ...]:
    """The URLs of a CALLBACK header that lead to the subscriber itself, in order, without repeats (SR-8).

    The others are left out; the answer is empty where none is left. Because the host must equal the source
    address of an established connection from the LAN, no URL can name another host, a name, a loopback,
    multicast or WAN address, or us.
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
        # Not in short, octal or hexadecimal form: ipaddress takes none. A zone is the subscriber's own affair.
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
    """The whole NOTIFY request (IGD-198). ``values``: variable -> value, unescaped; names are our own."""
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
    """The status code at the head of a subscriber's answer, 100..599; None where there is none."""
    match = _STATUS_LINE.match(answer)
    return int(match[1]) if match else None
