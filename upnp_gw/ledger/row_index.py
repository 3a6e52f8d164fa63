"""Indexes of the table that stay small: 36,000 rows have about ten entries each."""

from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")


class RowIndex(Generic[K]):
    """Key -> the ids of rows, oldest first. Most keys have a single row, and need no container for it."""

    def __init__(self) -> None:
        self._ids: dict[K, str | dict[str, None]] = {}

    def ids(self, key: K) -> Collection[str]:
        """The ids under a key."""
        found = self._ids.get(key)
        if found is None:
            return ()
        return (found,) if isinstance(found, str) else found

    def keys(self) -> Collection[K]:
        """The keys with a row."""
        return self._ids.keys()

    def add(self, key: K, mapping_id: str) -> None:
        """Adds an id that is not there yet."""
        found = self._ids.get(key)
        if found is None:
            self._ids[key] = mapping_id
        elif isinstance(found, str):
            self._ids[key] = {found: None, mapping_id: None}
        else:
            found[mapping_id] = None

    def remove(self, key: K, mapping_id: str) -> None:
        """Removes an id that is there."""
        found = self._ids[key]
        if not isinstance(found, str):
            del found[mapping_id]
            if found:
                return
        del self._ids[key]


@dataclass(slots=True)
class Numbering:
    """Ids in the order of their first grant: the array of GetGenericPortMappingEntry (IGD section 6.7)."""

    _order: list[int] = field(default_factory=list)
    """Numbers, sorted."""
    _ids: list[str] = field(default_factory=list)
    """The ids of these numbers."""

    def put(self, number: int, mapping_id: str) -> None:
        """Adds an id, or replaces that of the same number."""
        at = bisect_left(self._order, number)
        if at < len(self._order) and self._order[at] == number:
            self._ids[at] = mapping_id
            return
        self._order.insert(at, number)
        self._ids.insert(at, mapping_id)

    def remove(self, number: int) -> None:
        """Removes an id; later indexes move down by one (IGD-151)."""
        at = bisect_left(self._order, number)
        if at < len(self._order) and self._order[at] == number:
            del self._order[at], self._ids[at]

    def at(self, index: int) -> str | None:
        """The id at an index from 0; None: the index is out of range."""
        return self._ids[index] if 0 <= index < len(self._ids) else None

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.copy())
