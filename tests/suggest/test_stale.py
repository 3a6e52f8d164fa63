"""Rules and mappings that are stale, and those that are not yet."""

from dataclasses import replace
from datetime import date

from tests.fixtures.mapping_rows import mapping
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.evidence import EvidenceTable
from upnp_gw.model.mapping import DAY_S, Mapping, Usage
from upnp_gw.suggest.stale import StaleKind, find_stale

NOW, TODAY = 1_800_000_000.0, date(2027, 1, 15)
POLICY = load_text(
    """
    version = 1
    [device.ps5]
    mac = ["ac:89:95:00:00:01"]
    [device.old]
    ip = ["192.168.1.40"]
    [[grant]]
    name = "games"
    who = "ps5"
    owner = "me"
    review_by = 2027-01-14
    [[grant]]
    name = "web"
    who = "ps5"
    review_by = 2027-01-15
    """,
    "policy",
    TODAY,
).policy


def collected(since_days: float = 40, seen_days: float = 1) -> EvidenceTable:
    made = EvidenceTable()
    for grant in POLICY.grants:
        made.in_force(grant.name, NOW - since_days * DAY_S)
    for device in ("ac:89:95:00:00:01", "192.168.1.40"):
        made.seen(device, NOW - seen_days * DAY_S)
    return made


def found(
    evidence: EvidenceTable, *rows: tuple[Mapping, Usage], days: int = 30
) -> dict[tuple[StaleKind, str], str]:
    return {(one.kind, one.about): one.finding for one in find_stale(POLICY, evidence, rows, NOW, TODAY, days)}


OVERDUE = (StaleKind.REVIEW_OVERDUE, "games")


def test_a_review_is_overdue_the_day_after() -> None:
    assert found(collected(since_days=1)) == {OVERDUE: "its review was due on 2027-01-14; its owner is me"}


def test_grants_without_a_request_and_without_traffic() -> None:
    evidence = collected()
    games, web = evidence.rules["games"], evidence.rules["web"]
    games.last_matched = games.last_used = NOW - DAY_S
    assert found(evidence)[StaleKind.GRANT_UNMATCHED, "web"] == "no request ever matched it"
    web.last_matched = NOW - 31 * DAY_S
    assert found(evidence)[StaleKind.GRANT_UNMATCHED, "web"] == "no request matched it for 30 days"
    web.last_matched = NOW - DAY_S
    assert found(evidence)[StaleKind.GRANT_UNUSED, "web"] == "its mappings never carried traffic"
    web.last_used = NOW - 31 * DAY_S
    assert found(evidence)[StaleKind.GRANT_UNUSED, "web"] == "its mappings carried no traffic for 30 days"
    web.last_used = NOW - 29 * DAY_S
    assert set(found(evidence)) == {OVERDUE}
    assert (StaleKind.GRANT_UNUSED, "web") in found(evidence, days=20)


def test_devices_that_are_gone() -> None:
    evidence = collected(since_days=1)
    evidence.devices["ac:89:95:00:00:01"].last_seen = NOW - 31 * DAY_S
    del evidence.devices["192.168.1.40"]
    assert found(evidence)[StaleKind.DEVICE_GONE, "ps5"] == "it was not seen for 30 days"
    assert found(evidence)[StaleKind.DEVICE_GONE, "old"] == "it was never seen"


def test_mappings_that_stand_idle() -> None:
    old = replace(mapping(1), granted_at=NOW - 31 * DAY_S)
    new = replace(mapping(2), granted_at=NOW - 29 * DAY_S)
    used = replace(mapping(3), granted_at=NOW - 90 * DAY_S)
    idle = found(collected(1), (old, Usage()), (new, Usage()), (used, Usage(last_used=NOW - DAY_S)))
    assert set(idle) == {OVERDUE, (StaleKind.MAPPING_IDLE, old.id)}
