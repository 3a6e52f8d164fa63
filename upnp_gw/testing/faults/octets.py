"""The places of values in the bytes of messages: for faults that change one value and leave the rest."""

import re

from upnp_gw.protocols.http.head import Head
from upnp_gw.testing.fault import Sent
from upnp_gw.testing.journal import Request

NONCE = slice(24, 36)
"""Of a PCP MAP request or answer."""


def whole(head: bytes, body: bytes) -> Sent:
    """The head with the length of this body."""
    return Sent(with_field(head, b"Content-Length", b"%d" % len(body)) + body)


def with_field(head: bytes, name: bytes, value: bytes) -> bytes:
    """The head of an answer, or a message of SSDP, with another value of a field that it has."""
    return re.sub(rb"(?i)(\r\n%b:)[^\r\n]*" % name, lambda field: field[1] + b" " + value, head)


def field_of(message: bytes, name: bytes) -> bytes:
    """The value of a field; empty: the message does not have it."""
    found = re.search(rb"(?i)\r\n%b:[ \t]*([^\r\n]*)" % name, message)
    return found[1] if found else b""


def with_argument(body: bytes, name: str, value: object) -> bytes:
    """A SOAP body with another value of an argument that it has."""
    changed = rf"(<{name}(?:\s[^<>]*)?>)[^<]*(</{name}>)".encode()
    return re.sub(changed, lambda found: found[1] + str(value).encode() + found[2], body)


def with_path(head: Head, path: str) -> Head:
    """A copy of the head with another path."""
    copy = Head(head.method, head.version, path, head.authority)
    copy.headers = head.headers
    copy.size, copy.length, copy.chunked, copy.keep_alive = head.size, head.length, head.chunked, head.keep_alive
    return copy


def is_description(request: Request | None) -> bool:
    """True for the description of a root device, whatever its path is."""
    return (
        request is not None and request.action == "GET" and "/igd" in request.path and request.path[-4:] == ".xml"
    )


def is_scpd(request: Request | None) -> bool:
    """True for the description of a service."""
    return request is not None and request.action == "GET" and "/scpd/" in request.path


def number_of(data: bytes, place: slice) -> int:
    """An unsigned number of a datagram."""
    return int.from_bytes(data[place])


def with_number(data: bytes, place: slice, number: int) -> bytes:
    """The datagram with another unsigned number."""
    return data[: place.start] + number.to_bytes(place.stop - place.start) + data[place.stop :]


def epoch_place(data: bytes) -> slice:
    """The epoch of an answer of NAT-PMP or PCP."""
    return slice(8, 12) if data[0] else slice(4, 8)


def lifetime_place(data: bytes) -> slice:
    """The lifetime of a mapping request."""
    return slice(4, 8) if data[0] else slice(8, 12)


def internal_port_place(data: bytes) -> slice:
    """The internal port of a mapping request of NAT-PMP or PCP."""
    return slice(40, 42) if data[0] else slice(4, 6)


def external_port_place(data: bytes) -> slice:
    """The suggested external port of a mapping request of NAT-PMP or PCP."""
    return slice(42, 44) if data[0] else slice(6, 8)
