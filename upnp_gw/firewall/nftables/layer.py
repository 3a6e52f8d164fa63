"""Changes over a dict that are not in it yet."""

from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Layer(Generic[K, V]):
    """Changes over a dict that stay apart from it until ``merge``."""

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
        """None takes the key away."""
        self._length += (value is not None) - (self.get(key) is not None)
        self._changed[key] = value

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

    def merge(self) -> None:
        if self._cleared:
            self._base.clear()
        for key, value in self._changed.items():
            if value is None:
                self._base.pop(key, None)
            else:
                self._base[key] = value


def add_to(layer: Layer[K, tuple[V, ...]], key: K, value: V) -> None:
    """Puts the value behind the others of this key, once."""
    present = layer.get(key) or ()
    if value not in present:
        layer[key] = (*present, value)


def take_from(layer: Layer[K, tuple[V, ...]], key: K, value: V) -> None:
    """Takes the value away, and the key with its last."""
    layer[key] = tuple(other for other in layer.get(key) or () if other != value) or None
