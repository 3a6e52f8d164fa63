"""Lists of what the emulator knows, for assertions: each shows all of it where a test fails."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Records(Generic[R]):
    """A list as it was at one moment. Empty is false. ``find`` and ``one`` compare fields by their text, so that an
    address can be given as text."""

    def __init__(self, of: type[R], noun: str, records: Iterable[R], others: Iterable[R] = ()) -> None:
        """``noun`` names one record in messages; ``others`` are shown where the list is empty."""
        self._of = of
        self._noun = noun
        self._records = tuple(records)
        self._others = tuple(others)

    def find(self, **wanted: Any) -> "Records[R]":
        """Those whose fields have these values. Raises TypeError for a name that is no field."""
        found = [record for record in self._records if self._matches(record, wanted)]
        shown = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        return Records(self._of, f"{self._noun} with {shown}" if shown else self._noun, found, self._records)

    def one(self, **wanted: Any) -> R:
        """The only one. Raises AssertionError if there is none or another one; it says what there is."""
        found = self.find(**wanted)
        if len(found) != 1:
            raise AssertionError(repr(found) if not found else f"not one, {found!r}")
        return found[0]

    def _matches(self, record: R, wanted: dict[str, Any]) -> bool:
        names = [each.name for each in fields(self._of)]  # type: ignore[arg-type]  # every record is a dataclass
        for name in wanted:
            if name not in names:
                raise TypeError(f"a {self._noun} has no {name}; it has {', '.join(names)}")
        return all(_text(getattr(record, name)) == _text(value) for name, value in wanted.items())

    def __iter__(self) -> Iterator[R]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> R:
        return self._records[index]

    def __repr__(self) -> str:
        if self._records:
            return _lines(f"{len(self)} {self._noun}{'s' * (len(self) > 1)}:", self._records)
        there = _lines(" Instead:", self._others) if self._others else ""
        return f"no {self._noun}.{there}"


def _text(value: Any) -> str:
    return str(value)


def _lines(title: str, records: Iterable[object]) -> str:
    return "\n  ".join([title, *map(str, records)])
