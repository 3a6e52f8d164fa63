"""Policies in the store, by hash, as long as decisions refer to them.

A policy decides from the moment it comes into force until another one does. So the decisions that refer to it have
numbers up to ``last``, the newest decision when it was replaced. When the audit log has dropped all of those, the
policy is deleted too. An old decision that is kept for its mapping keeps its policy.
"""

import sqlite3

SCHEMA = """
CREATE TABLE policies (
  digest TEXT PRIMARY KEY, last INTEGER, size INTEGER NOT NULL, body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX policies_last ON policies (last);
"""
"""``last`` is NULL while the policy is in force."""

LARGEST = 16 * 1024 * 1024
"""Bytes of all kept policies together. Beyond that the oldest are deleted, though decisions refer to them."""


def keep_policy(db: sqlite3.Connection, digest: str, body: bytes) -> None:
    """Keeps a policy that decides from now on, or soon may."""
    db.execute(
        "INSERT INTO policies VALUES (?, NULL, ?, ?) ON CONFLICT (digest) DO UPDATE SET last = NULL",
        (digest, len(body), body),
    )


def put_in_force(db: sqlite3.Connection, digest: str, newest: int, largest: int = LARGEST) -> None:
    """Notes that only this policy is in force. ``newest``: the number of the newest decision."""
    db.execute("UPDATE policies SET last = ? WHERE last IS NULL AND digest <> ?", (newest, digest))
    prune_policies(db)
    prune_unused(db)
    db.execute(
        "DELETE FROM policies WHERE last IS NOT NULL AND digest IN (SELECT digest FROM ("
        "SELECT digest, sum(size) OVER (ORDER BY last IS NULL DESC, last DESC, digest) AS total FROM policies"
        ") WHERE total > ?)",
        (largest,),
    )


def prune_policies(db: sqlite3.Connection) -> None:
    """Deletes the policies that decided before the oldest decision in the log."""
    db.execute("DELETE FROM policies WHERE last < (SELECT min(number) FROM decisions)")


def prune_unused(db: sqlite3.Connection) -> None:
    """Deletes the policies that no decision refers to, where an old decision is kept for its mapping."""
    db.execute(
        "DELETE FROM policies WHERE last < (SELECT max(number) FROM decisions)"
        " AND digest NOT IN (SELECT policy FROM decision_shared)"
    )


def load_policy(db: sqlite3.Connection, digest: str) -> bytes | None:
    """The kept policy; None: it is not kept."""
    row = db.execute("SELECT body FROM policies WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else bytes(row[0])
