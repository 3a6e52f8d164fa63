"""The operator's commands about devices, through the real path: file, policy, ledger, firewall, store."""

import asyncio
from dataclasses import replace
from ipaddress import IPv4Interface, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, Clock
from tests.fixtures.operator_commands import ASK, refused, served, written
from upnp_gw import api
from upnp_gw.control.serialize import Serializer
from upnp_gw.engine.environment import FixedLeases
from upnp_gw.engine.operator_question import questions_waiting
from upnp_gw.gate.load import LoadedPolicy
from upnp_gw.gate.operator_rules import CommandTarget, OperatorRules
from upnp_gw.ledger.filters import allowed_peers
from upnp_gw.model.dhcp import Lease, Leases
from upnp_gw.model.mapping import DAY_S, RemotePeers, Transport, Via
from upnp_gw.model.network import Link, Neighbour, Network
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted, PortChoice, Refusal, Refused

TCP, UDP = Transport.TCP, Transport.UDP
LOCKED = 'version = 1\ndefault = "deny"\n'


@pytest.mark.spec("SR-6", "SR-28")
async def test_no_answer_is_no(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        refusal = await here.home.refused(8080)
        assert (refusal.refusal, refusal.retry_s, refusal.decision is not None) == (Refusal.ASK, 60, True)
        here.home.clock.pass_s(29 * DAY_S)
        assert (await here.home.refused(8080)).refusal is Refusal.ASK
        assert here.home.ports == set()
        (question,) = await here.device_commands.queue()
        assert (question.device_name, question.internal_port, question.times) == ("console", 8080, 2)


@pytest.mark.spec("SR-29")
async def test_an_approval_opens_the_requested_port_at_once_and_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080, internal=8000, lifetime=0 or None, description="web")
        (question,) = await here.device_commands.queue()
        answer = await here.device_commands.approve("1", api.Approve(for_s=3600))
        assert isinstance(answer, api.Approved)
        assert answer.opened is not None, answer.why_not
        assert (answer.opened.external_port, answer.opened.internal_port) == (8080, 8000)
        assert here.home.ports == {(TCP, 8080)}
        assert await here.device_commands.queue() == []
        assert isinstance(await here.home.map(8080, internal=8000), Granted), "the next retry succeeds"
        (record, *_) = await here.home.store.decisions(RecordFilter(id=answer.opened.decision))
        assert (record.action, record.rule) == ("approve", "yes-console-tcp-8000")
        assert 'int_ports = [8000]\next_ports = [8080]\nmax_ttl = "1d"\nmax_hold = "30d"\n' in answer.toml
        assert answer.toml.split("until")[0] == question.toml.split("until")[0], "shown before, and written so"
        here.home.clock.pass_s(3601)
        await here.home.sweep()
        assert here.home.ports == set(), "what an ended grant allowed has ended"
        assert (await here.home.refused(8080, internal=8000)).refusal is Refusal.ASK
        await here.policy_updates.remove_ended()
        assert "yes-console" not in here.file.read_text()


async def test_the_event_stream_and_the_status_count_the_waiting_questions(tmp_path: Path) -> None:
    """A question that a new policy makes void is not counted."""
    async with served(tmp_path) as here:
        serializer = Serializer(here.home.decider)
        result: list[str | None] = []
        here.home.published.subscribe(
            lambda event: result.extend(one.why for one in serializer.events(event, 0.0) if one.event == "question")
        )
        for port in (8080, 8080, 8081):
            await here.home.refused(port)
        assert result == [
            "question 1; 1 question waits: upnp-gw queue",
            "question 2; 2 questions wait: upnp-gw queue",
        ]
        decider, wall = here.home.decider, here.home.clock.now.wall
        assert len(questions_waiting(decider, wall)) == 2
        written(await here.device_commands.deny("1", api.Deny()))
        assert len(questions_waiting(decider, wall)) == 1
        here.home.policy = replace(
            decider.in_force.policy, limits=replace(decider.in_force.policy.limits, max_hold_s=60)
        )
        assert questions_waiting(decider, wall) == []


async def test_an_approval_for_an_unnamed_device_names_it(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080, PC_IP)
        written(await here.device_commands.approve("1", api.Approve()))
        assert f'[device.host-020000000077]\nmac = ["{PC}"]' in here.file.read_text()
        assert here.home.ports == {(TCP, 8080)}
        assert (await here.home.refused(8080, CONSOLE_IP)).refusal is Refusal.ASK, "nobody else was meant"
        written(await here.device_commands.name(PC, api.NameDevice(name="office-pc")))
        text = here.file.read_text()
        assert "[device.office-pc]" in text
        assert 'who = "office-pc"' in text
        assert "device.host-" not in text
        assert here.home.ports == {(TCP, 8080)}, "its rules follow it"


async def test_an_approval_for_an_absent_device_opens_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080)
        here.home.present.discard(ip_address(CONSOLE_IP))
        answer = await here.device_commands.approve("1", api.Approve())
        assert isinstance(answer, api.Approved)
        assert (answer.opened, answer.why_not is not None) == (None, True)
        assert here.home.ports == set()
        assert isinstance(await here.home.map(8080), Granted)


async def test_an_approval_opens_nothing_for_another_host_at_the_address(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080)
        here.home.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP), PC, "lan0"))
        answer = await here.device_commands.approve("1", api.Approve())
        assert isinstance(answer, api.Approved)
        assert answer.opened is None
        assert here.home.ports == set()
        assert await here.device_commands.queue() == [], "nobody asked in the new holder's name"


async def test_an_approved_pcp_client_gets_its_mapping_with_its_nonce(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        nonce = bytes(range(12))
        more: dict[str, Any] = {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": nonce, "transport": UDP}
        await here.home.refused(5000, **more)
        written(await here.device_commands.approve("1", api.Approve()))
        (row,) = here.home.decider.ledger.table
        assert [hold.nonce for hold in row.holds] == [nonce]
        assert (await here.home.granted(5000, **more)).refreshed


@pytest.mark.spec("SR-29")
async def test_a_waiting_grant_keeps_its_conditions_and_bounds_the_approval(tmp_path: Path) -> None:
    text = f"""{LOCKED}
    [device.console]
    mac = ["{CONSOLE}"]
    [[grant]]
    name = "ingress"
    who = "console"
    int_ports = [443]
    remote = ["203.0.113.0/24"]
    max_ttl = "2h"
    hours = "00:00-24:00"
    approve = true
    approve_for = "7d"
    """
    async with served(tmp_path, text) as here:
        await here.home.refused(443)
        (question,) = await here.device_commands.queue()
        assert question.rule == "ingress"
        too_long = refused(await here.device_commands.approve("1", api.Approve(for_s=8 * DAY_S)))
        assert too_long.field == "for_s"
        answer = written(await here.device_commands.approve("1", api.Approve()))
        for line in ('remote = ["203.0.113.0/24"]', 'max_ttl = "1h"', 'hours = "00:00-24:00"'):
            assert line in answer.toml
        (row,) = here.home.decider.ledger.table
        assert (row.rule, [str(net) for net in row.filters]) == ("yes-console-tcp-443", ["203.0.113.0/24"])


async def test_a_question_whose_grant_has_changed_is_dropped(tmp_path: Path) -> None:
    """A yes would now give something else than was shown. The next request asks again, under the new grant."""
    text = f'''{LOCKED}
    [device.console]
    mac = ["{CONSOLE}"]
    [[grant]]
    name = "games"
    who = "console"
    remote = ["203.0.113.0/24"]
    approve = true
    '''
    async with served(tmp_path, text) as here:
        await here.home.refused(8080)
        limited = text.replace("[device", '[limits]\nmax_ttl = "2h"\n[device')
        for changed in (
            limited,
            text.replace("203.0.113.0/24", "0.0.0.0/0"),
            text.replace('name = "games"', 'name = "play"'),
        ):
            (before,) = await here.device_commands.queue()
            (tmp_path / "policy.toml").write_text(changed)
            await here.policy_updates.reload()
            assert await here.device_commands.queue() == []
            assert (
                refused(await here.device_commands.approve(str(before.number), api.Approve())).error == "not-found"
            )
            await here.home.refused(8080)
        (question,) = await here.device_commands.queue()
        assert (question.number, question.rule) == (4, "play")
        assert not here.file.exists()


async def test_an_approval_after_a_change_of_its_question_is_refused(tmp_path: Path) -> None:
    """Another command is under way; meanwhile the device asks for more."""
    async with served(tmp_path) as here:
        await here.home.refused(8080, internal=8000)
        async with here.policy_updates._lock:
            approval = asyncio.create_task(here.device_commands.approve("1", api.Approve()))
            no = asyncio.create_task(here.device_commands.deny("1", api.Deny(remember=True)))
            await asyncio.sleep(0)
            await here.home.refused(9999, internal=8000)
        for answer in (await approval, await no):
            problem = refused(answer)
            assert problem.error == "changed"
            assert problem.message.startswith("question 1 has changed since it was shown: it is question 2 now")
        assert not here.file.exists()
        assert here.home.ports == set()
        (question,) = await here.device_commands.queue()
        assert (question.number, question.earlier, question.external_ports) == (2, [1], [8080, 9999])


async def test_two_answers_to_one_question_are_one(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080)
        answers = await asyncio.gather(*(here.device_commands.approve("1", api.Approve()) for _ in range(2)))
        assert sorted(type(answer).__name__ for answer in answers) == ["Approved", "Problem"]
        assert here.file.read_text().count("[[grant]]") == 1


async def test_an_approval_opens_no_request_that_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080, internal=8000)
        keep = here.policy_updates.kept.keep

        async def request_meanwhile(*policies: LoadedPolicy) -> None:
            await here.home.refused(9999, internal=8000)
            await keep(*policies)

        monkeypatch.setattr(here.policy_updates.kept, "keep", request_meanwhile)
        answer = written(await here.device_commands.approve("1", api.Approve()))
        assert "ext_ports = [8080]" in answer.toml
        assert here.home.ports == {(TCP, 8080)}
        assert (await here.home.refused(9999, internal=8000)).refusal is Refusal.ASK
        (question,) = await here.device_commands.queue()
        assert (question.number, question.external_ports) == (3, [9999])


async def test_numbers_are_given_once_over_a_restart(tmp_path: Path) -> None:
    """A number that the operator has read must not name another question later."""
    clock = Clock()
    async with served(tmp_path, clock=clock) as here:
        await here.home.refused(8080)
        await here.home.refused(8081)
        written(await here.device_commands.deny("2", api.Deny()))
    async with served(tmp_path, clock=clock) as here:
        await here.home.refused(8082)
        assert [question.number for question in await here.device_commands.queue()] == [1, 3]


async def test_a_remembered_no_is_for_the_family_that_was_asked(tmp_path: Path) -> None:
    """And for whoever would connect: the questions about other remote hosts are answered with it."""
    six = "2001:db8:77::10"
    async with served(tmp_path) as here:
        here.home.around.neighbours.learn(Neighbour(ip_address(six), CONSOLE, "lan0"))
        await here.home.refused(8080, remote="203.0.113.7")
        await here.home.refused(8080)
        await here.home.refused(8080, six)
        answer = written(await here.device_commands.deny("1", api.Deny(remember=True)))
        assert 'family = ["ip4"]' in answer.toml
        assert [question.family for question in await here.device_commands.queue()] == ["ip6"]
        assert (await here.home.refused(8080)).refusal is Refusal.NOT_AUTHORIZED
        assert (await here.home.refused(8080, six)).refusal is Refusal.ASK


SEVERAL: list[dict[str, Any]] = [
    {"via": Via.IGD1},
    {"via": Via.NATPMP, "choice": PortChoice.SUGGESTED},
    {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": b"n" * 12},
]


@pytest.mark.parametrize("first", range(3))
async def test_one_approval_serves_a_client_of_every_protocol(tmp_path: Path, first: int) -> None:
    """libtorrent asks over all of them at once, whichever comes first; the operator answers one question."""
    protocols = SEVERAL[first:] + SEVERAL[:first]
    async with served(tmp_path) as here:
        for _ in range(3):
            for how in protocols:
                await here.home.refused(6881, **how)
        (question,) = await here.device_commands.queue()
        assert (question.times, question.external_ports, question.lease_s) == (9, [6881], 3600)
        written(await here.device_commands.approve(str(question.number), api.Approve()))
        for how in protocols:
            await here.home.granted(6881, **how)
        assert len(here.home.decider.ledger.table) == 1
        assert await here.device_commands.queue() == []


async def test_an_approval_is_not_for_a_taken_suggested_port(tmp_path: Path) -> None:
    """Two computers with the same program: the gateway would choose another port, and a yes lets it."""
    natpmp: dict[str, Any] = {"via": Via.NATPMP, "choice": PortChoice.SUGGESTED}
    async with served(tmp_path) as here:
        written(await here.device_commands.allow(PC_IP, api.Allow(ports=[6881])))
        await here.home.granted(6881, PC_IP)
        await here.home.refused(6881, **natpmp)
        (question,) = await here.device_commands.queue()
        assert question.external_ports == ["1024-65535"]
        written(await here.device_commands.approve("1", api.Approve()))
        assert (await here.home.granted(6881, **natpmp)).mapping.key.external_port != 6881


async def test_a_filter_that_a_grant_cannot_say_is_no_question(tmp_path: Path) -> None:
    """Two remote hosts, each from a port of its own: a rule for both would let each connect from both ports."""
    hosts = [ip_network("203.0.113.7"), ip_network("203.0.113.8")]
    pcp: dict[str, Any] = {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": b"n" * 12}
    async with served(tmp_path) as here:
        mixed = tuple(RemotePeers(host, port) for host, port in zip(hosts, (1, 2), strict=True))
        assert (await here.home.refused(6881, filters=mixed, **pcp)).refusal is Refusal.ASK
        assert await here.device_commands.queue() == []
        same = tuple(RemotePeers(host, 1) for host in hosts)
        await here.home.refused(6881, filters=same, **pcp)
        (question,) = await here.device_commands.queue()
        assert [(one.host, one.port) for one in question.remote_hosts] == [(str(host), 1) for host in hosts]
        answer = written(await here.device_commands.approve("1", api.Approve()))
        assert 'remote = ["203.0.113.7/32", "203.0.113.8/32"]\nremote_ports = [1]' in answer.toml
        await here.home.granted(6881, filters=same, **pcp)
        assert (await here.home.granted(6881, **pcp)).refreshed, "a renewal keeps its FILTERs"
        here.home.clock.pass_s(1800)
        await here.home.sweep()
        (row,) = here.home.decider.ledger.table
        assert set(allowed_peers(row)) == set(same)
        await here.home.refused(6881, clear_filters=True, **pcp)


async def test_a_no_is_asked_again_unless_it_is_remembered(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080)
        assert written(await here.device_commands.deny("1", api.Deny())).toml == ""
        await here.home.refused(8080)
        answer = written(await here.device_commands.deny("2", api.Deny(remember=True)))
        assert "[[forbid]]" in answer.toml
        assert "until" not in answer.toml
        final = await here.home.refused(8080)
        assert (final.refusal, final.reason) == (
            Refusal.NOT_AUTHORIZED,
            "forbidden by rule no-console-tcp-8080",
        )
        assert await here.device_commands.queue() == []
        written(await here.device_commands.retract("no-console-tcp-8080"))
        assert (await here.home.refused(8080)).refusal is Refusal.ASK


@pytest.mark.spec("SR-29")
async def test_a_no_for_a_time_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080)
        written(await here.device_commands.deny("1", api.Deny(remember=True, for_s=3600)))
        assert (await here.home.refused(8080)).refusal is Refusal.NOT_AUTHORIZED
        here.home.clock.pass_s(3600)
        assert (await here.home.refused(8080)).refusal is Refusal.ASK


async def test_allow_block_release(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        answer = written(
            await here.device_commands.allow("console", api.Allow(ports=[8080, "9000-9010"], for_s=86400))
        )
        assert 'int_ports = [8080, "9000-9010"]' in answer.toml
        assert "until" in answer.toml
        await here.home.granted(8080)
        await here.home.granted(9005)
        written(await here.device_commands.block(CONSOLE_IP, api.Block()))
        assert here.home.ports == set()
        assert (await here.home.refused(8080)).reason == "forbidden by rule block-console"
        released = await here.device_commands.release("console")
        assert isinstance(released, api.Released)
        assert 'name = "block-console"' in released.removed
        assert "block-console" not in here.file.read_text()
        await here.home.granted(8080)


async def test_allow_without_an_end_has_a_review_date(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        answer = written(await here.device_commands.allow("console", api.Allow()))
        assert "review_by = " in answer.toml
        assert 'int_ports = ["1024-65535"]' in answer.toml


async def test_the_operators_own_file_is_never_written_and_its_tests_hold(tmp_path: Path) -> None:
    text = f"""{LOCKED}
    [device.pc]
    mac = ["{PC}"]
    [[test]]
    name = "the pc gets nothing"
    from = {{ device = "pc" }}
    request = {{ proto = "tcp", int = 8080, ext = 8080 }}
    want = "deny"
    """
    async with served(tmp_path, text) as here:
        problem = refused(await here.device_commands.allow("pc", api.Allow()))
        line = 1 + text.splitlines().index("    [[test]]")
        place = f'conflicts with the policy file: {tmp_path / "policy.toml"}:{line}: test "the pc gets nothing": '
        assert f"{place}failed: wanted deny; got allow" in problem.message
        assert not here.file.exists()
        assert (await here.home.refused(8080, PC_IP)).refusal is Refusal.NOT_AUTHORIZED
        assert (tmp_path / "policy.toml").read_text() == text


@pytest.mark.parametrize(
    ("device", "name"),
    [("console", "other"), (PC, "console"), ("8.8.8.8", "x"), ("nobody", "x"), (CONSOLE_IP, "y")],
)
async def test_a_name_that_cannot_be_given(tmp_path: Path, device: str, name: str) -> None:
    async with served(tmp_path) as here:
        refused(await here.device_commands.name(device, api.NameDevice(name=name)))
        assert not here.file.exists()


async def test_a_host_of_the_emulator_can_be_named_and_an_address_of_the_gateway_cannot(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        environment = here.home.decider.environment
        loopback = Link("lo", 1, True, (IPv4Interface("127.0.0.1/8"),), has_macs=False)
        rules = OperatorRules(here.home.decider.in_force.policy, 0.0)
        for emulated in (True, False):
            network = Network(loopback, (loopback,), emulated=emulated)
            target = rules.target("127.0.0.1", environment.neighbours, network)
            if emulated:
                assert isinstance(target, CommandTarget)
                assert target.devices == ("127.0.0.1",)
            else:
                assert target == "127.0.0.1 is an address of this gateway, not of a device"


async def test_a_rule_that_no_command_wrote_is_refused_with_the_place_of_the_names(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        problem = refused(await here.device_commands.retract("games"))
        assert "upnp-gw policy show lists these rules" in problem.message


@pytest.mark.spec("SR-7")
async def test_revoke_ends_mappings_flows_and_questions_of_one_device(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        written(await here.device_commands.allow("console", api.Allow(ports=[8080, 8081])))
        written(await here.device_commands.allow(PC_IP, api.Allow(ports=[8082])))
        await here.home.granted(8080)
        await here.home.granted(8081)
        await here.home.granted(8082, PC_IP)
        await here.home.refused(9000)
        await here.home.refused(9000, PC_IP)
        await here.home.unmap(8081)
        assert here.home.firewall.cuts == [], "a deleted mapping's flows live a little longer"
        revoked = await here.device_commands.revoke(CONSOLE)
        assert isinstance(revoked, api.Revoked)
        assert [mapping.external_port for mapping in revoked.mappings] == [8080]
        assert revoked.questions == 1
        assert here.home.ports == {(TCP, 8082)}
        assert {cut.external_port for cut in here.home.firewall.cuts} == {8080, 8081}
        assert [question.device for question in await here.device_commands.queue()] == [PC]


async def test_questions_and_devices_outlive_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with served(tmp_path, clock=clock) as here:
        await here.home.refused(8080, description="caf\u00e9 \ud800")
        clock.pass_s(1)
        await here.home.refused(8081, PC_IP, via=Via.PCP, nonce=b"n" * 12)
        before = await here.device_commands.queue()
        seen = here.home.decider.history.devices(clock())
    async with served(tmp_path, clock=clock) as here:
        assert [q.number for q in await here.device_commands.queue()] == [q.number for q in before] == [1, 2]
        assert here.home.decider.history.devices(clock()) == seen
        written(await here.device_commands.approve("2", api.Approve()))
        await here.home.refused(8082)
        assert [question.number for question in await here.device_commands.queue()] == [1, 3]


@pytest.mark.spec("SR-7")
async def test_an_incident_outlives_a_restart_and_ends_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    async with served(tmp_path, None, clock=clock) as here:
        for port in range(5000, 5027):
            await here.home.map(port, PC_IP)
        (incident,) = await here.device_commands.incidents()
        assert (incident.device, incident.action) == (PC, "freeze")
        assert len(here.home.ports) == 8
    clock.pass_s(3600)
    async with served(tmp_path, None, clock=clock) as here:
        assert [(i.device, i.ends_at) for i in await here.device_commands.incidents()] == [(PC, incident.ends_at)]
        assert (await here.home.refused(6000, PC_IP)).reason == "this device is frozen after an incident"
        clock.pass_s(23 * 3600)
        assert await here.device_commands.incidents() == []
    async with served(tmp_path, None, clock=clock) as here:
        assert await here.device_commands.incidents() == []


async def test_the_operator_releases_a_frozen_device(tmp_path: Path) -> None:
    async with served(tmp_path, None) as here:
        for port in range(5000, 5027):
            await here.home.map(port, PC_IP)
        released = await here.device_commands.release(PC_IP)
        assert isinstance(released, api.Released)
        assert [incident.device for incident in released.incidents] == [PC]
        assert (await here.home.refused(6000, PC_IP)).reason != "this device is frozen after an incident"


@pytest.mark.spec("SR-7")
async def test_quarantine_ends_mappings_of_the_device(tmp_path: Path) -> None:
    text = ASK.replace("incident_after = 5", 'incident_after = 5\non_incident = "quarantine"')
    text += '[[grant]]\nname = "web"\nwho = "*"\nint_ports = [8080]\n'
    async with served(tmp_path, text) as here:
        await here.home.granted(8080, PC_IP)
        await here.home.granted(8081, internal=8080)
        for port in (22, 23, 135, 137, 445):
            assert (await here.home.refused(port, PC_IP)).refusal is Refusal.NOT_AUTHORIZED
        assert here.home.ports == {(TCP, 8081)}
        await here.home.sweep()
        assert [cut.external_port for cut in here.home.firewall.cuts] == [8080]
        assert (await here.home.refused(8080, PC_IP)).reason == "this device is in quarantine after an incident"
        here.home.clock.pass_s(DAY_S)
        await here.home.granted(8080, PC_IP)


@pytest.mark.spec("SR-7")
async def test_quarantine_ends_mappings_of_another_device_to_the_device(tmp_path: Path) -> None:
    """By a grant with ``for``; it had stayed open."""
    text = ASK.replace("incident_after = 5", 'incident_after = 5\non_incident = "quarantine"')
    text += f'[[grant]]\nname = "web"\nwho = "*"\nint_ports = [8080]\nfor = ["{CONSOLE_IP}", "{PC_IP}"]\n'
    async with served(tmp_path, text) as here:
        await here.home.granted(8080, target=PC_IP)
        await here.home.granted(8081, internal=8080)
        for port in (22, 23, 135, 137, 445):
            await here.home.refused(port, PC_IP)
        assert here.home.ports == {(TCP, 8081)}
        await here.home.sweep()
        assert [cut.external_port for cut in here.home.firewall.cuts] == [8080]
        again = await here.home.refused(8080, target=PC_IP)
        assert again.reason == "this device or the internal client is in quarantine after an incident"
        await here.home.granted(8081, internal=8080)
        here.home.clock.pass_s(DAY_S)
        await here.home.granted(8080, target=PC_IP)


@pytest.mark.spec("SR-26")
async def test_a_thousand_forged_datagrams_leave_the_victim_as_it_was(tmp_path: Path) -> None:
    async with served(tmp_path, None) as here:
        await here.home.granted(8080)
        for port in range(1, 1001):
            await here.home.map(port, via=Via.NATPMP, choice=PortChoice.SUGGESTED, lifetime=60)
        assert await here.device_commands.incidents() == []
        await here.home.granted(8081)
        assert isinstance(await here.home.map(8080), Granted)
        assert {(TCP, 8080), (TCP, 8081)} <= here.home.ports


@pytest.mark.spec("SR-26", "SR-28")
async def test_forged_questions_do_not_displace_a_real_one(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        for port in range(5000, 5100):
            here.home.clock.pass_s(2)
            await here.home.map(port, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
        assert len(await here.device_commands.queue()) == 16
        await here.home.refused(8080)
        queue = await here.device_commands.queue()
        assert len(queue) == 16
        assert 8080 in {question.internal_port for question in queue}


@pytest.mark.parametrize("text", [ASK, LOCKED])
async def test_syncthing_raises_no_incident(tmp_path: Path, text: str) -> None:
    """Refused, it tries ten external ports, over TCP and for QUIC, with IGD and NAT-PMP at once, and again."""
    async with served(tmp_path, text.replace("incident_after = 5", "incident_after = 3")) as here:
        for _ in range(3):
            for transport in (TCP, UDP):
                for external in (22000, *range(40000, 40010)):
                    reply = await here.home.map(external, PC_IP, internal=22000, transport=transport)
                    assert isinstance(reply, Refused)
                await here.home.map(22000, PC_IP, transport=transport, via=Via.NATPMP, choice=PortChoice.SUGGESTED)
            here.home.clock.pass_s(120)
        assert await here.device_commands.incidents() == []
        assert len(await here.device_commands.queue()) == (2 if text is ASK else 0), (
            "one question for each of its two ports"
        )


LEASED = f"""{LOCKED}
[device.console]
mac = ["{CONSOLE}"]
dhcp_name = "PS5-lounge"
assure = "lease"
[[grant]]
name = "games"
who = "console"
family = ["ip4", "ip6"]
"""


async def test_a_device_assured_by_its_lease_loses_all_with_it(tmp_path: Path) -> None:
    """Address, neighbour's MAC and lease agree, over IPv6 by the MAC; else nothing is granted or renewed."""
    async with served(tmp_path, LEASED) as here:
        wall, six = here.home.clock.now.wall, ip_address("2001:db8:77::10")
        here.home.around.neighbours.learn(Neighbour(six, CONSOLE, "lan0"))
        here.home.present.add(six)

        def lease(mac: str, ends: float, name: str = "ps5-lounge") -> None:
            known = Leases([Lease(ip_address(CONSOLE_IP), mac, name, ends)])
            here.home.around.leases = FixedLeases(known)

        assert (await here.home.refused(8080)).reason == "no grant covers this request"
        lease(PC, wall + 7200)
        await here.home.refused(8080)
        lease(CONSOLE, wall + 7200, "other")
        await here.home.refused(8080)
        lease(CONSOLE, wall + 7200)
        await here.home.granted(8080, lifetime=86400)
        await here.home.granted(8081, "2001:db8:77::10", lifetime=86400)
        assert len(here.home.decider.ledger.table) == 2
        await here.home.refused(8082, PC_IP)
        here.home.clock.pass_s(3601)
        await here.home.sweep()
        assert len(here.home.decider.ledger.table) == 2
        here.home.clock.pass_s(3601)
        await here.home.sweep()
        assert len(here.home.decider.ledger.table) == 0


HELD = """version = 1
[device.console]
mac = ["ac:89:95:00:00:01"]
[zone]
guest = ["192.168.20.0/24"]
[[grant]]
name = "games"
who = "*"
int_ports = [3074]
"""
NEVER = '[[never]]\nname = "no web"\nrequest = { int = 8080 }\n'
ALWAYS = '[[always]]\nname = "it plays"\nfrom = { device = "console" }\nrequest = { int = 3074, ext = 3074 }\n'


async def test_an_approval_that_crosses_a_new_never_is_refused_with_its_name(tmp_path: Path) -> None:
    asking = HELD.replace("version = 1\n", 'version = 1\ndefault = "ask"\n')
    async with served(tmp_path, asking) as here:
        await here.home.refused(8080)
        (tmp_path / "policy.toml").write_text(HELD + NEVER)
        await here.policy_updates.reload()
        for preview in (True, False):
            problem = refused(await here.device_commands.approve("1", api.Approve(preview=preview)))
            assert problem.error == "policy"
            assert 'grant "yes-console-tcp-8080": crosses never "no web": failed: wanted no such' in problem.message
        assert len(await here.device_commands.queue()) == 1
        assert here.home.ports == set()
        assert not here.file.exists()


async def test_no_command_writes_a_rule_that_breaks_an_invariant(tmp_path: Path) -> None:
    async with served(tmp_path, HELD + NEVER + ALWAYS) as here:
        commands = here.device_commands
        for preview in (True, False):
            allow = api.Allow(ports=[8080], preview=preview)
            problem = refused(await commands.allow("console", allow))
            assert 'crosses never "no web"' in problem.message
            assert problem.message.startswith("this would be refused: " if preview else "nothing was changed: ")
            problem = refused(await commands.block("console", api.Block(preview=preview)))
            assert 'forbid "block-console": crosses always "it plays"' in problem.message
        assert not here.file.exists()
        await here.home.granted(3074)
        written(await commands.allow("console", api.Allow(ports=[8081])))


async def test_an_answer_that_is_remembered_breaks_no_invariant(tmp_path: Path) -> None:
    asking = (HELD + ALWAYS).replace("version = 1\n", 'version = 1\ndefault = "ask"\n')
    asking = asking.replace('who = "*"', 'who = "console"\nfamily = "ip4"').replace(
        "int = 3074, ext = 3074", 'int = 3074, ext = 3074, family = "ip4"'
    )
    async with served(tmp_path, asking) as here:
        await here.home.refused(22000)
        deny = api.Deny(remember=True)
        written(await here.device_commands.deny("1", deny))
        await here.home.refused(3075)
        (tmp_path / "policy.toml").write_text(
            asking.replace("int_ports = [3074]", "int_ports = [3074, 3075]").replace(
                "int = 3074, ext = 3074", "int = 3075, ext = 3075"
            )
        )
        await here.policy_updates.reload()
        problem = refused(await here.device_commands.deny("2", deny))
        assert 'forbid "no-console-tcp-3075": crosses always "it plays"' in problem.message
