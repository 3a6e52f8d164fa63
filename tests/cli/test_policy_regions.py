"""``policy diff --all`` and ``policy show --device``."""

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.cli.test_prove_question import POLICY

WIDE = {"COLUMNS": "200"}


def test_equal_policies_are_said_to_be_equal(upnp_gw: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(POLICY)
    new.write_text(POLICY.replace("[8443]", '["8443-8443"]') + "# a comment\n")
    answer = upnp_gw("policy", "diff", str(old), str(new), "--all")
    assert (answer.exit_code, answer.output) == (0, "equal: both answer every request alike\n")


def test_a_difference_is_a_box(upnp_gw: Run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(POLICY)
    new.write_text(POLICY.replace("[8443]", '["8443-8450"]') + "[limits]\nper_device = 8\n")
    answer = upnp_gw("policy", "diff", str(old), str(new), "--all", env=WIDE)
    assert answer.exit_code == 1
    assert "opens more: nas" in answer.output
    assert "internal 8444-8450" in answer.output
    assert "was deny: no grant covers this request, becomes allow by web" in answer.output
    assert "limits: per_device was 32, becomes 8" in answer.output
    report = json.loads(upnp_gw("policy", "diff", str(new), str(old), "--all", "--json").output)
    assert {one["kind"] for one in report["differences"]} == {"opens less"}


def test_two_files_need_all(upnp_gw: Run, tmp_path: Path) -> None:
    answer = upnp_gw("policy", "diff", "one.toml", "two.toml")
    assert answer.exit_code == 2
    assert "two files are compared with --all" in answer.output
