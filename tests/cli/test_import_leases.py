"""``import --leases``: what it sends to the gateway, and what it says."""

import json
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import served
from upnp_gw import api
from upnp_gw.cli.import_leases import LARGEST_BODY, MOST_SHOWN

HOUR_S = 3600
SLOW_S = 100
"""A command on a busy machine."""


class TakesOver:
    """A gateway that takes over the leases of even ports. It keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[api.TakeOver] = []

    async def take_over(self, body: api.TakeOver) -> api.TakenOver:
        self.asked.append(body)
        return api.TakenOver(leases=[self.answer(lease) for lease in body.leases])

    def answer(self, lease: api.ForeignLease) -> api.TakenLease:
        port = lease.external_port
        if port == 2:
            return api.TakenLease(outcome="stands", mapping="m1", lease_s=9, decision="d1", rule="home")
        if port == 5:
            return api.TakenLease(outcome="absent", message="nobody answers")
        if port == 9:
            return api.TakenLease(outcome="refused", decision="d9", refusal="conflict-other", message="it is used")
        if port == 7:
            return api.TakenLease(outcome="asked", decision="d8", message="the operator is asked")
        if port % 2:
            why = "forbidden by rule no\x1b[31mdd"
            return api.TakenLease(
                outcome="refused", decision="d9", rule="nodd", refusal="not-authorized", message=why
            )
        return api.TakenLease(outcome="taken", mapping="m9", lease_s=60, decision="d7", rule="home")


@pytest.fixture
def leases(tmp_path: Path) -> Path:
    return tmp_path / "upnp.leases"


def in_an_hour() -> int:
    """Counted from the test: this file is read long before its tests run."""
    return int(time.time()) + HOUR_S


def line(port: int, end: int | None = None, description: str = "a: b") -> str:
    return f"TCP:{port}:192.168.1.9:{port}:{in_an_hour() if end is None else end}:{description}\n"


def test_what_goes_on_what_does_not_and_why(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    gateway = TakesOver()
    leases.write_text(
        "".join(line(port) for port in range(1, 9)) + line(10, 1_500_000_000) + "rubbish\n" + line(12, 0), "utf-8"
    )
    with served(tmp_path / "run", more=[gateway]):
        done = upnp_gw("import", "--leases", str(leases))
    assert done.exit_code == 1
    text = done.output
    head = text.replace("\n    ", " ").splitlines()[0]
    assert head.endswith(
        ": 4 leases go on here, 1 there already, 1 waiting for your answer, 2 refused, 1 absent, 1 expired,"
        " 1 broken line"
    )
    assert "upnp.leases:10: accepted: PROTOCOL:PORT:ADDRESS:PORT:TIME:DESCRIPTION" in text.replace("\n    ", " ")
    rows = [row.split() for row in text.splitlines()]
    assert [row[:3] for row in rows if row[0] in "1357"] == [[n, "tcp", n] for n in "1357"]
    assert "nodd" in text
    assert "\x1b" not in text
    assert "to answer: upnp-gw queue" in text
    assert "can be taken over later" in text
    (sent,) = gateway.asked
    assert not sent.preview
    first, *_, last = sent.leases
    assert (first.external_port, first.via, first.description, last.lease_s) == (1, "igd1", "a: b", None)
    assert first.lease_s is not None
    assert HOUR_S - SLOW_S < first.lease_s <= HOUR_S


def test_all_of_it_ends_with_0(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    gateway = TakesOver()
    leases.write_text(line(4) + line(2), "utf-8")
    with served(tmp_path / "run", more=[gateway]):
        done = upnp_gw("import", "--leases", str(leases), "--dry-run")
        plain = json.loads(upnp_gw("import", "--leases", str(leases), "--json").output)
    assert done.exit_code == 0
    assert "1 lease would go on here, 1 there already" in done.output.replace("\n    ", " ")
    rows = [row.split() for row in done.output.splitlines()]
    assert [row[:3] for row in rows if row[0] in "12"] == [["1", "tcp", "4"], ["2", "tcp", "2"]], "all are named"
    assert "goes on for 1m" in done.output
    assert [each.preview for each in gateway.asked] == [True, False]
    assert plain["leases"][0]["answer"] == {
        "outcome": "taken",
        "mapping": "m9",
        "lease_s": 60,
        "decision": "d7",
        "rule": "home",
        "refusal": None,
        "message": None,
    }
    assert (plain["leases"][0]["line"], plain["expired"], plain["broken"], plain["repeated"]) == (1, [], [], 0)


def test_five_thousand_go_in_portions_that_fit(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    gateway = TakesOver()
    wide = "\N{FACE WITH TEARS OF JOY}" * 200
    lines = [line(port, description="x" if port % 50 else wide) for port in range(1, 5001)]
    leases.write_text("".join(lines), "utf-8")
    with served(tmp_path / "run", more=[gateway]):
        done = upnp_gw("import", "--leases", str(leases))
    assert sum(len(each.leases) for each in gateway.asked) == 5000
    assert max(len(each.leases) for each in gateway.asked) <= api.MOST_LEASES
    assert [lease.external_port for each in gateway.asked for lease in each.leases] == list(range(1, 5001))
    assert LARGEST_BODY < 16 * 1024
    assert f"and {2500 - MOST_SHOWN} leases more: --json has all" in done.output.replace("\n    ", " ")


def test_ports_of_other_rules_lead_to_the_doctor(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    leases.write_text(line(9), "utf-8")
    with served(tmp_path / "run", more=[TakesOver()]):
        assert "upnp-gw doctor" in upnp_gw("import", "--leases", str(leases)).output


POLICY = """
version = 1
default = "deny"
[[forbid]]
name = "no-nine"
int_ports = [9]
[[grant]]
name = "games"
who = "*"
int_ports = [2000, 9]
ext_ports = [2000]
owner = "me"
reason = "a test"
review_by = 2099-01-01
[[grant]]
name = "asks"
who = "*"
int_ports = [3000]
approve = true
owner = "me"
reason = "a test"
review_by = 2099-01-01
"""


def test_a_policy_answers_before_the_gateway_runs(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY, "utf-8")
    rows = [
        line(2000),
        f"UDP:2001:192.168.1.9:2000:{in_an_hour()}:NAT-PMP 2001 udp\n",
        line(9),
        line(3000, 0),
        f"TCP;2001:db8::9;2000;;0;1;{in_an_hour()};PCP MAP 3e7ab20507881d5dfe3ad918\n",
    ]
    leases.write_text("".join(rows), "utf-8")
    done = upnp_gw("import", "--leases", str(leases), "--policy", str(policy), "--json")
    answers = [lease["answer"] for lease in json.loads(done.output)["leases"]]
    assert done.exit_code == 1
    assert [(one["outcome"], one["rule"]) for one in answers] == [
        ("taken", "games"),
        ("refused", None),
        ("refused", "no-nine"),
        ("asked", "asks"),
        ("taken", "games"),
    ]
    assert HOUR_S - SLOW_S < answers[0]["lease_s"] <= HOUR_S
    assert answers[0]["decision"] is None
    text = upnp_gw("import", "--leases", str(leases), "--policy", str(policy)).output
    assert "2 leases would go on here" in text.replace("\n    ", " ")
    policy.write_text("version = 2", "utf-8")
    assert upnp_gw("import", "--leases", str(leases), "--policy", str(policy)).exit_code == 2
    assert upnp_gw("import", "x", "--policy", str(policy)).exit_code == 2


def test_remaining_times_are_said(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    gateway = TakesOver()
    leases.write_text(line(4, 600), "utf-8")
    with served(tmp_path / "run", more=[gateway]):
        done = upnp_gw("import", "--leases", str(leases))
    assert "remaining times" in done.output
    assert 500 < (gateway.asked[0].leases[0].lease_s or 0) <= 600


def test_without_a_file_or_a_gateway(upnp_gw: Run, tmp_path: Path, leases: Path) -> None:
    assert upnp_gw("import").exit_code == 2
    both = upnp_gw("import", "miniupnpd.conf", "--leases", str(leases))
    assert (both.exit_code, "a step of its own" in both.output.replace("\n", " ")) == (2, True)
    missing = upnp_gw("import", "--leases", str(leases))
    assert missing.exit_code == 2
    assert "upnp.leases" in missing.output
    leases.write_text(line(4), "utf-8")
    assert upnp_gw("import", "--leases", str(leases)).exit_code == 3, "no gateway runs"
