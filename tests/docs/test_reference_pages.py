"""Nothing is missing in the pages of docs/reference. tests/test_references.py compares them with the program."""

import re

from tests.docs.references import DIRECTORY, PAGES, prose, table
from upnp_gw import api
from upnp_gw.cli.manual.commands import program_reference
from upnp_gw.config.file import KEYS, NOTIFY
from upnp_gw.gate.accepted import ACCEPTED


def test_every_page_of_the_directory_is_made() -> None:
    assert {path.name for path in DIRECTORY.glob("*.md")} == set(PAGES)


def rows(name: str) -> set[str]:
    """The first cells of the tables."""
    return set(re.findall(r"^\| `([^`]+)` \|", (DIRECTORY / name).read_text("utf-8"), re.M))


def test_every_command_key_route_and_event_is_there() -> None:
    headings = set(re.findall(r"^#{3,4} (.*)$", (DIRECTORY / "commands.md").read_text("utf-8"), re.M))
    assert headings == {f"upnp-gw {each.name}" for each in program_reference().all if each.name}
    assert {"0", "1", "2", "3"} <= rows("commands.md")
    assert rows("configuration.md") == {key for keys in (*KEYS.values(), NOTIFY) for key in keys}
    assert rows("policy-keys.md") == {key for keys in ACCEPTED.values() for key in keys} - {"*"}
    page = (DIRECTORY / "api.md").read_text("utf-8")
    assert all(f"### {route.method} {route.path}\n" in page for route in api.ROUTES.values())
    assert "`first-mapping`" in page


def test_text_of_the_command_line_becomes_markdown() -> None:
    assert prose("a <b> `c <d>` *e*\nf") == "a \\<b> `c <d>` \\*e\\* f"
    assert prose("\b\n  x\n  y") == "```text\n  x\n  y\n```"
    assert table(("a", "b"), [("`x|y`", "")]) == "| a | b |\n| --- | --- |\n| `x\\|y` | |\n"
