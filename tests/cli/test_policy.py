"""``policy check``."""

import json
from pathlib import Path

from tests.cli.conftest import Run

SOUND = """
version = 1
default = "deny"
[[grant]]
name = "web"
who = "*"
proto = ["tcp"]
int_ports = [8080]
max_mappings = 2
[[test]]
name = "nothing else"
from = { ip = "192.168.1.77" }
request = { proto = "tcp", int = 22, ext = 22 }
want = "deny"
"""


def test_a_sound_policy(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(SOUND)
    answer = upnp_gw("policy", "check", str(path))
    assert answer.exit_code == 0, answer.output
    assert "sound: 1 grants, 0 forbids" in answer.output
    assert json.loads(upnp_gw("policy", "check", str(path), "--json").output)["ok"] is True


def test_a_policy_that_would_not_come_into_force(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(SOUND.replace('want = "deny"', 'want = "allow"'))
    answer = upnp_gw("policy", "check", str(path))
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "nothing else" in answer.stderr
    told = json.loads(upnp_gw("policy", "check", str(path), "--json").output)
    assert (told["ok"], told["file"]) == (False, str(path))
