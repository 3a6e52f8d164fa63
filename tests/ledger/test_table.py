"""The table's indexes agree with a plain list of rows, whatever is put, removed and undone."""

import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.fixtures.examples import examples
from tests.fixtures.mapping_rows import CONSOLE, PC, mapping
from upnp_gw.ledger.charges import InternalPort, internal_port_of
from upnp_gw.ledger.table import MappingTable, TableDelta
from upnp_gw.model.mapping import Above, Endpoint, Mapping, MappingKind, Transport, Via

OUTSIDE = Endpoint(IPv4Address("198.51.100.7"), 40_000)
LEASES = {
    "waits": Above(b"n" * 12, 1014.0),
    "granted": Above(b"n" * 12, 2800.0, Via.PCP, IPv4Address("192.168.1.1"), OUTSIDE),
    "lost": Above(b"n" * 12, 900.0, Via.PCP, IPv4Address("192.168.1.1"), OUTSIDE, "it does not answer"),
}
INNER = InternalPort(Transport.TCP, 80, None)


def test_a_row_with_other_times_takes_the_place_of_the_old_one_everywhere() -> None:
    """After a start every row has new times: the old ones must not stay in memory beside them."""
    table, old = MappingTable(), mapping(1, 8080)
    table.put(old)
    before = sys.getrefcount(old)
    table.put_times(replace(old, recheck_at=9.0))
    assert sys.getrefcount(old) == before - 2, "the rows and the charges"
    table.remove("m1")
    assert table.charged(CONSOLE, INNER).mappings == 0


@pytest.mark.spec("IGD-151")
def test_the_array_closes_up_after_a_delete() -> None:
    table = MappingTable()
    for number in (1, 2, 3):
        table.put(mapping(number, 8000 + number))
    table.remove("m1")
    array = table.numbering(CONSOLE)
    assert [array.at(i) for i in range(3)] == ["m2", "m3", None]


def test_a_refresh_keeps_its_place_in_the_array() -> None:
    table = MappingTable()
    for number in (1, 2, 3):
        table.put(mapping(number, 8000 + number))
    table.put(mapping(1, 8001, internal=99, description="again"))
    assert list(table.numbering(None)) == ["m1", "m2", "m3"]


def test_pinholes_of_ipv6_are_in_no_array_those_of_ipv4_are() -> None:
    table = MappingTable()
    table.put(mapping(1, 8080, client="2001:db8::10"))
    assert len(table.numbering(None)) == 0
    assert table.held_by(CONSOLE) == 1
    table.put(mapping(2, 8080, nat=False))
    assert [*table.numbering(CONSOLE)] == ["m2"]
    assert table.pinhole(2) is None, "only those of IPv6 have a UniqueID"


def test_a_row_costs_little_memory_beside_its_mapping() -> None:
    """Bytes of the indexes and charges for each row of many devices. A container for each row would be 200 more."""
    rows = [mapping(n, 10_000 + n, device=f"02:00:00:00:00:{n % 50:02x}") for n in range(4_000)]
    table = MappingTable()
    tracemalloc.start()
    try:
        for row in rows:
            table.put(row)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(rows) < 450


class Model(RuleBasedStateMachine):
    """The same operations on a table and on a plain dict."""

    @initialize()
    def start(self) -> None:
        self.table = MappingTable()
        self.rows: dict[str, Mapping] = {}
        self.delta = TableDelta(self.table)
        self.before: dict[str, Mapping] = {}

    ids = st.integers(1, 12)

    @rule(
        number=ids,
        port=st.integers(8000, 8005),
        device=st.sampled_from([CONSOLE, PC]),
        parked=st.booleans(),
        grant=st.sampled_from(["consoles", "everyone"]),
        internal=st.sampled_from([80, 81]),
        delegated=st.booleans(),
        client=st.sampled_from(["192.168.77.10", "192.168.77.20"]),
        nat=st.booleans(),
        enabled=st.booleans(),
        above=st.sampled_from([None, "waits", "granted", "lost"]),
    )
    def put(
        self,
        number: int,
        port: int,
        device: str,
        parked: bool,
        grant: str,
        internal: int,
        delegated: bool,
        client: str,
        nat: bool,
        enabled: bool,
        above: str | None,
    ) -> None:
        row = mapping(
            number,
            port,
            device=device,
            remote=f"203.0.113.{number}/32",
            parked=parked,
            rule=grant,
            internal=internal,
            delegated=delegated,
            client=client,
            nat=nat,
        )
        row = replace(row, enabled=enabled, above=LEASES[above] if above else None)
        self.delta.put(row)
        self.rows[row.id] = row

    @rule(number=ids)
    def remove(self, number: int) -> None:
        self.delta.remove(f"m{number}")
        self.rows.pop(f"m{number}", None)

    @rule()
    def commit(self) -> None:
        for before, after in self.delta.changes():
            assert before != after
        self.delta = TableDelta(self.table)
        self.before = dict(self.rows)

    @rule()
    def undo(self) -> None:
        self.delta.undo()
        self.rows = dict(self.before)

    @invariant()
    def agrees(self) -> None:
        rows = list(self.rows.values())
        assert {m.id: m for m in self.table} == self.rows
        assert sorted(self.table.numbering(None)) == sorted(m.id for m in rows if not m.waits)
        told = {m.id for m in rows if m.outside_port == OUTSIDE.port and m.key.transport is Transport.TCP}
        assert {m.id for m in self.table.told_as(Transport.TCP, OUTSIDE.port)} == told
        closed = [m for m in rows if m.parked or (m.above is not None and not m.above.granted)]
        states = sum(m.active for m in rows), len(closed)
        assert self.table.states() == (*states, len(rows) - sum(states))
        for device in (CONSOLE, PC):
            own = {m.id for m in rows if m.device == device}
            assert set(self.table.numbering(device)) == {m.id for m in rows if m.id in own and not m.waits}
            assert {m.id for m in self.table.of_device(device)} == own
            assert self.table.held_by(device) == len(own)
            self.charged(device, [m for m in rows if m.device == device])
        for row in rows:
            assert self.table.by_key(row.key) == row
            translated = row.kind is MappingKind.PORT_MAPPING
            on_port = self.table.on_port(row.key.transport, row.key.external_port)
            assert (row in on_port) == translated
            pinholes = list(self.table.pinholes_on(row.key.transport, row.key.external_port, row.device))
            assert (row in pinholes) == (not translated)
            assert all(each.device == row.device for each in pinholes)
            assert row in self.table.to_internal(row.key.transport, row.internal)
            assert row in self.table.to_client(row.internal.address)

    def charged(self, device: str, rows: list[Mapping]) -> None:
        """The quotas go by ports, however many of the device's addresses have them; the kernel by elements."""
        ports = {port_of(m) for m in rows}
        by_grant = Counter(rule for rule, _ in {(m.rule, port_of(m)) for m in rows})
        assert (self.table.counted(device), self.table.elements(device)) == (len(ports), len(rows))
        for without in ([], rows[:1], rows[:3]):
            left = [m for m in rows if m not in without]
            found = self.table.charged(device, INNER, without)
            assert (found.mappings, found.elements) == (len({port_of(m) for m in left}), len(left))
            assert found.by_grant == Counter(rule for rule, _ in {(m.rule, port_of(m)) for m in left})
            there = [m for m in left if internal_port_of(m) == INNER]
            assert found.on_internal_port == {
                m.key.external_port: frozenset(
                    other.rule for other in there if other.key.external_port == m.key.external_port
                )
                for m in there
            }
        assert self.table.charged(device, INNER).by_grant == by_grant


def port_of(mapping: Mapping) -> tuple[InternalPort, int]:
    return internal_port_of(mapping), mapping.key.external_port


Model.TestCase.settings = examples(60, stateful_step_count=30)
TestTable = Model.TestCase
