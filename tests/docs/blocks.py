"""The code blocks of the pages, and the marks that say how each is tested.

A mark is an HTML comment on the line above the block; readers do not see it.

    <!-- run: gateway -->                 pasted on the gateway of a home: tests/lab/test_doc_blocks.py
    <!-- run: ps5 -->                     on another host of that home: ps5, pc, guest, internet
    <!-- run: gateway, exit 1 -->         the last command ends with this code
    <!-- run: gateway, stays -->          it does not end; the next block runs beside it
    <!-- given, on pc: upnp-gw request tcp 8080 || true -->    above a mark: the test does this first
    <!-- file: /etc/upnp-gw/policy.toml -->    the block is this file, on the gateway, for the blocks after it
    <!-- tested: tests/notify/test_recipes.py -->    this test reads the page and runs the block
    <!-- not run: needs a television -->  with the reason

A page of which a test takes every block (``with page("guides/ufw.md")``, tests/lab/guides) needs no marks.

All blocks with ``run`` of a page run in one home, in their order. ``<!-- scene: alongside -->`` anywhere on a page
gives it another home than the usual one (``SCENES`` of tests/lab/doc_home.py).

A block of commands needs a mark. All blocks are checked by their kind (tests/docs/test_blocks.py):

    toml      a policy loads without a warning and its tests pass; a configuration loads. A part of a policy,
              without version, is read by itself or below the whole policy above it on the page
    sh        bash can read it; the real parser accepts each command of ours
    console   the same for each line that begins with "$ " or "# ". The other lines are the output: "..." stands
              for anything, and a line "..." for any lines
    json, yaml, python   can be parsed
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PASTED = {
    "README.md": "tests/fresh_readme.sh",
    "docs/checkout.md": "tests/fresh_readme.sh",
    "CONTRIBUTING.md": "tests/run.sh",
    "docs/install-debian.md": "tests/package_walk.sh",
}
"""Pages with shell blocks that this script pastes or is, whole."""
_TAKES = re.compile(r"\bpage\(\"([\w./-]+\.md)\"")
PLACES = ("gateway", "ps5", "pc", "guest", "internet")

_GIVEN = r"(?:<!-- given, on (?P<given>(?:\w+): .*?) -->\n(?P=indent))?"
_BLOCK = re.compile(
    rf"^(?P<indent> *){_GIVEN}(?:<!-- (?P<mark>(?:run|file|tested|not run): .*?) -->\n(?P=indent))?"
    r"```(?P<kind>\w*)[^\n`]*\n(?P<text>.*?)^(?P=indent)```$",
    re.S | re.M,
)
_SCENE = re.compile(r"<!-- scene: ([\w-]+) -->")
_MARK = re.compile(r"<!-- ((?:run|file|tested|not run|scene)\b.*?) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    """Below the root of the checkout."""
    line: int
    kind: str
    """The word after the fence."""
    text: str
    mark: str
    """``run``, ``file``, ``tested``, ``not run`` or empty."""
    value: str
    """The text after the mark's colon."""
    given: tuple[str, str] | None = None
    """(host, script) that comes first."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def place(self) -> str:
        """The host of a ``run``."""
        return self.value.partition(",")[0]

    @property
    def stays(self) -> bool:
        return "stays" in self.value.split(", ")

    @property
    def exit_code(self) -> int:
        found = re.search(r", exit (\d+)", self.value)
        return int(found[1]) if found else 0


def blocks_of(text: str, page: str = "page") -> list[Block]:
    """The fenced blocks of a page's text."""
    found = []
    for match in _BLOCK.finditer(text):
        mark, _, value = (match["mark"] or "").partition(": ")
        indent = match["indent"]
        lines = [line.removeprefix(indent) for line in match["text"].splitlines()]
        number = text.count("\n", 0, match.start("text"))
        host, _, first = (match["given"] or "").partition(": ")
        given = (host, first) if host else None
        found.append(Block(page, number, match["kind"], "\n".join(lines) + "\n", mark, value, given))
    return found


def scene_of(text: str) -> str:
    """The name of the home of a page."""
    found = _SCENE.search(text)
    return found[1] if found else "router"


def marks_of(text: str) -> list[str]:
    """Every mark of a page, those above no block too."""
    return [mark for mark in _MARK.findall(text) if not mark.startswith("scene")]


def taken_whole() -> frozenset[str]:
    """Pages below docs/ of which a test takes every block: ``with page("guides/ufw.md")``."""
    tests = sorted((ROOT / "tests" / "lab" / "guides").glob("test_*.py"))
    return frozenset(f"docs/{name}" for test in tests for name in _TAKES.findall(test.read_text("utf-8")))


def read(page: Path) -> list[Block]:
    return blocks_of(page.read_text("utf-8"), str(page.relative_to(ROOT)))


def session(block: Block) -> list[tuple[str, list[str]]]:
    """(command, lines of its output) of a console block. A line that ends with a backslash goes on in the next."""
    steps: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if steps and not steps[-1][1] and steps[-1][0].endswith("\\"):
            steps[-1] = (f"{steps[-1][0]}\n{line}", [])
        elif line.startswith(("$ ", "# ")):
            steps.append((line[2:], []))
        elif steps:
            steps[-1][1].append(line)
    return steps


def script(block: Block) -> str:
    """The commands of a shell block or a console block."""
    if block.kind == "console":
        return "".join(f"{command}\n" for command, _ in session(block))
    return block.text
