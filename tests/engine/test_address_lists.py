"""Address lists at work: mappings for their hosts, lists that change, that are broken, that are out of date."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.fixtures.gateway import Clock, GatewayFixture
from tests.fixtures.policy_reload import ReloadFixture, reload_home
from upnp_gw.engine.kept_policies import OTHER_LISTS
from upnp_gw.gate.managed_file import ManagedChange
from upnp_gw.gate.operator_rules import OperatorRules
from upnp_gw.ledger.events import PolicyRefused
from upnp_gw.model.mapping import DAY_S, RemotePeers, Transport, Via
from upnp_gw.model.request import Granted, Refusal

TCP = Transport.TCP
POLICY = """
version = 1
[set.bots]
file = "bots.txt"
max_age = "7d"
[set.office]
file = "office.txt"

[[forbid]]
name = "no-bots"
remote = ["@bots"]

[[grant]]
name = "office"
who = "*"
int_ports = [9000]
remote = ["@office"]

[[grant]]
name = "wide"
who = "*"
int_ports = ["8000-8999"]
"""
BOT, GUEST, DESK = map(ip_address, ("203.0.113.5", "198.51.100.7", "192.0.2.9"))
NONCE = b"n" * 12


@asynccontextmanager
async def home(directory: Path, policy: str = POLICY, clock: Clock | None = None) -> AsyncIterator[ReloadFixture]:
    for name, text in (("bots.txt", "203.0.113.0/24\n"), ("office.txt", "192.0.2.0/24\n")):
        if not (directory / name).exists():
            (directory / name).write_text(text)
            os.utime(directory / name, (1_700_000_000, 1_700_000_000))
    clock = clock or Clock()
    os.utime(directory / "bots.txt", (clock.now.wall - 60, clock.now.wall - 60))
    async with reload_home(directory, policy, clock=clock) as made:
        yield made


def lets_in(fixture: GatewayFixture, port: int = 8000) -> set[str]:
    hosts = {"bot": BOT, "guest": GUEST, "desk": DESK}
    return {name for name, host in hosts.items() if fixture.firewall.reach(TCP, port, host) is not None}


async def change(made: ReloadFixture, name: str, text: str) -> None:
    file, now = made.file.parent / name, made.gateway_fixture.clock.now.wall
    file.write_text(text)
    os.utime(file, (now, now))
    await made.policy_updates.load_lists()
    await made.gateway_fixture.sweep()


async def test_a_mapping_lets_in_whom_the_lists_let(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000)
        await fixture.granted(9000)
        assert lets_in(fixture) == {"guest", "desk"}
        assert lets_in(fixture, 9000) == {"desk"}
        shown = {row.external_port: row.remote_host for row in await made.operator.mappings()}
        assert shown == {8000: "never @bots", 9000: "only @office, never @bots"}


async def test_a_remote_host_that_is_named_is_let_in_whole_or_not_at_all(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        refused = await fixture.refused(8000, remote=str(BOT))
        assert refused.reason == "forbidden by rule no-bots"
        await fixture.granted(8000, remote=str(GUEST))
        await fixture.granted(9000, remote=str(DESK))
        assert (await fixture.refused(9001, internal=9000, remote=str(GUEST))).refusal is Refusal.NOT_AUTHORIZED
        assert lets_in(fixture) == {"guest"}
        assert lets_in(fixture, 9000) == {"desk"}


async def test_filters_are_narrowed_to_prefixes(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await change(made, "bots.txt", "203.0.113.0/26\n")
        reply = await fixture.map(
            8000, via=Via.PCP, nonce=NONCE, filters=(RemotePeers(ip_network("203.0.113.0/25"), 0),)
        )
        assert isinstance(reply, Granted), reply
        assert [str(one.network) for one in reply.mapping.filters_in_force] == ["203.0.113.64/26"]
        assert lets_in(fixture) == set()
        refused = await fixture.refused(
            8001, via=Via.PCP, nonce=NONCE, filters=(RemotePeers(ip_network("203.0.113.0/26"), 0),)
        )
        assert refused.reason == "forbidden by rule no-bots"


async def test_a_list_that_changes_is_followed_and_flows_are_cut(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000)
        await fixture.granted(8001, remote=str(GUEST))
        await fixture.granted(9000)
        before = fixture.policy.digest
        await change(made, "bots.txt", "203.0.113.0/24\n198.51.100.0/24\n")
        assert lets_in(fixture) == {"desk"}
        assert lets_in(fixture, 8001) == set(), "its only host is on the list now"
        assert {cut.external_port for cut in fixture.firewall.cuts} == {8000, 8001, 9000}
        assert fixture.policy.digest != before
        await change(made, "bots.txt", "# nobody\n")
        assert lets_in(fixture) == {"bot", "guest", "desk"}


async def test_a_list_whose_addresses_are_the_same_changes_nothing(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000)
        before = fixture.policy.digest
        await change(made, "bots.txt", "# the same\n203.0.113.0/25\n203.0.113.128/25\n")
        assert fixture.policy.digest == before
        assert fixture.firewall.cuts == []


async def test_a_broken_list_changes_nothing_and_the_status_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000)
        await change(made, "bots.txt", "203.0.113.0/24\nexample.org\n")
        assert lets_in(fixture) == {"guest", "desk"}
        problem = made.policy_updates.list_problem or ""
        assert 'bots.txt:2: it has "example.org"; accepted: an address' in problem
        assert problem in caplog.text
        assert [event.problem for event in fixture.events if isinstance(event, PolicyRefused)] == [problem]
        assert (await made.policy_commands.policy()).problem == problem
        await change(made, "bots.txt", "198.51.100.7\n")
        assert made.policy_updates.list_problem is None
        assert lets_in(fixture) == {"bot", "desk"}


async def test_a_list_that_is_broken_stops_no_command(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        (tmp_path / "bots.txt").unlink()
        blocked = await made.policy_updates.change(made_block)
        assert blocked
        assert made.gateway_fixture.policy.forbids[0].name == "block-pc"


def made_block() -> ManagedChange:
    return ManagedChange({"pc": {"ip": ["192.168.1.9"]}}, forbids=({"name": "block-pc", "who": "pc"},))


async def test_a_list_out_of_date_refuses_what_is_new_and_leases_run_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000, lifetime=10 * DAY_S)
        fixture.clock.pass_s(7 * DAY_S)
        await fixture.sweep()
        made.policy_updates._note_stale()
        assert "the address list bots" in caplog.text
        assert made.policy_updates.stale_lists == {"bots"}
        assert lets_in(fixture) == {"guest", "desk"}, "the lease runs on, and the kernel keeps the list"
        for port in (8000, 8001):
            refused = await fixture.refused(port)
            assert refused.reason == "the address list bots of rule no-bots is out of date"
        assert lets_in(fixture) == {"guest", "desk"}
        fixture.clock.pass_s(3 * DAY_S + 1)
        await fixture.sweep()
        assert lets_in(fixture) == set()
        await change(made, "bots.txt", "203.0.113.0/24\n# again\n")
        await fixture.granted(8000)


async def test_a_restart_keeps_the_mappings_of_lists(tmp_path: Path) -> None:
    clock = Clock()
    async with home(tmp_path, clock=clock) as made:
        await made.gateway_fixture.granted(8000, lifetime=None)
        await made.gateway_fixture.granted(9000, lifetime=None)
    async with home(tmp_path, clock=clock) as made:
        assert lets_in(made.gateway_fixture) == {"guest", "desk"}
        assert lets_in(made.gateway_fixture, 9000) == {"desk"}


async def test_a_reload_without_the_lists_opens_to_everybody(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        fixture = made.gateway_fixture
        await fixture.granted(8000)
        made.file.write_text('version = 1\n[[grant]]\nname = "wide"\nwho = "*"\n')
        await made.policy_updates.reload()
        assert lets_in(fixture) == {"bot", "guest", "desk"}
        assert fixture.firewall.hosts == {}


async def test_an_old_decision_is_explained_while_its_lists_are_the_same(tmp_path: Path) -> None:
    async with home(tmp_path) as made:
        granted = await made.gateway_fixture.granted(8000)
        made.file.write_text(POLICY + '\n[[grant]]\nname = "more"\nwho = "*"\n')
        await made.policy_updates.reload()
        explained = await made.policy_commands.explain(granted.mapping.decision)
        assert explained is not None
        assert [rule.effect for rule in explained.forbids] == ["narrows"]
        await change(made, "bots.txt", "198.51.100.7\n")
        explained = await made.policy_commands.explain(granted.mapping.decision)
        assert explained is not None
        assert explained.note == OTHER_LISTS


ASKING = """
version = 1
[set.bots]
file = "bots.txt"
[set.office]
file = "office.txt"
[[grant]]
name = "ask"
who = "*"
approve = true
int_ports = ["8000-8999"]
remote = { only = ["@office", "198.51.100.0/24"], never = ["@bots"] }
hours = ["mon-fri 06:00-22:00", "sat-sun,holidays"]
"""


@pytest.mark.parametrize(
    ("remote", "line"),
    [
        (None, 'only = ["@office", "198.51.100.0/24"]\nnever = ["@bots"]'),
        ("192.0.2.9", 'only = ["192.0.2.9/32"]\nnever = ["@bots"]'),
    ],
)
async def test_an_approval_copies_the_lists_and_the_hours_of_the_grant_that_waited(
    tmp_path: Path, remote: str | None, line: str
) -> None:
    async with home(tmp_path, ASKING) as made:
        fixture = made.gateway_fixture
        refused = await fixture.refused(8000, remote=remote)
        assert refused.refusal is Refusal.ASK
        (question,) = fixture.decider.questions.all(fixture.clock.now.wall)
        rules = OperatorRules(fixture.policy, fixture.clock.now.wall, "lan0")
        text = rules.toml(question)
        assert f"[grant.remote]\n{line}" in text
        assert 'hours = ["mon-fri 06:00-22:00", "sat-sun,holidays 00:00-24:00"]' in text
        await made.policy_updates.change(lambda: rules.approve(question, None))
        await fixture.granted(8000, remote=remote)
        assert lets_in(fixture) == ({"desk"} if remote else {"desk", "guest"})


async def test_an_approval_for_a_list_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    async with home(tmp_path, ASKING) as made:
        fixture = made.gateway_fixture
        await fixture.refused(8000)
        (question,) = fixture.decider.questions.all(fixture.clock.now.wall)
        rules = OperatorRules(fixture.policy, fixture.clock.now.wall, "lan0")
        await made.policy_updates.change(lambda: rules.approve(question, None))
        await fixture.granted(8000)
        made.file.write_text("version = 1\n")
        done = await made.policy_updates.reload()
        assert [one.mapping.key.external_port for one in done.revoked] == [8000]
        assert any("no set of the policy is named bots" in warning for warning in done.warnings)
