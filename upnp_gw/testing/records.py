"""Lists of what the emulator knows, for assertions: each shows all of it where a test fails."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Generic, TypeVar, overload

R = TypeVar("R")

NEWEST = 100_000
"""Requests, events and announcements are kept up to this number, each: an emulator can run for days."""


class Records(Sequence[R], Generic[R]):
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
        self._check(wanted)
        found = [record for record in self._records if self._matches(record, wanted)]
        return Records(self._of, self._named(wanted), found, self._records or self._others)

    def one(self, **wanted: Any) -> R:
        """The only one. Raises AssertionError if there is none or another one; it says what there is."""
        found = self.find(**wanted)
        if len(found) != 1:
            raise AssertionError(repr(found) if not found else f"not one, {found!r}")
        return found[0]

    def _named(self, wanted: dict[str, Any]) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        return f"{self._noun} with {shown}" if shown else self._noun

    def _check(self, wanted: Iterable[str]) -> None:
        names = [each.name for each in fields(self._of)]  # type: ignore[arg-type]  # every record is a dataclass
        for name in wanted:
            if name not in names:
                raise TypeError(f"a {self._noun} has no {name}{near(name, names)} it has {', '.join(names)}")

    def _matches(self, record: R, wanted: dict[str, Any]) -> bool:
        return all(_text(getattr(record, name)) == _text(value) for name, value in wanted.items())

    def __iter__(self) -> Iterator[R]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> "Records[R]": ...
    def __getitem__(self, index: int | slice) -> "R | Records[R]":
        if isinstance(index, slice):
            return Records(self._of, self._noun, self._records[index], self._records or self._others)
        if not -len(self) <= index < len(self):
            raise IndexError(f"no number {index}: {self!r}")
        return self._records[index]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Records | list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self._records:
            return _lines(f"{len(self)} {_plural(self._noun) if len(self) > 1 else self._noun}:", self._records)
        there = _lines(" Instead:", self._others) if self._others else ""
        return f"no {self._noun}.{there}"


def _plural(noun: str) -> str:
    """``noun`` begins with one of these, and says which ones."""
    return re.sub(r"^(port mapping|\w+)", r"\1s", noun)


def near(name: str, names: Sequence[str]) -> str:
    """The part of a message that says which of the names may be meant, up to the next clause."""
    found = [each for each in names if name.lower() in each.lower()][:3] or get_close_matches(name, names, 1)
    return f"; did you mean {' or '.join(found)}?" if found else ";"


def _text(value: Any) -> str:
    return str(value)


def _lines(title: str, records: Iterable[object]) -> str:
    return "\n  ".join([title, *map(str, records)])
