"""The navigation of the site: the sections and tables of docs/README.md, in their order.

A page belongs to the section under which its row stands. Rows of files that are no pages are left out. The decision
records come from the table of docs/decisions/README.md.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
INDEX = "docs/README.md"
RECORDS = "docs/decisions/README.md"

_SECTION = re.compile(r"^## (.+)$", re.M)
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)#\s]+\.md)\) \|", re.M)


class Row(NamedTuple):
    """One entry of a section."""

    title: str
    page: str
    """Below the root of the checkout."""


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the navigation."""

    title: str
    pages: tuple[Row, ...]


def sections(root: Path = ROOT) -> tuple[Section, ...]:
    """The sections of the index."""
    text = (root / INDEX).read_text("utf-8")
    _, *parts = _SECTION.split(text)
    return tuple(
        Section(title, rows(below, INDEX, root)) for title, below in zip(parts[::2], parts[1::2], strict=True)
    )


def records(root: Path = ROOT) -> tuple[Row, ...]:
    """The decision records."""
    return rows((root / RECORDS).read_text("utf-8"), RECORDS, root)


def rows(text: str, page: str, root: Path) -> tuple[Row, ...]:
    """The pages that the rows of a table name, relative to ``page``."""
    directory = (root / page).parent
    return tuple(
        Row(title, (directory / name).resolve().relative_to(root.resolve()).as_posix())
        for title, name in _ROW.findall(text)
    )


def every_page(root: Path = ROOT) -> tuple[str, ...]:
    """All pages: those below docs/, and those at the top of the checkout."""
    paths = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    return tuple(path.relative_to(root).as_posix() for path in paths)
