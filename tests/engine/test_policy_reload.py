"""A policy comes into force whole or not at all, and existing mappings are decided again."""

import logging
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP, Clock, asks
from tests.fixtures.policy_reload import ReloadFixture, reload_home
from upnp_gw import api
from upnp_gw.gate.managed_file import ManagedChange
from upnp_gw.ledger.events import PolicyChanged, PolicyRefused, TableChanged
from upnp_gw.model.errors import FirewallError
from upnp_gw.model.mapping import Transport
from upnp_gw.model.request import Refused

TCP = Transport.TCP
WIDE = '[[grant]]\nname = "wide"\nwho = "*"\nint_ports = ["1024-65535"]\n'
POLICY = f"version = 1\n{WIDE}"
NARROW = POLICY.replace("1024-65535", "8000-8999")


async def reloaded(home: ReloadFixture, text: str) -> api.Reloaded:
    home.file.write_text(text)
    answer = await home.policy_commands.reload()
    assert isinstance(answer, api.Reloaded), answer
    return answer


async def test_a_mapping_that_is_no_longer_allowed_ends_with_its_events(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await home.gateway_fixture.granted(8000)
        await home.gateway_fixture.granted(9000)
        before = home.gateway_fixture.decider.in_force.policy.digest
        answer = await reloaded(home, NARROW)
        assert (answer.before, answer.hash) == (before, home.gateway_fixture.decider.in_force.policy.digest)
        assert answer.before != answer.hash
        assert answer.standing == 1
        (revoked_mapping,) = answer.fallen
        assert (revoked_mapping.mapping, revoked_mapping.external_port, revoked_mapping.kept) == ("m2", 9000, False)
        assert revoked_mapping.reason == "no grant covers this request"
        assert home.gateway_fixture.ports == {(TCP, 8000)}
        *_, changed, policy = [
            e for e in home.gateway_fixture.events if isinstance(e, TableChanged | PolicyChanged)
        ]
        assert isinstance(changed, TableChanged)
        assert [(row.id, why) for row, why in changed.removed] == [("m2", "policy")]
        assert policy == PolicyChanged(answer.hash)
        explanation = await home.policy_commands.explain(revoked_mapping.decision)
        assert explanation is not None
        assert explanation.decision is not None
        assert (explanation.decision.action, explanation.verdict) == ("reload", "deny")


BAD = [
    ("version = 2", "version"),
    ("version = 1\n[[grant]]\nname = 'g'", 'grant "g": who'),
    (
        POLICY + "[[test]]\nname = 't'\nfrom = { ip = '192.168.1.2' }\n"
        "request = { proto = 'tcp', int = 8000, ext = 8000 }\nwant = 'deny'",
        'policy.toml:6: test "t": failed: wanted',
    ),
    ("not toml", "not TOML"),
    (
        POLICY + "until = 0001-01-01T00:00:00+14:00\n",
        'policy.toml:6: grant "wide": until: got 0001-01-01T00:00:00+14:00',
    ),
    (POLICY + "until = 9999-12-31T23:59:59-14:00\n", "of the years 1 to 9999 in UTC"),
    (POLICY + "remote = []\n", 'grant "wide": remote: empty; leave it out for anyone'),
    (POLICY + f"max_mappings = 0x{'f' * 6000}\n", 'grant "wide": max_mappings: a number with hundreds of digits'),
    (POLICY + f"owner{'.a' * 40} = 1\n", "tables or lists inside each other"),
    ("\ufeff" + POLICY, "byte order mark"),
]


@pytest.mark.spec("SR-30")
@pytest.mark.parametrize(("text", "message"), BAD)
async def test_a_bad_file_leaves_the_old_policy_and_says_so(
    tmp_path: Path, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await home.gateway_fixture.granted(9000)
        digest = home.gateway_fixture.decider.in_force.policy.digest
        home.file.write_text(text)
        with caplog.at_level(logging.ERROR):
            answer = await home.policy_commands.reload()
        assert isinstance(answer, api.Problem)
        assert message in answer.message
        assert any(message in line.getMessage() for line in caplog.records)
        assert home.gateway_fixture.decider.in_force.policy.digest == digest
        assert home.gateway_fixture.ports == {(TCP, 9000)}
        assert message in (await home.policy_commands.policy()).problem  # type: ignore[operator]
        told = [event.problem for event in home.gateway_fixture.events if isinstance(event, PolicyRefused)]
        assert len(told) == 1
        assert message in told[0]
        await reloaded(home, POLICY)
        assert (await home.policy_commands.policy()).problem is None, "mended"


async def test_a_command_hides_no_problem_of_the_file_and_brings_nothing_of_it_into_force(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        home.file.write_text("not toml")
        assert isinstance(await home.policy_commands.reload(), api.Problem)
        await home.policy_updates.change(lambda: ManagedChange({"tv": {"ip": ["192.168.77.40"]}}))
        shown = await home.policy_commands.policy()
        assert "not TOML" in (shown.problem or "")
        assert shown.text == POLICY
        assert "192.168.77.40" in shown.approved
        home.file.write_text(NARROW)
        await home.policy_updates.change(lambda: ManagedChange({"hifi": {"ip": ["192.168.77.41"]}}))
        await home.gateway_fixture.granted(9000)
        assert (await reloaded(home, NARROW)).fallen


async def test_a_file_that_is_gone_leaves_the_old_policy(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        home.file.unlink()
        assert isinstance(await home.policy_commands.reload(), api.Problem)
        await home.gateway_fixture.granted(9000)


async def test_a_kernel_error_leaves_the_old_policy_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        await home.gateway_fixture.granted(9000)
        digest = home.gateway_fixture.decider.in_force.policy.digest

        async def refuse(changes: object) -> None:
            raise FirewallError("no")

        home.file.write_text(NARROW)
        with monkeypatch.context() as broken:
            broken.setattr(home.gateway_fixture.firewall, "apply", refuse)
            answer = await home.policy_commands.reload()
        assert isinstance(answer, api.Problem)
        assert answer.error == "backend-failed"
        assert home.gateway_fixture.decider.in_force.policy.digest == digest
        assert home.gateway_fixture.ports == {(TCP, 9000)}
        assert len((await reloaded(home, NARROW)).fallen) == 1


async def test_a_repeated_decision_is_recorded_if_it_changed_something(tmp_path: Path) -> None:
    clock, seen = Clock(), 0

    async def new(home: ReloadFixture) -> list[tuple[str, str, str]]:
        """The new records, the oldest first."""
        nonlocal seen
        found = [one for one in await home.operator.decisions(api.DecisionFilter()) if int(one.id[1:]) > seen]
        seen = max(int(one.id[1:]) for one in found)
        assert not any(one.unchanged for one in found)
        return [(one.action, one.verdict, one.mapping or one.reasons[-1]) for one in reversed(found)]

    def decision(home: ReloadFixture) -> str:
        row = home.gateway_fixture.decider.ledger.table.get("m1")
        assert row is not None
        return row.decision

    async with reload_home(tmp_path, POLICY, clock=clock, on_reload="keep") as home:
        await home.gateway_fixture.granted(9000)
        assert await new(home) == [("map", "allow", "m1")]
        await reloaded(home, POLICY)
        same = "decided again about 1 mapping, none changed, none ended"
        assert await new(home) == [("reload", "allow", same)]
        assert decision(home) == "d1", "the decision that let it in"
        await reloaded(home, POLICY + 'remote = ["203.0.113.0/24"]\n')
        one = ("reload", "allow", "decided again about 1 mapping, 1 changed, none ended")
        assert await new(home) == [("reload", "allow", "m1"), one], "fewer may connect"
        await reloaded(home, POLICY.replace("wide", "broad"))
        assert await new(home) == [("reload", "allow", "m1"), one], "another grant"
        before = decision(home)
    for _ in range(10):
        async with reload_home(tmp_path, POLICY.replace("wide", "broad"), clock=clock, on_reload="keep") as home:
            assert await new(home) == [("restore", "allow", "restored 1 mapping, none changed, none ended")]
            assert decision(home) == before
    async with reload_home(tmp_path, POLICY.replace("wide", "broad"), clock=clock, on_reload="keep") as home:
        await new(home)
        await home.gateway_fixture.gateway.submit(
            lambda transaction: home.gateway_fixture.reevaluation.renew(transaction, "m1", False)
        )
        await home.gateway_fixture.gateway.submit(
            lambda transaction: home.gateway_fixture.reevaluation.renew(transaction, "m1", True)
        )
        assert await new(home) == [("renew", "allow", "m1")], "it was parked"
        await reloaded(home, NARROW)
        assert await new(home) == [("reload", "deny", "m1"), one], "kept, and not allowed any more"


async def test_kept_until_the_lease_ends(tmp_path: Path) -> None:
    clock = Clock()
    async with reload_home(tmp_path, POLICY, clock=clock, on_reload="keep") as home:
        made = await home.gateway_fixture.granted(9000, lifetime=3 * 3600)
        (revoked_mapping,) = (await reloaded(home, NARROW)).fallen
        assert revoked_mapping.kept
        row = home.gateway_fixture.decider.ledger.table.get(made.mapping.id)
        assert row is not None
        assert (row.rule, row.decision) == ("kept", made.mapping.decision)
        assert not isinstance(await home.gateway_fixture.map(9000), type(made)), "nothing new under the old policy"
        for _ in range(3):  # the gateway's own renewals do not end it
            assert home.gateway_fixture.ports == {(TCP, 9000)}
            clock.pass_s(3590)
            await home.gateway_fixture.sweep()
        clock.pass_s(60)
        await home.gateway_fixture.sweep()
        assert home.gateway_fixture.ports == set()
    removed = [why for e in home.gateway_fixture.events if isinstance(e, TableChanged) for _, why in e.removed]
    assert removed == ["expired"]


async def test_a_kept_mapping_outlives_a_restart_and_a_friendlier_policy_takes_it_back(tmp_path: Path) -> None:
    clock = Clock()
    async with reload_home(tmp_path, POLICY, clock=clock, on_reload="keep") as home:
        await home.gateway_fixture.granted(9000, lifetime=3 * 3600)
        await reloaded(home, NARROW)
    async with reload_home(tmp_path, NARROW, clock=clock, on_reload="keep") as again:
        assert again.gateway_fixture.ports == {(TCP, 9000)}
        assert (await reloaded(again, POLICY)).fallen == []
        (row,) = again.gateway_fixture.decider.ledger.table
        assert row.rule == "wide"
    async with reload_home(tmp_path, NARROW, clock=clock) as strict:
        assert strict.gateway_fixture.ports == set(), "a restart with revoke ends it"


async def test_keep_is_for_a_new_policy_alone(tmp_path: Path) -> None:
    clock = Clock()
    timed = POLICY + 'hours = "00:00-23:59"\n'
    async with reload_home(tmp_path, timed, clock=clock, on_reload="keep") as home:
        made = await home.gateway_fixture.granted(9000)
        home.gateway_fixture.around.network = home.gateway_fixture.around.network.__class__(
            wan=home.gateway_fixture.around.network.wan,
            lans=(),
            external=home.gateway_fixture.around.network.external,
        )
        await home.gateway_fixture.gateway.submit(
            lambda transaction: home.gateway_fixture.reevaluation.renew(transaction, made.mapping.id, None)
        )
        assert home.gateway_fixture.ports == set(), "the floor holds whatever is configured"


async def test_where_there_is_room_for_fewer_the_oldest_stay(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        for port in (9000, 9001, 9002):
            await home.gateway_fixture.granted(port)
            home.gateway_fixture.clock.pass_s(1)
        answer = await reloaded(home, POLICY + "max_mappings = 1\n")
        assert home.gateway_fixture.ports == {(TCP, 9000)}
        assert {revoked_mapping.external_port for revoked_mapping in answer.fallen} == {9001, 9002}


async def test_a_parked_mapping_stays_parked(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        made = await home.gateway_fixture.granted(9000)
        await home.gateway_fixture.gateway.submit(
            lambda transaction: home.gateway_fixture.reevaluation.renew(transaction, made.mapping.id, False)
        )
        await reloaded(home, POLICY + "max_mappings = 5\n")
        (row,) = home.gateway_fixture.decider.ledger.table
        assert (row.parked, home.gateway_fixture.ports) == (True, set())


async def test_a_larger_table_waits_for_the_next_start(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY, size=1024) as home:
        answer = await reloaded(home, "version = 1\n[limits]\ntotal_mappings = 5000\n" + WIDE)
        assert answer.warnings == ["limits: total_mappings is 5000 from the next start on; until then 1024"]


async def test_a_flood_is_one_record_with_a_count(tmp_path: Path) -> None:
    clock = Clock()
    async with reload_home(
        tmp_path, "version = 1\n[limits]\nrequests_per_minute = 5\n" + WIDE, clock=clock
    ) as home:
        replies = [await home.gateway_fixture.map(9000 + n) for n in range(60)]
        refused = [reply for reply in replies if isinstance(reply, Refused)]
        ids = {reply.decision for reply in refused}
        assert len(ids) == 1, "every refusal names a decision that can be looked up"
        clock.pass_s(61)
        await home.gateway_fixture.granted(9100)
        rate = await home.operator.decisions(api.DecisionFilter(verdict="deny"))
        assert [(one.count, one.refusal) for one in rate] == [(len(refused), "rate")]


async def test_a_flood_in_progress_is_recorded_at_the_end(tmp_path: Path) -> None:
    text = "version = 1\n[limits]\nrequests_per_minute = 5\n" + WIDE
    async with reload_home(tmp_path, text) as home:
        for n in range(20):
            await home.gateway_fixture.map(9000 + n)
    async with reload_home(tmp_path, text) as again:
        (decision,) = await again.operator.decisions(api.DecisionFilter(verdict="deny"))
        assert decision.count > 10


async def test_an_explanation_uses_the_policy_of_the_decision(tmp_path: Path) -> None:
    async with reload_home(tmp_path, POLICY) as home:
        made = await home.gateway_fixture.granted(9000)
        before = home.gateway_fixture.decider.in_force.policy.digest
        await reloaded(home, NARROW)
        explanation = await home.policy_commands.explain(made.mapping.decision)
        assert explanation is not None
        assert (explanation.verdict, explanation.rule) == ("allow", "wide")
        assert ([(rule.name, rule.effect) for rule in explanation.grants], explanation.policy) == (
            [("wide", "charged")],
            before,
        )
        assert explanation.reasons[-1] == "granted by rule wide"
        assert (explanation.note, explanation.superseded) == (None, True)
        await reloaded(home, POLICY)
        again = await home.policy_commands.explain(made.mapping.decision)
        assert again is not None
        assert (again.grants, again.note, again.superseded) == (explanation.grants, None, False), (
            "the same policy again"
        )
        removal = await home.gateway_fixture.granted(8000)
        await home.gateway_fixture.unmap(8000)
        last = f"d{home.gateway_fixture.decider.ledger.numbers.decision}"
        later = await home.policy_commands.explain(last)
        assert removal.mapping.decision != last
        assert later is not None
        assert (later.grants, later.note is None) == ([], False)


async def test_a_trial_by_name_needs_an_address(tmp_path: Path) -> None:
    named = POLICY + f'[device.ps5]\nmac = ["{CONSOLE}"]\n[device.gone]\nmac = ["02:00:00:00:00:01"]\n'
    async with reload_home(tmp_path, named) as home:
        found = await home.policy_commands.trial(api.Trial(device="ps5", transport=TCP, internal_port=9000))
        assert isinstance(found, api.Explained)
        assert (found.verdict, found.facts["address"], found.names) == ("allow", CONSOLE_IP, ["ps5"])
        removed = await home.policy_commands.trial(api.Trial(device="gone", transport=TCP, internal_port=9000))
        assert isinstance(removed, api.Problem)
        wrong = api.Trial(address=PC_IP, transport=TCP, internal_port=9000, remote_host="2001:db8::/32")
        assert isinstance(await home.policy_commands.trial(wrong), api.Problem)


async def test_a_trial_and_the_request_itself_agree(tmp_path: Path) -> None:
    async with reload_home(tmp_path, NARROW) as home:
        for port in (8000, 9000, 22):
            found = await home.policy_commands.trial(
                api.Trial(address=CONSOLE_IP, transport=TCP, internal_port=port, lease_s=3600)
            )
            assert isinstance(found, api.Explained)
            await home.gateway_fixture.gateway.handle(asks(port))
            (record,) = await home.operator.decisions(api.DecisionFilter(limit=1))
            assert (found.verdict, found.reasons) == (record.verdict, list(record.reasons))


NEVER = '[[never]]\nname = "no web"\nrequest = { int = 8080 }\n'
PLAIN = 'version = 1\n[device.console]\nmac = ["ac:89:95:00:00:01"]\n'
YES = 'version = 1\n[[grant]]\nname = "yes-web"\nwho = "console"\nint_ports = [8080]\n'
OTHER = '[[grant]]\nname = "yes-game"\nwho = "console"\nint_ports = [3074]\n'


async def test_a_reload_ends_an_approval_that_a_new_never_crosses_for_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    machine = tmp_path / "approved.toml"
    machine.write_text(YES + OTHER)
    async with reload_home(tmp_path, PLAIN) as home:
        await home.gateway_fixture.granted(8080)
        await home.gateway_fixture.granted(3074)
        answer = await reloaded(home, PLAIN + NEVER)
        assert [one.external_port for one in answer.fallen] == [8080]
        assert answer.warnings[0].startswith('grant yes-web: has ended: it crosses never "no web": failed: wanted')
        assert home.gateway_fixture.ports == {(TCP, 3074)}
        assert "yes-web" not in machine.read_text()
        assert "yes-game" in machine.read_text()
        assert "removed from" in caplog.text
        assert 'name = "yes-web" who = "console" int_ports = [8080]' in caplog.text
        await reloaded(home, PLAIN)
        await home.gateway_fixture.refused(8080)
        await home.gateway_fixture.granted(3074)


async def test_a_start_ends_it_too(tmp_path: Path) -> None:
    machine = tmp_path / "approved.toml"
    machine.write_text(YES + OTHER)
    async with reload_home(tmp_path, PLAIN + NEVER) as home:
        await home.gateway_fixture.refused(8080)
        await home.gateway_fixture.granted(3074)
        assert "yes-web" not in machine.read_text()


async def test_a_policy_of_its_own_that_crosses_ends_no_approval(tmp_path: Path) -> None:
    machine = tmp_path / "approved.toml"
    machine.write_text(YES)
    async with reload_home(tmp_path, PLAIN) as home:
        home.file.write_text(PLAIN + WIDE + NEVER)
        answer = await home.policy_commands.reload()
        assert isinstance(answer, api.Problem)
        assert f'{home.file}:4: grant "wide": crosses never "no web"' in answer.message
        assert machine.read_text() == YES
        await home.gateway_fixture.granted(8080)
