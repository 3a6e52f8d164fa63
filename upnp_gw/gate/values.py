"""Reads the values of the policy file: durations, port sets, addresses, names; ``read_times``: hours and dates.

Each function makes a typed value of a text, or raises a ``ConfigError`` with the key path of the text.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import TypeVar

from upnp_gw.gate.accepted import FREE_NAME, accepted_value, format_example
from upnp_gw.gate.decision import PortRanges
from upnp_gw.gate.portset import normalized
from upnp_gw.model.device import is_interface, is_mac
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import DAY_S, IPAddress, IPNetwork
from upnp_gw.text.toml import as_toml, join_keys

UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY_S, "w": 7 * DAY_S}
LONGEST_S = 366 * UNITS["d"]

FIRST_MOMENT = datetime(1, 1, 1, tzinfo=UTC).timestamp()
AFTER_LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1

_DURATION = re.compile(r"([0-9]{1,8})([smhdw])")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

HOW_TO_NAME = {
    "device": '[device.ps5] and mac = ["ac:89:95:00:00:01"]',
    "group": '[group] and consoles = ["ps5"]',
    "zone": '[zone] and guest = ["192.168.20.0/24"]',
    "set": '[set.office] and file = "office.txt"',
}

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class KeyPath:
    """A file and a key path in it."""

    where: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.key} in {self.where}"

    def at(self, key: str | int) -> "KeyPath":
        """The path of a key, or of an index of a list, below this one."""
        return KeyPath(self.where, f"{self.key}[{key}]" if isinstance(key, int) else join_keys(self.key, key))

    def wrong(self, value: object, accepted: str = "", example: bool = True) -> ConfigError:
        """The error for a wrong value. ``accepted`` empty: the text of ``gate.accepted``. ``example``: add a
        line."""
        usual, line = accepted_value(self.key)
        return self.fail(
            f"got {as_toml(value)}; accepted: {accepted or usual}{format_example(line if example else '')}"
        )

    def empty(self, means: str) -> ConfigError:
        """The error for an empty list. ``means``: its meaning, and the remedy."""
        return self.fail(f"empty{means}{format_example(accepted_value(self.key)[1])}")

    def fail(self, problem: str) -> ConfigError:
        """The error for this key."""
        return ConfigError(self.where, self.key, problem)


def known_names(kind: str, names: Mapping[str, object], mark: str = "") -> str:
    """The existing names for an error message, at most 12; if there are none, how to add one. ``mark``: written
    before each name."""
    if not names:
        return f"a {kind} of this file, which has none yet: add {HOW_TO_NAME[kind]}"
    listed = ", ".join(mark + name for name in sorted(names)[:12])
    return f"a {kind} of this file: {listed}"


def if_set(value: V | None, read: Callable[[V, KeyPath], T], place: KeyPath) -> T | None:
    """``read(value, place)``; None where the key is not set."""
    return None if value is None else read(value, place)


def read_duration_s(value: str | int, place: KeyPath) -> int:
    """``4h``, or 14400 -> seconds, 1 s to 366 days."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        seconds = int(match[1]) * UNITS[match[2]] if match else 0
    else:
        seconds = value
    if not 1 <= seconds <= LONGEST_S:
        raise place.wrong(value)
    return seconds


def read_optional_duration_s(value: str | int | None, place: KeyPath) -> int | None:
    """As ``read_duration_s``; None where the key is not set."""
    return None if value is None else read_duration_s(value, place)


def duration_text(seconds: int) -> str:
    """The shortest form of a duration: 14400 -> ``4h``. Weeks are shown as days."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % UNITS[unit] == 0:
            return f"{seconds // UNITS[unit]}{unit}"
    return f"{seconds}s"


def read_ports(values: Sequence[int | str], place: KeyPath) -> PortRanges:
    """``[443, "137-139"]`` -> ranges; an empty list is an error."""
    if not values:
        raise place.empty(", so it would match nothing; leave it out or name ports")
    return normalized(_port_range(value, place.at(index)) for index, value in enumerate(values))


def _port_range(value: int | str, place: KeyPath) -> tuple[int, int]:
    match = _PORTS.fullmatch(str(value))
    low = int(match[1]) if match else 0
    high = int(match[2]) if match and match[2] else low
    if not 1 <= low <= high <= 65535:
        raise place.wrong(value, "ports 1 to 65535, and ranges in quotes")
    return low, high


def read_port(value: int, place: KeyPath) -> int:
    """A port 1 to 65535. Raises ConfigError."""
    if not 1 <= value <= 65535:
        raise place.wrong(value, "a port 1 to 65535")
    return value


def read_number(value: int, low: int, high: int, place: KeyPath) -> int:
    """A number from ``low`` to ``high``. Raises ConfigError."""
    if not low <= value <= high:
        raise place.wrong(value, f"a number {low} to {high}")
    return value


def read_time(value: datetime, place: KeyPath) -> float:
    """A time with its offset -> wall-clock seconds."""
    seconds = seconds_of(value)
    if seconds is None:
        raise place.wrong(value)
    return seconds


def seconds_of(value: datetime) -> float | None:
    """Wall-clock seconds of a time with an offset. None: it has no offset, or lies outside the years 1 to 9999 in
    UTC, which Python cannot show."""
    if value.tzinfo is None:
        return None
    seconds = value.timestamp()
    return seconds if FIRST_MOMENT <= seconds < AFTER_LAST_MOMENT else None


def read_address(text: str, place: KeyPath) -> IPAddress:
    """An IPv4 or IPv6 address. Raises ConfigError."""
    try:
        if "%" not in text:
            return ip_address(text)
    except ValueError:
        pass
    raise place.wrong(text, "an IPv4 or IPv6 address without a zone")


def read_prefix(text: str, place: KeyPath) -> IPNetwork:
    """An address or a prefix without host bits. Raises ConfigError."""
    try:
        if "%" not in text:
            return ip_network(text)
    except ValueError:
        pass
    raise place.wrong(text, "an address, or a prefix without host bits")


def read_mac(text: str, place: KeyPath) -> str:
    """A MAC address in lower case with colons; dashes are accepted too."""
    value = text.lower().replace("-", ":")
    if not is_mac(value):
        raise place.wrong(text, "a MAC address")
    return value


def read_lan(text: str, place: KeyPath) -> str:
    """An interface, or ``*`` for any."""
    if not is_interface(text):
        raise place.wrong(text, 'a LAN interface of the gateway, or "*" for any')
    return text


def read_name(text: str, place: KeyPath) -> str:
    """A name of a device or rule: ASCII, at most 40 characters."""
    if not _NAME.fullmatch(text):
        raise place.wrong(text, f'{FREE_NAME}, such as "ps5-lounge"', example=False)
    return text


def read_choice(text: str, kind: type[E], place: KeyPath, *excluded: E) -> E:
    """A member of an enum by its value. Raises ConfigError."""
    choices = {member.value: member for member in kind if member not in excluded}
    if text not in choices:
        raise place.wrong(text, quoted_choices(choices), example=False)
    return choices[text]


def quoted_choices(words: Iterable[str]) -> str:
    """``"tcp" or "udp"``."""
    *most, last = [f'"{word}"' for word in words]
    return f"{', '.join(most)} or {last}" if most else last


def read_choices(texts: str | list[str], kind: type[E], place: KeyPath) -> frozenset[E]:
    """Members of an enum, from one value or a list of them. Raises ConfigError."""
    values = as_list(texts)
    if not values:
        raise place.empty(f", so it would match nothing; accepted: {quoted_choices(kind)}")
    spots = [place if isinstance(texts, str) else place.at(index) for index in range(len(values))]
    return frozenset(read_choice(text, kind, spot) for text, spot in zip(values, spots, strict=True))


def as_list(texts: str | list[str]) -> list[str]:
    """One string counts as a list of one."""
    return [texts] if isinstance(texts, str) else texts
