"""Tables that fit: columns that say nothing are left out, then the least important, then cells are cut."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from upnp_gw.terminal import cut, cut_middle, width

Row = TypeVar("Row")
GAP = "  "


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column. ``cell`` gives text that is already safe to show."""

    title: str
    cell: Callable[[Row], str]
    least: int | None = None
    """The narrowest that it may be cut to; None: never cut."""
    right: bool = False
    middle: bool = False
    """It is cut in its middle: addresses."""
    keep: int = 0
    """Where there is no room the columns with the lowest number go first."""


def table(columns: Sequence[Column[Row]], rows: Sequence[Row], most: int) -> list[str]:
    """The lines of the table, the title first, none wider than ``most`` unless what may not be cut is."""
    shown = [(column, [column.cell(row) for row in rows]) for column in columns]
    filled = [(column, cells) for column, cells in shown if any(cells)]
    while len(filled) > 1 and _total(_narrowest(*pair) for pair in filled) > most:
        filled.remove(min(filled, key=lambda pair: pair[0].keep))
    widths = [_widest(*pair) for pair in filled]
    while _total(widths) > most:
        spare = [widths[i] - _narrowest(*pair) for i, pair in enumerate(filled)]
        if max(spare, default=0) <= 0:
            break
        widths[max(range(len(spare)), key=lambda i: (spare[i] > 0, widths[i]))] -= 1
    lines = [[column.title for column, _ in filled], *zip(*(cells for _, cells in filled), strict=True)]
    return [_line(line, [column for column, _ in filled], widths) for line in lines]


def _widest(column: Column[Row], cells: Iterable[str]) -> int:
    return max(width(column.title), *map(width, cells))


def _narrowest(column: Column[Row], cells: Iterable[str]) -> int:
    widest = _widest(column, cells)
    return widest if column.least is None else min(widest, max(column.least, width(column.title)))


def _total(widths: Iterable[int]) -> int:
    widths = list(widths)
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _line(cells: Iterable[str], columns: Sequence[Column[Row]], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, room in zip(cells, columns, widths, strict=True):
        text = cut_middle(cell, room) if column.middle else cut(cell, room)
        blank = " " * (room - width(text))
        parts.append(blank + text if column.right else text + blank)
    return GAP.join(parts).rstrip()
