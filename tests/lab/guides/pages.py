"""The blocks of a page of docs/: commands, files and quoted output, each under its heading.

A test takes every block of its page: one that no test takes is a block that nobody tried.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
GAP = "..."
"""In a quoted output: any text, or any lines."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    heading: str
    language: str
    """``sh``: commands; ``text``: an output; else a part of a file."""
    text: str


class Page:
    """A page by its path below docs/."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / "docs" / name).read_text("utf-8")
        self._left = list(blocks_of(self.text))

    def take(self, heading: str, language: str = "sh") -> str:
        """The next block of this language under this heading."""
        for index, block in enumerate(self._left):
            if (block.heading, block.language) == (heading, language):
                return self._left.pop(index).text
        raise AssertionError(f"docs/{self.name} has no further {language} block under {heading!r}")

    def untaken(self, headings: Collection[str] = ()) -> list[Block]:
        """The blocks that are left, of these headings or of all."""
        return [block for block in self._left if not headings or block.heading in headings]


@contextmanager
def page(name: str, *headings: str) -> Iterator[Page]:
    """``with page("guides/ufw.md") as ufw: home.shell(ufw.take("Undo"))``; at the end no block is left, of these
    headings where some are named."""
    opened = Page(name)
    yield opened
    assert opened.untaken(headings) == []


def blocks_of(text: str) -> Iterator[Block]:
    heading, at = "", 0
    for fence in FENCE.finditer(text):
        for found in HEADING.finditer(text[at : fence.start()]):
            heading = found[1]
        at = fence.end()
        yield Block(heading, fence[1], fence[2])


def shows(output: str, quoted: str) -> bool:
    """True if an output has the quoted lines. Runs of white space count as one: a terminal folds lines."""
    words = [re.escape(" ".join(part.split())) for part in quoted.split(GAP)]
    return re.search(r".*?".join(rf"\s*{part}\s*" for part in words), " ".join(output.split())) is not None
