"""Our texts point to things that exist: files, headings, anchors, commands and their options.

The texts: messages and docstrings of the program, the pages, the examples and the scripts.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests import ROOT
from tests.docs import references
from upnp_gw.cli import main

README = ROOT / "README.md"
SOURCES = sorted((ROOT / "upnp_gw").rglob("*.py"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
OTHER = [
    *(path for path in sorted((ROOT / "examples").rglob("*")) if path.is_file()),
    *sorted((ROOT / "upnp_gw").rglob("*.toml")),
    *sorted((ROOT / ".ci").glob("*.sh")),
    *sorted((ROOT / "tests").glob("*.sh")),
    *sorted((ROOT / ".github").rglob("*.md")),
]
FOREIGN = {"docs/spec/igd.md", "docs/spec/pcp.md", "docs/spec/clients.md"}
"""Pages that quote files of other projects."""

FILE = re.compile(r"(?<![\w/.-])((?:docs|examples|tests|descriptors|\.ci)/[\w./-]*\w|[A-Z]{4,}\.md)(?![\w*/])")
HEADING = re.compile(r'"([^"\n]+)"\s+(?:in|of)\s+([\w/]+\.md)|([\w/]+\.md),?\s+"([^"\n]+)"')
SEE = re.compile(r'(?:\(|: |^)[Ss]ee\s+(?:the\s+)?(?!RFC|IGD|PCP|UDA|CVE)"?([A-Z][a-z]+(?: [a-z]+)*)')
"""A heading named without its page: it is the README's."""


def texts_of(source: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each string of a module, docstrings and the fixed parts of f-strings too."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def all_texts() -> list[tuple[str, str]]:
    """(where, text) of everything."""
    found = [(f"{p.relative_to(ROOT)}:{line}", text) for p in SOURCES for line, text in texts_of(p)]
    whole = [path for path in (*PAGES, *OTHER) if str(path.relative_to(ROOT)) not in FOREIGN]
    return found + [(str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in whole]


TEXTS = all_texts()


def headings(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    return re.findall(r"^#+ (.+)$", text, re.M)


def anchor(heading: str) -> str:
    """As the forges make it of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def missing_files(text: str) -> list[str]:
    """Files that a text names and that do not exist. A decision may be named by its number alone."""
    return [name for name in FILE.findall(text) if not (ROOT / name).exists() and not list(ROOT.glob(f"{name}-*"))]


def missing_headings(text: str) -> list[str]:
    named = [(page_1 or page_2, first or second) for first, page_1, page_2, second in HEADING.findall(text)]
    named += [(README.name, heading) for heading in SEE.findall(text)]
    return [f"{page}: {name}" for page, name in named if name not in headings(ROOT / page)]


def test_every_file_that_a_text_names_exists() -> None:
    assert [(where, missing) for where, text in TEXTS if (missing := missing_files(text))] == []
    assert sum(len(FILE.findall(text)) for _, text in TEXTS) > 100


def test_every_heading_that_a_message_or_an_example_names_exists() -> None:
    texts = [(where, text) for where, text in TEXTS if not where.endswith(".md")]
    assert [(where, missing) for where, text in texts if (missing := missing_headings(text))] == []
    assert sum(len(HEADING.findall(text)) for _, text in texts) >= 2


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('install: "As a service" in docs/checkout.md', False),
        ('install (docs/checkout.md, "As a service")', False),
        ('install: "As a servant" in docs/checkout.md', True),
        ("it stays root (see Least privilege)", True),
        ("it stays root (see RFC 6887)", False),
    ],
)
def test_a_heading_that_is_not_there_is_found(text: str, wrong: bool) -> None:
    assert bool(missing_headings(text)) is wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        leads_to = (page.parent / path) if path else page
        assert leads_to.exists(), target
        if fragment:
            assert fragment in {anchor(heading) for heading in headings(leads_to)}, target


@pytest.mark.parametrize("name", references.PAGES)
def test_a_reference_page_is_what_the_program_makes(name: str) -> None:
    page = (references.DIRECTORY / name).read_text("utf-8")
    assert page == references.PAGES[name](), "run: python -m tests.docs.references"


def test_the_index_of_the_pages_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "spec").glob("*.md")]
    names = {str(page.relative_to(ROOT / "docs")) for page in pages} - {"README.md"}
    assert names - set(re.findall(r"\]\(([^)\s]+)\)", index)) == set()
    assert len(names) > 10


SHOWN = re.compile(r"(?<![\w./-])upnp-gw(?![\w./-])((?: +[^\s`|;>)]+)*)")
"""A command line of ours, as far as it goes, in code of a page."""


def command_lines(page: Path) -> list[str]:
    """The arguments of each ``upnp-gw ...`` in the code of a page, blocks and spans."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    spans = re.findall(r"`(upnp-gw[^`]*)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()] + spans
    return [found.strip() for line in lines for found in SHOWN.findall(line.replace("\n", " ")) if found.strip()]


def unknown(arguments: str) -> str:
    """The part of a command line that does not exist, or nothing. A word in capitals stands for something else."""
    command: click.Command = main
    for word in arguments.split():
        if word == "--":  # a program and its arguments follow
            return ""
        if word.startswith("-") and word != "-":  # alone it is the standard input or output
            option = word.partition("=")[0].rstrip(",.")
            known = {name for parameter in command.params for name in parameter.opts}
            if option not in known | {"--help", "-h", "--version"}:
                return option
        elif isinstance(command, click.Group):
            if word.isupper():
                return ""
            found = command.get_command(click.Context(command), word.rstrip(",.:"))
            if found is None:
                return word
            command = found
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_and_its_options_exist(page: Path) -> None:
    assert [line for line in command_lines(page) if unknown(line)] == []


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    assert len(command_lines(README)) > 20
    assert unknown("policy check FILE") == ""
    assert unknown("policy chek FILE") == "chek"
    assert unknown("list --wach") == "--wach"


NAMED_COMMAND = re.compile(r"(?:: |\(|`|sudo |^)upnp-gw((?: +[^\s`|;>)]+)+)", re.M)
"""A command line in a message."""
PROSE = {"is", "runs,", "stopped", "goes", "continues", "where", "control"}
"""Words that follow the program's name in a sentence."""


def test_every_command_that_a_message_names_and_its_options_exist() -> None:
    texts = [(where, text) for where, text in TEXTS if where.startswith("upnp_gw/")]
    named = [(where, line) for where, text in texts for line in NAMED_COMMAND.findall(text)]
    commands = [(where, line) for where, line in named if line.split()[0] not in PROSE]
    assert len(commands) > 40
    assert [(where, line) for where, line in commands if unknown(line)] == []
