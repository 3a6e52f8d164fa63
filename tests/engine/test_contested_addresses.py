"""Mappings to an address that two hosts claim, or that nobody answers for: shut until it is settled."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.gateway import CONSOLE, CONSOLE_IP, PC, PC_IP, GatewayFixture, gateway_fixture
from tests.fixtures.mapping_rows import mapping
from tests.fixtures.operator_commands import served
from tests.fixtures.waiting import EVENT_S
from upnp_gw import api
from upnp_gw.control.serialize import Serializer
from upnp_gw.engine.writer import BATCH
from upnp_gw.gate.load import LoadedPolicy, load_text
from upnp_gw.ledger.events import TableChanged
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.mapping import Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.records import RecordFilter
from upnp_gw.model.request import Granted, Refusal
from upnp_gw.system.neighbour_events import (
    AddressContest,
    AddressContested,
    AddressMoved,
    AddressSettled,
    NeighbourEvent,
    NeighbourGone,
)

pytestmark = pytest.mark.spec("SR-2", "SR-43")

TCP = Transport.TCP
ADDRESS = ip_address(CONSOLE_IP)
GONE = NeighbourGone(ADDRESS, CONSOLE, "lan0")
OPERATOR = {"via": Via.OPERATOR, "lifetime": None, "permanent": True, "target": CONSOLE_IP}
DELEGATING = f"""
version = 1
default = "deny"
[device]
pc.mac = ["{PC}"]
[[grant]]
name = "own"
who = "*"
max_mappings = 8
[[grant]]
name = "for-the-console"
who = "pc"
for = ["{CONSOLE_IP}"]
max_mappings = 8
"""
MANY = """
version = 1
[limits]
per_device = 1024
elements_per_device = 2048
[[grant]]
name = "grant"
who = "*"
int_ports = ["1024-65535"]
max_ports_per_day = 1024
"""


def entry(mac: str) -> Neighbour:
    return Neighbour(ADDRESS, mac, "lan0")


async def send_events(home: GatewayFixture, *events: NeighbourEvent) -> None:
    """The network says so, and what follows is done."""
    for event in events:
        home.scheduler.neighbour_changed(event)
    await home.sweep()


@contextmanager
def contested(home: GatewayFixture) -> Iterator[None]:
    """Two hosts claim the console's address."""
    claimed = {(ADDRESS, "lan0")}
    home.lan_hosts.contested = lambda *place: place in claimed
    home.lan_hosts.contests = lambda: [AddressContest(ADDRESS, "lan0", (CONSOLE, PC))]
    yield
    home.lan_hosts.contested = lambda *place: False


def ports(home: GatewayFixture) -> set[int]:
    return {port for _, port in home.ports}


async def test_every_mapping_to_the_address_is_shut_at_once_and_its_flows_are_cut(tmp_path: Path) -> None:
    """By whomever it was made: the console, the operator, another device for the console."""
    async with gateway_fixture(tmp_path, load_text(DELEGATING, "test", date.min).policy) as home:
        await home.granted(8000)
        await home.granted(8001, PC_IP, target=CONSOLE_IP)
        await home.granted(8002, "127.0.0.1", **OPERATOR)
        await home.granted(8003, PC_IP)
        home.events.clear()
        with contested(home):
            await send_events(home, AddressContested(ADDRESS, "lan0"))
            assert ports(home) == {8003}
            assert sorted(cut.external_port for cut in home.firewall.cuts) == [8000, 8001, 8002]
            shown = [Serializer(home.decider).mapping(row) for row in home.decider.ledger.table]
            states = {row.external_port: row.state for row in shown}
            assert states == {8000: "contested", 8001: "contested", 8002: "contested", 8003: "active"}
            changed = [pair for event in home.events if isinstance(event, TableChanged) for pair in event.changed]
            assert len(changed) == 3, "control points that listen hear of it"
            assert (await home.refused(8000)).refusal is Refusal.ABSENT, "the owner itself cannot have it opened"
        await send_events(home, AddressSettled(entry(CONSOLE)))
        assert ports(home) == {8000, 8001, 8002, 8003}


async def test_when_the_claimant_has_it_the_owners_mappings_end_and_the_operators_wait(tmp_path: Path) -> None:
    """A host that gives up its address (RFC 5227) loses the mappings to it. The other host inherits none."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        await home.granted(8002, "127.0.0.1", **OPERATOR)
        with contested(home):
            await send_events(home, AddressContested(ADDRESS, "lan0"))
        home.around.neighbours.learn(entry(PC))
        await send_events(home, AddressMoved(ADDRESS, CONSOLE, PC, "lan0"), AddressSettled(entry(PC)))
        assert ports(home) == set()
        (left,) = home.decider.ledger.table
        assert (left.key.external_port, left.device, left.parked) == (8002, CONSOLE, True)
        home.clock.pass_s(40 * 86400)
        await home.sweep()
        home.around.neighbours.learn(entry(CONSOLE))
        await send_events(home, AddressSettled(entry(CONSOLE)))
        assert ports(home) == {8002}, "the device that it was made for is back"


async def test_no_operation_opens_a_port_to_a_contested_address(tmp_path: Path) -> None:
    """The operator's add, a lease that is renewed, a policy that is loaded: parked until it is settled."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000, lifetime=None)
        with contested(home):
            made = await home.granted(8002, "127.0.0.1", **OPERATOR)
            assert made.mapping.parked, "the answer says that it is parked"
            await home.gateway.submit(lambda transaction: home.reevaluation.renew(transaction, "m1", True))
            await home.gateway.submit(lambda transaction: reload(home, transaction))
            await home.sweep()
            assert ports(home) == set()
            assert [cut.external_port for cut in home.firewall.cuts] == [8000]
        await send_events(home, AddressSettled(entry(CONSOLE)))
        assert ports(home) == {8000, 8002}


def reload(home: GatewayFixture, transaction: Transaction) -> None:
    home.reevaluation.policy_changed(transaction, LoadedPolicy(home.decider.in_force.policy, ()))


async def test_an_approval_opens_nothing_to_a_contested_address(tmp_path: Path) -> None:
    async with served(tmp_path) as here:
        await here.home.refused(8080)
        with contested(here.home):
            answer = await here.device_commands.approve("1", api.Approve(for_s=3600))
            assert isinstance(answer, api.Approved)
            assert answer.opened is None
            assert answer.why_not == "another host claims the internal client's address"
        assert here.home.ports == set()


async def test_an_address_that_is_not_known_to_be_one_hosts_alone_is_opened_to_nobody(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        home.lan_hosts.unsettled = lambda address, interface: address == ADDRESS
        refused = await home.refused(8000)
        assert (refused.refusal, refused.reason) == (
            Refusal.ABSENT,
            "nobody answers for the internal client's address",
        )
        (record,) = await home.store.decisions(RecordFilter())
        assert (record.verdict, record.id) == ("busy", refused.decision)
        await home.granted(8001, PC_IP)
        made = await home.granted(8002, "127.0.0.1", **OPERATOR)
        assert made.mapping.parked, "the operator's waits for a host that answers"
        assert ports(home) == {8001}
        home.lan_hosts.unsettled = lambda address, interface: False
        await send_events(home, AddressSettled(entry(CONSOLE)))
        assert ports(home) == {8001, 8002}


async def test_all_hosts_are_asked_before_a_request_is_judged(tmp_path: Path) -> None:
    """The gateway waits for the answers of other hosts, and no longer than a second."""
    async with gateway_fixture(tmp_path) as home:
        unsettled, queried = {ADDRESS}, []

        async def settle(address: object, interface: str) -> bool:
            queried.append((address, interface))
            unsettled.clear()
            return True

        home.lan_hosts.unsettled = lambda address, interface: address in unsettled
        home.lan_hosts.settle = settle
        assert isinstance(await home.map(8000), Granted)
        assert queried == [(ADDRESS, "lan0")]


async def test_a_device_that_answers_no_probe_is_parked_and_its_flows_left_alone(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        await home.granted(8001, PC_IP)
        await send_events(home, NeighbourGone(ADDRESS, CONSOLE, "lan0"))
        assert ports(home) == {8001}
        assert home.firewall.cuts == []
        await send_events(home, AddressSettled(entry(CONSOLE)))
        assert ports(home) == {8000, 8001}


async def test_mappings_of_an_earlier_run_are_checked(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        await home.granted(8001, PC_IP)
        home.present.discard(ADDRESS)
        home.scheduler.check_hosts()
        await home.sweep()
        assert ports(home) == {8001}
        home.present.add(ADDRESS)
        home.scheduler.check_hosts(parked=True)
        await home.sweep()
        assert ports(home) == {8000, 8001}, "it was there all the time, and silent"
        home.around.neighbours.learn(entry(PC))
        home.scheduler.check_hosts()
        await home.sweep()
        assert ports(home) == {8001}, "another device has it by now"


async def test_a_device_that_is_back_before_all_its_mappings_are_parked_gets_all_of_them_back(
    tmp_path: Path,
) -> None:
    """As after a LAN link that flaps, with more mappings than the writer takes at once. The soak found it."""
    rows = [mapping(n, 10_000 + n) for n in range(1, BATCH + 73)]

    def put(transaction: Transaction) -> None:
        for row in rows:
            transaction.put(row)

    def parked() -> int:
        return sum(row.parked for row in home.decider.ledger.table)

    async with gateway_fixture(tmp_path, load_text(MANY, "test", date.min).policy) as home:
        await home.gateway.submit(put)
        home.present.discard(ADDRESS)
        home.scheduler.check_hosts()
        async with asyncio.timeout(EVENT_S):
            while not parked():  # noqa: ASYNC110 (a step of the writer has no event)
                await asyncio.sleep(0)
        assert parked() < len(rows)
        await send_events(home, AddressSettled(entry(CONSOLE)))
        assert parked() == 0
        assert len(home.ports) == len(rows)


@pytest.mark.parametrize(
    ("earlier", "events", "is_open"),
    [
        ([], [GONE, AddressSettled(entry(CONSOLE))], True),
        ([], [AddressContested(ADDRESS, "lan0"), AddressSettled(entry(CONSOLE))], True),
        ([GONE], [AddressSettled(entry(CONSOLE)), GONE], False),
    ],
)
async def test_the_last_event_counts_while_the_writer_is_busy(
    tmp_path: Path, earlier: list[NeighbourEvent], events: list[NeighbourEvent], is_open: bool
) -> None:
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000)
        await send_events(home, *earlier)
        await send_events(home, *events)
        assert ports(home) == ({8000} if is_open else set())


async def test_a_lease_that_is_renewed_while_it_is_contested_ends_its_flows(tmp_path: Path) -> None:
    """The word of the contest may have been missed: at the start nobody listens yet."""
    async with gateway_fixture(tmp_path) as home:
        await home.granted(8000, lifetime=None)
        with contested(home):
            home.present.discard(ADDRESS)
            home.scheduler.check_hosts()
            await home.sweep()
            assert ports(home) == set()
            assert [cut.external_port for cut in home.firewall.cuts] == [8000]


async def test_the_owner_of_an_address_is_the_device_whose_mappings_lead_to_it(tmp_path: Path) -> None:
    async with gateway_fixture(tmp_path, load_text(DELEGATING, "test", date.min).policy) as home:
        assert home.scheduler.holder_of(ADDRESS, "lan0") is None
        await home.granted(8001, PC_IP, target=CONSOLE_IP)
        assert home.scheduler.holder_of(ADDRESS, "lan0") is None, "the PC asked for another's address"
        await home.granted(8000)
        assert home.scheduler.holder_of(ADDRESS, "lan0") == CONSOLE
        assert home.scheduler.holder_of(ADDRESS, "lan9") is None
        await send_events(home, NeighbourGone(ADDRESS, CONSOLE, "lan0"))
        assert home.scheduler.holder_of(ADDRESS, "lan0") == CONSOLE, "parked ones count too"
