"""Every code block of the pages is run, or checked by its kind, or has a reason: ``tests.docs.blocks``."""

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests import ROOT
from tests.docs import shell
from tests.docs.blocks import PAGES, PASTED, PLACES, Block, blocks_of, marks_of, read, script, session, taken_whole
from tests.fixtures.address_lists import ListsInMemory
from tests.fixtures.policies import TODAY
from upnp_gw.config.file import TABLES, parse_text
from upnp_gw.gate.load import load_text
from upnp_gw.gate.policyfile import TopTable
from upnp_gw.model.errors import ConfigError

BLOCKS = [block for page in PAGES for block in read(page)]
SHELL = [block for block in BLOCKS if block.kind in ("sh", "console")]
WHOLE_PAGES = PASTED.keys() | taken_whole()
POLICY_TABLES = frozenset(TopTable.__struct_fields__)


def where(block: Block) -> str:
    return block.where


LISTS = ListsInMemory({"office.txt": "203.0.113.0/24\n2001:db8::/32\n", "blocklist.txt": "198.51.100.0/24\n"})
"""The address lists that pages name."""


def problem(block: Block, above: list[Block]) -> str:
    """The mistake in a block, or nothing. ``above``: the blocks before it on its page."""
    try:
        return CHECKS[block.kind](block, above) if block.kind in CHECKS else ""
    except (ConfigError, ValueError, SyntaxError, yaml.YAMLError) as error:
        return str(error)


def toml_problem(block: Block, above: list[Block]) -> str:
    tables = set(tomllib.loads(block.text))
    if tables <= POLICY_TABLES:
        return policy_problem(block.text, [each.text for each in above if each.kind == "toml"])
    if tables <= set(TABLES):
        parse_text(block.text, block.where)
        return ""
    if block.mark or block.page in WHOLE_PAGES:
        return ""
    return f"neither a policy nor a configuration: {', '.join(sorted(tables))}"


def policy_problem(text: str, above: list[str]) -> str:
    """A policy without ``version`` is a part of one: of its own, or of the last whole one above it."""
    if "version" in tomllib.loads(text):
        return "; ".join(map(str, load_text(text, "page", TODAY, LISTS).warnings))
    try:
        load_text(f"version = 1\n{text}", "page", TODAY, LISTS)
    except ConfigError:
        whole = [each for each in above if "version" in tomllib.loads(each)]
        if not whole:
            raise
        load_text(f"{whole[-1]}\n{text}", "page, with the policy above it", TODAY, LISTS)
    return ""


def shell_problem(block: Block, above: list[Block]) -> str:
    read_by = subprocess.run(["bash", "-n"], input=script(block), capture_output=True, text=True)
    if read_by.returncode:
        return read_by.stderr
    for arguments in shell.own(script(block)):
        if message := shell.refused(arguments):
            return f"upnp-gw {' '.join(arguments)}: {message}"
    return "" if block.mark or block.page in WHOLE_PAGES else "no mark that says how it is tested"


def json_problem(block: Block, above: list[Block]) -> str:
    json.loads(block.text)
    return ""


def yaml_problem(block: Block, above: list[Block]) -> str:
    yaml.compose(block.text)  # with tags that only their program knows
    return ""


def python_problem(block: Block, above: list[Block]) -> str:
    ast.parse(block.text)
    return ""


CHECKS = {
    "toml": toml_problem,
    "sh": shell_problem,
    "console": shell_problem,
    "json": json_problem,
    "yaml": yaml_problem,
    "python": python_problem,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_is_correct(page: Path) -> None:
    blocks = read(page)
    found = {block.where: problem(block, blocks[:place]) for place, block in enumerate(blocks)}
    assert {place: message for place, message in found.items() if message} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_mark_is_above_a_block_and_says_something_that_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    outside = re.sub(r"`[^`\n]*`", "", text)
    blocks = read(page)
    assert len(marks_of(outside)) == sum(bool(block.mark) for block in blocks)
    for block in blocks:
        if block.mark == "run":
            assert block.place in PLACES, block.where
            assert block.kind in ("sh", "console"), block.where
        elif block.mark == "file":
            assert block.value.startswith("/"), block.where
        elif block.mark == "tested":
            test = ROOT / block.value
            assert test.exists(), block.where
            assert page.name in test.read_text("utf-8"), f"{block.where}: {block.value} does not name the page"
        elif block.mark == "not run":
            assert len(block.value.split()) >= 3, f"{block.where}: the reason"


def test_there_are_blocks_of_every_kind() -> None:
    assert len(BLOCKS) > 50
    assert {block.kind for block in BLOCKS} >= {"toml", "sh", "json", "yaml", "python"}


WHOLE = """version = 1
[device.ps5]
mac = ["ac:89:95:00:00:01"]
[[grant]]
name = "games"
who = "ps5"
[[test]]
name = "it plays"
from = { device = "ps5" }
request = { proto = "udp", int = 3074, ext = 3074 }
want = "allow"
"""


@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        ("toml", WHOLE, True),
        ("toml", WHOLE.replace('"allow"', '"deny"'), False),
        ("toml", WHOLE.replace("mac =", "mak ="), False),
        ("toml", '[[grant]]\nname = "all"\nwho = "*"\n', True),
        ("toml", '[[grant]]\nname = "more"\nwho = "ps5"\n', True),
        ("toml", '[[grant]]\nname = "more"\nwho = "xbox"\n', False),
        ("toml", "[firewall]\nnat = false\n", True),
        ("toml", "[firewall]\nnad = false\n", False),
        ("sh", "upnp-gw approve 3 --for 30d  # as long as that\n", True),
        ("sh", "upnp-gw approve 3 --for ever\n", False),
        ("sh", "upnp-gw approve three\n", False),
        ("sh", "upnp-gw aprove 3\n", False),
        ("sh", "upnp-gw list | while read -r line; do upnp-gw lits; done\n", False),
        ("sh", "sudo upnp-gw add tcp 8443 ADDRESS:443 --ttl 1h\n", True),
        ("sh", "upnp-gw list --watch &&\n", False),
        ("console", "$ upnp-gw delete tcp/8443\nanything\n", True),
        ("console", "# upnp-gw delete tcp/8443 --quickly\n", False),
        ("json", "{\n", False),
        ("yaml", "a: b: c\n", False),
        ("python", "def f(\n", False),
    ],
)
def test_a_wrong_block_is_found(kind: str, text: str, right: bool) -> None:
    above, block = blocks_of(f"```toml\n{WHOLE}```\n\n<!-- run: gateway -->\n```{kind}\n{text}```\n")
    assert (problem(block, [above]) == "") is right


def test_a_block_without_a_mark_is_found() -> None:
    for text in ("```sh\nupnp-gw list\n```\n", '```toml\n[tool.poetry]\nname = "x"\n```\n'):
        (block,) = blocks_of(text)
        assert problem(block, [])
        (block,) = blocks_of(f"<!-- not run: it is an example -->\n{text}")
        assert not problem(block, [])


def test_marks_and_sessions_are_read() -> None:
    marks = "   <!-- given, on ps5: x y -->\n   <!-- run: pc, exit 1 -->\n"
    text = f"1. x\n\n{marks}   ```console\n   $ a \\\n       b\n   out\n   ...\n   # c\n   ```\n"
    (block,) = blocks_of(text)
    assert (block.place, block.exit_code, block.stays, block.line, block.given) == (
        "pc",
        1,
        False,
        5,
        ("ps5", "x y"),
    )
    assert session(block) == [("a \\\n    b", ["out", "..."]), ("c", [])]
    assert marks_of(text) == ["run: pc, exit 1"]


def test_commands_of_a_script_are_found() -> None:
    text = "A=1 sudo upnp-gw list >x # no\ncat <<'EOF' | upnp-gw log\nupnp-gw no\nEOF\nif x; then upnp-gw queue; fi"
    assert shell.own(text) == [["list"], ["log"], ["queue"]]
    assert shell.foreign(text) == ["cat", "x"]
