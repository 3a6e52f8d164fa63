"""The audit log in the store: one row for each decision, bounded in number and age."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from upnp_gw.model.mapping import DAY_S, Instant
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.store import policy_rows

CLOCK_SET = 1_735_689_600.0
"""Wall-clock seconds. A clock before this was never set: a router without a clock chip starts in 1970."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The bounds of the audit log. Decisions beyond either of them are deleted."""

    decisions: int = 100_000
    seconds: float = 90 * DAY_S


KEEP = Retention()


def decision_number(record: DecisionRecord) -> int:
    """The number in a decision's id."""
    return int(record.id[1:])


def write_decisions(
    db: sqlite3.Connection, records: Sequence[DecisionRecord], keep: Retention, now: Instant
) -> int:
    """Adds the records, or replaces those with a higher count; deletes the oldest. Returns the highest number."""
    for adds, into in ((True, "INSERT INTO"), (False, "INSERT OR REPLACE INTO")):
        db.executemany(
            f"{into} decisions VALUES (?,?,?,?,?,?,?)",
            [
                (
                    decision_number(r),
                    r.id,
                    r.at,
                    r.via,
                    r.device,
                    r.verdict,
                    json.dumps(r.body(), ensure_ascii=True),
                )
                for r in records
                if (r.count == 1) == adds
            ],
        )
    highest = max(decision_number(r) for r in records)
    many = db.execute("DELETE FROM decisions WHERE number <= ?", (highest - keep.decisions,))
    # a decision from before the wall clock was set has no age
    old = db.execute("DELETE FROM decisions WHERE at >= ? AND at < ?", (CLOCK_SET, now.wall - keep.seconds))
    if many.rowcount or old.rowcount:
        policy_rows.prune_policies(db)
    return highest


def load_decisions(db: sqlite3.Connection, record_filter: RecordFilter) -> list[DecisionRecord]:
    """The newest decisions that pass the filter, newest first."""
    clauses, values = record_filter.sql()
    rows = db.execute(
        f"SELECT body FROM decisions {clauses} ORDER BY number DESC LIMIT ?", (*values, record_filter.limit)
    )
    return [DecisionRecord.of_body(json.loads(body)) for (body,) in rows]
