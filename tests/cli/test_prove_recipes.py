"""The recipes of docs/prove.md: each policy loads with its proofs, each command says what the page says."""

import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.cli.conftest import Run
from tests.fixtures.policies import TODAY
from upnp_gw.gate.load import check_text

PAGE = (ROOT / "docs" / "prove.md").read_text("utf-8")
POLICIES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.S | re.M)
COMMANDS = re.findall(r"^```console\n(.*?)^```", PAGE, re.S | re.M)
FORBID = re.compile(r"\[\[forbid\]\].*?\n\n", re.S)


@pytest.mark.parametrize("text", POLICIES)
def test_the_invariants_of_a_recipe_hold(text: str) -> None:
    checked = check_text(text, "recipe.toml", TODAY)
    assert checked.invariants
    assert not checked.violated


def test_the_commands_of_the_page(upnp_gw: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = POLICIES[0]
    bare = home[: home.index("[[never]]")]
    (tmp_path / "home.toml").write_text(home)
    (tmp_path / "guests.toml").write_text(FORBID.sub("", home))
    bare = FORBID.sub("", bare)
    (tmp_path / "old.toml").write_text(bare)
    (tmp_path / "new.toml").write_text(
        bare + '[[grant]]\nname = "home-2"\nwho = "*"\nproto = "tcp"\nint_ports = [3389]\n'
    )
    told = [part for block in COMMANDS for part in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)]
    assert len(told) == 4
    for command, expected in told:
        output = upnp_gw(*_words(command)[1:], env={"COLUMNS": "400"}).output.replace("home-2", "home")
        pattern = re.escape(expected.strip()).replace(re.escape("..."), ".*")
        assert re.search(pattern, output.strip()), output


def _words(command: str) -> list[str]:
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', command)]
