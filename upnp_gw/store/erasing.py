"""Erases what the store keeps of a device, or all history, so that no byte of it stays in the file.

A DELETE leaves the bytes in unused pages, in the unused part of pages, and in the log. So the file is written anew
afterwards, and the log is cut off. Decisions are searched on the audit log's thread and deleted in portions.
"""

import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence

from upnp_gw.store import policy_rows, shared_parts
from upnp_gw.store.shared_parts import SEGMENT

PORTION = 512
"""Decisions of one transaction: a millisecond or two, for which a batch may wait."""
OF_HISTORY = ("evidence", "evidence_devices", "evidence_rules", "traffic")
OF_DEVICES = ("evidence", "evidence_devices", "traffic")
"""Tables with a column ``device``."""

Numbers = Sequence[int]


def pattern_of(names: Collection[str]) -> re.Pattern[str]:
    """Matches one of these identifiers, and not as a part of a longer one: 192.168.1.5 is not 192.168.1.50, and a
    MAC address alone is not that of a device on another LAN."""
    return re.compile(rf"(?<![\w.:])(?:{'|'.join(map(re.escape, sorted(names)))})(?![\w:@]|\.\w)", re.IGNORECASE)


def find_decisions(db: sqlite3.Connection, names: Collection[str]) -> Numbers:
    """The numbers of all decisions in which one of these identifiers stands, of any requester."""
    named = pattern_of(names)
    shared: dict[int, bool] = {}
    found = list[int]()
    for number, part, body in db.execute("SELECT number, shared, body FROM decisions"):
        if part not in shared:
            row = db.execute("SELECT device, pattern, body FROM decision_shared WHERE id = ?", (part,)).fetchone()
            shared[part] = row is not None and any(map(named.search, row))
        if shared[part] or named.search(body):
            found.append(number)
    return found


def all_decisions(db: sqlite3.Connection) -> Numbers:
    """The numbers of all decisions."""
    return [number for (number,) in db.execute("SELECT number FROM decisions")]


def portions(numbers: Numbers) -> Iterator[Numbers]:
    for first in range(0, len(numbers), PORTION):
        yield numbers[first : first + PORTION]


def delete_decisions(db: sqlite3.Connection, numbers: Numbers) -> int:
    """Deletes these, except those that a mapping names. Returns the number of deleted ones."""
    before = db.total_changes
    db.executemany(
        "DELETE FROM decisions WHERE number = ? AND NOT EXISTS (SELECT 1 FROM mappings m"
        " WHERE m.id = decisions.mapping AND m.decision = decisions.number)",
        [(number,) for number in numbers],
    )
    deleted = db.total_changes - before
    for segment in sorted({number // SEGMENT for number in numbers}):
        shared_parts.delete_unused(db, segment)
    return deleted


def delete_unused_policies(db: sqlite3.Connection) -> None:
    """Deletes the kept policies that no decision refers to any more."""
    policy_rows.prune_policies(db)
    policy_rows.prune_unused(db)


def old_policies(db: sqlite3.Connection) -> list[tuple[str, bytes]]:
    """Hash and body of the kept policies that are not in force."""
    return [
        (digest, bytes(body))
        for digest, body in db.execute("SELECT digest, body FROM policies WHERE last IS NOT NULL")
    ]


def delete_policies(db: sqlite3.Connection, digests: Collection[str]) -> None:
    db.executemany("DELETE FROM policies WHERE digest = ? AND last IS NOT NULL", [(digest,) for digest in digests])


def delete_devices(db: sqlite3.Connection, names: Collection[str]) -> None:
    """Deletes the evidence, the traffic and the counts of these devices."""
    each = [(name,) for name in names]
    for table in OF_DEVICES:
        db.executemany(f"DELETE FROM {table} WHERE device = ?", each)
    db.executemany("DELETE FROM notes WHERE kind = 'device' AND key = ?", each)
    db.executemany("DELETE FROM notes WHERE kind = 'question' AND json_extract(body, '$.device') = ?", each)


def delete_history(db: sqlite3.Connection) -> None:
    """Deletes all evidence, traffic and counts of devices."""
    for table in OF_HISTORY:
        db.execute(f"DELETE FROM {table}")
    db.execute("DELETE FROM notes WHERE kind IN ('device', 'question')")


def rewrite(db: sqlite3.Connection, autocheckpoint: int, full: bool) -> None:
    """Writes the database anew, into its log. Raises sqlite3.Error; the file is as before then."""
    db.execute("PRAGMA wal_autocheckpoint = 0")  # the caller moves the log into the file, without the lock
    try:
        if full:
            db.execute("PRAGMA synchronous = NORMAL")
        db.execute("VACUUM")
    finally:
        db.execute(f"PRAGMA wal_autocheckpoint = {autocheckpoint}")
        if full:
            db.execute("PRAGMA synchronous = FULL")
