"""The actions of IGD towards the gateway above: arguments out, typed values in. Bounded by ``http``.

An answer that is not understood ends as ``NotServed``, a UPnPError as ``ActionRefused``.
"""

from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address

from upnp_gw.model.above import AboveRequest
from upnp_gw.model.errors import WireError
from upnp_gw.protocols.igd.control_call import ANSWER_MAX, ActionRefused, build_call, parse_answer
from upnp_gw.protocols.igd.foreign_description import ForeignService
from upnp_gw.upstream.http import post
from upnp_gw.upstream.way import Way

DESCRIPTION_CHARS = 64
LEASE_MOST_S = 604_800
"""Longest lease of a port mapping (WANIPConnection:2), seconds."""
PINHOLE_MOST_S = 86_400
"""Longest lease of a pinhole, seconds."""
PORT_MAX = 65535

NO_SUCH_ENTRY = frozenset({714, 704})

Arguments = tuple[tuple[str, str], ...]


class Holder(Enum):
    """The owner of an external port at the gateway above."""

    OURS = auto()
    ANOTHER_PORT = auto()
    """It leads to this gateway, and to another port."""
    ANOTHER_HOST = auto()
    NOBODY = auto()
    UNKNOWN = auto()
    """The gateway above does not tell."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A port mapping of the gateway above."""

    holder: Holder
    left_s: int = 0
    """Seconds of its lease; 0: it has no end, or it is not told."""


async def call(way: Way, service: ForeignService, action: str, arguments: Arguments = ()) -> dict[str, str]:
    """The answer to an action. Raises ActionRefused, WireError and OSError."""
    body = build_call(service.urn, action, arguments)
    answer = await post(way, service.place, f"{service.urn}#{action}", body, ANSWER_MAX)
    return parse_answer(answer.status, answer.body, action)


async def external_address(way: Way, service: ForeignService) -> IPv4Address | None:
    """GetExternalIPAddress; None: it has none. Raises as ``call``."""
    answer = await call(way, service, "GetExternalIPAddress")
    text = answer.get("NewExternalIPAddress", "")
    try:
        return IPv4Address(text)
    except ValueError:
        if text:
            raise WireError("bad-address") from None
        return None


async def add_port_mapping(
    way: Way, service: ForeignService, request: AboveRequest, port: int, lease_s: int
) -> None:
    """AddPortMapping. ``lease_s``: 0: without an end. Raises as ``call``."""
    await call(way, service, "AddPortMapping", _entry(request, port, lease_s))


async def add_any_port_mapping(
    way: Way, service: ForeignService, request: AboveRequest, port: int, lease_s: int
) -> int:
    """AddAnyPortMapping: the external port, 1..65535. Raises as ``call``."""
    answer = await call(way, service, "AddAnyPortMapping", _entry(request, port, lease_s))
    return number(answer.get("NewReservedPort", ""), 1, PORT_MAX)


async def entry_of(way: Way, service: ForeignService, request: AboveRequest, port: int) -> Entry:
    """GetSpecificPortMappingEntry: whose the external port is. Raises OSError."""
    try:
        answer = await call(way, service, "GetSpecificPortMappingEntry", _key(request, port))
        left_s = number(answer.get("NewLeaseDuration", ""), 0, 2**32 - 1)
        internal_port = number(answer.get("NewInternalPort", ""), 0, PORT_MAX)
    except ActionRefused as error:
        return Entry(Holder.NOBODY if error.code in NO_SUCH_ENTRY else Holder.UNKNOWN)
    except WireError:
        return Entry(Holder.UNKNOWN)
    if answer.get("NewInternalClient", "") != str(request.internal.address):
        return Entry(Holder.ANOTHER_HOST)
    ours = internal_port == request.internal.port
    return Entry(Holder.OURS if ours else Holder.ANOTHER_PORT, left_s)


async def delete_port_mapping(way: Way, service: ForeignService, request: AboveRequest, port: int) -> None:
    """DeletePortMapping. Raises as ``call``."""
    await call(way, service, "DeletePortMapping", _key(request, port))


async def add_pinhole(way: Way, service: ForeignService, request: AboveRequest, lease_s: int) -> int:
    """AddPinhole: the UniqueID, 0..65535. For the same pinhole again it is a renewal. Raises as ``call``."""
    arguments = (
        ("RemoteHost", ""),
        ("RemotePort", "0"),
        ("InternalClient", str(request.internal.address)),
        ("InternalPort", str(request.internal.port)),
        ("Protocol", str(request.transport.number)),
        ("LeaseTime", str(lease_s)),
    )
    answer = await call(way, service, "AddPinhole", arguments)
    return number(answer.get("UniqueID", ""), 0, 65535)


async def delete_pinhole(way: Way, service: ForeignService, unique_id: int) -> None:
    """DeletePinhole. Raises as ``call``."""
    await call(way, service, "DeletePinhole", (("UniqueID", str(unique_id)),))


def number(text: str, least: int, most: int) -> int:
    """Raises WireError for anything else than digits in this range."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or not least <= int(text) <= most:
        raise WireError("bad-number")
    return int(text)


def _key(request: AboveRequest, port: int) -> Arguments:
    return (
        ("NewRemoteHost", ""),
        ("NewExternalPort", str(port)),
        ("NewProtocol", request.transport.upper()),
    )


def _entry(request: AboveRequest, port: int, lease_s: int) -> Arguments:
    return (
        *_key(request, port),
        ("NewInternalPort", str(request.internal.port)),
        ("NewInternalClient", str(request.internal.address)),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", request.description[:DESCRIPTION_CHARS] or "upnp-gw"),
        ("NewLeaseDuration", str(lease_s)),
    )
