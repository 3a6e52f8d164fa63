"""Tables that fit the terminal. Only texts are cut; an address that does not fit goes to a line below its row.

Empty columns are left out first, then the least important ones. Then texts are cut, and the widest addresses move
below their row, each after its title. Without a terminal every column is shown, and every row is one line.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from upnp_gw.cli.terminal import HEADING, UNLIMITED, paint, wrap
from upnp_gw.text.escape import cut, width

Row = TypeVar("Row")
GAP = "  "
INDENT = "    "
MIN_LINE = 60
"""Columns of a line below a row, at least: an IPv6 address and a port fit."""
KEEP_BELOW = 7


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column. ``cell`` returns escaped text."""

    title: str
    cell: Callable[[Row], str]
    least: int | None = None
    """Columns that remain when it is cut; None: it is never cut."""
    right: bool = False
    below: int | None = None
    """Cells wider than this may move below their row, uncut (addresses). None: they never move."""
    keep: int = 0
    """Columns with the lowest number are left out first. From ``KEEP_BELOW`` on they move below the row instead."""
    needed: bool = False
    """Moves below its row and is never left out, for any ``keep``."""
    style: Callable[[Row], str | None] | None = None
    """The style of a cell."""


@dataclass(slots=True)
class _DrawnColumn(Generic[Row]):
    """A column and its cells. Cells wider than ``width`` move below their row, or are cut; 0: all move below."""

    column: Column[Row]
    cells: list[str]
    width: int = 0
    widths: list[int] = field(default_factory=list)
    """Of each cell."""

    def __post_init__(self) -> None:
        self.widths = [len(cell) if cell.isascii() else width(cell) for cell in self.cells]
        self.width = max([width(self.column.title), *self.widths])

    @property
    def narrowest(self) -> int:
        """The least width that the column can have in its rows."""
        title, most = width(self.column.title), self.column.below
        if self.column.least is not None:
            return min(self.width, max(self.column.least, title))
        if most is None:
            return self.width
        return max(title, *(w for w in self.widths if w <= most), 0)

    @property
    def all_below(self) -> bool:
        """True if no cell is narrow enough for its row."""
        most = self.column.below
        return most is not None and all(not w or w > most for w in self.widths)

    @property
    def next_narrower(self) -> int:
        if self.column.below is None:
            return max(self.narrowest, self.width - 1)
        beside = [w for w in self.widths if 0 < w < self.width]
        return max(width(self.column.title), *beside) if beside else 0


def table(columns: Sequence[Column[Row]], rows: Sequence[Row], most: int) -> list[str]:
    """The lines of the table, titles first, at most ``most`` columns wide (at least ``MIN_LINE``)."""
    every = [_DrawnColumn(column, [column.cell(row) for row in rows]) for column in columns]
    if most >= UNLIMITED:
        for column in every:
            column.cells = [cell or "-" for cell in column.cells]
            column.widths = [w or 1 for w in column.widths]
        return _lines(every, rows, most)
    filled = [column for column in every if any(column.cells)]
    left_out = set()
    beside = list(filled)
    while len(beside) > 1 and _total(column.narrowest for column in beside) > most:
        least = min(beside, key=lambda column: (not column.all_below, column.column.keep))
        beside.remove(least)
        least.width = 0
        if least.column.keep < KEEP_BELOW and not least.column.needed:
            left_out.add(least.column.title)
    _narrow(beside, most)
    return _lines([column for column in filled if column.column.title not in left_out], rows, most)


def _narrow(drawn: Sequence[_DrawnColumn[Row]], most: int) -> None:
    """Cuts the widest texts until the table fits; if that is not enough, moves the widest addresses below."""
    full = [(column, column.width) for column in drawn if column.column.below is None]
    if not _narrowed([column for column, _ in full], drawn, most):
        _narrowed([column for column in drawn if column.column.below is not None], drawn, most)
        for column, before in full:
            column.width = before
        _narrowed([column for column, _ in full], drawn, most)


def _narrowed(able: Sequence[_DrawnColumn[Row]], drawn: Sequence[_DrawnColumn[Row]], most: int) -> bool:
    """Narrows the columns of ``able``. True: the table fits."""
    while _total(column.width for column in drawn) > most:
        widest = max(able, key=lambda column: (column.next_narrower < column.width, column.width), default=None)
        if widest is None or widest.next_narrower >= widest.width:
            return False
        widest.width = widest.next_narrower
    return True


def _total(widths: Iterable[int]) -> int:
    beside = [each for each in widths if each]
    return sum(beside) + len(GAP) * (len(beside) - 1)


def _lines(drawn: Sequence[_DrawnColumn[Row]], rows: Sequence[Row], most: int) -> list[str]:
    beside = [column for column in drawn if column.width]
    *titles, last = (_placed(column.column.title, column) for column in beside)
    lines = [GAP.join(paint(title, HEADING) for title in (*titles, last.rstrip()))]
    below: dict[int, list[str]] = {}
    for column in drawn:
        for at, cell in _below_their_rows(column):
            below.setdefault(at, []).append(f"{column.column.title.lower()} {cell}")
    for at, cells in enumerate(zip(*(_placed_cells(column, rows) for column in beside), strict=True)):
        lines.append(GAP.join(cells).rstrip())
        if at in below:
            lines += _below(below[at], max(most, MIN_LINE))
    return lines


def _below_their_rows(drawn: _DrawnColumn[Row]) -> Iterator[tuple[int, str]]:
    """The cells that move below their rows: (number of the row, cell)."""
    if not drawn.width:
        yield from ((at, cell) for at, cell in enumerate(drawn.cells) if cell)
    elif drawn.column.below is not None:
        yield from ((at, drawn.cells[at]) for at, w in enumerate(drawn.widths) if w > drawn.width)


def _placed_cells(drawn: _DrawnColumn[Row], rows: Sequence[Row]) -> Iterator[str]:
    """The cells of a column as wide as the column, in colour; empty where a cell moves below its row."""
    column, most = drawn.column, drawn.width
    for row, cell, w in zip(rows, drawn.cells, drawn.widths, strict=True):
        text = cell
        if w > most:
            text = "" if column.below is not None else cut(cell, most)
            w = width(text)
        blank = " " * (most - w)
        if column.style is not None and text == cell:
            text = paint(text, column.style(row))
        yield blank + text if column.right else text + blank


def _placed(cell: str, column: _DrawnColumn[Row]) -> str:
    text = cut(cell, column.width)
    blank = " " * (column.width - width(text))
    return blank + text if column.column.right else text + blank


def _below(parts: Iterable[str], most: int) -> list[str]:
    """The cells that moved below their row, as many on a line as fit."""
    lines: list[str] = []
    for part in parts:
        if lines and width(lines[-1]) + len(GAP) + width(part) <= most:
            lines[-1] += GAP + part
        else:
            lines += wrap(part, most, INDENT + "  ", INDENT)
    return lines
