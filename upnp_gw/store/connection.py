"""Connections to the database file."""

import sqlite3
from pathlib import Path

CACHE_KIB = 512
"""Pages of the file that a connection keeps, each of the three. SQLite's default is 2,000: the memory of a gateway
would grow by that for hours, until each of them has read as much (docs/decisions/0054)."""


def connect(path: Path) -> sqlite3.Connection:
    """Any thread may use it, one after the other. Transactions begin where the caller says so. Raises
    sqlite3.Error."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
    return db
