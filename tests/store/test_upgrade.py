"""A store of schema 5, with the decisions as JSON, keeps all its rows, and ``explain`` says the same."""

import json
import sqlite3
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import ROOT
from tests.fixtures.mapping_rows import NOW
from tests.store.test_store import record
from upnp_gw.model.mapping import Hold, RemotePeers, Via
from upnp_gw.model.records import RecordFilter
from upnp_gw.store import upgrade
from upnp_gw.store.store import Batch, Store
from upnp_gw.store.upgrade import STORED_NAMES


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """As the last version with schema 5 left it."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db, db:
        text = (ROOT / "tests" / "store" / "schema_5.sql").read_text("utf-8")
        db.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {text} COMMIT; PRAGMA user_version = 5;")
    return path


def bodies(path: Path) -> list[dict[str, Any]]:
    """The decisions as that version stored them, newest first."""
    with closing(sqlite3.connect(path)) as db:
        return [json.loads(body) for (body,) in db.execute("SELECT body FROM decisions ORDER BY number DESC")]


async def test_every_decision_is_the_same(old: Path) -> None:
    before = bodies(old)
    store = Store(old, "boot-1")
    await store.open()
    found = await store.decisions(RecordFilter())
    assert len(found) == 9
    after = [msgspec.to_builtins(one) | {"reasons": [*one.reasons]} for one in found]
    assert [{STORED_NAMES.get(name, name): value for name, value in one.items()} for one in after] == before
    assert [list(one["facts"]) for one in after] == [list(one["facts"]) for one in before], "in the same order"
    assert [one.id for one in await store.decisions(RecordFilter(verdict="deny"))] == ["d4"]
    await store.close()


async def test_mappings_leases_and_numbers_are_the_same(old: Path) -> None:
    store = Store(old, "boot-1")
    await store.open()
    rows, (cut,) = await store.load(NOW)
    one, two, three = (row.mapping for row in rows)
    assert [row.number for row in rows] == [1, 2, 3]
    assert (one.id, one.decision, two.decision, three.decision) == ("m1", "d7", "d2", "d3")
    assert (two.parked, two.permanent, two.delegated, two.filters) == (
        True,
        True,
        True,
        (ip_network("203.0.113.0/24"),),
    )
    assert (three.description, three.enabled, three.internal.port) == ('pü "q"', False, 9000)
    peers = (RemotePeers(ip_network("203.0.113.0/24"), 5000),)
    assert set(three.holds) == {Hold(Via.IGD1, 4600.0, 3600), Hold(Via.PCP, 1500.0, 600, b"n" * 12, 3, peers)}
    assert (cut.number, cut.mapping, cut.decision) == (7, "m9", "d1")
    assert await store.highest() == (41, 90, 7)
    assert await store.get("uuid") == "the-uuid"
    assert await store.policy("0123456789ab") == b"a policy"
    await store.write(Batch(decisions=[record(91)]), NOW)
    await store.close()
    again = Store(old, "boot-1")
    await again.open()
    assert len(await again.decisions(RecordFilter())) == 10
    assert again.problems == [], "the upgrade is no missing history"
    await again.close()


async def test_a_long_upgrade_is_not_stopped_by_systemd(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the upgrade would begin anew at each start, and never end."""
    sent: list[str] = []
    monkeypatch.setattr(upgrade, "notify", lambda environment, state, status: sent.append(state))
    monkeypatch.setattr(upgrade, "PORTION", 2)
    store = Store(old, "boot-1")
    await store.open()
    assert sent == ["EXTEND_TIMEOUT_USEC=60000000"] * 5
    assert len(await store.decisions(RecordFilter())) == 9
    await store.close()


@pytest.mark.parametrize("body", ["{", "[]", "7", "{}", "[" * 100_000], ids=["cut", "list", "7", "empty", "deep"])
async def test_a_decision_that_cannot_be_read_does_not_stop_the_upgrade(
    old: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    with closing(sqlite3.connect(old)) as db, db:
        db.execute("UPDATE decisions SET body = ? WHERE number = 4", (body,))
    store = Store(old, "boot-1")
    await store.open()
    assert [one.id for one in await store.decisions(RecordFilter())] == [f"d{n}" for n in (90, 8, 7, 6, 5, 3, 2, 1)]
    assert "decision d4 cannot be read and is not kept" in caplog.text
    await store.close()
