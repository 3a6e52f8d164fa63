"""A renewal passes where a new request does not: frozen devices, the rate, the day's ports, forbids and grants."""

from dataclasses import replace
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_refresh import freeze
from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP, GatewayFixture, Removed, asks, gateway_fixture
from tests.fixtures.policy_reload import reload_home
from upnp_gw import api
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import DAY_S, Mapping, RemotePeers, Transport, Via
from upnp_gw.model.records import DecisionRecord, RecordFilter
from upnp_gw.model.request import MapRequest, PortChoice, Refusal, ReleaseRequest, Source

TCP = Transport.TCP
HOST, OTHER = ip_address("203.0.113.5"), ip_address("198.51.100.7")
ONE_HOST = (RemotePeers(ip_network("203.0.113.5/32")),)
NONCE = b"n" * 12
PCP: dict[str, Any] = {"via": Via.PCP, "choice": PortChoice.SUGGESTED, "nonce": NONCE, "keep_description": True}
NATPMP: dict[str, Any] = {"via": Via.NATPMP, "choice": PortChoice.SUGGESTED}
ANY_PORT: dict[str, Any] = {"via": Via.IGD2, "choice": PortChoice.SUGGESTED}
ALL = '\n[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1024-65535"]\n'


def policy(text: str) -> Policy:
    return load_text(f"version = 1\n{text}", "test", date.min).policy


def row(home: GatewayFixture, port: int) -> Mapping:
    (found,) = home.decider.ledger.table.on_port(TCP, port)
    return found


async def last_record(home: GatewayFixture) -> DecisionRecord:
    records = await home.store.decisions(RecordFilter(limit=1))
    return records[0]


# -- a refresh is judged by the external port that it gets


@pytest.mark.parametrize("via", [ANY_PORT, NATPMP, PCP], ids=["AddAnyPortMapping", "NAT-PMP", "PCP"])
async def test_the_gateways_own_port_is_not_renewed(tmp_path: Path, via: dict[str, Any]) -> None:
    async with gateway_fixture(tmp_path, policy(ALL)) as home:
        await home.granted(5000, **via)
        home.reserved_ports((TCP, 5000))
        reply = await home.map(5000, **via)
        assert getattr(reply, "refusal", None) is Refusal.CONFLICT_OTHER or reply.mapping.key.external_port != 5000  # type: ignore[union-attr]


NOT_THERE = '[[forbid]]\nname = "not-there"\nint_ports = [7777]\next_ports = [5000]\n' + ALL
ONLY_THERE = ALL.replace("1024-65535", "5000-6000") + (
    '[[grant]]\nname = "there"\nwho = "*"\nint_ports = [7777]\next_ports = ["9000-9001"]\n'
)


@pytest.mark.parametrize("text", [NOT_THERE, ONLY_THERE], ids=["forbid", "grant"])
async def test_add_any_moves_no_mapping_to_where_it_may_not_be(tmp_path: Path, text: str) -> None:
    async with gateway_fixture(tmp_path, policy(text)) as home:
        await home.granted(5000)
        elsewhere = await home.granted(5000, internal=7777, **ANY_PORT)
        assert elsewhere.mapping.key.external_port != 5000
        assert not elsewhere.refreshed
        assert row(home, 5000).internal.port == 5000
        assert (await home.refused(5000, internal=7777)).refusal is Refusal.NOT_AUTHORIZED


async def test_add_any_moves_no_mapping_behind_a_port_below_1024(tmp_path: Path) -> None:
    low = '[[grant]]\nname = "web"\nwho = "*"\nint_ports = [443]\next_ports = [443]\n' + ALL
    async with gateway_fixture(tmp_path, policy(low)) as home:
        await home.granted(443)
        moved = await home.granted(443, internal=8443, **ANY_PORT)
        assert moved.mapping.key.external_port >= 1024
        assert row(home, 443).internal.port == 443


async def test_a_refresh_is_charged_to_a_grant_that_allows_its_external_port(tmp_path: Path) -> None:
    other = '[[grant]]\nname = "a-other"\nwho = "*"\nint_ports = [5000]\next_ports = [6000]\n' + ALL
    async with gateway_fixture(tmp_path, policy(other)) as home:
        assert (await home.granted(5000)).mapping.rule == "all"
        again = await home.granted(5000, **NATPMP)
        assert (again.mapping.rule, again.mapping.key.external_port) == ("all", 5000)
        record = await last_record(home)
        assert (record.external_port, record.choice) == (5000, "exact")


# -- what counts


@pytest.mark.spec("SR-5", "SR-26")
async def test_a_datagram_that_opens_more_counts_against_the_rate(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy("[limits]\nrequests_per_minute = 5\n" + ALL)) as home:
        await home.granted(5000, filters=ONE_HOST, **PCP)
        for _ in range(5):
            await home.granted(5000, **PCP)
        assert (await home.refused(5000, clear_filters=True, **PCP)).refusal is Refusal.RATE
        await home.granted(5000, **PCP)
        assert home.firewall.reach(TCP, 5000, OTHER) is None


async def test_another_internal_port_is_one_of_the_days_and_evidence(tmp_path: Path) -> None:
    limits = "[limits]\nincident_after = 3\n"
    async with gateway_fixture(tmp_path, policy(limits + ALL + "max_ports_per_day = 2\n")) as home:
        for port in (5000, 5001):
            await home.granted(5000, internal=port)
        for port in (5002, 5003, 5004):
            assert (await home.refused(5000, internal=port)).refusal is Refusal.NOT_AUTHORIZED
        assert home.decider.history.frozen(CONSOLE, home.clock())
        assert row(home, 5000).internal.port == 5001
        await home.granted(5000, internal=5001)
        await home.refused(5000, internal=5000)


async def test_a_new_opening_is_charged_as_new(tmp_path: Path) -> None:
    """As a refresh it would go to the first grant, where the day's ports are used up."""
    text = '[[grant]]\nname = "a-few"\nwho = "*"\nint_ports = ["1024-65535"]\nmax_ports_per_day = 1\n'
    async with gateway_fixture(tmp_path, policy(text + ALL + 'remote = ["203.0.113.0/24"]\n')) as home:
        assert (await home.granted(5000)).mapping.rule == "a-few"
        assert (await home.granted(5000, internal=5001)).mapping.rule == "all"
        assert home.firewall.reach(TCP, 5000, OTHER) is None


async def test_a_refresh_above_a_lower_quota_ends_nothing(tmp_path: Path) -> None:
    """Three mappings, where the limit is two by now: each stays until its lease ends."""
    async with gateway_fixture(tmp_path, policy(ALL)) as home:
        for port in (5000, 5001, 5002):
            await home.granted(port, **NATPMP)
        home.policy = policy("[limits]\nper_device = 2\n" + ALL)
        assert (await home.refused(5000)).refusal is Refusal.QUOTA
        assert {port for _, port in home.ports} == {5000, 5001, 5002}
        assert {hold.via for hold in row(home, 5000).holds} == {Via.NATPMP}


# -- who may connect: grants that take each other's places


SWITCH = """
[[grant]]
name = "a-anyone"
who = "*"
int_ports = ["1024-65535"]
max_mappings = 1
[[grant]]
name = "b-some"
who = "*"
int_ports = ["1024-65535"]
remote = ["203.0.113.0/24"]
"""


async def two(home: GatewayFixture) -> None:
    """A mapping for anyone, and one for some; then the first one's room is free."""
    await home.granted(5000, lifetime=None)
    await home.granted(5001, lifetime=None)
    assert home.firewall.reach(TCP, 5001, OTHER) is None
    await home.unmap(5000)


async def test_a_frozen_device_renews_for_those_who_could_connect(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(SWITCH)) as home:
        await two(home)
        freeze(home, CONSOLE)
        await home.granted(5001)
        assert home.firewall.reach(TCP, 5001, OTHER) is None
        assert home.firewall.reach(TCP, 5001, HOST) is not None
        home.decider.history.release(CONSOLE)
        await home.granted(5001)
        assert home.firewall.reach(TCP, 5001, OTHER) is not None


async def test_the_gateway_renews_for_no_more_while_the_device_is_frozen(tmp_path: Path) -> None:
    text = "[limits]\nincident_after = 1\n" + SWITCH
    async with gateway_fixture(tmp_path, policy(text)) as home:
        await two(home)
        assert (await home.refused(22)).refusal is Refusal.NOT_AUTHORIZED
        home.clock.pass_s(3600)
        await home.sweep()
        assert home.firewall.reach(TCP, 5001, OTHER) is None
        assert home.firewall.reach(TCP, 5001, HOST) is not None
        record = await last_record(home)
        assert (record.action, record.verdict) == ("renew", "allow")
        assert record.reasons[-1] == "nobody else may connect than before: this device is frozen after an incident"
        clock = home.clock
    async with gateway_fixture(tmp_path, policy(text), clock) as home:
        assert home.firewall.reach(TCP, 5001, OTHER) is None, "a restart opens nothing"
        assert home.firewall.reach(TCP, 5001, HOST) is not None
        home.decider.history.release(CONSOLE)
        home.clock.pass_s(3600)
        await home.sweep()
        assert home.firewall.reach(TCP, 5001, OTHER) is not None


async def test_a_reload_opens_nothing_for_a_frozen_device(tmp_path: Path) -> None:
    some = f'version = 1\n{ALL}remote = ["203.0.113.0/24"]\n'
    async with reload_home(tmp_path, some) as home:
        for client in (CONSOLE_IP, PC_IP):
            await home.gateway_fixture.granted(5000 if client == CONSOLE_IP else 5001, client)
        freeze(home.gateway_fixture, CONSOLE)
        home.file.write_text(f"version = 1\n{ALL}")
        assert not (await home.policy_updates.reload()).revoked
        assert home.gateway_fixture.firewall.reach(TCP, 5000, OTHER) is None
        assert home.gateway_fixture.firewall.reach(TCP, 5001, OTHER) is not None, (
            "another device's is wider at once"
        )
        home.file.write_text(some.replace("203.0.113.0/24", "198.51.100.0/24"))
        (revoked_mapping,) = (await home.policy_updates.reload()).revoked
        assert (revoked_mapping.mapping.device, revoked_mapping.kept) == (CONSOLE, False), (
            "nobody is left who may connect"
        )
        assert home.gateway_fixture.firewall.reach(TCP, 5001, OTHER) is not None


async def test_a_reload_may_open_for_a_busy_device(tmp_path: Path) -> None:
    """The gateway asks, and for no other port: neither the rate nor the day's ports stand in the way."""
    limited = f"version = 1\n[limits]\nrequests_per_minute = 3\n{ALL}max_ports_per_day = 1\n"
    async with reload_home(tmp_path, limited + 'remote = ["203.0.113.0/24"]\n') as home:
        await home.gateway_fixture.granted(5000, lifetime=None)
        home.gateway_fixture.clock.pass_s(DAY_S)
        await home.gateway_fixture.sweep()
        await home.gateway_fixture.granted(5001)
        await home.gateway_fixture.refused(5002)
        await home.gateway_fixture.refused(5002)
        assert (await home.gateway_fixture.refused(5002)).refusal is Refusal.RATE
        home.file.write_text(limited)
        assert not (await home.policy_updates.reload()).revoked
        assert home.gateway_fixture.firewall.reach(TCP, 5000, OTHER) is not None


# -- who may connect: filters


def release(port: int, via: Via = Via.PCP) -> ReleaseRequest:
    source = Source(ip_address(CONSOLE_IP), "lan0")
    return ReleaseRequest(via, source, TCP, source.address, port, NONCE if via is Via.PCP else None)


@pytest.mark.spec("PCP-110", "SR-26")
@pytest.mark.parametrize("ends", ["release", "expiry", "restart"])
async def test_the_end_of_a_lease_opens_nothing(tmp_path: Path, ends: str) -> None:
    async with gateway_fixture(tmp_path, policy(ALL)) as home:
        clock = home.clock
        await home.granted(5000, filters=ONE_HOST, lifetime=600, **PCP)
        await home.granted(5000, lifetime=7200, **NATPMP)
        if ends == "release":
            assert isinstance(await home.gateway.handle(release(5000)), Removed)
        clock.pass_s(0 if ends == "release" else 700)
        if ends == "expiry":
            await home.sweep()
        if ends == "expiry":
            await only_one_host_until_natpmp_asks_again(home)
    if ends != "expiry":
        async with gateway_fixture(tmp_path, policy(ALL), clock) as home:
            await only_one_host_until_natpmp_asks_again(home)


async def only_one_host_until_natpmp_asks_again(home: GatewayFixture) -> None:
    assert [hold.via for hold in row(home, 5000).holds] == [Via.NATPMP]
    assert home.firewall.reach(TCP, 5000, HOST) is not None
    assert home.firewall.reach(TCP, 5000, OTHER) is None
    freeze(home, CONSOLE)
    await home.granted(5000, lifetime=7200, **NATPMP)
    assert home.firewall.reach(TCP, 5000, OTHER) is None
    home.decider.history.release(CONSOLE)
    await home.granted(5000, lifetime=7200, **NATPMP)
    assert home.firewall.reach(TCP, 5000, OTHER) is not None, "its client asked for anyone"


# -- try


async def test_a_trial_distinguishes_a_refresh_from_a_new_request(tmp_path: Path) -> None:
    async with reload_home(tmp_path, f"version = 1\n{ALL}") as home:
        await home.gateway_fixture.granted(5000)
        freeze(home.gateway_fixture, CONSOLE)

        async def verdict(internal: int, external: int, via: Via = Via.IGD1) -> str:
            request = api.Trial(
                address=CONSOLE_IP, transport=TCP, internal_port=internal, external_port=external, via=via
            )
            explanation = await home.policy_commands.trial(request)
            assert isinstance(explanation, api.Explained)
            return explanation.verdict

        assert await verdict(5000, 5000) == "allow"
        assert await verdict(5000, 6000, Via.NATPMP) == "allow", "it is the existing mapping"
        assert await verdict(7777, 5000) == "deny"
        assert await verdict(6000, 6000) == "deny"
        assert len(home.gateway_fixture.decider.ledger.table) == 1


# -- a mapping for another device's address


FOR_PC = (
    f"""
[device.console]
mac = ["{CONSOLE}"]
[[grant]]
name = "for-pc"
who = "console"
for = ["{PC_IP}"]
int_ports = ["1024-65535"]
"""
    + ALL
)


def to(target: str, port: int = 7000) -> MapRequest:
    return replace(asks(port, CONSOLE_IP, target=target), lifetime_s=None)


async def test_delegated_follows_each_refresh(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(FOR_PC)) as home:
        for target, delegated in ((PC_IP, True), (CONSOLE_IP, False), (PC_IP, True)):
            await home.gateway.handle(to(target))
            assert (str(row(home, 7000).internal.address), row(home, 7000).delegated) == (target, delegated)


async def test_a_moved_address_ends_a_delegated_mapping_once(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(FOR_PC)) as home:
        await home.gateway.handle(to(PC_IP))
        await home.gateway.handle(to(CONSOLE_IP))
        await home.gateway.handle(to(PC_IP, 7001))
        moved = home.reevaluation.device_moved
        await home.gateway.submit(lambda transaction: moved(transaction, ip_address(CONSOLE_IP), CONSOLE))
        assert home.ports == {(TCP, 7001)}, "7001 leads to the address of another device, by its grant"


async def test_a_mapping_for_another_device_is_renewed_as_one(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, policy(FOR_PC)) as home:
        await home.gateway.handle(to(CONSOLE_IP))
        await home.gateway.handle(to(PC_IP))
        home.clock.pass_s(3600)
        await home.sweep()
        assert home.ports == {(TCP, 7000)}


async def test_a_row_that_says_delegated_and_is_not_is_put_right(tmp_path: Path) -> None:
    """A version before this one left such rows."""
    async with gateway_fixture(tmp_path, policy(FOR_PC)) as home:
        await home.gateway.handle(to(CONSOLE_IP))
        home.decider.ledger.table.put(replace(row(home, 7000), delegated=True))
        home.clock.pass_s(3600)
        await home.sweep()
        assert not row(home, 7000).delegated


async def test_a_restart_without_the_grant_ends_a_mapping_for_another_device(tmp_path: Path) -> None:
    """The other device is not in the neighbour table yet: that does not make its address the holder's own."""
    async with gateway_fixture(tmp_path, policy(FOR_PC)) as home:
        await home.gateway.handle(to(PC_IP))
        await home.gateway.handle(to(CONSOLE_IP, 7001))
    async with gateway_fixture(tmp_path, policy(ALL), known=False) as home:
        assert home.ports == {(TCP, 7001)}
