"""Conflict, refresh and choice: the table of IGD section 6.2 and docs/decisions."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.fixtures.mapping_rows import CONSOLE, CONSOLE_IP, NOW, PC, allowed, asks, mapping
from upnp_gw.ledger.plan import Planned, Planner
from upnp_gw.ledger.refusals import ONLY_ITS_OWN_PORT, NotPlanned
from upnp_gw.ledger.table import MappingTable
from upnp_gw.model.mapping import Hold, Mapping, MappingKey, MappingKind, Transport, Via
from upnp_gw.model.request import MapRequest, PortChoice, Refusal


def planner(
    *rows: Mapping,
    kept_for: Callable[[Transport, int], str | None] = lambda transport, port: None,
    reserved_ports: Callable[[Transport, int], bool] = lambda transport, port: False,
) -> Planner:
    table = MappingTable()
    for row in rows:
        table.put(row)
    return Planner(table, NOW, Random(3), lambda: "m99", reserved_ports, kept_for, delegated=False)


def plan(request: MapRequest, *rows: Mapping, owner: str = CONSOLE, **limits: Any) -> Planned | NotPlanned:
    made = planner(*rows)
    return made.plan(request, allowed(**limits), owner, made.own_row(request, owner))


def made(outcome: Planned | NotPlanned) -> Planned:
    assert isinstance(outcome, Planned), outcome
    return outcome


def refused(outcome: Planned | NotPlanned) -> Refusal:
    assert isinstance(outcome, NotPlanned), outcome
    return outcome.refusal


def test_a_new_mapping_names_the_decision_and_the_rule() -> None:
    new = made(plan(asks(8080, internal=80)))
    assert not new.refreshed
    assert (new.mapping.decision, new.mapping.rule, new.mapping.device) == ("d1", "grant", CONSOLE)
    assert new.mapping.until == NOW.boot + 3600


@pytest.mark.spec("IGD-112")
def test_tcp_and_udp_are_independent() -> None:
    assert not made(plan(asks(8080, transport=Transport.UDP), mapping(1, 8080))).refreshed


@pytest.mark.spec("IGD-114", "IGD-132")
def test_the_same_key_and_client_is_a_refresh() -> None:
    again = made(plan(asks(8080, internal=81, description="new", lifetime=60), mapping(1, 8080)))
    assert again.refreshed
    assert (again.mapping.id, again.mapping.internal.port, again.mapping.description) == ("m1", 81, "new")
    assert again.mapping.until == NOW.boot + 60


@pytest.mark.spec("IGD-115")
def test_the_same_key_of_another_device_is_a_conflict() -> None:
    other = mapping(1, 8080, device=PC, client="192.168.77.20")
    assert refused(plan(asks(8080), other)) is Refusal.CONFLICT


@pytest.mark.spec("IGD-117")
def test_another_device_and_remote_host_is_a_conflict() -> None:
    other = mapping(1, 8080, device=PC, client="192.168.77.20", remote="203.0.113.9/32")
    assert refused(plan(asks(8080, remote="203.0.113.7/32"), other)) is Refusal.CONFLICT


@pytest.mark.spec("IGD-116")
def test_the_same_client_may_have_two_narrow_mappings() -> None:
    narrow = mapping(1, 8080, remote="203.0.113.9/32")
    assert not made(plan(asks(8080, remote="203.0.113.7/32", internal=90), narrow)).refreshed


def test_overlapping_remote_prefixes_are_a_conflict() -> None:
    narrow = mapping(1, 8080, remote="203.0.113.0/24")
    assert refused(plan(asks(8080, remote="203.0.113.7/32"), narrow)) is Refusal.CONFLICT


@pytest.mark.spec("IGD-170", "IGD-171", "IGD-175")
def test_a_suggested_port_moves_on_where_another_device_has_it() -> None:
    other = mapping(1, 8080, device=PC, client="192.168.77.20")
    suggested = asks(8080, choice=PortChoice.SUGGESTED, via=Via.IGD2)
    assert made(plan(suggested)).mapping.key.external_port == 8080
    assert made(plan(suggested, other)).mapping.key.external_port == 8081
    udp = asks(8080, choice=PortChoice.SUGGESTED, via=Via.IGD2, transport=Transport.UDP)
    assert made(plan(udp, other)).mapping.key.external_port == 8080


@pytest.mark.spec("IGD-172")
def test_add_any_of_the_same_key_updates() -> None:
    again = made(plan(asks(8080, choice=PortChoice.SUGGESTED, via=Via.IGD2, internal=81), mapping(1, 8080)))
    assert again.refreshed
    assert again.mapping.internal.port == 81


@pytest.mark.parametrize("via", [Via.NATPMP, Via.PCP])
def test_another_protocol_joins_the_mapping_to_the_same_internal_endpoint(via: Via) -> None:
    joined = made(
        plan(asks(9999, internal=80, via=via, choice=PortChoice.SUGGESTED), mapping(1, 8080, internal=80))
    )
    assert joined.refreshed
    assert joined.mapping.key.external_port == 8080
    assert {hold.via for hold in joined.mapping.holds} == {Via.IGD1, via}


def test_igd_joins_only_on_the_same_external_port() -> None:
    held = mapping(1, 8080, internal=80, via=Via.NATPMP)
    assert made(plan(asks(8080, internal=80), held)).mapping.id == "m1"
    assert made(plan(asks(8081, internal=80), held)).mapping.id == "m99"


def test_a_port_held_over_another_protocol_is_not_moved_away() -> None:
    held = mapping(1, 8080, internal=80, via=Via.NATPMP)
    assert refused(plan(asks(8080, internal=81), held)) is Refusal.CONFLICT_OTHER


@pytest.mark.spec("SR-26")
def test_a_wrong_nonce_renews_nothing() -> None:
    held = mapping(1, 8080, internal=80, via=Via.PCP)
    held = held.with_hold(Hold(Via.PCP, NOW.boot + 60, 60, nonce=b"a" * 12))
    request = asks(8080, internal=80, via=Via.PCP, choice=PortChoice.SUGGESTED, nonce=b"b" * 12)
    assert refused(plan(request, held)) is Refusal.BAD_NONCE


def test_a_freed_port_is_kept_from_other_devices_alone() -> None:
    def kept_for(transport: Transport, port: int) -> str | None:
        return CONSOLE if port == 8080 else None

    freed = planner(kept_for=kept_for)
    assert refused(freed.plan(asks(8080, client="192.168.77.20"), allowed(), PC, None)) is Refusal.CONFLICT
    assert made(freed.plan(asks(8080), allowed(), CONSOLE, None)).mapping.key.external_port == 8080


@pytest.mark.spec("IGD-139", "SR-24")
def test_the_gateways_own_port_is_never_given() -> None:
    busy = planner(reserved_ports=lambda transport, port: port == 8080)
    assert refused(busy.plan(asks(8080), allowed(), CONSOLE, None)) is Refusal.CONFLICT_OTHER
    suggested = asks(8080, choice=PortChoice.SUGGESTED, via=Via.NATPMP)
    assert made(busy.plan(suggested, allowed(), CONSOLE, None)).mapping.key.external_port == 8081


@pytest.mark.spec("IGD-174")
def test_no_permitted_port_is_free() -> None:
    other = mapping(1, 8080, device=PC, client="192.168.77.20")
    request = asks(8080, choice=PortChoice.SUGGESTED, via=Via.IGD2)
    assert refused(plan(request, other, external_ports=((8080, 8080),))) is Refusal.NO_PORT


def test_a_pinhole_is_its_own_external_endpoint() -> None:
    new = made(plan(asks(8080, client="2001:db8::10", choice=PortChoice.SUGGESTED, via=Via.IGD2)))
    assert str(new.mapping.key.external_address) == "2001:db8::10"
    assert made(
        plan(asks(8080, client="2001:db8::10", via=Via.PCP), mapping(1, 8080, client="2001:db8::10"))
    ).refreshed


# -- without NAT


def own(*given: Any, **more: Any) -> MapRequest:
    return asks(*given, **more).without_nat()


def test_a_pinhole_has_the_address_and_port_of_its_host() -> None:
    for via, choice in ((Via.IGD1, PortChoice.EXACT), (Via.PCP, PortChoice.SUGGESTED)):
        new = made(plan(own(8080, via=via, choice=choice))).mapping
        assert new.key == MappingKey(Transport.TCP, CONSOLE_IP, 8080, None)
        assert new.kind is MappingKind.PINHOLE
    assert made(plan(own(9000, internal=8080, choice=PortChoice.SUGGESTED))).mapping.key.external_port == 8080
    assert plan(own(9000, internal=8080)) == ONLY_ITS_OWN_PORT
    assert plan(own(9000, internal=8080), mapping(1, 8080, nat=False)) == ONLY_ITS_OWN_PORT


def test_a_pinhole_conflicts_only_with_one_of_its_own_endpoint() -> None:
    other, taken = mapping(1, 8080, client="192.168.77.20", device=PC, nat=False), mapping(1, 8080, nat=False)
    assert not made(plan(own(8080), other, mapping(2, 8080, internal=80, device=PC))).refreshed
    assert made(plan(own(8080), taken)).refreshed
    assert refused(plan(own(8080), taken, owner=PC)) is Refusal.CONFLICT
    assert not made(plan(own(8080, remote="203.0.113.7/32"), taken)).refreshed


def test_a_pinhole_takes_no_port_of_the_gateway() -> None:
    busy = planner(kept_for=lambda *_: PC, reserved_ports=lambda *_: True)
    assert made(busy.plan(own(8080), allowed(), CONSOLE, None)).mapping.kind is MappingKind.PINHOLE
    assert not made(plan(asks(8080, client="192.168.77.20"), mapping(1, 8080, nat=False), owner=PC)).refreshed
