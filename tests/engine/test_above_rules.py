"""The requests to the gateway above, and the times of the next ones."""

from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest

from tests.fixtures.gateway import NETWORK
from tests.fixtures.granting_above import ABOVE, BEHIND, OUTERMOST, OWN
from tests.fixtures.mapping_rows import CONSOLE, NOW, asks, mapping
from upnp_gw.engine.above_rules import AboveRules, bounded, granted, lost, renewal_at, with_own_port
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.above import AboveGranted
from upnp_gw.model.mapping import Above, Endpoint, Hold, Transport, Via
from upnp_gw.model.request import PortChoice

LEASE = Above(b"n" * 12, NOW.boot + 1800, Via.PCP, ABOVE, Endpoint(OUTERMOST, 8080))
RULES = AboveRules()


@pytest.mark.parametrize(
    ("outside", "private", "always"),
    [
        ("192.168.1.44", True, True),
        ("100.64.3.4", True, True),
        ("198.18.0.1", True, True),
        ("8.8.8.8", False, True),
        ("2001:db8::1", False, True),
        (None, True, True),
    ],
)
def test_an_address_that_the_internet_does_not_reach_needs_it(
    outside: str | None, private: bool, always: bool
) -> None:
    address = ip_address(outside) if outside else None
    assert (RULES.asks_at(address), AboveRules(always=True).asks_at(address)) == (private, always)


def test_a_pinhole_needs_it_by_the_address_of_its_host() -> None:
    assert RULES.needs(mapping(1, nat=False), BEHIND)
    assert not RULES.needs(mapping(1, client="2001:db8:77::10"), BEHIND)
    assert not RULES.needs(mapping(1), NETWORK)


@pytest.mark.parametrize(
    ("choice", "vias", "exact"),
    [
        (PortChoice.EXACT, (), True),
        (PortChoice.SUGGESTED, (), False),
        (None, (Via.IGD1,), True),
        (None, (Via.OPERATOR,), True),
        (None, (Via.PCP,), False),
        (None, (Via.NATPMP, Via.PCP), False),
        (None, (Via.PCP, Via.IGD2), True),
    ],
)
def test_a_client_that_cannot_be_told_of_another_port_gets_its_own(
    choice: PortChoice | None, vias: tuple[Via, ...], exact: bool
) -> None:
    if choice is not None:
        row = mapping(1, above=Above(b"n" * 12, NOW.boot + 14))
        request = RULES.request(row, BEHIND, NOW.boot, asks(choice=choice))
    else:
        row = mapping(1, above=LEASE, holds=tuple(Hold(via, NOW.boot + 3600, 3600) for via in vias))
        request = RULES.request(row, BEHIND, NOW.boot, None)
    assert request.exact == exact


def test_a_renewal_names_what_was_granted() -> None:
    request = RULES.request(mapping(1, internal=80, above=LEASE), BEHIND, NOW.boot, None)
    assert (request.internal, request.external, request.via) == (Endpoint(OWN, 8080), LEASE.external, Via.PCP)
    forgotten = RULES.request(mapping(1, above=lost(mapping(1, above=LEASE), "gone").above), BEHIND, NOW.boot, None)
    assert (forgotten.external, forgotten.via) == (LEASE.external, None), "over any protocol, but the same port"


@pytest.mark.parametrize(("left_s", "asked_s"), [(3600, 1800), (600, 600), (10, 120)])
def test_no_more_is_asked_than_is_left(left_s: int, asked_s: int) -> None:
    assert RULES.lifetime_s(mapping(1, until=NOW.boot + left_s), NOW.boot) == asked_s


def test_only_leases_of_clients_that_renew_end_with_the_lease_above() -> None:
    holds = (Hold(Via.PCP, NOW.boot + 7200, 7200), Hold(Via.IGD1, NOW.boot + 3600, 3600))
    ends = [hold.until for hold in bounded(mapping(1, holds=holds, above=LEASE), NOW.boot).holds]
    assert ends == [LEASE.until, NOW.boot + 3600]


def test_a_granted_lease_keeps_its_nonce() -> None:
    waits = mapping(1, above=Above(b"m" * 12, NOW.boot + 14))
    assert waits.waits
    assert not waits.active
    row = granted(waits, AboveGranted(Via.PCP, ABOVE, Endpoint(OUTERMOST, 40_000), 600), NOW.boot)
    assert (row.active, row.waits, row.outside_port, row.key.external_port) == (True, False, 40_000, 8080)
    assert row.above is not None
    assert (row.above.nonce, row.above.until) == (b"m" * 12, NOW.boot + 600)
    parked = lost(row, "gone")
    assert (parked.active, parked.waits, parked.outside_port) == (False, False, 40_000)


def test_a_lease_above_is_renewed_after_half_of_it() -> None:
    row = mapping(1, until=NOW.boot + 7200, above=LEASE)
    times = [renewal_at(row, NOW.boot, Random(seed)) for seed in range(50)]
    assert all(at is not None and 900 <= at - NOW.boot <= 1125 for at in times)
    assert renewal_at(mapping(1, until=LEASE.until, above=LEASE), NOW.boot, Random(1)) is None


def test_only_its_own_device_names_a_mapping_by_the_port_above() -> None:
    table = MappingTable()
    told = replace(LEASE, external=Endpoint(OUTERMOST, 40_000))
    table.put(mapping(1, above=told))
    assert with_own_port(table, asks(40_000, internal=8080), CONSOLE).external_port == 8080
    assert with_own_port(table, asks(40_000), "another").external_port == 40_000
    other = asks(40_000, internal=9, via=Via.PCP)
    assert with_own_port(table, other, CONSOLE).external_port == 40_000, "a datagram's client means this endpoint"
    table.remove("m1")
    assert not table.told_as(Transport.TCP, 40_000)
