"""``policy prove``: one question."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run

POLICY = """
version = 1
[device.nas]
mac = ["00:11:32:00:00:02"]
[zone]
guest = ["192.168.20.0/24"]
[[forbid]]
name = "guests"
zone = "guest"
[[grant]]
name = "web"
who = "nas"
proto = "tcp"
int_ports = [8443]
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "home.toml"
    path.write_text(POLICY)
    return str(path)


def test_never(upnp_gw: Run, policy: str) -> None:
    answer = upnp_gw("policy", "prove", policy, "can guest open tcp 8443")
    assert answer.exit_code == 0, answer.output
    assert answer.output == "never: no request of this kind is allowed or asked about\n"
    assert upnp_gw("policy", "prove", policy, "--who", "guest", "--int", "8443", "--proto", "tcp").exit_code == 0


def test_a_witness(upnp_gw: Run, policy: str) -> None:
    answer = upnp_gw("policy", "prove", policy, "can anyone open tcp 8443", env={"COLUMNS": "200"})
    assert answer.exit_code == 1
    assert "yes: nas (00:11:32:00:00:02) at 192.168.1.77 asks over igd1 for tcp external port 1024" in answer.output
    assert "allowed by grant web" in answer.output
    report = json.loads(upnp_gw("policy", "prove", policy, "--who", "nas", "--json").output)
    assert (report["answer"], report["rule"]) == ("yes", "web")


def test_what_is_not_understood(upnp_gw: Run, policy: str) -> None:
    answer = upnp_gw("policy", "prove", policy, "can gast open tcp 8443", env={"COLUMNS": "200"})
    assert answer.exit_code == 2
    assert "'gast' is nobody of this policy" in answer.output
    assert upnp_gw("policy", "prove", policy, "and", "another").exit_code == 2
    assert upnp_gw("policy", "prove", "--kernel", "can guest open tcp 8443").exit_code == 2


def test_what_stops_the_prover_is_no_traceback(upnp_gw: Run, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from upnp_gw.gate.proof import prove

    monkeypatch.setattr(prove, "never_scope", lambda *_: 1 / 0)
    answer = upnp_gw("policy", "prove", policy, "can guest open tcp 8443")
    assert (answer.exit_code, answer.output) == (2, "unknown: the prover failed: ZeroDivisionError\n")
