"""Devices in the store after a restart: an upgrade, another number of LANs, a renamed interface."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import (
    CONSOLE,
    CONSOLE_IP,
    GUEST_IP,
    NETWORK,
    PC,
    PC_IP,
    TWO_LANS,
    Clock,
    GatewayFixture,
    gateway_fixture,
)
from tests.fixtures.policies import policy_of
from upnp_gw.engine.stored_devices import StoredDevices
from upnp_gw.model.network import Neighbour, Network
from upnp_gw.model.request import Granted, Refusal, Removed

GUEST = "9c:b6:d0:00:00:03"
POLICY = policy_of(
    f"""
default = "ask"
[limits]
incident_after = 3
[device.console]
mac = ["{CONSOLE}"]
[[forbid]]
name = "no-admin-ports"
int_ports = ["1-99"]
[[grant]]
name = "games"
who = "*"
int_ports = ["3000-9000"]
"""
)
COLUMNS = {"mappings": "device", "cuts": "device", "evidence": "device", "evidence_devices": "device"}


async def lived_in(made: GatewayFixture, *devices: tuple[str, str, int]) -> None:
    """Each (address, MAC, port): a mapping, a pending cut, a question, an incident that freezes it."""
    for client, mac, port in devices:
        address = ip_address(client)
        lan = made.around.network.lan_of(address)
        made.around.neighbours.learn(Neighbour(address, mac, lan))
        made.present.add(address)
        await made.granted(port, client)
        await made.granted(port + 1, client)
        await made.unmap(port + 1, client)
        assert (await made.refused(10_000 + port, client)).refusal is Refusal.ASK
        for admin in (21, 22, 23):
            await made.refused(admin, client)
        assert made.decider.history.frozen(made.around.device_of(address), made.clock())
    await made.gateway.remember()


def stored(directory: Path) -> dict[str, list[str]]:
    """Table -> the devices in it, as they are written."""
    with closing(sqlite3.connect(directory / "ledger.db")) as db:
        found = {
            table: [device for (device,) in db.execute(f"SELECT {column} FROM {table} ORDER BY {column}")]
            for table, column in COLUMNS.items()
        }
        device = "json_extract(body, '$.device')"  # the number of the latest question is a note without one
        notes = f"SELECT kind || ' ' || {device} FROM notes WHERE {device} IS NOT NULL ORDER BY 1"
        return {**found, "notes": [text for (text,) in db.execute(notes)]}


def as_an_older_version_wrote_it(directory: Path) -> None:
    """The MAC address alone."""
    with closing(sqlite3.connect(directory / "ledger.db")) as db, db:
        for table, column in COLUMNS.items():
            bare = f"CASE instr({column}, '@') WHEN 0 THEN {column} ELSE substr({column}, 1, 17) END"
            db.execute(f"UPDATE {table} SET {column} = {bare}")
        mac = "substr(json_extract(body, '$.device'), 1, 17)"
        db.execute(f"UPDATE notes SET body = json_set(body, '$.device', {mac}) WHERE {mac} IS NOT NULL")
        db.execute("UPDATE notes SET key = substr(key, 1, 17) WHERE kind IN ('device', 'incident')")


def holds(made: GatewayFixture) -> set[tuple[str, int]]:
    """(device, external port) of every mapping; each of them is open."""
    held = {(mapping.device, mapping.key.external_port) for mapping in made.decider.ledger.table}
    assert {port for _, port in made.ports} == {port for _, port in held}
    return held


def known(made: GatewayFixture) -> list[set[str]]:
    """The devices of pending cuts, of incidents and of questions."""
    now = made.clock()
    return [
        {cut.device for cut in made.decider.ledger.cuts.due(now.boot)},
        {incident.device for incident in made.decider.history.incidents(now)},
        {question.subject.device for question in made.decider.questions.all(now.wall)},
    ]


async def test_a_home_with_one_lan_loses_nothing(tmp_path: Path) -> None:
    """It is the same file before and after: names, mappings, cuts, incidents, questions, evidence."""
    clock = Clock()
    async with gateway_fixture(tmp_path, POLICY, clock) as fixture:
        await lived_in(fixture, (CONSOLE_IP, CONSOLE, 4000), (PC_IP, PC, 5000))
    before = stored(tmp_path)
    assert before["mappings"] == [PC, CONSOLE]
    assert not [text for texts in before.values() for text in texts if "@" in text]
    async with gateway_fixture(tmp_path, POLICY, clock, boot="boot-2") as fixture:
        assert holds(fixture) == {(CONSOLE, 4000), (PC, 5000)}
        assert known(fixture) == [{CONSOLE, PC}] * 3
        await fixture.gateway.remember()
        after = stored(tmp_path)
        assert {**after, "cuts": []} == {**before, "cuts": []}
        assert isinstance(await fixture.map(4000), Granted), "a refresh"
        assert isinstance(await fixture.unmap(5000, PC_IP), Removed)


@pytest.mark.parametrize(
    ("network", "lan", "guest_lan"),
    [
        (TWO_LANS, "lan0", "lan1"),
        (replace(TWO_LANS, lans=TWO_LANS.lans[::-1]), "lan0", "lan1"),
        (replace(TWO_LANS, lans=(TWO_LANS.lans[0], replace(TWO_LANS.lans[1], name="br9"))), "lan0", "br9"),
    ],
    ids=["as before", "in another order", "renamed"],
)
@pytest.mark.parametrize("older", [True, False], ids=["older version", "this version"])
async def test_with_several_lans_the_address_shows_the_lan(
    tmp_path: Path, network: Network, lan: str, guest_lan: str, older: bool
) -> None:
    clock = Clock()
    async with gateway_fixture(tmp_path, POLICY, clock, network=TWO_LANS) as fixture:
        await lived_in(fixture, (CONSOLE_IP, CONSOLE, 4000), (GUEST_IP, GUEST, 5000))
    if older:
        as_an_older_version_wrote_it(tmp_path)
        assert not [text for texts in stored(tmp_path).values() for text in texts if "@" in text]
    console, guest = f"{CONSOLE}@{lan}", f"{GUEST}@{guest_lan}"
    async with gateway_fixture(tmp_path, POLICY, clock, boot="boot-2", network=network) as fixture:
        assert holds(fixture) == {(console, 4000), (guest, 5000)}
        assert known(fixture) == [{console, guest}] * 3
        await fixture.gateway.remember()
    after = stored(tmp_path)
    assert after["mappings"] == sorted([console, guest])
    assert set(after["evidence"]) == {console, guest} <= set(after["evidence_devices"])
    del after["cuts"]  # they are done a moment after the start, and read with their new name until then
    assert all("@" in text for texts in after.values() for text in texts)
    assert sorted(after["notes"]) == sorted(
        f"{kind} {device}" for kind in ("device", "incident", "question") for device in (console, guest)
    )


async def test_a_guest_lan_that_is_served_no_more_leaves_nothing_to_a_home_device(tmp_path: Path) -> None:
    """The incident of the copied MAC address does not freeze the console. The console does not get its mapping."""
    clock = Clock()
    async with gateway_fixture(tmp_path, POLICY, clock, network=TWO_LANS) as fixture:
        await lived_in(fixture, (GUEST_IP, CONSOLE, 5000))
        await fixture.granted(4000)
    async with gateway_fixture(tmp_path, POLICY, clock, boot="boot-2") as fixture:
        assert holds(fixture) == {(CONSOLE, 4000)}
        assert not fixture.decider.history.frozen(CONSOLE, clock())
        await fixture.granted(4001)


def test_the_present_identifier_of_a_stored_device() -> None:
    one, two = StoredDevices(NETWORK), StoredDevices(TWO_LANS)
    assert one.now(CONSOLE) == one.now(f"{CONSOLE}@lan0") == CONSOLE
    assert two.now(f"{CONSOLE}@lan1") == f"{CONSOLE}@lan1"
    assert two.now(CONSOLE) == f"{CONSOLE}@lan0", "nothing shows its LAN"
    assert two.now(CONSOLE, "lan1") == f"{CONSOLE}@lan1"
    two.learn(CONSOLE, IPv4Address(GUEST_IP))
    assert two.now(CONSOLE) == f"{CONSOLE}@lan1"
    assert one.now(f"{CONSOLE}@lan1") == two.now(f"{CONSOLE}@lan1") == f"{CONSOLE}@lan1"
    assert {history.now(text) for history in (one, two) for text in ("10.0.0.1", "operator")} == {
        "10.0.0.1",
        "operator",
    }
