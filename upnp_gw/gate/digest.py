"""The digest of a policy: it names the policy in decisions, in the store and in ``status``.

A file keeps its digest over an upgrade if it means the same. So a field that a later version adds is left out while
it has its default, and a value that version 0.1.0 had in another form is written as it was there.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, replace
from typing import Any

import msgspec

from upnp_gw.gate.hours import EVERY_DAY, Hours
from upnp_gw.gate.remote import RemoteHosts
from upnp_gw.gate.schema import Device, Forbid, Grant, Limits, Policy

_RULE = {"name", "devices", "zone", "families", "transports", "int_ports", "ext_ports", "until"}
FIRST: dict[type, frozenset[str]] = {
    Device: frozenset({"name", "macs", "addresses", "lans", "dhcp_name", "assure"}),
    Forbid: frozenset(_RULE),
    Grant: frozenset(
        {
            *(*_RULE, "targets", "external", "max_mappings", "max_ports_per_day", "max_ttl_s", "max_hold_s"),
            *("remote", "remote_ports", "hours", "approve", "approve_for_s", "owner", "reason", "review_by"),
        }
    ),
    Limits: frozenset(
        {
            *("total_mappings", "per_device", "requests_per_minute", "max_ttl_s", "max_hold_s"),
            *("incident_after", "on_incident", "elements_per_device"),
        }
    ),
}
"""The fields of version 0.1.0. They are in each digest."""


def digest(policy: Policy) -> str:
    """12 hex digits over everything that can change a verdict."""
    bare = {name: replace(device, addresses=frozenset()) for name, device in policy.devices.items()}
    later = {
        "sets": [(name, one.ranges.digest, one.max_age_s) for name, one in sorted(policy.sets.items())],
        "calendar": [*sorted(map(str, policy.calendar.dates)), *sorted(policy.calendar.yearly)],
    }
    meaning = (
        policy.default,
        policy.mode,
        _meaning(policy.limits),
        # Python does not order IPv4 and IPv6 addresses together.
        [(_meaning(bare[name]), sorted(map(str, policy.devices[name].addresses))) for name in sorted(bare)],
        [(name, sorted(policy.groups[name])) for name in sorted(policy.groups)],
        [(name, _plain(policy.zones[name].prefixes)) for name in sorted(policy.zones)],
        [_meaning(forbid) for forbid in policy.forbids],
        [_meaning(grant) for grant in policy.grants],
        *([later] if any(later.values()) else []),
    )
    return _hashed(meaning)


def basis(policy: Policy, rule: str | None) -> str:
    """12 hex digits over what an approval copies from the policy: the waiting grant and the lease limits."""
    grant = policy.grant(rule)
    found = None if grant is None else _meaning(grant)
    return _hashed((found, policy.limits.max_ttl_s, policy.limits.max_hold_s))


def _meaning(table: Device | Forbid | Grant | Limits) -> dict[str, Any]:
    """In the order of the fields, as in version 0.1.0."""
    return {one.name: _plain(_written(getattr(table, one.name), one.name)) for one in _telling(table)}


def _telling(table: Device | Forbid | Grant | Limits) -> Iterator[Field[Any]]:
    first = FIRST[type(table)]
    for one in fields(table):
        if one.name in first or one.default is MISSING or getattr(table, one.name) != one.default:
            yield one


def _written(value: object, name: str) -> object:
    if isinstance(value, Hours):
        return _hours(value)
    if isinstance(value, RemoteHosts):
        return value if value.plain is None else value.plain
    return () if value is None and name == "remote" else value


def _hours(hours: Hours) -> object:
    windows = [(sorted(one.days), one.start, one.end) for one in hours.windows]
    if len(windows) == 1 and hours.windows[0].days == EVERY_DAY:
        return windows[0][1:]
    return windows


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value, order="deterministic", enc_hook=str)


def _hashed(meaning: object) -> str:
    return hashlib.sha256(msgspec.json.encode(meaning)).hexdigest()[:12]
