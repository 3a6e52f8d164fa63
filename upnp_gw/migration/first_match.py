"""The answer of miniupnpd to one request: the first permission line that matches decides; none matches: allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from upnp_gw.migration.original import Permission


@dataclass(frozen=True, slots=True)
class Asked:
    """A port mapping that is asked for. Its description fits no pattern."""

    client: IPv4Address
    """The internal client."""
    ext: int
    int_: int


def first_match(permissions: Sequence[Permission], asked: Asked) -> Permission | None:
    """The line that decides; None: no line does, and the request is allowed."""
    return next((line for line in permissions if _matches(line, asked)), None)


def allows(permissions: Sequence[Permission], asked: Asked) -> bool:
    """True where miniupnpd allows it."""
    line = first_match(permissions, asked)
    return line is None or line.allow


def _matches(line: Permission, asked: Asked) -> bool:
    return (
        line.pattern is None
        and line.ext[0] <= asked.ext <= line.ext[1]
        and line.int_[0] <= asked.int_ <= line.int_[1]
        and any(asked.client in net for net in line.clients)
    )
