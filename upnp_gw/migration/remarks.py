"""Remarks: the line of the original, and what became of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from upnp_gw.migration.original import Line


class Fate(StrEnum):
    """The end of a line: it is ours now, or not."""

    CARRIED = "carried"
    DIFFERENT = "carried with a difference"
    NOT_CARRIED = "not carried"


@dataclass(frozen=True, slots=True)
class Remark:
    """One line, and what becomes of it."""

    line: Line
    fate: Fate
    why: str
    """The key or the rule that it became, the difference, or the reason."""


def in_order(remarks: Iterable[Remark]) -> tuple[Remark, ...]:
    """The remarks in the order of the file."""
    return tuple(sorted(remarks, key=lambda remark: remark.line.number))
