"""The lifetime of a hold, and the part of it that is shown."""

from dataclasses import replace

import pytest

from tests.fixtures.mapping_rows import NOW, asks, clamps, mapping
from upnp_gw.gate.decide import lifetime_s
from upnp_gw.ledger.leases import (
    END_GRACE_S,
    RECHECK_S,
    RENEWAL_GRACE_S,
    Deadlines,
    kernel_timeout_s,
    left_s,
    next_check,
    recheck_at,
    with_renewal,
    without_expired_holds,
)
from upnp_gw.model.mapping import Hold, Instant, Via


@pytest.mark.parametrize(
    ("via", "requested_s", "lives"),
    [
        (Via.IGD1, None, 30 * 86400),
        (Via.IGD1, 3600, 3600),
        (Via.IGD2, 604800, 604800),
        (Via.IGD1, 2**32 - 1, 30 * 86400),
        (Via.PCP, 538_705_920, 86400),  # libplum 0.5.3
        (Via.NATPMP, 600_000, 86400),  # nat-port-mapper: milliseconds for seconds
        (Via.NATPMP, 7200, 7200),
        (Via.OPERATOR, None, 30 * 86400),
    ],
)
def test_a_hold_lives_for_the_requested_time_within_the_clamp(
    via: Via, requested_s: int | None, lives: int
) -> None:
    assert lifetime_s(asks(via=via, lifetime=requested_s), clamps()) == lives


def test_a_held_mapping_is_decided_again_within_the_hour() -> None:
    held = mapping(1, until=NOW.boot + 30 * 86400)
    assert recheck_at(held.holds, clamps(), NOW) == NOW.boot + RECHECK_S
    assert recheck_at(held.holds, clamps(max_ttl_s=600), NOW) == NOW.boot + 600
    short = mapping(1, until=NOW.boot + 20)
    assert recheck_at(short.holds, clamps(), NOW) == NOW.boot + 20


@pytest.mark.spec("SR-29")
def test_the_kernel_ends_it_soon_after_the_next_look() -> None:
    """A dead daemon: the kernel's timeout is the next look of ours and a little more, never the whole hold."""
    held = replace(mapping(1, until=NOW.boot + 30 * 86400), recheck_at=NOW.boot + 3600)
    assert kernel_timeout_s(held, NOW) == 3600 + RENEWAL_GRACE_S
    assert kernel_timeout_s(mapping(1, until=NOW.boot + 4), NOW) == 4 + END_GRACE_S
    over = replace(mapping(1, until=NOW.boot - 50), recheck_at=NOW.boot - 50)
    assert kernel_timeout_s(over, NOW) == 1.0


@pytest.mark.spec("IGD-128", "IGD-129", "IGD-130")
def test_the_remaining_lease_is_shown_by_version() -> None:
    """Deviation: version 2 shows min(remaining, 604800), version 1 the real remaining time."""
    month = mapping(1, until=NOW.boot + 30 * 86400)
    assert left_s(month, Via.IGD2, NOW) == 604800
    assert left_s(month, Via.IGD1, NOW) == 30 * 86400
    assert left_s(mapping(1), Via.IGD1, Instant(NOW.boot + 10, NOW.wall + 10)) == 3590


def test_a_lease_that_lives_is_never_shown_as_permanent() -> None:
    assert left_s(mapping(1, until=NOW.boot + 0.2), Via.IGD1, NOW) == 1


@pytest.mark.spec("IGD-142")
def test_an_operators_permanent_mapping_shows_zero() -> None:
    permanent = mapping(1, via=Via.OPERATOR, permanent=True)
    assert left_s(permanent, Via.IGD1, NOW) == 0
    assert left_s(permanent.with_hold(Hold(Via.IGD1, NOW.boot + 60, 60)), Via.IGD1, NOW) == 60


def test_a_mapping_lives_until_its_last_hold_ends() -> None:
    both = mapping(1, until=NOW.boot + 60).with_hold(Hold(Via.PCP, NOW.boot + 600, 600))
    later = Instant(NOW.boot + 100, NOW.wall + 100)
    left = without_expired_holds(both, later)
    assert left is not None
    assert [hold.via for hold in left.holds] == [Via.PCP]
    assert without_expired_holds(left, Instant(NOW.boot + 600, NOW.wall)) is None


def test_a_permanent_one_is_renewed_with_each_look() -> None:
    permanent = mapping(1, via=Via.OPERATOR, permanent=True, until=NOW.boot + 5)
    assert with_renewal(permanent, clamps(), NOW).until == NOW.boot + 30 * 86400


def test_a_parked_row_waits_only_for_its_end() -> None:
    held = replace(mapping(1, until=NOW.boot + 9000), recheck_at=NOW.boot + 10)
    assert next_check(held) == NOW.boot + 10
    assert next_check(replace(held, parked=True)) == NOW.boot + 9000


def test_deadlines_give_each_row_once() -> None:
    deadlines = Deadlines()
    deadlines.set("m1", 10)
    deadlines.set("m2", 20)
    deadlines.set("m1", 15)
    deadlines.set("m3", 12)
    deadlines.set("m3", None)
    assert deadlines.next() == 15
    assert deadlines.pop_due(14.9) == []
    assert deadlines.pop_due(20) == ["m1", "m2"]
    assert deadlines.next() is None


def test_thousands_of_deadlines_are_popped_in_order_and_each_once() -> None:
    deadlines = Deadlines()
    for number in range(2_000):
        deadlines.set(f"m{number}", float(number))
    for number in range(0, 2_000, 3):
        deadlines.set(f"m{number}", number + 5_000.0)
    deadlines.set("m1000", None)
    deadlines.set("m1001", 7.0)
    deadlines.set("m1001", 1001.0)
    expected = [f"m{number}" for number in range(1_500) if number % 3 and number != 1_000]
    assert deadlines.pop_due(1_499.5) == expected
    assert deadlines.next() == 1_501
    assert len(deadlines.pop_due(10_000)) == 2_000 - len(expected) - 1
    assert deadlines.next() is None


def test_deadlines_do_not_grow_with_refreshes() -> None:
    deadlines = Deadlines()
    for at in range(10_000):
        deadlines.set("m1", float(at))
    assert len(deadlines._heap) < 200
    assert deadlines.pop_due(1e9) == ["m1"]
