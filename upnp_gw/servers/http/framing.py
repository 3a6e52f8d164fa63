"""Checks of a request's head that do not depend on its path: how the message ends, and what its body may be.

``protocols.http`` has read the head. A request that it accepts may be refused here. Then the connection ends,
because the next bytes may belong to the refused request.
"""

from collections.abc import Mapping
from http import HTTPStatus

from upnp_gw.protocols.http.head import HTTP_1_0, HTTP_1_1, Head
from upnp_gw.protocols.igd.soap import BODY_MAX


class BadRequest(Exception):
    """The request is answered with a bare status. ``reason``: a short, fixed word for the counters."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


def check_framing(head: Head) -> None:
    """Raises BadRequest for an HTTP version other than 1.0 and 1.1, and for a transfer coding other than chunked
    (RFC 9112 section 6.1)."""
    if head.version not in (HTTP_1_0, HTTP_1_1):
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "version")
    if not head.chunked:
        return
    if head.version == HTTP_1_0:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "framing")
    if head.headers["Transfer-Encoding"].lower() != "chunked":
        raise BadRequest(HTTPStatus.NOT_IMPLEMENTED, "transfer-coding")


def check_body(head: Head) -> None:
    """Raises BadRequest unless the head announces a body that is read: one with a length, of at most ``BODY_MAX``
    bytes, in no other coding, and with no other expectation than ``100-continue``."""
    if head.length is None and not head.chunked:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "no-length")
    if head.length is not None and head.length > BODY_MAX:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large")
    if "content-encoding" in head.headers:
        raise BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-encoding")
    if _expectations(head) - {"100-continue"}:
        raise BadRequest(HTTPStatus.EXPECTATION_FAILED, "expectation")


def wants_continue(head: Head) -> bool:
    """True if the client waits for ``100 Continue`` before it sends the body (RFC 9110 section 10.1.1)."""
    return head.version == HTTP_1_1 and "100-continue" in _expectations(head)


def _expectations(head: Head) -> set[str]:
    return {value.strip().lower() for value in head.headers.all("expect")} - {""}
