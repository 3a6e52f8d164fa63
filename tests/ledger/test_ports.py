"""The external port: asked for, or the nearest permitted free one."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.gate.decision import External, PortRanges
from upnp_gw.ledger.ports import NEAR, choose_port, permits, ports_upward, random_ports
from upnp_gw.model.mapping import Transport

ALL: PortRanges = ((1024, 65535),)


def pick(requested: int, taken: set[int], transport: Transport = Transport.TCP, **more: object) -> int | None:
    ranges = more.get("ranges", ALL)
    external = more.get("external", External.SAME_OR_ANY)
    assert isinstance(ranges, tuple)
    assert isinstance(external, External)
    return choose_port(transport, requested, ranges, external, lambda port: port not in taken, Random(7))


def test_the_port_asked_for_where_it_is_free() -> None:
    assert pick(8080, set()) == 8080


@pytest.mark.spec("IGD-171")
def test_the_next_one_where_it_is_taken() -> None:
    assert pick(8080, {8080, 8081}) == 8082


def test_udp_keeps_parity_and_leaves_companions_alone() -> None:
    assert pick(5004, {5004}, Transport.UDP) == 5006
    assert pick(5004, {5004, 5007}, Transport.UDP) == 5008


def test_a_companion_is_never_a_reason_to_refuse() -> None:
    assert pick(5004, {5004}, Transport.UDP, ranges=((5004, 5005),)) == 5005


@pytest.mark.spec("IGD-173")
def test_port_zero_gets_a_permitted_one() -> None:
    port = pick(0, set())
    assert port is not None
    assert port >= 1024


def test_same_only_or_nothing() -> None:
    assert pick(8080, {8080}, external=External.SAME) is None
    assert pick(8080, set(), external=External.SAME) == 8080


@pytest.mark.spec("IGD-174")
def test_nothing_free() -> None:
    assert pick(8080, {8080, 8081}, ranges=((8080, 8081),)) is None


def test_round_to_the_lowest() -> None:
    assert pick(65535, {65535}) == 1024


def as_ranges(ports: set[int]) -> PortRanges:
    """Sorted inclusive ranges that do not overlap, as the gate gives them."""
    starts = sorted(p for p in ports if p - 1 not in ports)
    ends = sorted(p for p in ports if p + 1 not in ports)
    return tuple(zip(starts, ends, strict=True))


ranges_of = st.sets(st.integers(1, 320), min_size=1, max_size=60).map(as_ranges)


@given(ranges_of, st.integers(0, 330), st.sets(st.integers(1, 330)), st.sampled_from(Transport))
def test_it_is_permitted_and_free_or_there_is_none(
    ranges: PortRanges, requested: int, taken: set[int], transport: Transport
) -> None:
    chosen = choose_port(transport, requested, ranges, External.SAME_OR_ANY, lambda p: p not in taken, Random(1))
    possible = [p for p in range(1, 330) if permits(ranges, p) and p not in taken]
    assert (chosen is None) == (not possible)
    assert chosen is None or chosen in possible


@given(ranges_of, st.integers(1, 330))
def test_upward_visits_every_permitted_port(ranges: PortRanges, start: int) -> None:
    assert set(ports_upward(ranges, start)) == {p for low, high in ranges for p in range(low, high + 1)}


@pytest.mark.spec("SR-22")
@pytest.mark.parametrize("transport", Transport)
@pytest.mark.parametrize("length", [100, 10_000, 40_000])
def test_a_long_row_of_taken_ports_costs_no_more_than_a_short_one(transport: Transport, length: int) -> None:
    looked: list[int] = []

    def free(port: int) -> bool:
        looked.append(port)
        return not 8080 <= port < 8080 + length

    port = choose_port(transport, 8080, ALL, External.SAME_OR_ANY, free, Random(7))
    assert port is not None
    assert not 8080 <= port < 8080 + length
    assert permits(ALL, port)
    assert len(looked) <= 2 * NEAR + 2


def test_the_last_free_port_is_found() -> None:
    assert pick(8080, set(range(1024, 65536)) - {60001}) == 60001


@given(ranges_of, st.integers(0, 1000))
def test_anywhere_is_everywhere_that_is_permitted(ranges: PortRanges, seed: int) -> None:
    permitted = {p for low, high in ranges for p in range(low, high + 1)}
    drawn = set(islice(random_ports(ranges, Random(seed)), 20 * len(permitted) + 200))
    assert drawn <= permitted
    assert len(drawn) > len(permitted) // 2
