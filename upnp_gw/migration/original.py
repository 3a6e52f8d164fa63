"""A configuration of miniupnpd, line by line: the same values for miniupnpd.conf and for OpenWrt's
``/etc/config/upnpd``.

The keys are those of miniupnpd.conf (``options.c`` of miniupnpd 2.3.11). A reader of another format gives each of
its options the key of miniupnpd.conf that means the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network

PortRange = tuple[int, int]
"""First and last port, 0 to 65535. Port 0 is none of a request."""


class Format(StrEnum):
    """The kind of a file."""

    MINIUPNPD = "miniupnpd.conf"
    UCI = "/etc/config/upnpd"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file."""

    number: int
    """1 for the first one."""
    text: str
    """As it is in the file, without spaces at its ends."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that is no permission. The same key may come again: ``listening_ip`` then has several values, any
    other key its last one."""

    key: str
    """The key of miniupnpd.conf."""
    value: str
    """As miniupnpd reads it: without spaces at its ends; what looks like a comment belongs to it."""
    line: Line


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission line. The first one that matches a request decides; if none does, the request is allowed.

    It matches if internal client, internal port and external port are in it, and the description fits the pattern.
    """

    allow: bool
    ext: PortRange
    clients: tuple[IPv4Network, ...]
    """The internal clients, disjoint prefixes; several only for a mask that is no prefix."""
    int_: PortRange
    pattern: str | None
    """A POSIX extended regular expression, without case, for the description of the request. None: any."""
    line: Line


@dataclass(frozen=True, slots=True)
class Original:
    """A configuration as it was read."""

    where: str
    """The name of the file for messages."""
    format: Format
    settings: tuple[Setting, ...] = ()
    """In the order of the file; the keys may be unknown."""
    permissions: tuple[Permission, ...] = ()
    """In the order in which miniupnpd looks at them."""
    other_lines: tuple[tuple[Line, str], ...] = ()
    """Lines that are neither, with the reason why nothing comes of them. Comments and empty lines are not there."""

    def last(self, key: str) -> Setting | None:
        """The setting that counts; None: the file has none."""
        return next((setting for setting in reversed(self.settings) if setting.key == key), None)

    def all(self, key: str) -> Iterator[Setting]:
        """Every setting of a key, in order."""
        return (setting for setting in self.settings if setting.key == key)

    @property
    def lease_file(self) -> Setting | None:
        """The setting with the path of the lease file; None: there is none."""
        return self.last("lease_file")
