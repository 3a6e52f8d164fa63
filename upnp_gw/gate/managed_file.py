"""Changes of ``approved.toml``, the policy file that the operator's commands write. Pure.

It has devices, grants and forbids, in the form of any policy file, and the same loader reads it. ``managed_edit``
makes a change in its text.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from upnp_gw.gate.portset import normalized
from upnp_gw.gate.values import seconds_of

HEADER = """\
# Written by upnp-gw for the operator's commands: name, allow, block, approve, deny, release.
# These rules are added to your policy; your own policy file is never changed. Remove a rule with
# "upnp-gw release", or delete it here.
"""
KINDS = ("forbid", "grant")
LONGEST_NAME = 40
Plain = Mapping[str, Any]
"""The keys and values of one table, as TOML has them."""


@dataclass(frozen=True, slots=True)
class ManagedText:
    """The new text of the file, and the part that was added or removed, as TOML."""

    text: str
    toml: str


@dataclass(frozen=True, slots=True)
class ManagedChange:
    """The tables to add and the rules to remove. ``devices`` replace those of the same name."""

    devices: Mapping[str, Plain]
    forbids: tuple[Plain, ...] = ()
    grants: tuple[Plain, ...] = ()
    without: frozenset[str] = frozenset()
    """Names of the forbids and grants to remove."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Old device name -> new device name; the rules of the file get the new name too."""


NOTHING: Mapping[str, Plain] = {}


def rules_of(raw: Plain, names: Collection[str]) -> ManagedChange:
    """The rules of these names, as a change that adds them: to show the rules of a removal."""
    rules = {kind: tuple(r for r in raw.get(kind, ()) if r.get("name") in names) for kind in KINDS}
    return ManagedChange(NOTHING, rules["forbid"], rules["grant"])


def ended(raw: Plain, wall: float) -> frozenset[str]:
    """The names of the rules whose end has passed. ``raw`` may be of any shape."""
    return frozenset(name for name, until in _ends(raw) if until <= wall)


def first_end(raw: Plain) -> float | None:
    """Wall-clock seconds at which the next rule ends; None: no rule has an end."""
    return min((until for _, until in _ends(raw)), default=None)


def _ends(raw: Plain) -> Iterator[tuple[str, float]]:
    """(name, wall-clock seconds) of each rule that has an end. A malformed rule has none."""
    for kind in KINDS:
        rules = raw.get(kind)
        for rule in rules if isinstance(rules, list) else ():
            until = rule.get("until") if isinstance(rule, dict) else None
            seconds = seconds_of(until) if isinstance(until, datetime) else None
            if seconds is not None and isinstance(rule.get("name"), str):
                yield rule["name"], seconds


def without_rules(raw: Plain, names: Collection[str]) -> dict[str, Any]:
    """The parsed tables without these rules."""
    if not names:
        return dict(raw)
    kept = {
        kind: [r for r in raw[kind] if not (isinstance(r, dict) and _named(r, names))]
        for kind in KINDS
        if isinstance(raw.get(kind), list)
    }
    return {**raw, **kept}


def _named(rule: Plain, names: Collection[str]) -> bool:
    """True where the rule has one of these names. The file's value may be of any type."""
    name = rule.get("name")
    return isinstance(name, str) and name in names


def toml_time(wall: float) -> datetime:
    """An end as the file writes it: UTC, whole seconds."""
    return datetime.fromtimestamp(int(wall), UTC)


def free_name(preferred: str, used: Collection[str]) -> str:
    """A name that is not in ``used``: ``wish`` with valid characters, cut to 40, numbered if necessary."""
    clean = (
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in preferred).strip("._-") or "rule"
    )
    for number in range(1, len(used) + 2):
        suffix = f"-{number}" if number > 1 else ""
        name = clean[: LONGEST_NAME - len(suffix)].rstrip("._-") + suffix
        if name not in used:
            return name
    raise AssertionError("of more names than are used, one is free")


def port_values(ports: Iterable[tuple[int, int]]) -> list[int | str]:
    """Port ranges as the file writes them: ``[443, "1024-2048"]``."""
    return [low if low == high else f"{low}-{high}" for low, high in normalized(ports)]
