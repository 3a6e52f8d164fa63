"""``policy check``."""

import json
import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.cli.conftest import Run
from tests.fixtures.fake_operator import NOW, ServedOperator
from upnp_gw import api
from upnp_gw.cli import policy_sources

EXAMPLES = sorted((ROOT / "examples" / "policies").glob("*.toml"))
VALID = """
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
    path.write_text(VALID)
    answer = upnp_gw("policy", "check", str(path))
    assert answer.exit_code == 0, answer.output
    assert "ok: 1 grant, 0 forbids, 1 test passed" in answer.output
    assert json.loads(upnp_gw("policy", "check", str(path), "--json").output)["ok"] is True


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_sound(upnp_gw: Run, path: Path) -> None:
    answer = upnp_gw("policy", "check", "--strict", str(path))
    assert answer.exit_code == 0, answer.output
    assert ": ok: " in answer.output


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {"home", "ask", "locked", "full"}


def test_a_policy_that_would_not_come_into_force(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(VALID.replace('want = "deny"', 'want = "allow"'))
    answer = upnp_gw("policy", "check", str(path))
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "nothing else" in answer.stderr
    report = json.loads(upnp_gw("policy", "check", str(path), "--json").output)
    assert (report["ok"], report["file"]) == (False, str(path))


def test_check_prints_every_test_and_read_errors(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(VALID + VALID[VALID.index("[[test]]") :].replace('want = "deny"', 'want = "ask"'))
    answer = upnp_gw("policy", "check", str(path), "--json")
    report = json.loads(answer.output)
    assert answer.exit_code == 1
    assert [(test["passed"], test["wanted"], test["got"]) for test in report["tests"]] == [
        (True, "deny", "deny"),
        (False, "ask", "deny"),
    ]
    assert upnp_gw("policy", "check", str(tmp_path / "none.toml")).exit_code == 2
    path.write_text("version = 2")
    assert upnp_gw("policy", "check", str(path)).exit_code == 1


@pytest.mark.parametrize(
    ("data", "key", "line"),
    [
        (b"until = 0001-01-01T00:00:00+14:00", "grant[0].until", 10),
        (b"until = 9999-12-31T23:59:59-14:00", "grant[0].until", 10),
        (b"remote = []", "grant[0].remote", 10),
        (b"max_mappings = 0x" + b"f" * 6000, "grant[0].max_mappings", 10),
        (b"owner" + b".a" * 40 + b" = 1", f"grant[0].owner{'.a' * 14}", 10),
        (b'owner = "\xff"', "", 10),
        (b"\xef\xbb\xbf", "", 10),
        (b"owner = " + b"[" * 9000, "", None),
    ],
    ids=["year 0", "year 10000", "no remote", "number", "depth", "no UTF-8", "mark inside", "brackets"],
)
def test_check_names_file_line_and_key_for_any_content(
    upnp_gw: Run, tmp_path: Path, data: bytes, key: str, line: int | None
) -> None:
    path = tmp_path / "policy.toml"
    sound = VALID.encode().replace(b"max_mappings = 2", b'hours = "06:00-23:00"\n%b' % data)
    path.write_bytes(sound)
    answer = upnp_gw("policy", "check", str(path), "--json")
    assert answer.exit_code in (1, 2)
    assert isinstance(answer.exception, SystemExit)
    report = json.loads(answer.output)
    assert (report["file"], report["key"], report["line"]) == (str(path), key, line)
    assert len(upnp_gw("policy", "check", str(path)).stderr.splitlines()) == 1


def test_strict_counts_warnings(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(VALID.replace("max_mappings = 2", "review_by = 2020-01-01"))
    assert upnp_gw("policy", "check", str(path)).exit_code == 0
    strict = upnp_gw("policy", "check", str(path), "--strict")
    assert strict.exit_code == 1
    assert "its review was due on 2020-01-01" in strict.output


def test_check_names_a_failed_test_by_its_line_and_name(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(VALID.replace('want = "deny"', 'want = "ask"'))
    line = VALID.splitlines().index("[[test]]") + 1
    answer = upnp_gw("policy", "check", str(path))
    assert answer.exit_code == 1
    assert "test[0]" not in answer.stderr
    output = " ".join(answer.stderr.split())
    assert re.search(rf'policy\.toml:{line}: test "[^"]+": failed: wanted ask; got deny', output), output


def test_a_violation_has_its_request_in_values(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(VALID + '[[never]]\nname = "no web"\nrequest = { int = 8080 }\n')
    answer = upnp_gw("policy", "check", str(path), "--json")
    (invariant,) = json.loads(answer.output)["invariants"]
    assert answer.exit_code == 1
    assert (invariant["standing"], invariant["rule"]) == ("violated", "web")
    request = invariant["request"]
    assert (request["via"], request["transport"], request["kind"]) == ("igd1", "tcp", "port-mapping")
    assert (request["internal_port"], request["external_port"], request["exact"]) == (8080, 1024, True)
    assert (request["address"], request["first_lan"]) == (request["internal_client"], True)
    assert request["address"] in invariant["witness"]


NEVER = '[[never]]\nname = "no console"\nrequest = { int = 3074 }\n'
YES = """version = 1
[device.ps5]
mac = ["ac:89:95:00:00:01"]
[[grant]]
name = "yes-ps5-udp-3074"
who = "ps5"
int_ports = [3074]
"""


def test_approvals_that_a_reload_would_end_are_named(upnp_gw: Run, tmp_path: Path) -> None:
    path, approved = tmp_path / "policy.toml", tmp_path / "approved.toml"
    path.write_text(VALID + NEVER)
    approved.write_text(YES)
    answer = upnp_gw("policy", "check", str(path), "--approved", str(approved), env={"COLUMNS": "400"})
    assert answer.exit_code == 0, answer.output
    warning, ok = answer.stdout.splitlines()
    assert warning.startswith(
        f'warning: grant yes-ps5-udp-3074 of {approved}: a reload ends it: it crosses never "no console": failed'
    )
    assert ok.endswith(f"1 invariant proved, with the rules of {approved}")
    assert upnp_gw("policy", "check", "--strict", str(path), "--approved", str(approved)).exit_code == 1
    report = json.loads(upnp_gw("policy", "check", str(path), "--approved", str(approved), "--json").output)
    assert (report["ok"], report["approved"], report["conflict"]) == (True, str(approved), None)
    assert list(report["ended_by_reload"]) == ["yes-ps5-udp-3074"]
    path.write_text(VALID)
    answer = upnp_gw("policy", "check", "--strict", str(path), "--approved", str(approved), env={"COLUMNS": "400"})
    assert answer.exit_code == 0
    assert "a reload ends" not in answer.output


def test_rules_of_commands_that_do_not_fit_are_a_reason_to_refuse(upnp_gw: Run, tmp_path: Path) -> None:
    path, approved = tmp_path / "policy.toml", tmp_path / "approved.toml"
    path.write_text(VALID)
    approved.write_text(YES.replace("yes-ps5-udp-3074", "web"))
    answer = upnp_gw("policy", "check", str(path), "--approved", str(approved), env={"COLUMNS": "400"})
    assert answer.exit_code == 1
    assert "web" in answer.stderr
    assert str(approved) in answer.stderr
    assert upnp_gw("policy", "check", str(path), "--approved", str(tmp_path / "none")).exit_code == 2
    approved.write_text("not toml")
    assert upnp_gw("policy", "check", str(path), "--approved", str(approved)).exit_code == 1


def test_the_rules_of_the_gateway_whose_policy_it_is_count(
    upnp_gw: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, config, state = tmp_path / "policy.toml", tmp_path / "config.toml", tmp_path / "state"
    state.mkdir()
    path.write_text(VALID + NEVER)
    (state / "approved.toml").write_text(YES)
    config.write_text(f'[gate]\npolicy = "{path}"\n[store]\nstate_dir = "{state}"\n')
    monkeypatch.setattr(policy_sources, "CONFIG", config)
    assert "a reload ends it" in upnp_gw("policy", "check", str(path)).output
    other = tmp_path / "other.toml"
    other.write_text(path.read_text())
    assert "a reload ends it" not in upnp_gw("policy", "check", str(other)).output


def test_the_rules_of_the_running_gateway_count(daemon: ServedOperator, upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(VALID + NEVER)
    daemon.operator.in_force = api.PolicyText(
        source=str(path),
        hash="0" * 12,
        since=NOW,
        text=VALID,
        approved_file="/var/lib/upnp-gw/approved.toml",
        approved=YES,
        warnings=[],
        problem=None,
    )
    answer = upnp_gw("policy", "check", str(path), "--json")
    assert json.loads(answer.output)["approved"] == "/var/lib/upnp-gw/approved.toml"
    assert list(json.loads(answer.output)["ended_by_reload"]) == ["yes-ps5-udp-3074"]
