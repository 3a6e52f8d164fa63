"""Says what a restore brings, before it happens: mappings, rules, identity, and what differs on this machine."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from upnp_gw import api
from upnp_gw.backup.manifest import APPROVED, CONFIG, POLICY
from upnp_gw.backup.restoring import Restore
from upnp_gw.gate.managed_file import KINDS
from upnp_gw.model.mapping import Instant, IPNetwork, Mapping, Transport, Via
from upnp_gw.text.toml import parse_tables


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping of the backup."""

    id: str
    transport: Transport
    external_port: int
    internal_client: str
    internal_port: int
    device: str
    description: str
    lease_left_s: int
    """0: it has ended."""
    operator: bool
    """The operator added it: only the floor of the gate decides about it."""
    elsewhere: bool
    """The internal client is in no network of this machine."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a restore."""

    version: str
    made_at: datetime
    host: str
    restored: list[Restored]
    ended: int
    """Mappings whose leases ended since the backup."""
    deleted: list[Restored]
    """Mappings that the present ledger does not have any more. They stay closed."""
    decisions: int
    devices: int
    openings: int
    """Ports with evidence."""
    uuid: str | None
    """None: clients see another gateway."""
    rules: str
    """The text of approved.toml."""
    lifted: list[str]
    """Rules of the present approved.toml that are not in the backup."""
    warnings: list[str]
    files: list[str]
    """Files of the operator in the backup, which are not put in place."""
    performed: bool = False
    kept: list[str] = []
    """The files that were there before, under their new names."""


def report_of(restore: Restore, present_rules: str, networks: Sequence[IPNetwork]) -> Report:
    """``present_rules``: the approved.toml of this machine; ``networks``: those of its interfaces."""
    manifest, ledger, selection, choice = restore.manifest, restore.ledger, restore.selection, restore.choice
    rules = restore.texts[APPROVED]
    return Report(
        version=manifest.version,
        made_at=manifest.made_at,
        host=manifest.host,
        restored=[_shown(row.mapping, restore.now, networks) for row in selection.restored],
        ended=len(selection.ended),
        deleted=[_shown(mapping, restore.now, networks) for mapping in selection.deleted],
        decisions=ledger.counts["decisions"],
        devices=restore.devices,
        openings=ledger.counts["evidence"],
        uuid=ledger.identity.get("uuid") if choice.identity else None,
        rules=rules,
        lifted=sorted(_names(present_rules) - _names(rules)),
        warnings=_warnings(restore, rules),
        files=[name for name in (CONFIG, POLICY) if restore.texts[name]],
    )


def _warnings(restore: Restore, rules: str) -> list[str]:
    found = []
    for grant in _tables(rules, "grant"):
        if grant.get("who") == "*":
            name = grant.get("name")
            found.append(f"the grant {name} of its {APPROVED} is for EVERY device; no command writes such a rule")
    own = _names(rules)
    found += [str(finding) for finding in restore.loaded.warnings if finding.about.rpartition(" ")[2] in own]
    if restore.texts[POLICY] and restore.texts[POLICY] != restore.loaded.text:
        found.append(
            "the policy file of this machine is not that of the backup, and decides about the mappings at the next"
            f" start; upnp-gw restore FILE --files DIR writes the other one ({POLICY}) into a directory"
        )
    return found


def _shown(mapping: Mapping, now: Instant, networks: Sequence[IPNetwork]) -> Restored:
    address = mapping.internal.address
    return Restored(
        id=mapping.id,
        transport=mapping.key.transport,
        external_port=mapping.key.external_port,
        internal_client=str(address),
        internal_port=mapping.internal.port,
        device=mapping.device,
        description=mapping.description,
        lease_left_s=max(0, round(mapping.until - now.boot)),
        operator=mapping.hold_of(Via.OPERATOR.protocol) is not None,
        elsewhere=not any(address in network for network in networks),
    )


def _names(text: str) -> set[str]:
    return {str(rule["name"]) for kind in KINDS for rule in _tables(text, kind) if "name" in rule}


def _tables(text: str, kind: str) -> list[dict[str, Any]]:
    """The tables of one kind, of a text that was checked or may be of any shape."""
    tables = parse_tables(text, APPROVED).get(kind, []) if text else []
    return [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []


def encoded(report: Report) -> bytes:
    return api.encode(report)
