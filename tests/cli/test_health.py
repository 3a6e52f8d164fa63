"""``status`` and ``doctor``."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import STATUS, ServedOperator
from upnp_gw import api
from upnp_gw.cli.client import DaemonClient, NotPermitted
from upnp_gw.cli.health import format_check
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import width

FAILED = api.Check(name="forwarding", outcome="fail", finding="IPv4 is not forwarded", remedy="sysctl -w x=1")


def test_status_is_a_page(daemon: ServedOperator, upnp_gw: Run) -> None:
    answer = upnp_gw("status")
    assert answer.exit_code == 0
    for fact in (
        "pid 4711",
        "up 2h",
        "eth0 up, 100.64.3.4 (shared:",
        "br-lan up, 192.168.1.1/24",
        "2 active, 1 parked",
    ):
        assert fact in answer.output
    assert "WARNING   no policy file" in answer.output
    assert max(map(width, answer.output.splitlines())) <= 80
    assert json.loads(upnp_gw("status", "--json").output) == json.loads(api.encode(STATUS))


def test_status_names_lans_without_nat(
    daemon: ServedOperator, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The WAN's private address is no obstacle where no LAN is translated to it."""
    lans = [api.LanState(interface="lab", up=True, addresses=["203.0.113.1/24"], nat=False), *STATUS.lan]
    shown = replace(STATUS, lan=lans)

    async def status() -> api.Status:
        return shown

    monkeypatch.setattr(daemon.operator, "status", status)
    output = upnp_gw("status").output
    assert "\nlan       lab up, 203.0.113.1/24, no NAT\n" in output
    assert "does not reach it" in output
    shown = replace(STATUS, lan=lans[:1])
    assert "does not reach it" not in upnp_gw("status").output


@pytest.mark.parametrize(("count", "line"), [(1, "1 question waits"), (3, "3 questions wait")])
def test_status_says_that_questions_wait(
    daemon: ServedOperator, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch, count: int, line: str
) -> None:
    assert "queue" not in upnp_gw("status").output
    asking = replace(STATUS, questions=count)

    async def status() -> api.Status:
        return asking

    monkeypatch.setattr(daemon.operator, "status", status)
    assert f"\nqueue     {line}: upnp-gw queue\n" in upnp_gw("status").output
    assert json.loads(upnp_gw("status", "--json").output)["questions"] == count


def test_doctor_asks_the_daemon_and_fails_where_something_is_wrong(daemon: ServedOperator, upnp_gw: Run) -> None:
    answer = upnp_gw("doctor")
    assert (answer.exit_code, answer.output) == (0, "ok        forwarding: IPv4 is forwarded\n")
    daemon.operator.checks.append(FAILED)
    answer = upnp_gw("doctor")
    assert answer.exit_code == 1
    assert "FAIL      forwarding: IPv4 is not forwarded\n          -> sysctl -w x=1" in answer.output
    answer = upnp_gw("doctor", "--json")
    assert answer.exit_code == 1
    assert [check["outcome"] for check in json.loads(answer.output)] == ["ok", "fail"]


def test_doctor_runs_without_a_daemon(upnp_gw: Run, tmp_path: Path) -> None:
    answer = upnp_gw("doctor", "--lan", "lo", "--wan", "upnpgw-none", "--json")
    checks = json.loads(answer.output)
    assert checks[0]["name"] == "daemon"
    assert {"interface", "external address", "forwarding", "nftables", "ports", "state"} <= {
        c["name"] for c in checks
    }
    assert "WAN upnpgw-none does not exist" in [check["finding"] for check in checks]
    assert answer.exit_code == 1


def test_doctor_reports_a_wrong_configuration(upnp_gw: Run) -> None:
    answer = upnp_gw("doctor", "--lan", "lo", "--wan", "lo")
    assert answer.exit_code == 1
    assert "lo is also the WAN" in answer.output


@pytest.mark.spec("SR-21")
def test_a_remedy_is_one_printable_line() -> None:
    lines = format_check(
        api.Check(name="x", outcome="warn", finding="\x1b[2J" * 50, remedy="nft \u202e" + "y" * 90), 80
    )
    assert all(line.isprintable() for line in lines)
    assert lines[-1].startswith("          -> nft ")


def test_doctor_reports_that_the_user_may_not_ask_the_daemon(
    daemon: ServedOperator, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not take the daemon that runs for one that does not, nor its ports for somebody else's."""

    def refused(self: DaemonClient) -> None:
        raise NotPermitted(f"no permission to use {self.path}")

    monkeypatch.setattr(DaemonClient, "_connect", refused)
    answer = upnp_gw("doctor")
    assert answer.exit_code == 3
    assert answer.output.startswith("Error: no permission to use ")


def test_status_tells_the_chain(daemon: ServedOperator, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "double NAT: 192.168.1.1 answers over pcp; outside is 198.51.100.7"
    above = api.GatewayAbove(
        gateway="192.168.1.1",
        via=Via.PCP,
        answers=True,
        since_s=60,
        external_address="198.51.100.7",
        address_kind="public",
        loop=False,
        sentence=sentence,
    )

    async def status() -> api.Status:
        return replace(STATUS, above=above)

    assert "above" not in upnp_gw("status").output
    monkeypatch.setattr(daemon.operator, "status", status)
    assert f"above     {sentence}" in upnp_gw("status").output
