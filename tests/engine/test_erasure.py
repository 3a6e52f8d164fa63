"""An erased device is gone from every byte of the state files, and nothing else is."""

import asyncio
import random
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, TWO_LANS, Clock, GatewayFixture, gateway_fixture
from tests.fixtures.policy_reload import reload_home
from upnp_gw.engine.erasure import Erasure
from upnp_gw.engine.revocation import revoke
from upnp_gw.firewall.base import Counters
from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import StoreError
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted

OPEN = """version = 1
[limits]
requests_per_minute = 3000
incident_after = 100
per_device = 400
[[grant]]
name = "everyone"
who = "*"
int_ports = ["1024-65535"]
max_mappings = 400
"""
WORD = b"private-word"


def open_policy(text: str = OPEN) -> Policy:
    return load_text(text, "open", date.min).policy


def erasure(home: GatewayFixture) -> Erasure:
    return Erasure(home.decider, home.gateway, home.evidence_collector, home.store)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name.startswith("ledger.db")}


def traces(directory: Path, *words: bytes) -> list[tuple[str, bytes, int]]:
    """(file, word, place) of each word that stands in a byte of the state."""
    return [
        (name, word, data.index(word)) for name, data in files(directory).items() for word in words if word in data
    ]


async def life(home: GatewayFixture, client: str = PC_IP, steps: int = 300) -> None:
    """Requests of a device, granted and refused, with private words of changing lengths, and others between."""
    dice = random.Random(7)
    for step in range(steps):
        private = f"{WORD.decode()} {'x' * dice.randrange(150)} {step}"
        port = dice.randrange(1030, 1300)
        await home.map(
            port,
            client,
            description=private,
            via=dice.choice((Via.IGD1, Via.PCP)),
            internal=dice.choice((80, port)),
        )
        await home.map(dice.randrange(2000, 2100), CONSOLE_IP, description="a game")
        if dice.random() < 0.5:
            await home.unmap(port, client)
        home.clock.pass_s(1)


async def end_mappings(home: GatewayFixture) -> None:
    """As the operator's ``revoke``; flows are cut."""
    await home.gateway.submit(lambda transaction: revoke(home.decider, transaction, PC))
    home.gateway.cut_due()
    await home.gateway.settled()
    assert not home.decider.ledger.table.of_device(PC)


async def test_no_byte_of_a_device_is_left(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, open_policy()) as home:
        await life(home)
        await end_mappings(home)
        await home.granted(5000, CONSOLE_IP, description="a game")
        kept = (await home.granted(6000, PC_IP, description=WORD.decode())).mapping
        refused = await home.refused(6000, CONSOLE_IP)
        (record,) = await home.store.decisions(RecordFilter(id=refused.decision))
        assert record.holder is not None
        assert record.holder["device"] == PC, "this decision about the console names the other device too"
        home.firewall.counters[kept.id] = Counters(3, 9000, 3)
        home.clock.pass_s(60)
        await home.usage_reader.count(remotes=True)
        await end_mappings(home)
        await home.gateway.remember()
        await home.evidence_collector.flush()
        of_console = len(await home.store.decisions(RecordFilter(devices=(CONSOLE,), limit=9999)))
        assert traces(tmp_path, WORD, PC.encode(), PC_IP.encode())
        erased = await erasure(home).erase({PC})
        assert (erased.kept_decisions, erased.questions) == (0, 0)
        assert erased.decisions > 300
        assert erased.openings > 20
        assert traces(tmp_path, WORD, PC.encode(), PC_IP.encode()) == []
        assert await home.store.decisions(RecordFilter(devices=(PC,))) == []
        left = len(await home.store.decisions(RecordFilter(devices=(CONSOLE,), limit=9999)))
        assert left == of_console - 1
        assert {summary.device for summary in home.decider.history.devices(home.clock())} == {CONSOLE}
        assert home.evidence_collector.table.openings
        assert home.decider.ledger.table.of_device(CONSOLE)
    assert traces(tmp_path, WORD, PC.encode(), PC_IP.encode()) == [], "nor after a stop"
    async with gateway_fixture(tmp_path, open_policy(), Clock()) as again:
        assert not await again.store.decisions(RecordFilter(devices=(PC,)))
        await again.granted(6000, PC_IP)
        assert len(await again.store.decisions(RecordFilter(devices=(PC,)))) == 1


async def test_standing_mappings_stay_with_the_decisions_that_let_them_in(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, open_policy()) as home:
        stands = (await home.granted(6000, PC_IP, description="stays")).mapping
        await home.refused(80, PC_IP, description=WORD.decode())
        erased = await erasure(home).erase({PC})
        assert (erased.decisions, erased.kept_decisions) == (1, 1)
        assert home.ports == {(Transport.TCP, 6000)}
        (record,) = await home.store.decisions(RecordFilter(devices=(PC,)))
        assert record.id == stands.decision
        assert traces(tmp_path, WORD) == []
        assert isinstance(await home.map(6000, PC_IP), Granted), "it renews"


async def test_an_open_incident_stays_and_questions_go(tmp_path: Path) -> None:
    text = 'version = 1\ndefault = "ask"\n[limits]\nincident_after = 2\n'
    text += '[[forbid]]\nname = "low"\nint_ports = ["1-1023"]\n'
    async with gateway_fixture(tmp_path, open_policy(text)) as home:
        await home.refused(5000, PC_IP)
        for port in (22, 23, 25):
            await home.refused(port, PC_IP)
        assert (await erasure(home).erase({PC})).questions == 1
        assert home.decider.history.frozen(PC, home.clock())
        assert home.decider.questions.all(home.clock().wall) == ()


async def test_the_same_mac_address_on_another_lan_is_another_device(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, open_policy(), network=TWO_LANS, known=False) as home:
        for address, lan in ((PC_IP, "lan0"), ("192.168.88.10", "lan1")):
            home.around.neighbours.learn(Neighbour(ip_address(address), PC, lan))
            home.present.add(ip_address(address))
            await home.refused(80, address)
        await erasure(home).erase({f"{PC}@lan0"})
        assert [one.device for one in await home.store.decisions(RecordFilter())] == [f"{PC}@lan1"]


async def test_refusals_that_are_still_counted_are_erased_too(tmp_path: Path) -> None:
    text = OPEN.replace("requests_per_minute = 3000", "requests_per_minute = 2")
    async with gateway_fixture(tmp_path, open_policy(text)) as home:
        for _ in range(9):
            await home.map(5000, PC_IP, description=WORD.decode())
        await erasure(home).erase({PC})
        home.clock.pass_s(120)
        await home.sweep()
        records = await home.store.decisions(RecordFilter(devices=(PC,)))
        assert [record.mapping for record in records] == [m.id for m in home.decider.ledger.table.of_device(PC)]


async def test_all_history_goes_and_what_is_open_stays(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, open_policy()) as home:
        await life(home, steps=60)
        await end_mappings(home)
        open_before = home.ports
        erased = await erasure(home).erase_all()
        assert home.ports == open_before
        assert erased.kept_decisions > 0
        assert traces(tmp_path, WORD, PC.encode()) == []
        assert not home.evidence_collector.table.devices
        assert not home.evidence_collector.table.rules
        ids = {record.id for record in await home.store.decisions(RecordFilter(limit=9999))}
        assert ids <= {mapping.decision for mapping in home.decider.ledger.table}
        newest = (await home.granted(5999, PC_IP)).mapping.decision
        assert int(newest[1:]) > erased.decisions, "no number is used twice"


async def test_what_was_deleted_before_is_overwritten(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, open_policy()) as home:
        await life(home, steps=40)
        await end_mappings(home)
        await home.store.erase(lambda db: db.execute("DELETE FROM decisions"))
        await home.store.erase(lambda db: db.execute("DELETE FROM decision_shared"))
        assert traces(tmp_path, WORD)
        await erasure(home).overwrite_deleted()
        assert traces(tmp_path, WORD) == []


async def test_a_kept_policy_that_names_the_device_goes_unless_it_is_in_force(tmp_path: Path) -> None:
    named = OPEN + f'[device.pc]\nmac = "{PC}"\n'
    async with reload_home(tmp_path, named) as home:
        await home.gateway_fixture.granted(5000, CONSOLE_IP)
        (tmp_path / "policy.toml").write_text(OPEN)
        await home.policy_updates.reload()
        await home.gateway_fixture.granted(5001, CONSOLE_IP)
        fixture = home.gateway_fixture
        assert len(await fixture.store.read(lambda db: db.execute("SELECT digest FROM policies").fetchall())) == 2
        await erasure(fixture).erase({PC})
        (left,) = await fixture.store.read(lambda db: db.execute("SELECT digest FROM policies").fetchall())
        assert left == (home.policy_updates.in_force.policy.digest,)


async def test_requests_go_on_while_it_erases(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, open_policy()) as home:
        await life(home, steps=60)
        erasing = asyncio.create_task(erasure(home).erase({PC}))
        port = 7000
        while not erasing.done():
            port += 1
            await home.granted(port, CONSOLE_IP)
        await erasing
        assert port > 7001
        assert traces(tmp_path, PC.encode() + b'"') == [] or home.decider.ledger.table.of_device(PC)


async def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway_fixture(tmp_path, open_policy()) as home:
        await home.refused(80, PC_IP)

        def full(*_: object) -> None:
            raise OSError("no room")

        monkeypatch.setattr("upnp_gw.store.erasing.rewrite", full)
        with pytest.raises(StoreError, match="no room"):
            await erasure(home).erase({PC})
        monkeypatch.undo()
        assert isinstance(await home.map(5000, PC_IP), Granted)
