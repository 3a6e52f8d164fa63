"""Error messages for the body or the query of a request to the API."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from upnp_gw.api.values import FieldError

PORT = "a port 1 to 65535, such as 8080"
ADDRESS = "an IPv4 or IPv6 address, such as 192.168.1.23"
PREFIX = "an address or a prefix, such as 203.0.113.0/24"
TIME = "a time with its offset, such as 2027-05-01T12:00:00Z"
TRANSPORT = '"tcp" or "udp"'
ACCEPTED: Mapping[str, str] = {
    "address": ADDRESS,
    "copies": "true or false",
    "deleted": "true or false",
    "everything": "true or false",
    "before": 'the id of a decision, such as "d17"',
    "days": "a number of days 1 to 180, such as 30",
    "description": 'a text of at most 256 characters, such as "web server"',
    "device": 'the name, MAC address or IP address of a device, such as "ps5"',
    "external_address": "an IPv4 address of the gateway, such as 198.51.100.7",
    "external_port": PORT,
    "for_s": "seconds 60 to 31622400, such as 3600",
    "history": "true or false",
    "host": ADDRESS,
    "internal_client": ADDRESS,
    "internal_port": PORT,
    "lease_s": "seconds 1 to 31622400, such as 3600",
    "leases": "a list of at most 64 leases, such as those of upnp-gw import --leases",
    "limit": "a number 1 to 10000, such as 100",
    "listeners": 'a list of at most 200, such as [{"transport": "tcp", "port": 8080}]',
    "min_days": "a number of days 1 to 60, such as 3",
    "name": 'letters, digits, dots, dashes and underscores, a letter or digit first, such as "ps5"',
    "page_port": PORT,
    "permanent": "true or false",
    "port": PORT,
    "ports": 'a list of ports and ranges, such as [443, "1024-2048"]',
    "preview": "true or false",
    "program": 'a text of at most 40 characters, such as "nginx"',
    "remember": "true or false",
    "remote_host": PREFIX,
    "remote_port": "a port 0 to 65535, such as 443; 0: any",
    "rule": 'the name of a rule, such as "console-games"',
    "since": TIME,
    "transport": TRANSPORT,
    "transports": 'a list of "tcp" and "udp", such as ["tcp"]',
    "unchanged": "true or false",
    "until": TIME,
    "verdict": '"allow", "deny", "ask" or "busy"',
    "via": '"igd1", "igd2", "natpmp", "pcp" or "operator"',
}
"""Field of a body or a query -> accepted values."""
ELEMENTS: Mapping[str, str] = {
    "leases": "transport, external_port, internal_client, internal_port, via, lease_s, remote_host, remote_port,"
    " description",
    "listeners": "transport, port, program",
}
"""Field with a list -> the fields of its elements."""

_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"^Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`$", re.DOTALL)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
LONGEST = 60
"""Characters of a value or name in a message."""


class Vocabulary(NamedTuple):
    """The words of one API."""

    accepted: Mapping[str, str]
    """Field of a body or a query -> accepted values."""
    other: str
    """In place of them, for a field that is not there."""


CONTROL = Vocabulary(ACCEPTED, "see docs/api.json")


def problem_of(
    error: msgspec.ValidationError, kind: type, given: object, words: Vocabulary = CONTROL
) -> tuple[str | None, str]:
    """The field with the error, and a message. ``given``: the body or query."""
    if isinstance(error.__cause__, FieldError):
        return error.__cause__.field, str(error.__cause__)
    match = _PLACE.match(str(error))
    problem, path = (match["problem"], match["path"] or "") if match else ("", "")
    place = f"{path}." if path else ""
    if named := _NAMED.match(problem):
        name = named["name"][:LONGEST]
        if named["how"] == "missing required":
            return f"{place}{name}", f"missing; accepted: {words.accepted.get(name, words.other)}"
        return f"{place}{name}", f"unknown; accepted: {_fields(kind, path)}"
    if not path:
        return (
            None,
            f"the body is {_shown(given)}; accepted: fields in braces, such as {{...}}: {_fields(kind, '')}",
        )
    field = re.sub(r"\[[^\]]*\]", "", path).rpartition(".")[2]
    return path, f"got {_shown(_at(given, path))}; accepted: {words.accepted.get(field, words.other)}"


def _fields(kind: type, path: str) -> str:
    """Field names of the body, or of the elements of its list of structs."""
    if path:
        return ELEMENTS[path.partition("[")[0]]
    return ", ".join(field.encode_name for field in msgspec.structs.fields(kind)) or "none"


def _at(given: Any, path: str) -> object:
    for key, index in _STEP.findall(path):
        given = given[int(index)] if index else given[key]
    return given


def _shown(value: object) -> str:
    """A JSON value, shortened; lists and objects by kind."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "fields in braces"
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
