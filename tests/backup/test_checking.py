"""A ledger from elsewhere: a damaged one, and one that was made to do harm, is refused before it is used."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.backups import backup_bytes, changed_ledger, make_state, members, packed, restore_of
from tests.fixtures.mapping_rows import NOW
from upnp_gw.backup.checking import check_ledger
from upnp_gw.backup.manifest import LEDGER
from upnp_gw.backup.problem import BackupProblem


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return backup_bytes(make_state(tmp_path_factory.mktemp("d") / "state"))


def sql(text: str) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.executescript(text)


HOSTILE = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON mappings BEGIN DELETE FROM meta; END",
    "a view in place of a table": "DROP TABLE traffic; CREATE VIEW traffic AS SELECT * FROM evidence",
    "a virtual table": "DROP TABLE traffic; CREATE VIRTUAL TABLE traffic USING fts5(x)",
    "another table": "CREATE TABLE other (x)",
    "a newer schema": "PRAGMA user_version = 99",
    "no schema": "PRAGMA user_version = 0",
    "no mappings table": "DROP TABLE mappings",
    "a table without a column": "ALTER TABLE decisions DROP COLUMN body",
    "a mapping to no address": "UPDATE mappings SET internal_address = 'router' WHERE id = 1",
    "leases that are none": "UPDATE mappings SET holds = '[[1]]' WHERE id = 1",
    "a lease without an end": """UPDATE mappings SET holds = '[["igd1",1,null,1e999,1e999,1e999,0,""]]'""",
    "a number that SQLite cannot count on from": "UPDATE mappings SET id = 9223372036854775807 WHERE id = 1",
    "a highest number of that kind": "INSERT INTO meta VALUES ('highest-mapping', '9223372036854775807')",
    "a highest number that is none": "INSERT OR REPLACE INTO meta VALUES ('highest-decision', 'x')",
    "a decision of that kind": "UPDATE mappings SET decision = 9223372036854775807 WHERE id = 1",
    "mappings that overlap": "UPDATE mappings SET external_port = 8080",
    "a device without its fields": """UPDATE notes SET body = '{"device": "x"}' WHERE kind = 'device'""",
    "a note that is no JSON": "UPDATE notes SET body = '{' WHERE kind = 'device'",
    "a question's number that is none": """UPDATE notes SET body = '{"number": "x"}' WHERE kind = 'number'""",
    "an incident without its fields": """INSERT INTO notes VALUES ('incident', 'x', '{"device": "x"}')""",
    "evidence of no port": "INSERT INTO evidence_devices VALUES ('x', 0, 0, 0, 0, NULL);"
    " INSERT INTO evidence VALUES ('x','sctp',4,80,0,0,0,0,0,0,0,0,0,NULL,'','',0,'','',0,0)",
    "traffic of no port": "INSERT INTO traffic VALUES ('x', 'sctp', 4, 80, 1, 1)",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_ledger_that_no_gateway_writes_is_refused(data: bytes, tmp_path: Path, kind: str) -> None:
    hostile = changed_ledger(data, tmp_path, sql(HOSTILE[kind]))
    with pytest.raises(BackupProblem, match=r"its ledger|cannot be read"):
        restore_of(tmp_path / "new", hostile)


def test_damage_anywhere_in_the_ledger_is_found_or_harmless(data: bytes, tmp_path: Path) -> None:
    """The checksum was made after the damage."""
    parts = members(data)
    ledger, refused = parts[LEDGER], 0
    for at in range(0, len(ledger), 1021):
        parts[LEDGER] = ledger[:at] + bytes([ledger[at] ^ 0x55]) + ledger[at + 1 :]
        try:
            restore_of(tmp_path / "new", packed(parts)).clear()
        except BackupProblem:
            refused += 1
    assert refused > 5


def test_malformed_values_of_the_identity_are_left_out(data: bytes, tmp_path: Path) -> None:
    text = (
        "UPDATE meta SET value = '../x' WHERE key = 'token';"
        "UPDATE meta SET value = '9999999999' WHERE key = 'boot-id'"
    )
    restore = restore_of(tmp_path / "new", changed_ledger(data, tmp_path, sql(text)))
    assert restore.ledger.identity.keys() == {"uuid"}


@pytest.mark.parametrize("schema", [1, 5])
def test_a_ledger_of_an_older_version_is_upgraded(tmp_path: Path, schema: int) -> None:
    path = tmp_path / LEDGER
    with closing(sqlite3.connect(path)) as db, db:
        text = (ROOT / "tests" / "store" / f"schema_{schema}.sql").read_text("utf-8")
        db.executescript(f"BEGIN; {text} COMMIT; PRAGMA user_version = {schema};")
    counts = check_ledger(path, "boot-1", NOW).counts
    assert (counts["mappings"], counts["decisions"]) == ((0, 0) if schema == 1 else (3, 9))
