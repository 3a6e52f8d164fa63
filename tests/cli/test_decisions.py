"""``log`` and ``devices``."""

import json

import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import NOW, ServedOperator, decision
from upnp_gw import api
from upnp_gw.cli.decisions import format_decision
from upnp_gw.model.mapping import Via
from upnp_gw.text.escape import width

ALLOWED = decision(
    2, verdict="allow", rule="home", refusal=None, device_name="ps5", reasons=["grant home: has room"]
)


def test_the_newest_come_last(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.decided = [decision(1), ALLOWED]
    answer = upnp_gw("log")
    first, why, second, *_ = answer.output.splitlines()
    assert first.endswith("deny  02:00:00:00:00:66 igd2 map tcp 445 -> 192.168.1.77:445")
    assert why == "    d1 [never-admin-ports] forbid never-admin-ports: internal port 445"
    assert "allow ps5 igd2" in second
    assert max(map(width, answer.output.splitlines())) <= 80


def test_filters_reach_the_api(daemon: ServedOperator, upnp_gw: Run) -> None:
    upnp_gw(
        "log",
        "--device",
        "ps5",
        "--verdict",
        "deny",
        "--via",
        "pcp",
        "--since",
        "2026-05-01T12:00:00Z",
        "--until",
        "2026-05-02T12:00:00Z",
        "--rule",
        "nas-web",
        "--port",
        "443",
        "--limit",
        "7",
    )
    (request,) = daemon.operator.asked
    assert isinstance(request, api.DecisionFilter)
    assert (request.device, request.verdict, request.via, request.limit) == ("ps5", "deny", Via.PCP, 7)
    assert (request.rule, request.port) == ("nas-web", 443)
    assert request.until is not None
    assert request.since is not None
    assert request.since.isoformat() == "2026-05-01T12:00:00+00:00"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "noon"],
        ["--port", "0"],
        ["--follow", "--until", "1h"],
        ["--verdict", "maybe"],
        ["--limit", "0"],
        ["--via", "upnp"],
    ],
)
def test_wrong_filters(daemon: ServedOperator, upnp_gw: Run, arguments: list[str]) -> None:
    assert upnp_gw("log", *arguments).exit_code == 2
    assert daemon.operator.asked == []


def test_follow_continues_and_prints_nothing_twice(daemon: ServedOperator, upnp_gw: Run) -> None:
    past, both, new, other = decision(1), decision(2), decision(3), decision(4, verdict="allow")
    daemon.operator.decided = [past, both]
    answer_all = daemon.operator.decisions

    async def decisions(query: api.DecisionFilter) -> list[api.Decision]:
        for event in (both, new, other):
            daemon.operator.publish(api.Event(event="decided", at=NOW, decision=event))
        daemon.operator.publish(api.Event(event="wan", at=NOW))
        daemon.operator.publish(None)
        return await answer_all(query)

    daemon.operator.decisions = decisions  # type: ignore[method-assign]
    answer = upnp_gw("log", "--follow", "--json", "--verdict", "deny")
    assert answer.exit_code == 0
    assert [json.loads(line)["id"] for line in answer.output.splitlines()] == ["d1", "d2", "d3"]


@pytest.mark.parametrize(("arguments", "seen"), [([], ["d1", "d2"]), (["--all"], ["d1", "d2", "d3"])])
def test_unchanged_decisions_are_shown_with_all(
    daemon: ServedOperator, upnp_gw: Run, arguments: list[str], seen: list[str]
) -> None:
    past, new, same = decision(1), decision(2), decision(3, verdict="allow", action="reload", unchanged=True)
    daemon.operator.decided = [past]
    answer_all = daemon.operator.decisions

    async def decisions(query: api.DecisionFilter) -> list[api.Decision]:
        for event in (new, same):
            daemon.operator.publish(api.Event(event="decided", at=NOW, decision=event))
        daemon.operator.publish(None)
        return await answer_all(query)

    daemon.operator.decisions = decisions  # type: ignore[method-assign]
    answer = upnp_gw("log", "--follow", "--json", *arguments)
    assert [json.loads(line)["id"] for line in answer.output.splitlines()] == seen
    (request,) = daemon.operator.asked
    assert isinstance(request, api.DecisionFilter)
    assert request.unchanged == bool(arguments)


def test_json_is_lines(daemon: ServedOperator, upnp_gw: Run) -> None:
    daemon.operator.decided = [decision(1), ALLOWED]
    assert [json.loads(line)["id"] for line in upnp_gw("log", "--json").output.splitlines()] == ["d1", "d2"]


@pytest.mark.spec("SR-21")
def test_no_client_text_acts_on_the_terminal() -> None:
    evil = "\x1b[2J\r\nd9 \u202e" + "日" * 300
    lines = format_decision(
        decision(1, device_name=evil, reasons=[evil], rule=evil, internal_client=evil, action=evil), 80
    )
    assert all(line.isprintable() and width(line) <= 80 for line in lines)
    assert [line for line in lines if not line.startswith("    ")] == lines[:1], "none looks like a record"


def test_a_decision_without_ports_is_printed() -> None:
    bare = decision(
        1, transport=None, external_port=None, internal_client=None, internal_port=None, reasons=[], rule=None
    )
    assert format_decision(bare, 80)[0].endswith("igd2 map")
    assert format_decision(bare, 80)[1] == "    d1 not-authorized"


def test_devices(daemon: ServedOperator, upnp_gw: Run) -> None:
    first, second = upnp_gw("devices").output.splitlines()
    assert "frozen" in second
    assert second.split()[0] == "02:00:00:00:00:66"
    assert max(width(first), width(second)) <= 80
    assert json.loads(upnp_gw("devices", "--json").output)[0]["refused"] == 27
