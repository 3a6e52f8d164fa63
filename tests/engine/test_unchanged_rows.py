"""A start decides about its mappings in bulk, with the same result as row by row and without needless work."""

import shutil
from dataclasses import replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import CONSOLE_IP, PC, PC_IP, Clock, GatewayFixture, gateway_fixture
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.unchanged_rows import UnchangedRows
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import DecisionId, Mapping, RemotePeers, Via
from upnp_gw.model.records import RecordFilter
from upnp_gw.store.store import Batch, Store

WIDE = 'who = "*"\nint_ports = ["80", "1024-65535"]\nmax_mappings = 500\n'
FOR = '[[grant]]\nname = "for"\nwho = "*"\nfor = ["192.168.77.0/24"]\nint_ports = ["7000-7999"]\n'
NONCE = b"123456789012"
ROWS = 40


def policy(grant: str = WIDE, more: str = FOR, name: str = "wide") -> LoadedPolicy:
    text = f'version = 1\n[limits]\nrequests_per_minute = 1000\n[[grant]]\nname = "{name}"\n{grant}{more}'
    return load_text(text, "a test", date(2027, 1, 1))


POLICIES = {
    "the same": policy(),
    "another name": policy(name="broad"),
    "fewer ports": policy(WIDE.replace("1024-65535", "8000-8999")),
    "one remote network": policy(WIDE + 'remote = ["203.0.113.0/24"]\n'),
    "a smaller quota": policy(WIDE.replace("500", "1")),
    "no grant for others": policy(more=""),
    "a shorter hold": policy(WIDE + 'max_hold = "1m"\nmax_ttl = "1m"\n'),
    "hours": policy(WIDE + 'hours = "00:00-12:00"\n'),
    "other hours": policy(WIDE + 'hours = "12:00-23:59"\n'),
    "a forbid": policy(more=f'{FOR}[[forbid]]\nname = "no"\nwho = "*"\nint_ports = ["8000-8003"]\n'),
    "nothing": load_text("version = 1\n", "a test", date(2027, 1, 1)),
}


async def fill(home: GatewayFixture) -> None:
    """Mappings of every kind that a store can hold."""
    await home.granted(8000)
    await home.granted(8001, lifetime=60)
    await home.granted(8002, lifetime=None)
    await home.granted(8003, via=Via.NATPMP)
    await home.granted(8003, via=Via.IGD2, lifetime=60)
    await home.granted(8004, remote="203.0.113.5")
    peers = (RemotePeers(ip_network("203.0.113.7/32"), 0),)
    await home.granted(8005, via=Via.PCP, nonce=NONCE, filters=peers)
    await home.granted(9000, PC_IP)
    await home.granted(9001, PC_IP, enabled=False)
    await home.granted(7000, target=PC_IP)
    await home.granted(9002, PC_IP, via=Via.OPERATOR)
    await home.granted(9003, PC_IP, via=Via.OPERATOR, permanent=True, lifetime=None)
    await home.granted(80, PC_IP)
    await home.granted(9004, PC_IP, lifetime=100)
    await home.gateway.submit(lambda transaction: home.reevaluation.renew(transaction, "m1", False))


def shown(mapping: Mapping) -> Mapping:
    """The row without the number of its decision."""
    return replace(mapping, decision=DecisionId(""))


async def after_start(directory: Path, loaded: LoadedPolicy, clock: Clock, **options: Any) -> tuple[object, ...]:
    """Rows, kernel, records and the rows that the store has, after a start."""
    async with gateway_fixture(directory, loaded, clock, **options) as home:
        rows = sorted(map(shown, home.decider.ledger.table), key=lambda mapping: int(mapping.id[1:]))
        kernel = {
            i: (replace(forward, decision=DecisionId("")), until)
            for i, (forward, until) in home.firewall.installed.items()
        }
        records = [
            (record.action, record.mapping, record.verdict, record.reasons, record.rule)
            for record in await home.store.decisions(RecordFilter())
        ]
        stored, _ = await home.store.load(clock())
        return rows, kernel, records, [shown(row.mapping) for row in stored]


@pytest.mark.parametrize("on_reload", ["revoke", "keep"])
@pytest.mark.parametrize("later_s", [10.0, 90.0])
@pytest.mark.parametrize("name", POLICIES)
async def test_a_start_in_bulk_has_the_result_of_a_start_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, later_s: float, on_reload: str
) -> None:
    clock = Clock()
    bulk, single = tmp_path / "bulk", tmp_path / "single"
    async with gateway_fixture(bulk, policy(), clock) as home:
        await fill(home)
    shutil.copytree(bulk, single)
    clock.pass_s(later_s)
    options = {"boot": "boot-2", "on_reload": on_reload}
    found = await after_start(bulk, POLICIES[name], clock, **options)
    monkeypatch.setattr(UnchangedRows, "keep", lambda self, mapping: False)
    assert found == await after_start(single, POLICIES[name], clock, **options)


async def many(directory: Path, clock: Clock) -> None:
    async with gateway_fixture(directory, policy(), clock) as home:
        for port in range(8000, 8000 + ROWS):
            await home.granted(port, PC_IP if port % 2 else CONSOLE_IP)


async def test_each_row_is_decided_facts_are_gathered_once_a_host_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, decided, gathered = Clock(), [], []
    await many(tmp_path, clock)
    facts_of = Decider.facts
    batches: list[Batch] = []
    write = Store.write

    def counted_decide(*given: Any) -> Any:
        decided.append(given)
        return decide(*given)

    def counted_facts(self: Decider, transaction: Transaction, *given: Any, **more: Any) -> Facts:
        gathered.append(given)
        return facts_of(self, transaction, *given, **more)

    async def counted_write(self: Store, batch: Batch, now: Any) -> None:
        batches.append(batch)
        await write(self, batch, now)

    monkeypatch.setattr("upnp_gw.engine.unchanged_rows.decide", counted_decide)
    monkeypatch.setattr(Decider, "facts", counted_facts)
    monkeypatch.setattr(Store, "write", counted_write)
    async with gateway_fixture(tmp_path, policy(), clock) as home:
        assert len(home.ports) == ROWS
        assert (len(decided), len(gathered)) == (ROWS, 2)
        (batch,) = batches
        assert not batch.put
        assert [record.action for record in batch.decisions] == ["restore"]


async def test_a_device_in_quarantine_loses_its_mappings_at_a_start(tmp_path: Path) -> None:
    clock = Clock()
    await many(tmp_path, clock)
    async with gateway_fixture(tmp_path, policy(), clock) as home:
        home.decider.history.quarantined = lambda device, now: device == PC  # type: ignore[method-assign]
        fallen = home.reevaluation.restore(
            Transaction(home.decider.ledger, clock()), list(home.decider.ledger.table)
        )
        assert {one.mapping.device for one in fallen} == {PC}
        assert len(fallen) == ROWS // 2
