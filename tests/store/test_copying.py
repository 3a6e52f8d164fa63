"""A copy of the store: nothing is left of it, and a link is not followed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from upnp_gw.store.copying import COPY, copied, remove_copies, schema_of
from upnp_gw.system.files import FileProblem


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("PRAGMA user_version = 3; CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    return path


def test_it_is_gone_at_the_end_also_after_an_error(ledger: Path) -> None:
    with copied(ledger) as copy:
        assert (copy.stat().st_mode & 0o777, schema_of(copy)) == (0o600, 3)
    with pytest.raises(KeyError), copied(ledger):
        raise KeyError
    with pytest.raises(sqlite3.Error), copied(ledger, history=False):
        pass
    assert list(ledger.parent.iterdir()) == [ledger]


def test_what_a_kill_has_left_is_removed(ledger: Path) -> None:
    for name in (COPY + "abc", COPY + "abc-journal"):
        ledger.with_name(ledger.name + name).touch()
    remove_copies(ledger)
    assert list(ledger.parent.iterdir()) == [ledger]


def test_a_link_is_not_copied(ledger: Path) -> None:
    link = ledger.with_name("link.db")
    link.symlink_to(ledger)
    with pytest.raises(FileProblem), copied(link):
        pass
