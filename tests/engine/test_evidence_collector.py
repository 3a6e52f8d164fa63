"""Evidence of what is asked and used: from the gateway's own path, over a restart, and what must not count."""

from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, Clock, GatewayFixture, gateway_fixture
from upnp_gw.daemon.process import Daemon
from upnp_gw.firewall.base import Counters, Exchange, Growth
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.ledger.evidence import Evidence, EvidenceKey, EvidenceTable
from upnp_gw.ledger.traffic import TrafficHistory
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Endpoint, Instant, Transport, Via
from upnp_gw.model.request import Granted, PortChoice
from upnp_gw.suggest.needs import learn

TCP, UDP = Transport.TCP, Transport.UDP
PEER = ip_address("203.0.113.9")
OBSERVE = """
version = 1
mode = "observe"
[device.console]
mac = ["ac:89:95:00:00:01"]
[[forbid]]
name = "never-admin-ports"
int_ports = [3389, 5900]
[[grant]]
name = "web"
who = "console"
int_ports = [8080]
"""


def observing() -> Policy:
    return load_text(OBSERVE, "observe", date.min).policy


async def flows(home: GatewayFixture, mapping: str, connections: int, volume: int, *peers: str) -> None:
    """The kernel has counted so much since the grant, and these hosts are in a conversation; a minute's reading."""
    home.firewall.counters[mapping] = Counters(connections, volume, connections)
    home.firewall.remotes = {mapping: frozenset(map(ip_address, peers))} if peers else {}
    home.clock.pass_s(60)
    await home.usage_reader.count(remotes=True)


def row(home: GatewayFixture, port: int, device: str = CONSOLE, transport: Transport = TCP) -> Evidence:
    return home.evidence_collector.table.openings[EvidenceKey(device, transport, 4, port)]


async def test_requests_refusals_and_renewals_are_counted(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, internal=8000, description="a")
        await home.granted(8080, internal=8000, description="b")
        await home.refused(3389)
        seen = row(home, 8000)
        assert (seen.requests, seen.renewals, seen.refused, seen.externals) == (2, 1, 0, (8080,))
        assert (row(home, 3389).requests, row(home, 3389).refused) == (1, 1)
        assert seen.vias == ("igd1",)
        assert home.evidence_collector.table.devices[CONSOLE].peak == 1
        assert home.evidence_collector.table.rules["home-own-ports"].matched == 2


async def test_a_request_for_another_host_is_marked(tmp_path: Path) -> None:
    """``suggest`` writes no grant for it: that has to be written by hand (for)."""
    async with gateway_fixture(tmp_path) as home:
        await home.refused(8080, target=PC_IP)
        await home.refused(3389)
        assert row(home, 8080).delegated
        assert not row(home, 3389).delegated


async def test_the_operators_own_mappings_are_no_evidence(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, target=CONSOLE_IP, client="127.0.0.1", via=Via.OPERATOR)
        assert not home.evidence_collector.table.openings


async def test_traffic_is_a_day_of_use_only_where_somebody_answered(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        mapping = (await home.granted(8080, lifetime=None)).mapping.id
        await flows(home, mapping, 3, 300)
        assert (row(home, 8080).connections, row(home, 8080).days) == (3, ()), "a scanner knocked"
        await flows(home, mapping, 4, 9000, "203.0.113.9")
        await flows(home, mapping, 5, 9900, "203.0.113.9", "203.0.113.10")
        used = row(home, 8080)
        assert (used.connections, used.bytes, len(used.days)) == (5, 9900, 1)
        assert used.remotes == {PEER, ip_address("203.0.113.10")}
        home.clock.pass_s(86_400)
        await home.sweep()
        await flows(home, mapping, 5, 9900, "203.0.113.9")
        assert len(row(home, 8080).days) == 1, "an idle flow is no use"
        assert row(home, 8080).granted_s > 0


async def test_evidence_outlives_a_restart_and_counts_nothing_twice(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        mapping = (await home.granted(8080, lifetime=7200)).mapping.id
        await flows(home, mapping, 4, 9000, "203.0.113.9")
        before = row(home, 8080)
    clock.pass_s(600)
    async with gateway_fixture(tmp_path, clock=clock) as again:
        assert row(again, 8080) == before
        await flows(again, mapping, 4, 9000, "203.0.113.9")
        assert row(again, 8080).connections == 4
        await flows(again, mapping, 6, 9500, "203.0.113.9")
        assert (row(again, 8080).connections, row(again, 8080).bytes) == (6, 9500)
        assert again.evidence_collector.table.devices[CONSOLE].first_seen == 1_800_000_000.0


async def test_evidence_and_traffic_get_the_present_identifier_of_a_device(tmp_path: Path) -> None:
    """The gateway serves a second LAN since: a device's identifier contains its LAN."""
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as home:
        mapping = (await home.granted(8080, lifetime=7200)).mapping.id
        await flows(home, mapping, 4, 9000, "203.0.113.9")
    async with gateway_fixture(tmp_path, clock=clock) as again:
        again.evidence_collector.table, again.evidence_collector.traffic = EvidenceTable(), TrafficHistory()
        await again.evidence_collector.load(lambda device: f"{device}@lan1")
        await again.evidence_collector.flush()
        stored = [key.device for key, _, _ in await again.store.traffic()]
        assert row(again, 8080, f"{CONSOLE}@lan1").bytes == 9000
        opening = EvidenceKey(f"{CONSOLE}@lan1", TCP, 4, 8080)
        assert sum(again.evidence_collector.traffic.of(opening, clock.now.wall)) == 9000
        assert stored == [f"{CONSOLE}@lan1"]


async def test_the_last_reading_says_that_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_growth(remotes: bool = False, at_stop: bool = False) -> Growth:
        asked.append((remotes, at_stop))
        return Growth({})

    asked: list[tuple[bool, bool]] = []
    async with gateway_fixture(tmp_path) as home:
        monkeypatch.setattr(home.firewall, "read_growth", read_growth)
        await home.usage_reader.count()
        daemon = object.__new__(Daemon)
        daemon._usage, daemon._evidence = home.usage_reader, home.evidence_collector
        await daemon._last_evidence()
    assert asked == [(False, False), (True, True)]


async def test_without_flows_the_byte_counts_show_use_without_remote_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_fixture(tmp_path) as home:
        mapping = (await home.granted(8080)).mapping.id
        read = home.firewall.read
        monkeypatch.setattr(home.firewall, "read", lambda remotes=False: read())
        await flows(home, mapping, 2, 300)
        assert row(home, 8080).days == ()
        await flows(home, mapping, 3, 5000)
        assert (len(row(home, 8080).days), row(home, 8080).more_remotes) == (1, True)


async def test_observe_mode_allows_and_marks_a_request_without_a_grant(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, observing()) as home:
        allowed = await home.granted(9000)
        assert allowed.mapping.rule == "observe"
        assert row(home, 9000).ungranted == 1
        assert (await home.granted(8080)).mapping.rule == "web"
        assert row(home, 8080).ungranted == 0
        await home.refused(5900)


async def test_observed_mappings_end_with_the_mode(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, observing()) as home:
        await home.granted(9000)
        await home.granted(8080)
        enforced = load_text(OBSERVE.replace('"observe"', '"enforce"'), "enforce", date.min).policy

        def enforce(transaction: Transaction) -> None:
            home.reevaluation.policy_changed(transaction, LoadedPolicy(enforced, ()))

        await home.gateway.submit(enforce)
        assert home.ports == {(TCP, 8080)}


@pytest.mark.spec("SR-26")
async def test_a_burst_in_observe_mode_is_remembered_as_one_but_not_one_by_datagram(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, observing()) as home:
        for port in range(6000, 6012):
            reply = await home.map(port, PC_IP)
            assert isinstance(reply, Granted)
            await home.granted(port, via=Via.NATPMP, choice=PortChoice.SUGGESTED, transport=UDP)
        assert home.evidence_collector.table.devices[PC].incidents == 1
        assert home.evidence_collector.table.devices[CONSOLE].incidents == 0


async def test_an_incident_is_remembered_once(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        for port in range(100, 114):
            await home.refused(port, PC_IP)
        for _ in range(3):
            await home.usage_reader.count(remotes=True)
        assert home.evidence_collector.table.devices[PC].incidents == 1


async def test_before_the_clock_is_set_nothing_is_evidence(tmp_path: Path) -> None:
    """A router without a battery begins in 1970: everything would be years old a minute later."""
    clock = Clock()
    clock.now = Instant(10.0, 10.0)
    async with gateway_fixture(tmp_path, clock=clock) as home:
        mapping = (await home.granted(8080)).mapping.id
        await flows(home, mapping, 4, 9000, "203.0.113.9")
        assert not home.evidence_collector.table.openings
        assert not home.evidence_collector.table.devices
        clock.now = Instant(80.0, 1_800_000_000.0)
        await home.granted(8080)
        assert home.evidence_collector.table.devices[CONSOLE].first_seen == 1_800_000_000.0


SHORT = 1.5
"""A datagram and its answer are over when the flows are read."""


def exchanged(
    home: GatewayFixture, port: int, *peers: str, ago_s: float = SHORT, transport: Transport = UDP
) -> None:
    """The kernel noted an answer of the console a moment ago."""
    endpoint = transport, Endpoint(ip_address(CONSOLE_IP), port)
    home.firewall.exchanges = {endpoint: Exchange(ago_s, frozenset(map(ip_address, peers)))}


async def test_an_exchange_that_is_over_when_the_flows_are_read_is_use(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        mapping = (await home.granted(8080, lifetime=None, transport=UDP)).mapping.id
        exchanged(home, 8080, "203.0.113.9")
        await flows(home, mapping, 1, 120)
        used = row(home, 8080, transport=UDP)
        assert (len(used.days), used.remotes, used.more_remotes) == (1, frozenset({PEER}), False)
        assert home.evidence_collector.table.rules["home-own-ports"].last_used == home.clock.now.wall


async def test_an_answer_to_an_unknown_remote_host_counts_as_more_remote_hosts(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        mapping = (await home.granted(8080, lifetime=None, transport=UDP)).mapping.id
        exchanged(home, 8080)
        await flows(home, mapping, 1, 120)
        used = row(home, 8080, transport=UDP)
        assert (len(used.days), used.remotes, used.more_remotes) == (1, frozenset(), True)


async def test_an_old_exchange_is_no_use_of_another_day(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        mapping = (await home.granted(8080, lifetime=None, transport=UDP)).mapping.id
        exchanged(home, 8080, "203.0.113.9")
        await flows(home, mapping, 1, 120)
        exchanged(home, 8080, "203.0.113.9", ago_s=68)
        home.clock.now = Instant(home.clock.now.boot, home.clock.now.wall + 86_400)
        await flows(home, mapping, 2, 180)  # a scan, a minute later
        assert len(row(home, 8080, transport=UDP).days) == 1


@pytest.mark.parametrize("by", ["client", "lease"])
async def test_a_mapping_that_is_gone_before_the_flows_are_read_was_used(tmp_path: Path, by: str) -> None:
    """A file is sent: map, answer, delete within a second. Or its lease ended."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(9000, lifetime=None)
        await home.granted(8080, lifetime=5, transport=UDP)
        exchanged(home, 8080, "203.0.113.9")
        if by == "client":
            await home.unmap(8080, transport=UDP)
        else:
            home.clock.pass_s(5)
            await home.sweep()
        assert (UDP, 8080) not in home.ports
        home.clock.pass_s(20)
        await home.usage_reader.count(remotes=True)
        used = row(home, 8080, transport=UDP)
        assert (len(used.days), used.remotes) == (1, frozenset({PEER}))
        assert used.last_used == home.clock.now.wall
        assert home.evidence_collector.table.rules["home-own-ports"].last_used == home.clock.now.wall
        assert not row(home, 9000).days


async def test_a_mapping_that_ended_counts_once_and_not_by_an_older_exchange(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8080, lifetime=None, transport=UDP)
        await home.usage_reader.count(remotes=True)
        home.clock.pass_s(30)
        exchanged(home, 8080, "203.0.113.9", ago_s=38)
        await home.unmap(8080, transport=UDP)
        await home.usage_reader.count(remotes=True)
        assert not row(home, 8080, transport=UDP).days
        home.clock.pass_s(60)
        exchanged(home, 8080, "203.0.113.9")
        await home.usage_reader.count(remotes=True)
        assert not row(home, 8080, transport=UDP).days, "nothing of ours leads there any more"


async def test_suggest_writes_no_test_against_a_service_of_short_exchanges(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        mapping = (await home.granted(8080, lifetime=None, transport=UDP)).mapping.id
        await home.granted(9000, lifetime=None, transport=UDP)
        for day in range(8):
            exchanged(home, 8080, "203.0.113.9")
            await flows(home, mapping, day + 1, 120 * (day + 1))
            home.clock.pass_s(86_400)
            await home.sweep()
        policy = load_text(OBSERVE, "observe", date.min).policy
        learnt = learn(policy, home.evidence_collector.table, home.clock.now.wall, 3)
        assert [(need.transport, need.port) for need in learnt.needs] == [(UDP, 8080)]
        assert [(unused.transport, unused.port) for unused in learnt.unused] == [(UDP, 9000)]
