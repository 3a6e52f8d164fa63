"""``policy init``."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from upnp_gw.gate.builtin import PROFILES


@pytest.mark.parametrize("profile", PROFILES)
def test_init_writes_a_policy_that_is_sound(upnp_gw: Run, tmp_path: Path, profile: str) -> None:
    path = tmp_path / "policy.toml"
    answer = upnp_gw("policy", "init", "--profile", profile, str(path))
    assert answer.exit_code == 0, answer.output
    assert f'add to the configuration:\n\n[gate]\npolicy = "{path}"\n' in answer.output
    assert "run --policy" in answer.output
    assert upnp_gw("policy", "check", "--strict", str(path)).exit_code == 0
    assert upnp_gw("policy", "init", "--profile", profile).output == path.read_text()
    path.write_text("# mine")
    assert upnp_gw("policy", "init", "--profile", profile, str(path)).exit_code == 2
    assert path.read_text() == "# mine"
    assert upnp_gw("policy", "init", "--profile", profile, "--force", str(path)).exit_code == 0
    assert upnp_gw("policy", "init", "--profile", profile, str(tmp_path / "no" / "x")).exit_code == 2
