"""Rows by key that are bounded in number, and their changes for the store."""

from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedRows(dict[K, V]):
    """At most ``most`` rows by key, and their changes. If full, the eighth with the least worth is dropped."""

    def __init__(
        self,
        most: int,
        worth: Callable[[V], tuple[bool, float]],
        on_drop: Callable[[K], None] = lambda key: None,
    ) -> None:
        super().__init__()
        self.most = most
        self.on_drop = on_drop
        self.worth = worth
        self.changed: dict[K, None] = {}
        self.gone: dict[K, None] = {}
        """Keys of dropped rows that the store may have."""
        self._unwritten: dict[K, None] = {}
        """Rows that were made since the last ``pop_changes``: the store does not have them."""

    def row(self, key: K, new: Callable[[], V]) -> V:
        """The row to change; a new one if there is none."""
        if key not in self:
            self[key] = new()
            if key in self.gone:
                del self.gone[key]
            else:
                self._unwritten[key] = None
            if len(self) > self.most:
                self.drop(self.least_worth(self, len(self) // 8 + 1, key))
        self.changed[key] = None
        return self[key]

    def least_worth(self, keys: Iterable[K], count: int, spared: K) -> list[K]:
        """At most ``count`` of these keys, those with the least worth first, without ``spared``."""
        return sorted((k for k in keys if k != spared), key=lambda k: self.worth(self[k]))[:count]

    def drop(self, keys: Iterable[K]) -> None:
        """Removes rows, and calls ``on_drop`` for each."""
        for key in keys:
            del self[key]
            self.changed.pop(key, None)
            if key in self._unwritten:
                del self._unwritten[key]
            else:
                self.gone[key] = None
            self.on_drop(key)

    def renamed(self, old: K, new: K) -> None:
        """Notes that a row has another key now. The old one may be the new one of another row."""
        if old != new:
            self.gone[old] = self.changed[new] = None

    def pop_changes(self) -> tuple[list[V], list[K]]:
        """The changed rows and the keys of dropped rows since the last call."""
        rows, removed = [self[key] for key in self.changed], [key for key in self.gone if key not in self]
        self.changed.clear()
        self.gone.clear()
        self._unwritten.clear()
        return rows, removed

    def put_back(self, changed: Iterable[K], gone: Iterable[K]) -> None:
        """Notes these keys again. Meanwhile some rows may have been dropped, and others made anew."""
        self.changed.update((key, None) for key in changed if key in self)
        for key in gone:
            self._unwritten.pop(key, None)
            if key not in self:
                self.gone[key] = None
