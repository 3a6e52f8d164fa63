"""The evidence book: bounded whatever comes, the used kept longest; and its rows on disk."""

import sqlite3
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upnp_gw.ledger import evidence
from upnp_gw.ledger.evidence import (
    KEEP_S,
    MOST_DAYS,
    MOST_PORTS,
    MOST_REMOTES,
    DeviceEvidence,
    Evidence,
    EvidenceKey,
    EvidenceTable,
    RuleEvidence,
)
from upnp_gw.model.mapping import DAY_S, Transport
from upnp_gw.store import evidence_rows
from upnp_gw.store.store import Store

NOW = 1_800_000_000.0


def opening(port: int, device: str = "a") -> EvidenceKey:
    return EvidenceKey(device, Transport.TCP, 4, port)


def test_a_device_that_asks_for_everything_loses_its_own_unused_rows_first() -> None:
    table = EvidenceTable()
    table.row(opening(1, "b"), NOW)
    table.row(opening(1), NOW)
    table.talked(opening(1), 5, None)
    for port in range(2, 5000):
        table.row(opening(port), NOW + port)
    assert len([key for key in table.openings if key.device == "a"]) <= MOST_PORTS
    assert opening(1) in table.openings, "it carried traffic"
    assert opening(4999) in table.openings
    assert opening(1, "b") in table.openings


def test_a_crowd_of_devices_pushes_out_the_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = EvidenceTable()
    table.openings.most = table.devices.most = 64
    table.row(opening(1), NOW)
    table.talked(opening(1), 5, None)
    table.incident("a", NOW)
    for number in range(1000):
        table.row(opening(1, f"d{number}"), NOW + number)
        table.seen(f"d{number}", NOW + number)
    assert len(table.openings) <= 64
    assert len(table.devices) <= 64
    assert opening(1) in table.openings
    assert table.devices["a"].incidents == 1, "an incident is not dropped"


def test_days_and_remote_hosts_are_bounded() -> None:
    table = EvidenceTable()
    row = table.row(opening(1), NOW)
    for day in range(200):
        table.talked(opening(1), day, [IPv4Address(day)])
    assert row.days == tuple(range(200 - MOST_DAYS, 200))
    assert len(row.remotes) == MOST_REMOTES
    assert row.more_remotes


def test_a_port_without_a_request_is_no_evidence() -> None:
    table = EvidenceTable()
    table.used(opening(1), NOW, 1, 1)
    table.talked(opening(1), 1, None)
    table.stood(opening(1), 10, 1)
    assert not table.openings


def test_the_old_is_forgotten() -> None:
    table = EvidenceTable()
    table.row(opening(1), NOW)
    table.row(opening(2), NOW)
    table.used(opening(2), NOW + DAY_S, 1, 1)
    table.seen("a", NOW)
    table.in_force("games", NOW)
    table.pop_changes()
    table.prune(NOW + KEEP_S + 1)
    assert set(table.openings) == {opening(2)}
    changes = table.pop_changes()
    assert (changes.gone, changes.gone_devices, changes.gone_rules) == ([opening(1)], ["a"], ["games"])


def test_changes_that_the_store_did_not_write_are_written_again() -> None:
    table = EvidenceTable()
    table.row(opening(1), NOW)
    table.seen("a", NOW)
    table.in_force("games", NOW)
    changes = table.pop_changes()
    assert changes
    assert not table.pop_changes()
    table.put_back(changes)
    assert table.pop_changes() == changes


def test_a_row_may_be_dropped_or_made_anew_while_the_store_fails() -> None:
    table = EvidenceTable()
    table.row(opening(1), NOW)
    table.row(opening(2), NOW)
    table.pop_changes()
    table.openings.drop([opening(2)])
    table.row(opening(1), NOW)
    changes = table.pop_changes()
    table.openings.drop([opening(1)])
    table.row(opening(2), NOW)
    table.put_back(changes)
    again = table.pop_changes()
    assert [row.opening for row in again.openings] == [opening(2)]
    assert again.gone == [opening(1)]


def test_a_row_that_was_never_written_leaves_nothing_to_delete() -> None:
    """A device that asks for thousands of ports within a minute makes as many rows, most of which are dropped."""
    table = EvidenceTable()
    table.row(opening(1), NOW)
    table.pop_changes()
    table.openings.drop([opening(1)])
    for port in range(2, 1000):
        table.row(opening(port), NOW + port)
    changes = table.pop_changes()
    assert changes.gone == [opening(1)]
    assert [row.opening for row in changes.openings] == list(table.openings)


@example(["make", "begin", "written", "drop", "make", "drop"])
@example(["make", "begin", "written", "drop", "begin", "make", "failed", "drop"])
@example(["make", "begin", "half", "drop", "make", "drop"])
@given(st.lists(st.sampled_from(["make", "drop", "begin", "written", "half", "failed"])))
def test_after_the_next_write_the_store_has_the_rows(steps: list[str]) -> None:
    """Whatever was dropped and made anew before, while a write was under way, and after one that failed."""
    table, disk = EvidenceTable(), set[EvidenceKey]()
    under_way: evidence.Changes | None = None

    def write(changes: evidence.Changes) -> None:
        disk.update(row.opening for row in changes.openings)
        disk.difference_update(changes.gone)

    for step in [*steps, "written", "begin", "written"]:
        if step == "make":
            table.row(opening(1), NOW)
        elif step == "drop":
            table.openings.drop(list(table.openings))
        elif under_way is None:
            under_way = table.pop_changes() if step == "begin" else None
        elif step != "begin":
            if step == "written":
                write(under_way)
            elif step == "half":
                write(evidence.Changes(under_way.openings))
            if step != "written":
                table.put_back(under_way)
            under_way = None
    assert disk == set(table.openings)


def test_a_changed_row_holds_its_key_once() -> None:
    """The openings of all mappings change with each reading of the counters."""
    table = EvidenceTable()
    table.row(opening(1), NOW)
    table.pop_changes()
    for change in (
        lambda key: table.row(key, NOW),
        lambda key: table.used(key, NOW, 1, 1),
        lambda key: table.talked(key, 1, None),
        lambda key: table.stood(key, 1.0, 1),
    ):
        change(opening(1))
        ((changed, _),), ((key, _),) = table.openings.changed.items(), table.openings.items()
        assert changed is key
        table.pop_changes()


def test_changes_are_written_in_portions() -> None:
    """A batch of the writer waits for one portion, not for thousands of rows."""
    table = EvidenceTable()
    for port in range(1, 8):
        table.row(opening(port), NOW)
    whole = evidence.Changes(table.pop_changes().openings, gone=[opening(9)], gone_rules=["games"])
    portions = list(evidence_rows.portions(whole, 3))
    assert [len(each.openings) for each in portions] == [3, 3, 1, 0, 0]
    assert portions[3].gone == whole.gone
    assert portions[4].gone_rules == whole.gone_rules
    assert [row for each in portions for row in each.openings] == whole.openings
    assert not list(evidence_rows.portions(evidence.Changes()))


@pytest.mark.parametrize("written", range(5))
def test_a_kill_between_two_portions_loses_nothing_of_a_renamed_device(written: int) -> None:
    """The next start has all rows, with their counts until the kill, and deletes the old ones."""
    database = sqlite3.connect(":memory:")
    database.executescript(evidence_rows.SCHEMA)
    before = EvidenceTable()
    for port in (1, 2):
        before.row(opening(port), NOW).requests = 1
    before.seen("a", NOW, held=3)
    evidence_rows.write_evidence(database, before.pop_changes())

    def start() -> EvidenceTable:
        table = EvidenceTable()
        table.load(*evidence_rows.load_evidence(database), lambda device: {"a": "A", "z": "a"}.get(device, device))
        return table

    renamed = start()
    for row in renamed.openings.values():
        row.requests = 2
    renamed.devices["A"].peak = 4
    portions = list(evidence_rows.portions(renamed.pop_changes(), 1))
    assert len(portions) == 6
    for portion in portions[:written]:
        evidence_rows.write_evidence(database, portion)
    again = start()
    assert [row.requests for row in again.openings.values()] == [2] * min(written, 2) + [1] * (2 - min(written, 2))
    assert set(again.openings) == {opening(1, "A"), opening(2, "A")}
    assert again.devices["A"].peak == (4 if written > 2 else 3)
    for portion in evidence_rows.portions(again.pop_changes(), 1):
        evidence_rows.write_evidence(database, portion)
    found, seen, _ = evidence_rows.load_evidence(database)
    assert {row.opening for row in found} == {opening(1, "A"), opening(2, "A")}
    assert [row.device for row in seen] == ["A"]
    database.close()


def test_a_key_that_another_row_has_after_a_rename_is_not_deleted() -> None:
    table = EvidenceTable()
    rows = [Evidence(opening(1, "a"), NOW, NOW, 1), Evidence(opening(1, "b"), NOW, NOW + 1, 2)]
    seen = [DeviceEvidence("a", NOW, NOW), DeviceEvidence("b", NOW, NOW + 1)]
    table.load(rows, seen, [], {"a": "b", "b": "c"}.__getitem__)
    changes = table.pop_changes()
    assert {row.opening.device: row.requests for row in changes.openings} == {"b": 1, "c": 2}
    assert changes.gone == [opening(1, "a")]
    assert changes.gone_devices == ["a"]


def test_a_burst_is_twelve_ports_in_ten_minutes() -> None:
    table = EvidenceTable()
    for port in range(11):
        table.ungranted("slow", port, NOW + port * 100, 12)
        table.ungranted("same", 7, NOW + port, 12)
        table.ungranted("fast", port, NOW + port, 12)
    assert not table.devices
    table.ungranted("slow", 99, NOW + 1100, 12)
    table.ungranted("same", 7, NOW + 12, 12)
    table.ungranted("fast", 99, NOW + 12, 12)
    assert {device for device, row in table.devices.items() if row.incidents} == {"fast"}


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
moments = st.floats(0, 4e9)
counts = st.integers(0, 2**60)
openings = st.builds(
    EvidenceKey, texts, st.sampled_from(list(Transport)), st.sampled_from([4, 6]), st.integers(1, 65535)
)
rows = st.builds(
    Evidence,
    opening=openings,
    first_asked=moments,
    last_asked=moments,
    requests=counts,
    refused=counts,
    ungranted=counts,
    renewals=counts,
    granted_s=moments,
    connections=counts,
    bytes=counts,
    last_used=st.none() | moments,
    days=st.lists(st.integers(1, 10**6)).map(tuple),
    remotes=st.frozensets(st.ip_addresses()),
    more_remotes=st.booleans(),
    externals=st.frozensets(st.integers(1, 65535)).map(sorted).map(tuple),
    vias=st.frozensets(st.sampled_from(["igd1", "pcp"])).map(sorted).map(tuple),
    peak=counts,
    delegated=st.booleans(),
)
devices = st.builds(DeviceEvidence, texts, moments, moments, counts, counts, st.none() | moments)
rules = st.builds(RuleEvidence, texts, moments, moments, counts, st.none() | moments, st.none() | moments)


@given(
    st.lists(rows, unique_by=lambda row: row.opening, max_size=4),
    st.lists(devices, unique_by=lambda row: row.device, max_size=3),
    st.lists(rules, unique_by=lambda row: row.rule, max_size=3),
)
def test_rows_on_disk_are_the_rows(
    found: list[Evidence], seen: list[DeviceEvidence], known: list[RuleEvidence]
) -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(evidence_rows.SCHEMA)
    changes = evidence.Changes(found, seen, known)
    for _ in range(2):
        evidence_rows.write_evidence(database, changes)
    loaded = evidence_rows.load_evidence(database)
    assert sorted(loaded[0], key=lambda row: row.opening) == sorted(found, key=lambda row: row.opening)
    assert sorted(loaded[1], key=lambda row: row.device) == sorted(seen, key=lambda row: row.device)
    assert sorted(loaded[2], key=lambda row: row.rule) == sorted(known, key=lambda row: row.rule)
    removed = [row.opening for row in found], [row.device for row in seen], [row.rule for row in known]
    evidence_rows.write_evidence(database, evidence.Changes([], [], [], *removed))
    assert evidence_rows.load_evidence(database) == ([], [], [])
    database.close()


async def test_the_store_keeps_it(tmp_path: Path) -> None:
    table = EvidenceTable()
    table.row(opening(1), NOW).requests = 3
    table.seen("a", NOW, held=2)
    for _ in range(2):  # the tables are there the second time
        store = Store(tmp_path / "ledger.db", "boot")
        await store.open()
        await store.write_evidence(table.pop_changes())
        found, seen, _ = await store.evidence()
        await store.close()
    assert [row.requests for row in found] == [3]
    assert [row.peak for row in seen] == [2]


def test_it_is_kept_for_a_shorter_time_on_demand_and_forgotten_by_device() -> None:
    table = EvidenceTable(DAY_S)
    table.row(opening(1), NOW)
    table.row(opening(1, "b"), NOW)
    table.seen("a", NOW)
    table.seen("b", NOW)
    table.in_force("games", NOW)
    table.forget({"a"})
    assert (set(table.openings), set(table.devices), set(table.rules)) == ({opening(1, "b")}, {"b"}, {"games"})
    table.prune(NOW + DAY_S + 1)
    assert not table.openings
    table.in_force("games", NOW)
    table.forget(None)
    assert not table.rules
