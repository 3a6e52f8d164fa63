"""``explain``, ``try``, ``reload`` and ``policy`` against a house behind a real control socket."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from msgspec.structs import replace

from tests.cli.conftest import Run
from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP
from tests.fixtures.policy_reload import ReloadFixture, reload_home
from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.explain import format_explanation, format_facts
from upnp_gw.control.server import ControlServer
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.text.escape import width

POLICY = f"""
version = 1
[device.ps5]
mac = ["{CONSOLE}"]
[device.tv]
ip = ["192.168.77.99"]
[[forbid]]
name = "admin"
int_ports = [22]
[[grant]]
name = "games"
who = "ps5"
int_ports = ["3000-4000"]
max_mappings = 2
max_ttl = "4h"
[[grant]]
name = "for-tv"
who = "tv"
"""


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[ReloadFixture]:
    (tmp_path / "run").mkdir()
    async with reload_home(tmp_path, POLICY) as home:
        server = ControlServer(home.operator, tmp_path / "run", more=[home.policy_commands])
        await server.start()
        yield home
        await server.close()


async def command(upnp_gw: Run, *arguments: str) -> Result:
    """A command blocks: it runs in a thread beside the daemon's loop."""
    return await asyncio.to_thread(upnp_gw, *arguments)


def fits(answer: Result) -> bool:
    return max(len(line) for line in answer.output.splitlines()) <= 80


async def test_explain_prints_every_rule(home: ReloadFixture, upnp_gw: Run) -> None:
    await home.gateway_fixture.granted(3074, transport=Transport.UDP, via=Via.PCP, lifetime=7 * 86400)
    refused = await home.gateway_fixture.refused(22, PC_IP)
    allowed = await command(upnp_gw, "explain", "d1")
    assert allowed.exit_code == 0, allowed.output
    assert "games CHARGED: room 2/2" in allowed.output
    assert "lease cut from 7d to 4h" in allowed.output
    assert "and 1 for other devices (--all)" in allowed.output
    assert fits(allowed)
    denied = await command(upnp_gw, "explain", refused.decision or "", "--all")
    assert "admin denies: internal port 22" in denied.output
    assert "games no: is for ps5; internal port 22 is not in 3000-4000" in denied.output
    assert fits(denied)
    result = json.loads((await command(upnp_gw, "explain", "d1", "--json")).output)
    assert (result["verdict"], result["lease_s"], result["decision"]["id"]) == (
        "allow",
        4 * 3600,
        "d1",
    )
    assert (await command(upnp_gw, "explain", "d99")).exit_code == 1
    assert (await command(upnp_gw, "explain", "../status")).exit_code == 1


async def test_explain_names_the_operator(home: ReloadFixture, upnp_gw: Run) -> None:
    added = await command(upnp_gw, "add", "tcp", "8080", CONSOLE_IP)
    assert added.exit_code == 0, added.output
    explained = await command(upnp_gw, "explain", "d1")
    assert "who      the operator (upnp-gw add), who needs no grant\n" in explained.output


async def test_explain_uses_the_policy_of_an_old_decision(
    home: ReloadFixture, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.gateway_fixture.granted(3074, transport=Transport.UDP, via=Via.PCP, lifetime=7 * 86400)
    before = home.gateway_fixture.decider.in_force.policy.digest
    home.file.write_text(POLICY.replace("3000-4000", "1-2000"))
    assert (await command(upnp_gw, "reload")).exit_code == 0
    result = await command(upnp_gw, "explain", "d1", "--all")
    assert "games CHARGED: room 2/2" in result.output
    assert "admin no: internal port 3074 is not in 22" in result.output
    assert f"policy   {before}, no longer in force; the rules are as they were" in result.output
    assert "1-2000" not in result.output
    assert fits(result)
    with closing(sqlite3.connect(home.file.parent / "ledger.db")) as db, db:
        db.execute("DELETE FROM policies WHERE digest = ?", (before,))
    result = await command(upnp_gw, "explain", "d1", "--all")
    assert "note     the policy of that time is no longer kept" in result.output
    assert f"policy   {before}, no longer in force\n" in result.output
    assert "(games: room 2/2)" in result.output
    assert "lease cut from 7d to 4h" in result.output
    assert "granted by rule games, lease 4h" in result.output
    for of_now in ("CHARGED", "1-2000", home.gateway_fixture.decider.in_force.policy.digest):
        assert of_now not in result.output
    assert fits(result)


async def test_explain_prints_local_times(
    home: ReloadFixture, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.gateway_fixture.granted(3074, transport=Transport.UDP, via=Via.PCP, lifetime=7 * 86400)
    at = home.gateway_fixture.clock.now.wall
    result = await command(upnp_gw, "explain", "d1")
    here = datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert result.output.startswith(f"{here} allow ps5 pcp map udp 3074"), result.output
    assert f"facts    time {here}, " in result.output
    for raw in (str(int(at)), "minute_of_day", "second_of_minute", "today", "wall", "14400", "{", "["):
        assert raw not in result.output, raw
    trial = await command(upnp_gw, "try", "udp", "3074", "--device", "ps5")
    assert f"facts    time {here}, " in trial.output.replace("\n" + 11 * " ", " "), trial.output


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"today": 739_000, "minute_of_day": 65, "second_of_minute": 7.9, "wall": 5.0}, "time 2024-04-24 01:05:07"),
        ({"today": 0, "minute_of_day": 720, "wall": 0.0}, "time 12:00:00"),
        ({"clock_change_s": 5 * 3600.0}, "clock_change_in 5h"),
        ({"held_by_grant": {"games": 1, "web": 2}, "held": 3}, "held_by_grant games 1 web 2, held 3"),
        (
            {"filters": [["203.0.113.0/24", 5000]], "prefixes": {"lan0": ["10.0.0.0/8"]}},
            "filters 203.0.113.0/24 5000, prefixes lan0 10.0.0.0/8",
        ),
        ({"frozen": True, "lease_agrees": False, "dhcp_name": None}, "frozen"),
        ({"standing": True, "quarantined": True}, "refreshes an existing mapping, in quarantine"),
    ],
)
def test_facts_are_printed_in_words(facts: dict[str, object], message: str) -> None:
    assert format_facts(facts) == message


async def test_try_changes_nothing(home: ReloadFixture, upnp_gw: Run, tmp_path: Path) -> None:
    await home.gateway_fixture.granted(3001)
    before = home.gateway_fixture.decider.ledger.numbers.decision
    answer = await command(upnp_gw, "try", "udp", "3074", "--device", "ps5", "--via", "pcp", "--ttl", "7d")
    assert answer.exit_code == 0, answer.output
    assert "room 1/2" in answer.output
    assert "lease 4h" in answer.output
    denied = await command(upnp_gw, "try", "tcp", "22", "--from", CONSOLE_IP)
    assert denied.exit_code == 1
    assert "forbidden by rule admin" in denied.output
    other = await command(upnp_gw, "try", "tcp", "3001", "--from", CONSOLE_IP, "--for", PC_IP)
    assert "a device may map ports only to itself" in other.output
    assert home.gateway_fixture.decider.ledger.numbers.decision == before
    assert home.gateway_fixture.ports == {(Transport.TCP, 3001)}
    file = tmp_path / "ports.toml"
    file.write_text('version = 1\n[[grant]]\nname = "g"\nwho = "*"\nremote_ports = [443]\n')
    by_file = ("try", "tcp", "8080", "--from", "2001:db8::2", "--policy", str(file))
    assert (await command(upnp_gw, *by_file)).exit_code == 1
    assert (await command(upnp_gw, *by_file, "--remote-port", "443")).exit_code == 0
    for wrong in (["--device", "nobody"], ["--from", "nas.lan"]):
        assert (await command(upnp_gw, "try", "tcp", "80", *wrong)).exit_code == 1
    assert (await command(upnp_gw, "try", "tcp", "80")).exit_code == 2


def test_try_by_a_file_needs_no_daemon(upnp_gw: Run, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    answer = upnp_gw("try", "udp", "3074", "--device", "ps5", "--policy", str(path), "--json")
    assert (answer.exit_code, json.loads(answer.output)["rule"]) == (0, "games")
    assert upnp_gw("try", "udp", "3074", "--device", CONSOLE, "--policy", str(path)).exit_code == 0
    assert upnp_gw("try", "udp", "3074", "--from", "192.168.1.5", "--policy", str(path)).exit_code == 1
    for wrong in (["--device", "nobody", "--policy", str(path)], ["--device", "ps5", "--policy", "/none"]):
        assert upnp_gw("try", "udp", "3074", *wrong).exit_code == 2


async def test_reload_lists_revoked_mappings(home: ReloadFixture, upnp_gw: Run) -> None:
    await home.gateway_fixture.granted(3001)
    home.file.write_text(POLICY.replace("3000-4000", "3074"))
    answer = await command(upnp_gw, "reload")
    assert answer.exit_code == 0, answer.output
    assert f"m1 ps5 tcp 3001 -> {CONSOLE_IP}:3001: ended" in answer.output
    assert "no grant covers this request" in answer.output
    assert "0 mappings kept" in answer.output
    home.file.write_text("version = 2")
    bad = await command(upnp_gw, "reload")
    assert bad.exit_code == 1
    assert "the old policy stays in force" in bad.output
    assert "version" in bad.output


async def test_reload_names_the_file_in_force_and_how_to_have_one(
    home: ReloadFixture, upnp_gw: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = " ".join((await command(upnp_gw, "reload")).output.split())
    assert result.startswith(f"in force: {home.file}, policy ")
    assert "No policy file" not in result
    monkeypatch.setattr("upnp_gw.gate.builtin.WHERE", str(home.file))
    result = " ".join((await command(upnp_gw, "reload")).output.split())
    assert result.endswith('Write [gate] policy = "FILE" into the configuration and restart upnp-gw.')


async def test_the_log_shows_the_changes_of_a_reload(home: ReloadFixture, upnp_gw: Run) -> None:
    await home.gateway_fixture.granted(3001)
    await home.gateway_fixture.granted(3074)

    async def seen(*arguments: str) -> list[tuple[str, str | None]]:
        lines = (await command(upnp_gw, "log", "--json", *arguments)).output.splitlines()
        return [(one["action"], one["mapping"]) for one in map(json.loads, lines)]

    before = await seen()
    assert before == [("map", "m1"), ("map", "m2")]
    home.file.write_text(POLICY.replace('"admin"', '"no-ssh"'))
    assert (await command(upnp_gw, "reload")).exit_code == 0
    assert await seen("--all") == await seen() == [*before, ("reload", None)]
    assert (await seen("--limit", "1")) == [("reload", None)]
    text = (await command(upnp_gw, "log", "--limit", "1")).output
    assert " allow gateway reload\n    d3 decided again about 2 mappings, none changed, none ended\n" in text
    row = home.gateway_fixture.decider.ledger.table.get("m2")
    assert row is not None
    assert row.decision == "d2"
    result = await command(upnp_gw, "explain", row.decision)
    assert "grants  0/0" not in result.output
    assert "CHARGED" in result.output, "the whole decision that let it in"
    home.file.write_text(POLICY.replace('"games"', '"play"').replace("3000-4000", "3000-3010"))
    assert (await command(upnp_gw, "reload")).exit_code == 0
    assert sorted((await seen())[3:-1]) == [("reload", "m1"), ("reload", "m2")]
    result = await command(upnp_gw, "explain", "d6")
    assert "one record for all mappings; each one that changed" in result.output
    answer = "answer    decided again about 2 mappings, 1 changed, 1 ended\n"
    assert answer + "ended     m2\nchanged   m1\nmappings  m1-m2\npolicy    " in result.output
    await home.gateway_fixture.gateway.submit(
        lambda transaction: home.gateway_fixture.reevaluation.renew(transaction, "m1", None)
    )
    assert (await seen("--all"))[-1] == ("reload", None), "a renewal that changes nothing is no decision"


async def test_policy_show_and_diff(home: ReloadFixture, upnp_gw: Run, tmp_path: Path) -> None:
    await home.gateway_fixture.granted(3001)
    await home.gateway_fixture.granted(3002)
    await home.gateway_fixture.refused(22)
    await home.gateway_fixture.unmap(3002)
    shown = await command(upnp_gw, "policy", "show")
    assert POLICY.strip() in shown.output
    other = tmp_path / "other.toml"
    other.write_text(POLICY)
    same = await command(upnp_gw, "policy", "diff", str(other))
    assert (same.exit_code, same.output.splitlines()[-1]) == (0, "3 same, 0 would change")
    other.write_text(POLICY.replace("3000-4000", "3001").replace('"4h"', '"1h"').replace("[22]", "[23]"))
    differs = await command(upnp_gw, "policy", "diff", str(other))
    assert differs.exit_code == 1
    assert "allow 1h -> deny" in differs.output
    assert "2 same, 1 would change" in differs.output
    result = json.loads((await command(upnp_gw, "policy", "diff", str(other), "--json")).output)
    assert [change["internal_port"] for change in result["changes"]] == [3002]
    other.write_text("version = 2")
    assert (await command(upnp_gw, "policy", "diff", str(other))).exit_code == 2


async def test_policy_diff_names_the_compared_policies(home: ReloadFixture, upnp_gw: Run, tmp_path: Path) -> None:
    await home.gateway_fixture.granted(3001)
    digest = home.gateway_fixture.decider.in_force.policy.digest
    in_force = f"{digest}, since {formats.time(datetime.fromtimestamp(home.gateway_fixture.clock.now.wall, UTC))}"
    file, other = home.file, tmp_path / "other.toml"
    other.write_text(POLICY)

    async def compared_file(path: Path) -> tuple[str, str]:
        answer = await command(upnp_gw, "policy", "diff", str(path))
        result = json.loads((await command(upnp_gw, "policy", "diff", str(path), "--json")).output)
        assert result["in_force"]["file"] == str(file)
        return " ".join(answer.output.split()), result["file_is"]

    compared = "1 same, 0 would change"
    text, state = await compared_file(file)
    unchanged = f"{file} is the policy in force ({in_force}), unchanged since it was loaded."
    assert (text, state) == (f"{unchanged} {compared}", "in-force")
    (tmp_path / "link.toml").symlink_to(file)
    assert (await compared_file(tmp_path / "link.toml"))[1] == "in-force", "the same file by another path"
    text, state = await compared_file(other)
    assert text.startswith(f"{other} has the same rules as the policy in force: {file} ({in_force}).")
    assert state == "same-meaning"
    file.write_text(f"{POLICY}# a note\n")
    text, state = await compared_file(file)
    assert text.startswith(f"{file} was changed after it was loaded, but its rules are the same ({in_force}).")
    assert state == "same-meaning"
    file.write_text(POLICY.replace('"4h"', '"1h"'))
    other.write_text(POLICY.replace('"4h"', '"1h"'))
    text, state = await compared_file(file)
    new = json.loads((await command(upnp_gw, "policy", "check", str(file), "--json")).output)["hash"]
    assert text.startswith(
        f"{file} was changed after it was loaded. The change is not in force."
        f" In force: {in_force}; the file now: {new}. To load it: upnp-gw reload {compared}"
    )
    assert state == "changed"
    text, state = await compared_file(other)
    assert text.startswith(f"{other} ({new}) is not in force. In force: {file} ({in_force}).")
    assert state == "other"
    file.write_text("version = 2")
    bad = await command(upnp_gw, "policy", "diff", str(file))
    assert bad.exit_code == 2
    assert f"The gateway continues with the file as it was loaded (policy {digest})." in " ".join(
        bad.output.split()
    )
    await command(upnp_gw, "reload")
    other.write_text("version = 2")
    assert "goes on" not in (await command(upnp_gw, "policy", "diff", str(other))).output


HOLDER = api.Holder(
    mapping="m3",
    device="00:11:32:00:00:02",
    device_name="nas",
    internal_client="192.168.1.23",
    internal_port=8000,
    description="Transmission \x1b[2J",
)


def test_explain_and_try_name_the_mapping_in_the_way() -> None:
    taken = "the external port is mapped to another device"
    found = api.Explained(
        verdict="busy",
        refusal="conflict",
        rule="web",
        reasons=["floor ok", "limits ok", "granted by rule web", taken],
        forbids=[],
        grants=[],
        names=["ps5"],
        lease_s=3600,
        policy="0123456789ab",
        facts={},
        holder=HOLDER,
    )
    lines = format_explanation(found, 80)
    at = lines.index(f"answer   {taken}")
    assert lines[at + 1].startswith('holder   m3 -> 192.168.1.23:8000 of nas, "Transmission ')
    assert "\x1b" not in "".join(lines)
    assert lines[0] == "busy (trial: nothing was changed)"
    long = replace(HOLDER, internal_client="2001:db8:1234:5678:9abc:def0:1234:5678", description="x" * 64)
    assert max(map(width, format_explanation(replace(found, holder=long), 80))) <= 80
