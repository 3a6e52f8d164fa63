"""The shape of the policy file: its tables, their keys and the plain type of each. Nothing of their meaning.

``shaped`` turns parsed TOML into these structs or raises a ``ConfigError`` that names the key path, as in
``grant[2].int_ports[0]``, and what would be accepted. A key that is not here is an error (SR-30).
"""

import re
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec

from upnp_gw.errors import ConfigError
from upnp_gw.toml_text import joined

Names = str | list[str]
Ports = list[int | str]
Duration = str | int
Tables = dict[str, dict[str, Any]]


class Table(msgspec.Struct, forbid_unknown_fields=True):
    """A TOML table with known keys."""


class TopTable(Table):
    version: int
    default: str = "deny"
    mode: str = "enforce"
    limits: dict[str, Any] = {}
    device: dict[str, Any] = {}
    group: dict[str, Any] = {}
    zone: dict[str, Any] = {}
    forbid: list[dict[str, Any]] = []
    grant: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []


class ApprovedTable(Table):
    """What the gateway itself writes for the operator: names, grants and forbids, nothing else."""

    version: int
    device: dict[str, Any] = {}
    forbid: list[dict[str, Any]] = []
    grant: list[dict[str, Any]] = []


class LimitsTable(Table):
    total_mappings: int | None = None
    per_device: int | None = None
    elements_per_device: int | None = None
    requests_per_minute: int | None = None
    max_ttl: Duration | None = None
    max_hold: Duration | None = None
    incident_after: int | None = None
    on_incident: str | None = None


class DeviceTable(Table):
    mac: Names | None = None
    ip: Names | None = None
    lan: Names | None = None
    dhcp_name: str | None = None
    assure: str | None = None


class MemberList(Table):
    """One line of ``[group]`` or ``[zone]``."""

    members: list[str]


class ForbidTable(Table):
    name: str
    who: Names | None = None
    zone: str | None = None
    family: Names | None = None
    proto: Names | None = None
    int_ports: Ports | None = None
    ext_ports: Ports | None = None
    until: datetime | None = None
    owner: str = ""
    reason: str = ""


class GrantTable(Table):
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
    remote: list[str] | None = None
    remote_ports: Ports | None = None
    hours: str | None = None
    approve: bool = False
    approve_for: Duration | None = None
    until: datetime | None = None
    owner: str = ""
    reason: str = ""
    review_by: date | None = None


class CaseFrom(Table):
    device: str | None = None
    ip: str | None = None
    mac: str | None = None
    lan: str | None = None
    zone: str | None = None
    via: str = "igd1"
    holds: int = 0


class CaseRequest(Table):
    proto: str
    int_port: int = msgspec.field(name="int")
    ext: int | None = None
    ttl: Duration | None = None
    family: str | None = None
    target: str | None = msgspec.field(default=None, name="for")
    remote: str | None = None
    remote_port: int | None = None


class CaseTable(Table):
    name: str
    sender: dict[str, Any] = msgspec.field(name="from")
    request: dict[str, Any]
    want: str
    ttl: Duration | None = None
    rule: str | None = None
    at: str | None = None


T = TypeVar("T", bound=Table)

NAMES = 'one name such as "ps5", or a list such as ["ps5", "@consoles"]'
PORTS = 'a list of ports and ranges such as [443, "8000-8010"]'
TIME = 'a time such as "4h", or seconds such as 14400'
ACCEPTED = {
    "version": "1",
    "default": '"deny" or "ask"',
    "mode": '"enforce" or "observe"',
    "limits": "a table: [limits]",
    "device": 'a table for each device: [device.ps5], and in it mac = ["ac:89:95:00:00:01"]',
    "group": 'a table of lists: [group], and in it consoles = ["ps5", "xbox"]',
    "zone": 'a table of lists: [zone], and in it guest = ["192.168.20.0/24"]',
    "forbid": "a table for each rule: [[forbid]]",
    "grant": "a table for each rule: [[grant]]",
    "test": "a table for each test: [[test]]",
    "mac": 'a list of MAC addresses such as ["ac:89:95:00:00:01"]',
    "ip": 'a list of addresses such as ["192.168.1.40"]',
    "lan": 'a LAN interface such as "br-lan", or a list of them',
    "dhcp_name": 'a name such as "PS5-lounge"',
    "assure": '"ip", "mac" or "lease"',
    "name": 'a name such as "console-games"',
    "who": NAMES,
    "for": 'a list of prefixes such as ["10.0.40.0/28"]; in a test one address',
    "family": '"ip4", "ip6" or a list of both',
    "proto": '"tcp", "udp" or a list of both; in a test one of them',
    "int_ports": PORTS,
    "ext_ports": PORTS,
    "ext": '"same", "same-or-any", "any" or a range such as "40000-40100"; in a test a port such as 8080',
    "int": "a port such as 8080",
    "max_ttl": TIME,
    "max_hold": TIME,
    "approve_for": TIME,
    "ttl": TIME,
    "remote": 'a list of prefixes such as ["203.0.113.0/24"]; in a test one of them',
    "hours": 'hours such as "06:00-23:00"',
    "approve": "true or false",
    "until": "a time with its offset, such as 2027-05-01T12:00:00Z",
    "review_by": "a date, such as 2027-05-01",
    "from": 'a table such as { device = "ps5" } or { ip = "192.168.1.77" }',
    "request": 'a table such as { proto = "tcp", int = 8080, ext = 8080 }',
    "want": '"allow", "deny" or "ask"',
    "at": 'a time of day such as "12:30"',
    "via": '"igd1", "igd2", "natpmp" or "pcp"',
}
"""Key of the policy file -> what to write instead of a value of the wrong type. Any other key takes a number, or a
text, and the message says which."""
TYPES = {
    "array": "a list",
    "object": "a table",
    "str": "a text",
    "int": "a number",
    "float": "a number with a point",
    "bool": "true or false",
    "datetime": "a time",
    "date": "a date",
    "time": "a time of day",
}
"""msgspec's names of types -> ours."""

_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)


def shaped(raw: object, table: type[T], where: str, key: str) -> T:
    """The raw TOML value as this table. Raises ConfigError with the path below ``key``."""
    try:
        return msgspec.convert(raw, table)
    except msgspec.ValidationError as error:
        raise _named(str(error), table, where, key) from None


def _named(text: str, table: type[Table], where: str, key: str) -> ConfigError:
    found = _PLACE.match(text)
    problem, path = (found["problem"], found["path"] or "") if found else (text, "")
    place = f"{key}{path.removeprefix('.members')}".removeprefix(".")
    if unknown := _UNKNOWN.match(problem):
        accepted = ", ".join(field.encode_name for field in msgspec.structs.fields(table))
        return ConfigError(where, joined(place, printable(unknown[1])), f"unknown key; accepted: {accepted}")
    if missing := _MISSING.match(problem):
        return ConfigError(where, joined(place, missing[1]), "missing")
    return ConfigError(where, place, _plain(problem, place))


_EXPECTED = re.compile(r"^Expected `(.*)`, got `(.*)`$")
_INDEX = re.compile(r"(\[[^\]]*\])+$")


def _plain(problem: str, place: str) -> str:
    """msgspec's complaint about a value of the wrong type in our words: what is there, what to write."""
    found = _EXPECTED.match(problem)
    if not found:
        return problem[:1].lower() + problem[1:]
    wanted = " or ".join(TYPES.get(kind, kind) for kind in found[1].split(" | ") if kind != "null")
    key, outer = _INDEX.sub("", place).rpartition(".")[2], re.split(r"[.\[]", place, maxsplit=1)[0]
    accepted = ACCEPTED.get(outer if outer in ("group", "zone") else key, wanted)
    return f"got {TYPES.get(found[2], found[2])}; accepted: {accepted}"


def printable(text: str, longest: int = 64) -> str:
    """Text of the file as an error message may show it: cut, control characters escaped."""
    cut = text if len(text) <= longest else text[: longest - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
