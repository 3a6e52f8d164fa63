"""What the bodies of the API are made of: ports, counts, times, and what is said of a field that is wrong."""

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Annotated

from msgspec import Meta

from upnp_gw.model import IPAddress, IPNetwork

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0)]

MAX_LEASE_S = 366 * 86400
"""The longest that an operator may ask for without ``permanent``; the policy's limits clamp it further."""

For = Annotated[int, Meta(ge=60, le=MAX_LEASE_S)]
"""How long a rule lasts, seconds."""


def moment(wall: float) -> datetime:
    """Wall-clock seconds as the API tells them: UTC, whole seconds."""
    return datetime.fromtimestamp(int(wall), UTC)


class FieldError(ValueError):
    """A body that fits the types but not the meaning; names the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def prefix(field: str, text: str) -> IPNetwork:
    """An address or a prefix of a body. Raises FieldError."""
    try:
        return ip_network(text)
    except ValueError:
        raise FieldError(field, "an address or a prefix such as 203.0.113.0/24") from None


def address(field: str, text: str) -> IPAddress:
    """An address of a body, without a zone. Raises FieldError."""
    try:
        found = ip_address(text)
    except ValueError:
        raise FieldError(field, "an IPv4 or IPv6 address such as 192.168.1.23") from None
    if getattr(found, "scope_id", None):
        raise FieldError(field, "an address without a zone")
    return found


def ranges_of(field: str, ports: list[int | str]) -> tuple[tuple[int, int], ...]:
    """``[443, "1024-2048"]`` -> inclusive ranges. Raises FieldError."""
    found = []
    for port in ports:
        low, _, high = str(port).partition("-")
        bounds = [
            int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0 for text in (low, high or low)
        ]
        if not 1 <= bounds[0] <= bounds[1] <= 65535:
            raise FieldError(field, "ports 1 to 65535, or ranges such as 1024-2048")
        found.append((bounds[0], bounds[1]))
    return tuple(found)
