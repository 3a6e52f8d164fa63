"""Long queries on a thread and a connection of their own, so that no request waits for them."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from upnp_gw.store.connection import connect
from upnp_gw.system.worker import Worker

T = TypeVar("T")


class Reader:
    """Reads a store that is open. The connection is made by the first query."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = Worker("audit")
        self._db: sqlite3.Connection | None = None

    async def run(self, call: Callable[[Callable[[], sqlite3.Connection]], T]) -> T:
        """The answer of a query, which gets a function that opens the connection. Raises its errors."""
        return await self._thread.run(lambda: call(self._opened))

    async def close(self) -> None:
        """Ends the thread. No query may follow."""
        await self._thread.run(self._close)
        self._thread.close()

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = connect(self._path)
            self._db.execute("PRAGMA query_only = ON")
        return self._db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
