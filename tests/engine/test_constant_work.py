"""A request costs the same beside ten mappings and beside five thousand (SR-22): work is counted, no time is taken.

Counted are the bytecodes of our own modules, the statements and the virtual machine's steps of SQLite, the changes
and the bytes for the kernel, and the memory that is taken meanwhile, which a copy of every row would show.
"""

import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import upnp_gw
from tests.fixtures.gateway import CONSOLE_IP, NETWORK, PC_IP, GatewayFixture, asks, gateway_fixture
from upnp_gw.firewall.base import Change
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.firewall.nftables.element_messages import batch_of
from upnp_gw.firewall.nftables.ruleset_delta import delta_of
from upnp_gw.firewall.nftables.state import RulesetState
from upnp_gw.gate.load import load_text
from upnp_gw.model.mapping import MappingKey, Transport, Via
from upnp_gw.model.network import Neighbour
from upnp_gw.model.request import Granted, MapRequest, PortChoice, Refused, Removed, Source

FEW = 10
OWN_SOURCES = str(Path(upnp_gw.__file__).parent)
TRIES = 5
"""Of so many requests of a kind the cheapest counts: a dict that grows is paid for by the one that fills it."""
SPARE_BYTES = 6 * 1024
"""A list of a thousand rows takes 8 KiB; a look at a port that is taken takes up to 4.5 KiB in Python 3.13."""
LONGER_IDS = 16
"""Characters: m10 and m5000, their ports."""
LOOKUPS = 6.0
"""If the next ports are taken, some are looked at, never more than ``ports.NEAR`` in a row. Their weight in a
request differs between Pythons; a walk over a thousand rows would weigh a hundred times as much."""
POLICY = """
version = 1
default = "deny"
[limits]
total_mappings = 10000
per_device = 10000
requests_per_minute = 6000
[[grant]]
name = "all"
who = "*"
int_ports = ["1024-65535"]
owner = "me"
reason = "a test"
review_by = 2099-01-01
"""


class CountingFirewall(MemoryFirewall):
    """Keeps state and makes transactions as the real one does, up to the messages for the kernel. The one in memory
    copies all of its state for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self._state = RulesetState(NETWORK, size=10_000)
        self.changes = 0
        self.commands = 0
        """Bytes."""

    async def apply(self, changes: Sequence[Change], then: object = None) -> None:
        delta = delta_of(self._state, changes, 0.0)
        self.changes += len(changes)
        self.commands += sum(map(len, batch_of(delta.edits.whole())))
        delta.commit()


@dataclass(slots=True)
class Work:
    """The work of one request."""

    bytecodes: int = 0
    statements: int = 0
    steps: int = 0
    """Of SQLite's virtual machine."""
    changes: int = 0
    commands: int = 0
    """Bytes of messages for the kernel."""
    peak: int = 0
    """Bytes of memory taken at most, over what was there before."""


@contextmanager
def counted_bytecodes(work: Work) -> Iterator[None]:
    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(OWN_SOURCES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        work.bytecodes += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def counted_sql(home: GatewayFixture, work: Work) -> Iterator[None]:
    db = home.store._db
    assert db is not None

    def statement(_: str) -> None:
        work.statements += 1

    def step() -> int:
        work.steps += 1
        return 0

    def listen(on: bool) -> None:
        db.set_trace_callback(statement if on else None)
        db.set_progress_handler(step if on else None, 1)

    listen(True)
    try:
        yield
    finally:
        listen(False)


Ask = Callable[[GatewayFixture, int], Awaitable[object]]


async def cost(home: GatewayFixture, ask: Ask, numbers: Iterator[int]) -> Work:
    """Of the cheapest request of this kind, each figure for itself."""
    firewall = home.firewall
    assert isinstance(firewall, CountingFirewall)
    found = []
    for _ in range(TRIES):
        work, number = Work(), next(numbers)
        changes, commands = firewall.changes, firewall.commands
        with counted_bytecodes(work), counted_sql(home, work):
            await ask(home, number)
        work.changes, work.commands = firewall.changes - changes, firewall.commands - commands
        found.append(work)
    for work in found:  # apart: counting takes memory
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await ask(home, next(numbers))
            work.peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    return Work(*(min(getattr(work, name) for work in found) for name in Work.__dataclass_fields__))


# -- the requests


async def adds(home: GatewayFixture, number: int) -> None:
    assert isinstance(await home.map(number), Granted)


async def refreshes(home: GatewayFixture, number: int) -> None:
    assert isinstance(await home.map(30_000, description=f"{number}"), Granted)


async def deletes(home: GatewayFixture, number: int) -> None:
    assert isinstance(await home.unmap(30_001 + number % 100), Removed)


async def is_refused(home: GatewayFixture, number: int) -> None:
    assert isinstance(await home.map(number, target=PC_IP), Refused)


async def requests_a_taken_port(home: GatewayFixture, number: int) -> None:
    assert isinstance(await home.map(10_000), Refused)


async def takes_any(home: GatewayFixture, number: int) -> None:
    """From the first port of the long row of those that are taken."""
    reply = await home.map(10_000, internal=number, choice=PortChoice.SUGGESTED, via=Via.IGD2)
    assert isinstance(reply, Granted)


async def asks_by_natpmp(home: GatewayFixture, number: int) -> None:
    request = asks(number, via=Via.NATPMP, choice=PortChoice.SUGGESTED, transport=Transport.UDP)
    assert isinstance(await home.gateway.handle(request), Granted)


async def reads(home: GatewayFixture, number: int) -> None:
    source = Source(ip_address(CONSOLE_IP), "lan0")
    key = MappingKey(Transport.TCP, None, 30_000, None)
    assert home.view.find(source, key) is not None
    assert home.view.at(source, 0) is not None
    assert home.view.count(source) > 0


async def deletes_what_another_host_has(home: GatewayFixture, number: int) -> None:
    """Without NAT nothing of its own is there."""
    assert isinstance(await home.unmap(10_000), Refused)


KINDS: list[Ask] = [
    adds,
    refreshes,
    deletes,
    is_refused,
    requests_a_taken_port,
    takes_any,
    asks_by_natpmp,
    reads,
]
WITHOUT_NAT = [adds, refreshes, deletes, is_refused, asks_by_natpmp, reads, deletes_what_another_host_has]


async def filled(home: GatewayFixture, rows: int, hosts: int, nat: bool) -> None:
    """So many mappings in a row from port 10000, of so many hosts, and some of the console's own. Without NAT the
    hosts have the same ports."""
    for host in range(hosts):
        address = IPv4Address("192.168.77.100") + host
        home.around.neighbours.learn(Neighbour(address, f"02:00:00:00:01:{host:02x}", "lan0"))
    requests: list[MapRequest] = [
        asks(
            10_000 + (row if nat else row // hosts), str(IPv4Address("192.168.77.100") + row % hosts), via=Via.IGD2
        )
        for row in range(rows)
    ]
    requests += [asks(port) for port in range(30_000, 30_101)]
    for request in requests:
        assert isinstance(await home.gateway.handle(request), Granted)
    home.clock.pass_s(61)  # the minute of the rate is over
    await home.granted(30_000)


async def costs(directory: Path, rows: int, hosts: int, nat: bool) -> dict[str, Work]:
    policy, kinds = load_text(POLICY, "wide", date.min).policy, KINDS if nat else WITHOUT_NAT
    network = NETWORK if nat else replace(NETWORK, without_nat=frozenset(NETWORK.lan_names))
    async with gateway_fixture(directory, policy, firewall=CountingFirewall(), network=network) as home:
        await filled(home, rows, hosts, nat)
        numbers = iter(range(40_000, 60_000))
        for ask in kinds:
            await ask(home, next(numbers))  # what is made once
        return {ask.__name__: await cost(home, ask, numbers) for ask in kinds}


@pytest.mark.spec("SR-22")
@pytest.mark.parametrize(("many", "hosts", "nat"), [(1000, 1, True), (5000, 50, True), (5000, 50, False)])
async def test_a_request_costs_the_same_beside_ten_mappings_and_beside_thousands(
    tmp_path_factory: pytest.TempPathFactory, many: int, hosts: int, nat: bool
) -> None:
    alone = await costs(tmp_path_factory.mktemp("few"), FEW, hosts, nat)
    crowded = await costs(tmp_path_factory.mktemp("many"), many, hosts, nat)
    for kind, few in alone.items():
        more = crowded[kind]
        lookups = LOOKUPS if kind == takes_any.__name__ else 1.0
        assert more.bytecodes <= few.bytecodes * lookups * 1.02, kind
        assert (more.statements, more.changes) == (few.statements, few.changes), kind
        assert more.steps <= few.steps * 1.02, kind
        assert more.commands <= few.commands + LONGER_IDS, kind
        assert more.peak <= few.peak + SPARE_BYTES, kind
