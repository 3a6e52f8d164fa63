"""The shape of the policy file: its tables, their keys and the plain type of each value.
``to_table`` turns parsed TOML into these structs or raises a ``ConfigError`` that names the key path, as in
``grant[2].int_ports[0]``, and what would be accepted. A key that is not here is an error (SR-30).
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec

from upnp_gw.gate.accepted import accepted_value, format_example
from upnp_gw.model.errors import ConfigError
from upnp_gw.text.toml import describe, join_keys

Names = str | list[str]
Ports = list[int | str]
Duration = str | int
Remote = list[str] | dict[str, Any]
"""A list means ``only``."""


class TomlTable(msgspec.Struct, forbid_unknown_fields=True):
    """A TOML table with known keys."""


class TopTable(TomlTable):
    """The whole policy file."""

    version: int
    default: str = "deny"
    mode: str = "enforce"
    limits: dict[str, Any] = {}
    device: dict[str, Any] = {}
    group: dict[str, Any] = {}
    zone: dict[str, Any] = {}
    set: dict[str, Any] = {}
    holidays: list[Any] = []
    forbid: list[dict[str, Any]] = []
    grant: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    never: list[dict[str, Any]] = []
    always: list[dict[str, Any]] = []


class ApprovedTable(TomlTable):
    """approved.toml, which commands write: devices, grants and forbids."""

    version: int
    device: dict[str, Any] = {}
    forbid: list[dict[str, Any]] = []
    grant: list[dict[str, Any]] = []


class LimitsTable(TomlTable):
    """``[limits]``."""

    total_mappings: int | None = None
    per_device: int | None = None
    elements_per_device: int | None = None
    requests_per_minute: int | None = None
    max_ttl: Duration | None = None
    max_hold: Duration | None = None
    incident_after: int | None = None
    on_incident: str | None = None


class DeviceTable(TomlTable):
    """``[device.NAME]``."""

    mac: Names | None = None
    ip: Names | None = None
    lan: Names | None = None
    dhcp_name: str | None = None
    assure: str | None = None


class MemberList(TomlTable):
    """The value of a key of ``[group]`` or ``[zone]``."""

    members: list[str]


class SetTable(TomlTable):
    """``[set.NAME]``."""

    file: str
    format: str | None = None
    max_age: Duration | None = None


class RemoteTable(TomlTable):
    """``remote`` as a table."""

    only: Names | None = None
    never: Names | None = None


class ZonesTable(TomlTable):
    """``zone`` of a ``[[forbid]]`` as a table: both ends."""

    requester: str | None = msgspec.field(default=None, name="from")
    target: str | None = msgspec.field(default=None, name="for")


class ForbidTable(TomlTable):
    """``[[forbid]]``."""

    name: str
    who: Names | None = None
    zone: str | dict[str, Any] | None = None
    family: Names | None = None
    proto: Names | None = None
    int_ports: Ports | None = None
    ext_ports: Ports | None = None
    via: Names | None = None
    remote: Remote | None = None
    hours: Names | None = None
    until: datetime | None = None
    owner: str = ""
    reason: str = ""


class GrantTable(TomlTable):
    """``[[grant]]``."""

    name: str
    who: Names | None = None
    zone: str | None = None
    targets: list[str] | None = msgspec.field(default=None, name="for")
    family: Names | None = None
    proto: Names | None = None
    int_ports: Ports | None = None
    ext: str | None = None
    ext_ports: Ports | None = None
    max_mappings: int | None = None
    max_ports_per_day: int | None = None
    max_ttl: Duration | None = None
    max_hold: Duration | None = None
    remote: Remote | None = None
    remote_ports: Ports | None = None
    hours: Names | None = None
    approve: bool = False
    approve_for: Duration | None = None
    until: datetime | None = None
    owner: str = ""
    reason: str = ""
    review_by: date | None = None


class CaseFrom(TomlTable):
    """``from`` of a ``[[test]]``: the requester."""

    device: str | None = None
    ip: str | None = None
    mac: str | None = None
    lan: str | None = None
    zone: str | None = None
    nat: bool | None = None
    via: str = "igd1"
    holds: int = 0
    frozen: bool = False


class CaseRequest(TomlTable):
    """``request`` of a ``[[test]]``."""

    proto: str
    int_port: int = msgspec.field(name="int")
    ext: int | None = None
    ttl: Duration | None = None
    family: str | None = None
    target: str | None = msgspec.field(default=None, name="for")
    remote: str | None = None
    remote_port: int | None = None


class CaseTable(TomlTable):
    """``[[test]]``."""

    name: str
    sender: dict[str, Any] = msgspec.field(name="from")
    request: dict[str, Any]
    want: str
    ttl: Duration | None = None
    rule: str | None = None
    ext: int | str | Ports | None = None
    remote: Remote | None = None
    at: str | None = None
    busy: Ports | None = None
    stale: Names | None = None


T = TypeVar("T", bound=TomlTable)

_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)


def to_table(raw: object, table: type[T], where: str, key: str) -> T:
    """Converts a raw TOML value to this table. Raises ConfigError with the path below ``key``."""
    try:
        return msgspec.convert(raw, table)
    except msgspec.ValidationError as error:
        raise _config_error(str(error), raw, table, where, key) from None


def _config_error(text: str, raw: object, table: type[TomlTable], where: str, key: str) -> ConfigError:
    match = _PLACE.match(text)
    problem, path = (match["problem"], match["path"] or "") if match else (text, "")
    place = f"{key}{path.removeprefix('.members')}".removeprefix(".")
    if unknown := _UNKNOWN.match(problem):
        keys = [field.encode_name for field in msgspec.structs.fields(table)]
        problem = f"unknown key; {_meant(unknown[1], keys)}accepted: {', '.join(keys)}"
        return ConfigError(where, join_keys(place, printable(unknown[1])), problem)
    if missing := _MISSING.match(problem):
        missing_key = join_keys(place, missing[1])
        return ConfigError(where, missing_key, f"missing; write {accepted_value(missing_key)[1]}")
    accepted, line = accepted_value(place)
    return ConfigError(
        where, place, f"got {describe(_at(raw, path))}; accepted: {accepted or 'a table'}{format_example(line)}"
    )


SAME = (
    {"who", "device", "devices"},
    {"int", "int_ports", "port", "ports", "internal"},
    {"ext", "ext_ports", "external"},
    {"at", "hours", "time"},
    {"proto", "protocol", "transport"},
    {"for", "target", "to"},
    {"lease", "ttl", "max_ttl"},
    {"zone", "zones", "network"},
)
"""Keys of one meaning. One table has one of them, another table another one."""
IN_FROM = frozenset({"device", "not", "zone", "ip", "mac", "lan", "via"})
IN_REQUEST = frozenset({"proto", "int", "ext", "family", "for", "remote", "remote_port", "at"})


def _meant(word: str, keys: Sequence[str]) -> str:
    """``did you mean device? `` for a key that a table does not have; empty: nobody knows."""
    from difflib import get_close_matches  # needed only for errors

    if {"from", "request"} <= {*keys}:
        for inside, table in ((IN_FROM, "from"), (IN_REQUEST, "request")):
            if word in inside:
                return f"it belongs in {table} = {{ {word} = ... }}; "
    meant = [key for same in SAME if word in same for key in keys if key in same]
    meant += get_close_matches(word, keys, n=1, cutoff=0.6) if len(word) > 2 else []
    return f"did you mean {meant[0]}? " if meant else ""


_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def _at(raw: Any, path: str) -> Any:
    """The value at msgspec's path below a value."""
    for key, index in _STEP.findall(path):
        raw = raw[key] if key else raw[int(index)]
    return raw


def printable(text: str, longest: int = 64) -> str:
    """Text of the file for an error message: at most ``longest`` characters, control characters escaped."""
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
