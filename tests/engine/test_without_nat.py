"""LANs without NAT on the path of a request: an IPv4 mapping is a pinhole, and each host has its own ports."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fixtures.gateway import (
    CONSOLE,
    PC,
    TWO_LANS,
    Clock,
    GatewayFixture,
    asks,
    gateway_fixture,
    source_of,
)
from tests.fixtures.policy_reload import ReloadFixture, reload_home
from upnp_gw import api
from upnp_gw.control.replay import replay
from upnp_gw.control.server import STATUS_OF
from upnp_gw.engine.audit import facts_and_request
from upnp_gw.gate.decide import decide
from upnp_gw.gate.load import load_text
from upnp_gw.ledger.events import TableChanged
from upnp_gw.ledger.plan import Planned
from upnp_gw.ledger.refusals import NAT_BEGAN, NAT_ENDED
from upnp_gw.model.mapping import Endpoint, Mapping, MappingKey, MappingKind, Transport, Via
from upnp_gw.model.network import Link, Neighbour, Network
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import (
    Granted,
    MapRequest,
    PortChoice,
    Refusal,
    Refused,
    ReleaseRequest,
    Removed,
    Reply,
    Source,
    UnmapPortRequest,
)

A, B, A6 = "11.77.0.10", "11.77.0.20", "2001:db8:77::10"
"""Hosts of ``lan0``, which has no NAT: the console and the PC."""
HOME = "192.168.88.10"
"""A host of ``lan1``, which has NAT."""
HOME_MAC = "02:00:00:00:00:88"
MIXED = replace(
    TWO_LANS,
    lans=(
        Link("lan0", 3, True, (IPv4Interface("11.77.0.1/24"), IPv6Interface("2001:db8:77::1/64"))),
        TWO_LANS.lans[1],
    ),
    without_nat=frozenset({"lan0"}),
)
PRIVATE = replace(MIXED, lans=(TWO_LANS.lans[0], TWO_LANS.lans[1]))
"""The hosts of ``lan0`` have private addresses, also outside: a campus."""
NONCE = b"n" * 12
TCP, UDP = Transport.TCP, Transport.UDP


def met(home: GatewayFixture) -> GatewayFixture:
    for address, mac, lan in (
        (A, CONSOLE, "lan0"),
        (A6, CONSOLE, "lan0"),
        (B, PC, "lan0"),
        (HOME, HOME_MAC, "lan1"),
    ):
        home.around.neighbours.learn(Neighbour(ip_address(address), mac, lan))
        home.present.add(ip_address(address))
    return home


def network_of(home: GatewayFixture, network: Network) -> None:
    home.around.network = network
    home.scheduler.network_changed()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    async with gateway_fixture(tmp_path, network=MIXED) as fixture:
        yield met(fixture)


def table(home: GatewayFixture) -> dict[str, Mapping]:
    return {str(row.internal): row for row in home.decider.ledger.table}


def kernel(home: GatewayFixture) -> set[tuple[str, str]]:
    """Kind and internal endpoint of each forward."""
    return {(forward.kind.value, str(forward.internal)) for forward, _ in home.firewall.installed.values()}


async def test_two_hosts_have_the_same_port_and_a_third_has_the_gateways(home: GatewayFixture) -> None:
    for client in (A, B):
        reply = await home.granted(8443, client)
        assert reply.external_address == ip_address(client)
        assert reply.mapping.key == MappingKey(TCP, ip_address(client), 8443, None)
        assert reply.mapping.kind is MappingKind.PINHOLE
    reply = await home.granted(8443, HOME)
    assert (reply.external_address, reply.mapping.kind) == (MIXED.advertised, MappingKind.PORT_MAPPING)
    assert kernel(home) == {("pinhole", f"{A}:8443"), ("pinhole", f"{B}:8443"), ("port-mapping", f"{HOME}:8443")}


async def test_an_exact_other_external_port_is_refused(home: GatewayFixture) -> None:
    assert (await home.refused(9000, A, internal=8443)).refusal is Refusal.SAME_PORT
    await home.granted(8443, A)
    assert (await home.refused(9000, A, internal=8443)).refusal is Refusal.SAME_PORT
    assert (await home.refused(9000, A, internal=8443, via=Via.PCP)).refusal is Refusal.SAME_PORT
    assert kernel(home) == {("pinhole", f"{A}:8443")}


@pytest.mark.parametrize("via", [Via.IGD2, Via.NATPMP, Via.PCP])
@pytest.mark.parametrize("suggested", [0, 9000, 8443])
async def test_a_suggested_external_port_becomes_the_internal_one(
    home: GatewayFixture, via: Via, suggested: int
) -> None:
    reply = await home.granted(suggested, A, internal=8443, via=via, choice=PortChoice.SUGGESTED)
    assert reply.mapping.key.external_port == 8443


async def test_the_gateways_own_ports_are_free_for_hosts(home: GatewayFixture) -> None:
    home.reserved_ports((TCP, 8443))
    await home.granted(8443, A)
    await home.refused(8443, HOME)


async def test_no_external_address_of_the_gateway_is_needed(tmp_path: Path) -> None:
    network = replace(MIXED, external=(), connected_at=None)
    async with gateway_fixture(tmp_path, network=network, refuse_private_external=True) as made:
        met(made)
        for via in (Via.IGD1, Via.NATPMP, Via.PCP):
            await made.granted(8443, A, via=via, choice=PortChoice.SUGGESTED)
            assert (await made.refused(8443, HOME, via=via)).refusal is Refusal.NO_EXTERNAL_ADDRESS


async def test_a_public_host_behind_nat_and_a_stranger_are_refused(home: GatewayFixture) -> None:
    await home.refused(8443, A, target="11.99.0.1")
    network_of(home, replace(MIXED, without_nat=frozenset()))
    assert "not a private address" in (await home.refused(8443, A)).reason


async def test_a_private_host_without_nat_has_its_own_address(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, network=PRIVATE) as made:
        assert (await made.granted(8443)).external_address == ip_address("192.168.77.10")


async def test_each_refreshes_its_own_with_the_leases_of_all_protocols(home: GatewayFixture) -> None:
    first = await home.granted(8443, A)
    await home.granted(8443, B)
    for via in (Via.NATPMP, Via.PCP, Via.OPERATOR, Via.IGD2):
        again = await home.granted(8443, A, via=via, choice=PortChoice.SUGGESTED)
        assert (again.mapping.id, again.refreshed) == (first.mapping.id, True)
    assert len(table(home)) == 2
    assert {hold.via for hold in table(home)[f"{A}:8443"].holds} == {*Via} - {Via.IGD1}


# -- reads and deletes by a key, which names no internal client


@pytest.mark.spec("IGD-207")
async def test_each_reads_and_deletes_its_own(home: GatewayFixture) -> None:
    for client in (A, B, HOME):
        await home.granted(8443, client)
    key = MappingKey(TCP, None, 8443, None)
    for client in (A, B, HOME):
        found = home.view.find(source_of(client), key)
        assert isinstance(found, Mapping)
        assert str(found.internal.address) == client
        assert home.view.count(source_of(client)) == 1
        assert home.view.at(source_of(client), 0) == found
        assert home.view.in_range(source_of(client), TCP, 1, 65535, True, 0) == [found]
    assert isinstance(await home.unmap(8443, B), Removed)
    assert {client for _, client in kernel(home)} == {f"{A}:8443", f"{HOME}:8443"}
    again = await home.unmap(8443, B)
    assert isinstance(again, Refused)
    assert again.refusal is Refusal.NO_SUCH, "the others' are not in its way"
    assert home.view.find(source_of(B), key) is None


@pytest.mark.spec("IGD-207")
async def test_a_range_and_an_empty_protocol_end_only_its_own(home: GatewayFixture) -> None:
    for client in (A, B):
        for transport in Transport:
            await home.granted(8443, client, transport=transport)
    assert isinstance(await home.unmap_range(8000, 9000, A, everyone=True), Removed)
    reply = await home.gateway.handle(UnmapPortRequest(Via.IGD1, source_of(A), 8443))
    assert isinstance(reply, Removed)
    assert [row.internal.address for row in reply.mappings] == [ip_address(A)]
    reply = await home.gateway.handle(UnmapPortRequest(Via.IGD1, source_of(A), 8443))
    assert isinstance(reply, Refused)
    assert reply.refusal is Refusal.NO_SUCH
    assert kernel(home) == {("pinhole", f"{B}:8443")}


@pytest.mark.spec("IGD-207")
@pytest.mark.parametrize("asker", [B, HOME])
async def test_where_all_are_visible_a_key_means_no_other_hosts_address(tmp_path: Path, asker: str) -> None:
    """Clients delete before they add, or read if the port is free: at their own external address."""
    async with gateway_fixture(tmp_path, network=MIXED, visibility="all") as made:
        met(made)
        await made.granted(8443, A)
        reply = await made.unmap(8443, asker)
        assert isinstance(reply, Refused)
        assert reply.refusal is Refusal.NO_SUCH
        assert made.view.find(source_of(asker), MappingKey(TCP, None, 8443, None)) is None
        assert made.view.at(source_of(asker), 0) == next(iter(table(made).values()))
        assert isinstance(await made.unmap_range(8000, 9000, asker, everyone=True), Removed)
        assert not table(made)


async def test_a_release_ends_its_own_lease(home: GatewayFixture) -> None:
    for client in (A, B):
        for via in (Via.NATPMP, Via.PCP):
            nonce = NONCE if via is Via.PCP else None
            await home.granted(8443, client, via=via, choice=PortChoice.SUGGESTED, nonce=nonce)
    for via in (Via.NATPMP, Via.PCP):
        nonce = NONCE if via is Via.PCP else None
        await home.gateway.handle(ReleaseRequest(via, source_of(A), TCP, ip_address(A), 8443, nonce))
    assert kernel(home) == {("pinhole", f"{B}:8443")}
    stranger = ReleaseRequest(Via.NATPMP, source_of(B), TCP, ip_address(A), 8443)
    assert isinstance(await home.gateway.handle(stranger), Refused)


DELEGATED = """version = 1
[[grant]]
name = "others"
who = "*"
for = ["11.77.0.0/24"]
int_ports = ["8000-8999"]
"""


@pytest.mark.spec("IGD-207")
async def test_a_delegated_pinhole_is_found_by_its_holder(tmp_path: Path) -> None:
    loaded = load_text(DELEGATED, "a test", date(2027, 1, 1))
    async with gateway_fixture(tmp_path, loaded, network=MIXED) as made:
        met(made)
        reply = await made.granted(8443, HOME, target=A)
        assert (reply.external_address, reply.mapping.delegated) == (ip_address(A), True)
        key = MappingKey(TCP, None, 8443, None)
        assert made.view.find(source_of(HOME), key) == reply.mapping
        there = made.view.find(source_of(A), key)
        assert isinstance(there, Refused), "the port of its address is taken, by another device"
        assert isinstance(await made.unmap(8443, HOME), Removed)
        assert not table(made)


# -- quotas, cuts, the store


async def test_a_port_counts_once_over_both_families(home: GatewayFixture) -> None:
    await home.granted(8443, A)
    await home.granted(8443, A6)
    ledger = home.decider.ledger
    assert (ledger.table.counted(f"{CONSOLE}@lan0"), ledger.table.elements(f"{CONSOLE}@lan0")) == (1, 2)


async def test_an_ended_pinhole_keeps_no_port_of_the_gateway(home: GatewayFixture) -> None:
    await home.granted(8443, A, lifetime=60)
    home.clock.pass_s(61)
    await home.sweep()
    assert len(home.decider.ledger.cuts) == 1
    await home.granted(8443, HOME)
    await home.granted(8443, B)
    assert len(home.decider.ledger.cuts) == 1
    await home.granted(8443, A)
    assert not len(home.decider.ledger.cuts), "it is back, so its flows go on"


async def test_another_device_at_the_address_inherits_nothing(home: GatewayFixture) -> None:
    await home.granted(8443, A)
    home.scheduler.device_moved(Neighbour(ip_address(A), CONSOLE, "lan0"))
    home.around.neighbours.learn(Neighbour(ip_address(A), PC, "lan0"))
    await home.gateway.settled()
    assert not table(home)
    assert (await home.granted(8443, A)).mapping.device == f"{PC}@lan0"


async def test_a_device_with_another_address_has_the_port_there_at_once(home: GatewayFixture) -> None:
    await home.granted(8443, A)
    there = "11.77.0.99"
    home.around.neighbours.learn(Neighbour(ip_address(there), CONSOLE, "lan0"))
    probed: list[object] = []

    async def probe(address: object, interface: str) -> bool:
        probed.append(address)
        return False

    home.lan_hosts.probe = probe
    reply = await home.granted(0, there, internal=8443, choice=PortChoice.SUGGESTED)
    assert reply.external_address == ip_address(there)
    assert not probed, "the former address is not in its way"
    home.scheduler.device_gone(ip_address(A), "lan0")
    await home.gateway.settled()
    assert kernel(home) == {("pinhole", f"{there}:8443")}


async def test_a_restart_keeps_every_row_as_it_is(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock, network=MIXED) as before:
        met(before)
        for client in (A, B, HOME):
            await before.granted(8443, client)
        await before.granted(8443, A, transport=UDP, via=Via.PCP, nonce=NONCE)
        stood, opened = table(before), kernel(before)
    clock.pass_s(10)
    async with gateway_fixture(tmp_path, clock=clock, network=MIXED) as after:
        met(after)
        assert {i: replace(row, recheck_at=0) for i, row in table(after).items()} == {
            i: replace(row, recheck_at=0) for i, row in stood.items()
        }
        assert kernel(after) == opened


async def test_a_pending_cut_keeps_its_place_over_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock, network=MIXED) as before:
        await met(before).granted(8443, A)
        await before.unmap(8443, A)
        assert len(before.decider.ledger.cuts) == 1
    async with gateway_fixture(tmp_path, clock=clock, network=MIXED) as after:
        (cut,) = after.decider.ledger.cuts.due(clock.now.boot)
        assert cut.forward().kind is MappingKind.PINHOLE
        await met(after).granted(8443, HOME)


REMOTE = """version = 1
[[grant]]
name = "partners"
who = "*"
int_ports = [8443]
remote = ["203.0.113.0/24", "2001:db8:a::/48"]
"""


async def fallen(made: ReloadFixture) -> list[str]:
    """The mappings that a reload of the policy ends."""
    reloaded = await made.policy_commands.reload()
    assert isinstance(reloaded, api.Reloaded)
    return [one.mapping for one in reloaded.fallen if not one.kept]


async def test_the_grants_remote_hosts_and_a_new_policy(tmp_path: Path) -> None:
    async with reload_home(tmp_path, REMOTE, network=MIXED) as made:
        home = met(made.gateway_fixture)
        await home.granted(8443, A)
        ((forward, _),) = home.firewall.installed.values()
        assert (forward.kind, str(forward.remote)) == (MappingKind.PINHOLE, "203.0.113.0/24")
        made.file.write_text(REMOTE.replace("203.0.113.0/24", "203.0.113.0/25"))
        assert await fallen(made) == []
        ((forward, _),) = home.firewall.installed.values()
        assert str(forward.remote) == "203.0.113.0/25"
        made.file.write_text("version = 1\n")
        assert await fallen(made) == ["m1"]
        assert not kernel(home)


async def test_the_operator_adds_and_deletes_a_pinhole(tmp_path: Path) -> None:
    async with reload_home(tmp_path, "version = 1\n", network=MIXED) as made:
        home = met(made.gateway_fixture)
        body: dict[str, Any] = {"transport": TCP, "external_port": 443, "internal_client": A}
        added = await made.operator.add(api.AddMapping(**body))
        assert (added.kind, added.external_address, added.external_port) == (MappingKind.PINHOLE, A, 443)
        other = await made.operator.add(api.AddMapping(**body | {"internal_port": 8443}))
        assert (other.refusal, STATUS_OF[other.refusal]) == (Refusal.SAME_PORT, 409)
        for client, external, accepted in (
            (A, "11.22.33.44", "that of the internal client"),
            (HOME, HOME, "an external address of the gateway"),
        ):
            problem = await made.operator.add(
                api.AddMapping(**body | {"internal_client": client, "external_address": external})
            )
            assert (problem.error, problem.field) == ("invalid", "external_address")
            assert accepted in problem.message
        again = await made.operator.add(api.AddMapping(**body | {"external_address": A}))
        assert again.id == added.id
        assert (await made.operator.delete(added.id)).id == added.id
        assert not kernel(home)


async def test_a_trial_over_the_api_and_an_explanation(tmp_path: Path) -> None:
    async with reload_home(tmp_path, REMOTE, network=MIXED) as made:
        home = met(made.gateway_fixture)
        body: dict[str, Any] = {"via": Via.IGD2, "transport": TCP, "internal_port": 8443, "address": A}
        for port, expected in ((8443, ("allow", None)), (9000, ("busy", "same-port-only"))):
            tried = await made.policy_commands.trial(api.Trial(**body, external_port=port))
            assert isinstance(tried, api.Explained)
            assert ((tried.verdict, tried.refusal), tried.rule) == (expected, "partners")
        await home.granted(8443, A)
        explained = await made.policy_commands.explain("d1")
        assert explained is not None
        assert (explained.rule, explained.facts["without_nat"]) == ("partners", True)
        assert [(rule.name, rule.effect) for rule in explained.grants] == [("partners", "charged")]


async def test_a_host_behind_another_router_is_its_address(tmp_path: Path) -> None:
    network = replace(MIXED, routed=(ip_network("11.79.0.0/24"),), routed_on=("lan0",))
    async with gateway_fixture(tmp_path, network=network) as made:
        there = ip_address("11.79.0.5")
        request = replace(asks(8443, str(there)), source=Source(there, "lan0"))
        reply = await made.gateway.handle(request)
        assert isinstance(reply, Granted)
        assert (reply.mapping.device, reply.external_address) == (str(there), there)
        made.clock.pass_s(3000)
        await made.sweep()
        assert reply.mapping.id in made.firewall.installed


# -- NAT begins or ends


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [(PRIVATE, TWO_LANS, NAT_BEGAN.reason), (TWO_LANS, PRIVATE, NAT_ENDED.reason)],
)
async def test_mappings_of_the_other_kind_end_at_a_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: Network, now: Network, reason: str
) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock, network=before) as made:
        await made.granted(8443)
        await met(made).granted(8443 + 1, HOME)
    caplog.set_level(logging.INFO)
    async with gateway_fixture(tmp_path, clock=clock, network=now) as made:
        assert kernel(made) == {("port-mapping", f"{HOME}:8444")}
        (record,) = await made.store.decisions(RecordFilter(id="d3"))
        assert (record.mapping, record.verdict, record.reasons[-1]) == ("m1", "busy", reason)
        assert f"m1 of {CONSOLE}@lan0 is not allowed any more ({reason}): ended" in caplog.text
        assert (await made.granted(8443)).mapping.kind is not None
        assert len(table(made)) == 2


async def test_mappings_of_the_other_kind_end_with_an_event(home: GatewayFixture) -> None:
    await home.granted(8443, A)
    await home.granted(8444, HOME)
    home.events.clear()
    network_of(home, replace(MIXED, without_nat=frozenset({"lan1"})))
    await home.scheduler.settled()
    await home.gateway.settled()
    (event,) = [event for event in home.events if isinstance(event, TableChanged)]
    assert sorted((row.key.external_port, why) for row, why in event.removed) == [
        (8443, "nat-changed"),
        (8444, "nat-changed"),
    ]
    assert not kernel(home)


# -- questions, trials, explanations


ASK = 'version = 1\ndefault = "ask"\n'


@pytest.mark.parametrize("now", [PRIVATE, TWO_LANS], ids=["no NAT still", "NAT since"])
async def test_an_approved_question_is_served_as_the_network_is_then(tmp_path: Path, now: Network) -> None:
    loaded = load_text(ASK, "a test", date(2027, 1, 1))
    async with gateway_fixture(tmp_path, loaded, network=PRIVATE) as made:
        assert (await made.refused(8443)).refusal is Refusal.ASK
        (question,) = made.decider.questions.all(made.clock.now.wall)
        assert question.request.pinhole
        assert question.terms.external_ports == ((8443, 8443),)
        network_of(made, now)
        grant = load_text(
            'version = 1\n[[grant]]\nname = "g"\nwho = "*"\nint_ports = [8443]\n', "x", date(2027, 1, 1)
        )
        made.policy = grant.policy
        await made.gateway.approve(question.request)
        (row,) = made.decider.ledger.table
        assert row.kind is (MappingKind.PINHOLE if now is PRIVATE else MappingKind.PORT_MAPPING)


APPROVE = 'version = 1\n[[grant]]\nname = "g"\nwho = "*"\nint_ports = [8443]\napprove = true\n'


@pytest.mark.parametrize("policy", [ASK, APPROVE], ids=["default", "grant"])
async def test_the_operator_is_not_asked_about_a_port_that_nobody_can_have(tmp_path: Path, policy: str) -> None:
    async with gateway_fixture(tmp_path, load_text(policy, "a test", date(2027, 1, 1)), network=PRIVATE) as made:
        for via in (Via.IGD1, Via.PCP):
            assert (await made.refused(9000, internal=8443, via=via)).refusal is Refusal.SAME_PORT
        assert not made.decider.questions.all(made.clock.now.wall)
        assert (await made.refused(8443)).refusal is Refusal.ASK


async def test_a_trial_says_what_a_request_would_get(home: GatewayFixture) -> None:
    await home.granted(8443, A)
    for request, port in ((asks(8443, B), 8443), (asks(0, B, internal=9000, choice=PortChoice.SUGGESTED), 9000)):
        planned = home.gateway.trial(request).planned
        assert isinstance(planned, Planned)
        assert (planned.mapping.key.external_address, planned.mapping.key.external_port) == (ip_address(B), port)
    assert len(table(home)) == 1


async def test_a_decision_is_explained_and_replayed_without_the_network(home: GatewayFixture) -> None:
    home.reserved_ports((TCP, 8443))
    await home.granted(8443, A)
    await home.refused(9000, A, internal=8443)
    records = await home.store.decisions(RecordFilter())
    for record in records:
        for network in (MIXED, None):
            facts, request = facts_and_request(record, network)
            assert request.pinhole
            verdict = decide(home.policy, facts, request)
            assert verdict.rule == record.rule
    replayed = replay(home.policy, records)
    assert (replayed.same, replayed.changed, replayed.not_replayable) == (2, 0, 0)


async def test_any_requests_of_any_hosts(tmp_path: Path) -> None:
    """External address and port are unique, and the kernel holds exactly the active rows, whoever asks for what."""
    random = Random(7)
    limits, grant = "[limits]\nrequests_per_minute = 6000\n", 'name = "g"\nwho = "*"\nint_ports = ["8000-8010"]\n'
    loaded = load_text(f"version = 1\n{limits}[[grant]]\n{grant}", "a test", date(2027, 1, 1))
    async with gateway_fixture(tmp_path, loaded, network=MIXED) as made:
        met(made)
        for _ in range(400):
            await one_request(made, random)
            rows = list(made.decider.ledger.table)
            places = [
                (r.key.transport, r.key.external_address, r.key.external_port, r.key.remote)
                for r in rows
                if r.active
            ]
            assert len(places) == len(set(places))
            for row in rows:
                translated = MIXED.translates(row.internal.address)
                assert (row.kind is MappingKind.PORT_MAPPING) == translated
                if not translated:
                    assert Endpoint(row.key.external_address, row.key.external_port) == row.internal  # type: ignore[arg-type]
            assert sorted(str(f.internal) for f, _ in made.firewall.installed.values()) == sorted(
                str(row.internal) for row in rows if row.active
            )
        assert {row.kind for row in made.decider.ledger.table} == {MappingKind.PINHOLE, MappingKind.PORT_MAPPING}


async def one_request(made: GatewayFixture, random: Random) -> Reply | None:
    client, port = random.choice([A, B, HOME]), random.randrange(8000, 8004)
    step = random.randrange(10)
    if step == 0:
        made.clock.pass_s(random.choice([1, 90]))
        await made.sweep()
        return None
    if step < 3:
        return await made.unmap(port, client)
    if step == 3:
        source = Source(ip_address(client), MIXED.lan_of(ip_address(client)))
        return await made.gateway.handle(ReleaseRequest(Via.NATPMP, source, TCP, ip_address(client), port))
    via = random.choice([Via.IGD1, Via.IGD2, Via.NATPMP])
    more: dict[str, Any] = {"remote": "203.0.113.9/32"} if via is Via.IGD2 and random.random() < 0.3 else {}
    choice = PortChoice.SUGGESTED if via.datagram else random.choice(list(PortChoice))
    request: MapRequest = asks(
        port,
        client,
        internal=random.choice([port, port, 8005]),
        via=via,
        choice=choice,
        lifetime=random.choice([60, 600]),
        enabled=random.random() < 0.9,
        **more,
    )
    return await made.gateway.handle(request)
