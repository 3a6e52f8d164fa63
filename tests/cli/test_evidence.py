"""``evidence``, ``policy suggest``, ``stale``."""

import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import NOW, SUGGESTION, ServedOperator, mapping
from upnp_gw import api
from upnp_gw.model.mapping import MappingKind, Transport
from upnp_gw.text.escape import width

ROW = api.Evidence(
    device="ac:89:95:00:00:01",
    device_name="ps5",
    transport=Transport.UDP,
    kind=MappingKind.PORT_MAPPING,
    family="ip4",
    internal_port=3074,
    requests=12,
    refused=1,
    ungranted=11,
    renewals=3,
    granted_s=86_400,
    connections=400,
    bytes=1_234_567,
    days=5,
    remotes=["203.0.113.5"],
    more_remotes=True,
    first_asked=NOW - timedelta(days=9),
    last_asked=NOW,
    last_used=NOW - timedelta(hours=2),
)
STALE = api.Stale(kind="grant-unmatched", about="games", finding="no request ever matched it", since=NOW)
SS = 'tcp LISTEN 0 128 0.0.0.0:443 0.0.0.0:* users:(("nginx",pid=1,fd=6))\n'


def test_evidence_in_eighty_columns(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert upnp_gw("evidence").output == "no evidence yet\n"
    daemon.operator.seen = [
        ROW,
        msgspec.structs.replace(ROW, device_name=None, kind=MappingKind.PINHOLE, family="ip6", refused=0),
    ]
    lines = upnp_gw("evidence").output.splitlines()
    assert lines[0].split()[:6] == ["DEVICE", "PORT", "ASKED", "REFUSED", "UNGRANTED", "DAYS"]
    assert lines[1].split()[:6] == ["ps5", "udp/3074", "12", "1", "11", "5"]
    assert lines[2].split()[:2] == ["ac:89:95:00:00:01", "udp6/3074"]
    assert max(map(width, lines)) <= 80
    assert json.loads(upnp_gw("evidence", "--json").output)[0]["days"] == 5


def test_suggest_prints_the_file_as_it_is(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert upnp_gw("policy", "suggest", "--min-days", "5").output == SUGGESTION.toml
    assert daemon.operator.asked == [api.AskSuggestion(min_days=5)]
    assert json.loads(upnp_gw("policy", "suggest", "--json").output)["notes"] == ["left out: grant all"]


def test_a_scan_is_read_here_and_sent(daemon: ServedOperator, upnp_gw: Run, tmp_path: Path) -> None:
    scan = tmp_path / "ss.txt"
    scan.write_text(SS)
    upnp_gw("policy", "suggest", "--from", str(scan), "--device", "nas")
    upnp_gw("policy", "suggest", "--from", "-", "--host", "192.168.1.40", input=SS)
    listener = api.Listener(transport=Transport.TCP, port=443, program="nginx")
    assert daemon.operator.asked == [
        api.AskSuggestion(device="nas", listeners=[listener]),
        api.AskSuggestion(host="192.168.1.40", listeners=[listener]),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "-"],
        ["--device", "nas"],
        ["--from", "-", "--device", "nas", "--host", "192.168.1.40"],
        ["--min-days", "0"],
    ],
)
def test_wrong_usage(daemon: ServedOperator, upnp_gw: Run, arguments: list[str]) -> None:
    assert upnp_gw("policy", "suggest", *arguments, input=SS).exit_code == 2
    assert daemon.operator.asked == []


def test_a_scan_that_says_nothing_or_too_much(daemon: ServedOperator, upnp_gw: Run) -> None:
    for text in ("", "hello", "".join(SS.replace("443", str(port)) for port in range(1, 300))):
        assert upnp_gw("policy", "suggest", "--from", "-", "--device", "nas", input=text).exit_code == 2


def test_a_host_that_is_no_address_is_refused_by_the_daemon(daemon: ServedOperator, upnp_gw: Run) -> None:
    answer = upnp_gw("policy", "suggest", "--from", "-", "--host", "nas.lan", input=SS)
    assert answer.exit_code == 1


def test_stale_is_an_exit_code(daemon: ServedOperator, upnp_gw: Run) -> None:
    assert (upnp_gw("stale").exit_code, upnp_gw("stale").output) == (0, "nothing is stale\n")
    daemon.operator.found_stale = [STALE]
    answer = upnp_gw("stale", "--days", "7")
    assert (answer.exit_code, answer.output) == (1, "grant     games: no request ever matched it\n")
    assert daemon.operator.asked[-1] == api.StaleFilter(days=7)
    answer = upnp_gw("stale", "--json")
    assert (answer.exit_code, json.loads(answer.output)[0]["kind"]) == (1, "grant-unmatched")


def test_the_list_marks_mappings_allowed_by_observing(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.held = [mapping(1, rule="observe"), mapping(2), mapping(3, rule="observe", state="parked")]
    _, observed, granted, parked = upnp_gw("list").output.splitlines()
    assert "would-deny" in observed
    assert "would-deny" not in granted
    assert "parked" in parked
    assert width(observed) <= 80


@pytest.mark.spec("SR-21")
def test_no_foreign_text_acts_on_the_terminal(daemon: ServedOperator, upnp_gw: Run) -> None:
    evil = "\x1b[2J\r\n\u202e" + "日" * 300
    daemon.operator.seen = [msgspec.structs.replace(ROW, device_name=evil, remotes=[evil])]
    daemon.operator.found_stale = [msgspec.structs.replace(STALE, about=evil)]
    for command in ("evidence", "stale"):
        lines = upnp_gw(command).output.splitlines()
        assert all(line.isprintable() for line in lines)
