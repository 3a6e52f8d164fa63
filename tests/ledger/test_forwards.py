"""The kernel holds the active rows of the ledger and nothing else, whatever batches put, remove and undo."""

import asyncio
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.mapping_rows import CONSOLE_IP, NOW, PC, PC_IP, mapping
from upnp_gw.firewall.base import Close, FirewallMode, FirewallSettings, Forward, Open
from upnp_gw.firewall.memory import MemoryFirewall
from upnp_gw.ledger.conflicts import conflicting_rows
from upnp_gw.ledger.forwards import forwards_of, kernel_changes
from upnp_gw.ledger.table import MappingTable, TableDelta
from upnp_gw.model.mapping import Mapping
from upnp_gw.model.network import Link, Network

SETTINGS = FirewallSettings(FirewallMode.ALONGSIDE, Network(Link("wan0", 1, True), (Link("lan0", 2, True),)))
PREFIXES = [IPv4Network("203.0.113.0/25"), IPv4Network("203.0.113.128/25"), IPv4Network("198.51.100.7/32")]


def filtered(number: int, *prefixes: IPv4Network) -> Mapping:
    return mapping(number, 8000 + number, filters=prefixes)


def test_a_mapping_that_ends_closes_each_of_its_forwards() -> None:
    table = MappingTable()
    before = filtered(1, *PREFIXES)
    changes = kernel_changes([(before, None)], table, NOW)
    assert [(type(change), change.forward.id) for change in changes if isinstance(change, Close)] == [
        (Close, "m1-0"),
        (Close, "m1-1"),
        (Close, "m1-2"),
    ]
    assert len(changes) == 3


def test_a_refresh_opens_again_and_closes_nothing() -> None:
    table = MappingTable()
    before, after = filtered(1, PREFIXES[0]), filtered(1, PREFIXES[1])
    table.put(after)
    assert kernel_changes([(before, after)], table, NOW) == [Open(*forwards_of(after, table, NOW))]


def test_forwards_of_one_mapping_that_swap_places_are_closed_first() -> None:
    table = MappingTable()
    before, after = filtered(1, PREFIXES[0], PREFIXES[1]), filtered(1, PREFIXES[1], PREFIXES[0])
    table.put(after)
    kinds = [type(change) for change in kernel_changes([(before, after)], table, NOW)]
    assert kinds == [Close, Close, Open, Open]


def test_a_place_that_another_mapping_takes_is_closed_first() -> None:
    """m2 loses its filter in the same batch, and m1 takes the place that it leaves."""
    table = MappingTable()
    before, after = mapping(2, 8001, filters=PREFIXES[:1]), mapping(2, 8001)
    taker = mapping(1, 8001, filters=PREFIXES[:1])
    table.put(after)
    table.put(taker)
    changes = kernel_changes([(before, after), (None, taker)], table, NOW)
    assert [(type(change), change.forward.id) for change in changes if isinstance(change, Close | Open)] == [
        (Close, "m2"),
        (Open, "m1"),
        (Open, "m2"),
    ]


def test_the_next_mapping_of_an_endpoint_keeps_its_source_port_when_the_oldest_ends() -> None:
    table = MappingTable()
    oldest, second = mapping(1, 8001, internal=80), mapping(2, 8002, internal=80)
    table.put(second)
    (close, opened) = kernel_changes([(oldest, None)], table, NOW)
    assert isinstance(close, Close)
    assert isinstance(opened, Open)
    assert (opened.forward.id, opened.forward.keep_source_port) == ("m2", True)


ROWS = st.builds(
    lambda number, port, client, internal, filters, active, nat: replace(
        mapping(
            number, port, client=str(client), internal=internal, filters=tuple(filters), enabled=active, nat=nat
        ),
        device=PC,
    ),
    st.integers(1, 4),
    st.integers(8001, 8003),
    st.sampled_from([CONSOLE_IP, PC_IP]),
    st.integers(80, 81),
    st.lists(st.sampled_from(PREFIXES), max_size=3, unique=True),
    st.booleans(),
    st.booleans(),
)
STEPS = st.one_of(ROWS, st.integers(1, 4).map(lambda number: f"m{number}"))


def applied(delta: TableDelta, steps: list[Mapping | str]) -> list[tuple[Mapping | None, Mapping | None]]:
    """Puts a row, or removes the one with this id; what conflicts is left out, as the planner refuses it."""
    for step in steps:
        if isinstance(step, str):
            delta.remove(step)
        elif next(conflicting_rows(step, delta.table), None) is None:
            delta.put(step)
    return delta.changes()


def without_timeout(forwards: list[Forward]) -> dict[str, Forward]:
    return {forward.id: replace(forward, timeout_s=1) for forward in forwards}


@pytest.mark.spec("SR-19")
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.lists(STEPS, max_size=3), min_size=1, max_size=3), st.booleans()), max_size=8)
)
def test_the_kernel_holds_the_active_rows(batches: list[tuple[list[list[Mapping | str]], bool]]) -> None:
    """A batch is one kernel transaction of several operations; the second value: the store refuses it."""

    async def run() -> None:
        table, firewall = MappingTable(), MemoryFirewall(lambda: NOW.boot)
        await firewall.open(SETTINGS, lambda what: None)
        for operations, refused in batches:
            deltas = [TableDelta(table) for _ in operations]
            pairs = [
                pair for delta, steps in zip(deltas, operations, strict=True) for pair in applied(delta, steps)
            ]
            await firewall.apply(kernel_changes(pairs, table, NOW))
            if refused:
                for delta in reversed(deltas):
                    delta.undo()
                undone = [(after, before) for before, after in reversed(pairs)]
                await firewall.apply(kernel_changes(undone, table, NOW))
            active = [f for row in table if row.active for f in forwards_of(row, table, NOW)]
            assert without_timeout([forward for forward, _ in firewall.installed.values()]) == without_timeout(
                active
            )

    asyncio.run(run())
