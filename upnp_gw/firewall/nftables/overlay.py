"""A dict with pending changes."""

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Overlay(Generic[K, V]):
    """Pending changes to a dict, which ``merge`` applies."""

    def __init__(self, base: dict[K, V]) -> None:
        self._base = base
        self._cleared = False
        self._length = len(base)
        self._changed: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        if key in self._changed:
            return self._changed[key]
        return None if self._cleared else self._base.get(key)

    def __setitem__(self, key: K, value: V | None) -> None:
        """Sets a value; None deletes the key."""
        self._length += (value is not None) - (self.get(key) is not None)
        self._changed[key] = value

    @property
    def changed(self) -> Collection[K]:
        """The keys with a pending change."""
        return self._changed.keys()

    def __iter__(self) -> Iterator[K]:
        for key in () if self._cleared else self._base:
            if key not in self._changed:
                yield key
        for key, value in self._changed.items():
            if value is not None:
                yield key

    def __len__(self) -> int:
        return self._length

    def clear(self) -> None:
        self._length = 0
        self._cleared = True
        self._changed.clear()

    def fill(self, contents: dict[K, V | None]) -> None:
        """Replaces everything by these values, none of them None."""
        self.clear()
        self._changed = contents
        self._length = len(contents)

    def merge(self) -> None:
        if self._cleared:
            self._base.clear()
        for key, value in self._changed.items():
            if value is None:
                self._base.pop(key, None)
            else:
                self._base[key] = value


def add_to(layer: Overlay[K, tuple[V, ...]], key: K, value: V) -> None:
    """Appends the value to the tuple of this key unless it is there already."""
    present = layer.get(key) or ()
    if value not in present:
        layer[key] = (*present, value)


def take_from(layer: Overlay[K, tuple[V, ...]], key: K, value: V) -> None:
    """Removes the value from the tuple of this key; deletes the key if the tuple is empty then."""
    layer[key] = tuple(other for other in layer.get(key) or () if other != value) or None
