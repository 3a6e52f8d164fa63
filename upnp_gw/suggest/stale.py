"""Finds unused grants, mappings and devices, and overdue reviews."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from upnp_gw.gate.facts import ids_of
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.evidence import EvidenceTable
from upnp_gw.model.mapping import DAY_S, Mapping, Usage


class StaleKind(StrEnum):
    GRANT_UNMATCHED = "grant-unmatched"
    GRANT_UNUSED = "grant-unused"
    DEVICE_GONE = "device-gone"
    REVIEW_OVERDUE = "review-overdue"
    MAPPING_IDLE = "mapping-idle"


@dataclass(frozen=True, slots=True)
class Stale:
    """One finding."""

    kind: StaleKind
    about: str
    """The name of a grant or device, or the id of a mapping."""
    finding: str
    """One sentence."""
    since: float | None = None
    """Wall-clock seconds since when, if known."""


def find_stale(
    policy: Policy,
    evidence: EvidenceTable,
    mappings: Iterable[tuple[Mapping, Usage]],
    wall: float,
    today: date,
    days: int,
    lans: Sequence[str] = (),
) -> list[Stale]:
    """All that was unused for ``days``. ``wall``: now, seconds since the epoch; ``lans``: ``Network.lan_names``."""
    since = wall - days * DAY_S
    return [
        *_reviews(policy, today),
        *_grants(policy, evidence, since, days),
        *_devices(policy, evidence, since, days, lans),
        *_mappings(mappings, since, days),
    ]


def _reviews(policy: Policy, today: date) -> Iterator[Stale]:
    for grant in policy.grants:
        if grant.review_by is not None and grant.review_by < today:
            owner = f"; its owner is {grant.owner}" if grant.owner else ""
            yield Stale(StaleKind.REVIEW_OVERDUE, grant.name, f"its review was due on {grant.review_by}{owner}")


def _grants(policy: Policy, evidence: EvidenceTable, since: float, days: int) -> Iterator[Stale]:
    """Grants that were in force for ``days`` without a request or without traffic."""
    for grant in policy.grants:
        known = evidence.rules.get(grant.name)
        if known is None or known.since > since:
            continue
        if known.last_matched is None:
            yield Stale(StaleKind.GRANT_UNMATCHED, grant.name, "no request ever matched it", known.since)
        elif known.last_matched <= since:
            sentence = f"no request matched it for {days} days"
            yield Stale(StaleKind.GRANT_UNMATCHED, grant.name, sentence, known.last_matched)
        elif (known.last_used or known.since) <= since:
            never = "never carried traffic" if known.last_used is None else f"carried no traffic for {days} days"
            yield Stale(StaleKind.GRANT_UNUSED, grant.name, f"its mappings {never}", known.last_used or known.since)


def _devices(
    policy: Policy, evidence: EvidenceTable, since: float, days: int, lans: Sequence[str]
) -> Iterator[Stale]:
    for device in policy.devices.values():
        seen = [evidence.devices[i].last_seen for i in ids_of(device, lans) if i in evidence.devices]
        if not seen:
            yield Stale(StaleKind.DEVICE_GONE, device.name, "it was never seen")
        elif max(seen) <= since:
            yield Stale(StaleKind.DEVICE_GONE, device.name, f"it was not seen for {days} days", max(seen))


def _mappings(mappings: Iterable[tuple[Mapping, Usage]], since: float, days: int) -> Iterator[Stale]:
    for mapping, usage in mappings:
        used = max(mapping.granted_at, usage.last_used or 0.0)
        if used <= since:
            key = mapping.key
            port = f"{key.transport} {key.external_port} to {mapping.internal}"
            yield Stale(StaleKind.MAPPING_IDLE, mapping.id, f"{port} carried nothing for {days} days", used)
