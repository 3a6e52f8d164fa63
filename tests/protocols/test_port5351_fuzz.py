"""Datagrams without end: nothing crashes, nothing is larger than it may be, every opening has its decision."""

import random
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures import port5351_vectors as vectors
from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC_IP, gateway_fixture
from tests.fixtures.policies import policy_of
from tests.fixtures.port5351 import CONSOLE_IP6, Line
from tests.protocols.natpmp.test_conversations import OPEN
from upnp_gw.ledger.events import Decided
from upnp_gw.model.network import Neighbour
from upnp_gw.protocols.pcp.address import pack_address

SEEDS = [
    bytes.fromhex(hexa) for table in (vectors.NATPMP_REQUESTS, vectors.PCP_REQUESTS) for hexa, _ in table.values()
]
CLIENTS = (CONSOLE_IP, PC_IP, CONSOLE_IP6, "fe80::10", "192.168.77.99")


def mutated(seed: bytes, client: str, dice: random.Random) -> bytes:
    """A message of the client's own, with a few bytes changed, cut or added."""
    data = bytearray(seed)
    if data[0] == 2 and len(data) >= 24 and dice.random() < 0.9:
        data[8:24] = pack_address(ip_address(client))
    for _ in range(dice.randrange(4)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    if dice.random() < 0.1:
        data = data[: dice.randrange(len(data) + 1)]
    if dice.random() < 0.1:
        data += dice.randbytes(dice.randrange(1200))
    return bytes(data)


@pytest.mark.spec("PCP-185", "PCP-023")
async def test_ten_thousand_random_datagrams(tmp_path: Path) -> None:
    dice = random.Random(5351)
    async with gateway_fixture(tmp_path) as fixture:
        line = Line(fixture)
        for _ in range(10_000):
            data = dice.randbytes(dice.choice((1, 2, 12, 24, 60, 80, dice.randrange(1300))))
            answer = await line.answer_or_none(data, dice.choice(CLIENTS))
            assert answer is None or len(answer) <= 1100
            assert answer is None or len(answer) <= max(24, len(data) + 3)
        assert not [key for key in fixture.ports if key[1] < 1024]


@pytest.mark.spec("SR-19", "PCP-186")
async def test_every_opening_has_its_own_decision(tmp_path: Path) -> None:
    dice = random.Random(5350)
    async with gateway_fixture(tmp_path, policy_of(OPEN)) as fixture:
        fixture.around.neighbours.learn(Neighbour(ip_address(CONSOLE_IP6), CONSOLE, "lan0"))
        line = Line(fixture)
        for _ in range(1500):
            client = dice.choice(CLIENTS)
            await line.answer_or_none(mutated(dice.choice(SEEDS), client, dice), client)
        allowed = {
            event.record.id: event.record
            for event in fixture.events
            if isinstance(event, Decided) and event.record.verdict == "allow"
        }
        table = list(fixture.decider.ledger.table)
        assert len(table) > 20
        for row in table:
            record = allowed[row.decision]
            assert (record.mapping, record.internal_port) == (row.id, row.internal.port)
            assert row.device in (CONSOLE, "02:00:00:00:00:77", "192.168.77.99")
            assert row.internal.port >= 1024
        forwards = {forward.id.partition("-")[0] for forward, _ in fixture.firewall.installed.values()}
        assert forwards == {row.id for row in table}
