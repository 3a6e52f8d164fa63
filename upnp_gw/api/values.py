"""Ports, counts, times and addresses in bodies of the API, and the error for a wrong field."""

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Annotated

from msgspec import Meta

from upnp_gw.model.mapping import DAY_S, IPAddress, IPNetwork

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0)]

MAX_LEASE_S = 366 * DAY_S
"""Seconds: the longest lease without ``permanent``; the limits of the policy can shorten it."""

For = Annotated[int, Meta(ge=60, le=MAX_LEASE_S)]
"""The duration of a rule in seconds."""


def moment(wall: float) -> datetime:
    """Wall-clock seconds -> a time in UTC, whole seconds."""
    return datetime.fromtimestamp(int(wall), UTC)


class FieldError(ValueError):
    """A body or a query with an error. ``field``: the field with the error; None: the whole."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


_PORTS = 'accepted: ports 1 to 65535, and ranges, such as [443, "1024-2048"]'
_PREFIX = "accepted: an address or a prefix such as 203.0.113.0/24"
_ADDRESS = "accepted: an IPv4 or IPv6 address such as 192.168.1.23"


def _shown(text: str) -> str:
    """A text, shortened and printable."""
    cut = text if len(text) <= 60 else text[:57] + "..."
    return '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut) + '"'


def prefix(field: str, text: str) -> IPNetwork:
    """An address or a prefix of a body. Raises FieldError."""
    try:
        return ip_network(text)
    except ValueError:
        raise FieldError(field, f"got {_shown(text)}; {_PREFIX}") from None


def address(field: str, text: str) -> IPAddress:
    """An address of a body, without a zone. Raises FieldError."""
    try:
        parsed = ip_address(text)
    except ValueError:
        raise FieldError(field, f"got {_shown(text)}; {_ADDRESS}") from None
    if getattr(parsed, "scope_id", None):
        raise FieldError(field, f"got {_shown(text)}; {_ADDRESS}, without a zone")
    return parsed


def ranges_of(field: str, ports: list[int | str]) -> tuple[tuple[int, int], ...]:
    """``[443, "1024-2048"]`` -> inclusive ranges. Raises FieldError."""
    ranges = []
    for port in ports:
        low, _, high = str(port).partition("-")
        bounds = [
            int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0 for text in (low, high or low)
        ]
        if not 1 <= bounds[0] <= bounds[1] <= 65535:
            given = _shown(port) if isinstance(port, str) else port
            raise FieldError(field, f"got {given}; {_PORTS}")
        ranges.append((bounds[0], bounds[1]))
    return tuple(ranges)
