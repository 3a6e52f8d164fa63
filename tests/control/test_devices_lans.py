"""The commands about devices where the gateway serves several LANs, and one MAC address is on two of them."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, GUEST_IP, PC, TWO_LANS
from tests.fixtures.operator_commands import ASK, Served, refused, served, written
from upnp_gw import api
from upnp_gw.model.mapping import Transport
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Refusal

TCP = Transport.TCP
HOME, TWIN = f"{CONSOLE}@lan0", f"{CONSOLE}@lan1"
GAMES = f'{ASK}\n[[grant]]\nname = "games"\nwho = "*"\nint_ports = ["3000-9000"]\n'


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Served]:
    """The console on lan0, and a host of lan1 with its MAC address. Each holds a mapping."""
    async with served(tmp_path, GAMES, network=TWO_LANS) as made:
        made.home.around.neighbours.learn(Neighbour(ip_address(GUEST_IP), CONSOLE, "lan1"))
        made.home.present.add(ip_address(GUEST_IP))
        await made.home.granted(4000)
        await made.home.granted(5000, GUEST_IP)
        yield made


async def test_a_name_is_for_the_device_of_the_first_lan(here: Served) -> None:
    rows = {m.device: here.device_commands._serializer.mapping(m) for m in here.home.decider.ledger.table}
    assert {device: row.device_name for device, row in rows.items()} == {HOME: "console", TWIN: None}
    revoked = await here.device_commands.revoke("console")
    assert isinstance(revoked, api.Revoked)
    assert [row.device for row in revoked.mappings] == [HOME]
    assert here.home.ports == {(TCP, 5000)}


async def test_a_mac_address_that_is_seen_on_another_lan_is_asked_back(here: Served) -> None:
    """The operator means the console. Its copy on the guest LAN must not get the grant, nor take the block."""
    for answer in (
        await here.device_commands.allow(CONSOLE, api.Allow(ports=[80])),
        await here.device_commands.block(CONSOLE, api.Block()),
        await here.device_commands.revoke(CONSOLE),
    ):
        message = refused(answer).message
        assert HOME in message
        assert TWIN in message
    assert "is not a LAN of this gateway" in refused(await here.device_commands.revoke(f"{CONSOLE}@lan7")).message
    assert here.home.ports == {(TCP, 4000), (TCP, 5000)}


async def test_a_device_of_another_lan_is_written_with_its_lan(here: Served) -> None:
    text = written(
        await here.device_commands.name(TWIN.upper().replace("@LAN1", "@lan1"), api.NameDevice(name="tablet"))
    ).toml
    assert text == f'[device.tablet]\nmac = ["{CONSOLE}"]\nlan = ["lan1"]\n'
    written(await here.device_commands.allow("tablet", api.Allow(ports=[80])))
    await here.home.granted(8080, GUEST_IP, internal=80)
    assert (await here.home.refused(8081, internal=80)).refusal is Refusal.NOT_AUTHORIZED, "that is the console"


async def test_a_block_on_another_lan_blocks_that_one_alone(here: Served) -> None:
    """Or who copies a MAC address has the operator block its owner."""
    written(await here.device_commands.block(GUEST_IP, api.Block()))
    assert here.home.ports == {(TCP, 4000)}
    assert (await here.home.refused(5000, GUEST_IP)).refusal is Refusal.NOT_AUTHORIZED
    await here.home.granted(4001)
    released = await here.device_commands.release(TWIN)
    assert isinstance(released, api.Released)
    assert "block-" in released.removed
    await here.home.granted(5000, GUEST_IP)


async def test_a_block_on_the_first_lan_holds_on_every_lan(here: Served) -> None:
    """A device that is blocked at home does not get round the block in the guest network."""
    written(await here.device_commands.block(CONSOLE_IP, api.Block()))
    assert here.home.ports == set()
    for client in (CONSOLE_IP, GUEST_IP):
        assert (await here.home.refused(4000, client)).refusal is Refusal.NOT_AUTHORIZED


async def test_the_answer_to_a_question_is_for_the_device_that_asked(here: Served) -> None:
    assert (await here.home.refused(10_000, GUEST_IP)).refusal is Refusal.ASK
    (question,) = await here.device_commands.queue()
    assert (question.device, question.device_name) == (TWIN, None)
    assert 'lan = ["lan1"]' in question.toml
    answer = await here.device_commands.approve("1", api.Approve())
    assert isinstance(answer, api.Approved)
    assert answer.opened is not None, answer.why_not
    assert answer.opened.device == TWIN
    assert (await here.home.refused(10_001, internal=10_000)).refusal is Refusal.ASK, "the console did not ask"


async def test_an_incident_on_the_guest_lan_is_not_the_consoles(here: Served) -> None:
    for port in (22, 23, 135, 137, 138):
        await here.home.refused(port, GUEST_IP)
    (incident,) = await here.device_commands.incidents()
    assert (incident.device, incident.device_name) == (TWIN, None)
    assert (await here.home.refused(5001, GUEST_IP)).reason == "this device is frozen after an incident"
    await here.home.granted(4001)
    released = await here.device_commands.release("console")
    assert isinstance(released, api.Released)
    assert released.incidents == []


async def test_rate_ports_and_quota_count_for_each_lan(here: Served) -> None:
    """A guest with a copied MAC address uses up nothing of the device's."""
    limit = here.home.decider.in_force.policy.limits.requests_per_minute
    for number in range(limit):
        await here.home.map(6000 + number % 10, GUEST_IP)
    assert (await here.home.refused(6000, GUEST_IP)).refusal is Refusal.RATE
    await here.home.granted(4000)
    held = here.home.decider.ledger.table
    assert (held.held_by(HOME), held.held_by(TWIN), held.held_by(CONSOLE)) == (1, 11, 0)
    assert PC not in {m.device for m in held}
