"""Evidence, suggestion and staleness as the control socket answers them, over days of a fake clock."""

import tomllib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, Clock, GatewayFixture, gateway_fixture
from upnp_gw import api
from upnp_gw.control.evidence import EvidenceCommands
from upnp_gw.engine.policy_files import PolicyFiles
from upnp_gw.firewall.base import Counters
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import IPAddress, MappingKind, Transport
from upnp_gw.model.request import Granted

DAY = 86_400
FILE = f"""
version = 1
mode = "observe"
[device.console]
mac = ["{CONSOLE}"]
[device.pc]
mac = ["{PC}"]
[device.gone]
ip = ["192.168.77.99"]
[[grant]]
name = "old"
who = "gone"
review_by = 2020-01-01
"""


class Home:
    """A house with an operator's policy file, and its advice."""

    def __init__(self, made: GatewayFixture, directory: Path) -> None:
        self.gateway_fixture = made
        self.policies = PolicyFiles(
            directory / "policy.toml", directory / "approved.toml", lambda: made.clock.now.wall
        )
        self.probed: list[IPAddress] = []
        self.advice = EvidenceCommands(
            made.decider,
            made.evidence_collector,
            self.policies,
            made.usage_reader.count,
            self.probe,
            made.usage_reader.recount,
        )
        self.counted: dict[str, int] = {}

    async def probe(self, address: IPAddress, interface: str) -> bool:
        self.probed.append(address)
        return address in self.gateway_fixture.present

    async def day(self, *used: tuple[int, str]) -> None:
        """Each asks for its port, holds it, and a peer talks with it; then a day passes."""
        for port, client in used:
            reply = await self.gateway_fixture.map(port, client, lifetime=3600)
            assert isinstance(reply, Granted)
            self.gateway_fixture.firewall.counters[reply.mapping.id] = Counters(2, 5000, 20)
            self.gateway_fixture.firewall.remotes[reply.mapping.id] = frozenset({ip_address("203.0.113.9")})
        self.gateway_fixture.clock.pass_s(60)
        await self.gateway_fixture.usage_reader.count(remotes=True)
        self.gateway_fixture.clock.pass_s(DAY - 60)
        await self.gateway_fixture.sweep()

    async def suggested(self, **body: object) -> api.Suggestion:
        answer = await self.advice.suggest(api.AskSuggestion(**body))  # type: ignore[arg-type]
        assert isinstance(answer, api.Suggestion), answer
        return answer


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    (tmp_path / "policy.toml").write_text(FILE)
    async with gateway_fixture(tmp_path, load_text(FILE, "file", date.min).policy) as fixture:
        yield Home(fixture, tmp_path)


async def test_days_of_use_become_a_policy_that_enforces(home: Home) -> None:
    for _ in range(8):
        await home.day((3074, CONSOLE_IP))
    for port in range(100, 112):
        await home.gateway_fixture.refused(port, PC_IP)
    await home.day((3074, CONSOLE_IP), (4444, CONSOLE_IP))
    made = await home.suggested()
    policy = load_text(made.toml, "suggested", date.today()).policy  # noqa: DTZ011
    assert [(g.name, g.int_ports) for g in policy.grants] == [
        ("console-tcp-3074", ((3074, 3074),)),
        ("old", ((1024, 65535),)),
    ]
    assert made.grants == 1
    assert any(note.startswith("pc: it had an incident") for note in made.notes)

    def enforce(transaction: Transaction) -> None:
        home.gateway_fixture.reevaluation.policy_changed(transaction, LoadedPolicy(policy, ()))

    await home.gateway_fixture.gateway.submit(enforce)
    assert isinstance(await home.gateway_fixture.map(3074), Granted)
    assert (await home.gateway_fixture.refused(4444)).reason == "no grant covers this request"


async def test_a_young_device_teaches_nothing(home: Home) -> None:
    for _ in range(4):
        await home.day((3074, CONSOLE_IP))
    assert (await home.suggested()).grants == 0


async def test_evidence_is_listed_by_device_and_port(home: Home) -> None:
    await home.day((3074, CONSOLE_IP))
    (row,) = await home.advice.evidence()
    assert (row.device_name, row.transport, row.internal_port) == ("console", Transport.TCP, 3074)
    assert (row.requests, row.ungranted, row.days, row.remotes) == (1, 1, 1, ["203.0.113.9"])


async def test_a_file_that_is_broken_now_is_reported(home: Home) -> None:
    assert home.policies.operator is not None
    home.policies.operator.write_text("version = 2")
    answer = await home.advice.suggest(api.AskSuggestion())
    assert isinstance(answer, api.Problem)
    assert "version" in answer.message


LISTENERS = [api.Listener(transport=Transport.TCP, port=8443, program="nginx")]


async def test_a_scan_of_a_named_device(home: Home) -> None:
    made = await home.suggested(listeners=LISTENERS, device="console")
    tables = tomllib.loads(made.toml)
    assert [grant.get("int_ports") for grant in tables["grant"]] == [None, [8443]]
    answer = await home.advice.suggest(api.AskSuggestion(listeners=LISTENERS, device="nobody"))
    assert isinstance(answer, api.Problem)
    assert answer.field == "device"


async def test_a_scan_of_a_host_by_its_address_names_it(home: Home) -> None:
    assert 'who = "console"' in (await home.suggested(listeners=LISTENERS, host=CONSOLE_IP)).toml
    made = tomllib.loads((await home.suggested(listeners=LISTENERS, host="192.168.77.50")).toml)
    assert made["device"]["host-192.168.77.50"] == {"ip": ["192.168.77.50"]}
    assert made["grant"][-1]["who"] == "host-192.168.77.50"


async def test_stale_rules_and_devices_that_are_only_silent(home: Home) -> None:
    await home.day((3074, CONSOLE_IP))
    found = {(one.kind, one.about) for one in await home.advice.stale(api.StaleFilter())}
    assert found == {("review-overdue", "old"), ("device-gone", "gone")}
    home.gateway_fixture.clock.pass_s(31 * DAY)
    home.gateway_fixture.present.discard(ip_address(PC_IP))
    found = {(one.kind, one.about) for one in await home.advice.stale(api.StaleFilter())}
    assert found == {
        ("review-overdue", "old"),
        ("grant-unmatched", "old"),
        ("device-gone", "gone"),
        ("device-gone", "pc"),
    }
    assert set(home.probed) == {ip_address(CONSOLE_IP), ip_address(PC_IP)}, "the console is there and was silent"


@pytest.mark.parametrize(("client", "device"), [(CONSOLE_IP, CONSOLE), ("192.168.77.99", "192.168.77.99")])
@pytest.mark.parametrize("nat", [True, False])
async def test_the_kind_is_that_of_a_request_now(home: Home, client: str, device: str, nat: bool) -> None:
    made = home.gateway_fixture
    await home.day((8443, client))
    made.around.network = replace(made.around.network, without_nat=frozenset(() if nat else ("lan0",)))
    (shown,) = await home.advice.evidence()
    kind = MappingKind.PORT_MAPPING if nat else MappingKind.PINHOLE
    assert (shown.device, shown.kind, shown.family) == (device, kind, "ip4")


async def test_the_traffic_of_a_mapping_outlives_it_and_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, clock=clock) as made:
        home = Home(made, tmp_path)
        reply = await made.granted(8080)
        made.firewall.counters[reply.mapping.id] = Counters(2, 5000, 20)
        clock.pass_s(60)
        traffic = await home.advice.traffic(reply.mapping.id)
        assert traffic is not None
        assert (traffic.slot_s, sum(traffic.bytes), traffic.bytes[-1]) == (900, 5000, 5000)
        assert 0 <= (traffic.ends_at.timestamp() - clock.now.wall) <= 900
        await made.unmap(8080)
        assert await home.advice.traffic(reply.mapping.id) is None
    async with gateway_fixture(tmp_path, clock=clock, boot="boot-1") as made:
        home = Home(made, tmp_path)
        clock.pass_s(900)
        again = await made.granted(8080)
        traffic = await home.advice.traffic(again.mapping.id)
        assert traffic is not None
        assert traffic.bytes[-2:] == [5000, 0]
