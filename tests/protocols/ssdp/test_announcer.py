"""The times of announcements (IGD section 2.3): with a clock and a random source of the test's own."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.protocols.ssdp import AnnouncementRound, Announcer, Nts, next_boot_id


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def run(announcer: Announcer, until: float) -> list[tuple[float, AnnouncementRound]]:
    """Everything that is announced up to a moment."""
    rounds: list[tuple[float, AnnouncementRound]] = []
    while (at := announcer.next_deadline()) is not None and at <= until:
        rounds += [(at, round_) for round_ in announcer.on_deadline(at)]
    return rounds


@pytest.mark.spec("IGD-030", "IGD-040")
@pytest.mark.parametrize("seed", range(5))
def test_start_is_byebye_then_alive_three_times(seed: int) -> None:
    announcer = Announcer(1800, random.Random(seed).uniform)
    assert announcer.next_deadline() is None
    announcer.start(100.0, 7)
    rounds = run(announcer, 110.0)
    assert [round_ for _, round_ in rounds] == [
        AnnouncementRound(Nts.BYEBYE, 7),
        *[AnnouncementRound(Nts.ALIVE, 7)] * 3,
    ]
    times = [at for at, _ in rounds]
    assert times[0] == 100.0
    assert 0 <= times[1] - times[0] <= 0.1
    assert all(0.2 <= b - a <= 0.4 for a, b in pairwise(times[1:]))


@pytest.mark.spec("IGD-041")
@given(st.integers(1800, 86_400), st.integers())
def test_later_sets_come_before_half_of_max_age_at_varying_intervals(max_age_s: int, seed: int) -> None:
    announcer = Announcer(max_age_s, random.Random(seed).uniform)
    announcer.start(0.0, 1)
    times = [at for at, round_ in run(announcer, max_age_s * 5.0)]
    gaps = [b - a for a, b in pairwise(times[3:])]
    assert len(gaps) >= 10
    assert all(gap < max_age_s / 2 for gap in gaps)
    assert len(set(gaps)) == len(gaps)


@pytest.mark.spec("IGD-037", "IGD-042")
def test_boot_id_is_constant_and_byebye_ends_it() -> None:
    announcer = Announcer(1800, middle)
    announcer.start(0.0, 7)
    assert {round_.boot_id for _, round_ in run(announcer, 20_000.0)} == {7}
    assert announcer.stop() == AnnouncementRound(Nts.BYEBYE, 7)
    assert announcer.next_deadline() is None
    assert announcer.on_deadline(1e9) == []


def test_a_change_is_update_then_alive_with_the_next_boot_id() -> None:
    announcer = Announcer(1800, middle)
    announcer.start(0.0, 7)
    run(announcer, 10.0)
    announcer.moved(50.0, 9)
    assert announcer.boot_id == 9
    rounds = [round_ for _, round_ in run(announcer, 60.0)]
    assert rounds == [AnnouncementRound(Nts.UPDATE, 7, 9), *[AnnouncementRound(Nts.ALIVE, 9)] * 3]


def test_a_late_timer_loses_no_round() -> None:
    announcer = Announcer(1800, middle)
    announcer.start(0.0, 1)
    assert [round_.nts for round_ in announcer.on_deadline(5000.0)] == [Nts.BYEBYE, *[Nts.ALIVE] * 3]
    assert (announcer.next_deadline() or 0) > 5000.0


def test_a_failed_announcement_is_repeated_with_growing_delay() -> None:
    announcer = Announcer(1800, middle)
    announcer.start(0.0, 1)
    waits = []
    for now in range(10, 60_000, 2000):
        run(announcer, float(now))
        announcer.failed(float(now))
        announcer.failed(float(now))
        waits.append((announcer.next_deadline() or 0) - now)
    assert waits[:4] == [2, 4, 8, 16]
    assert max(waits) < 900
    burst = Announcer(1800, middle)
    burst.start(0.0, 1)
    burst.on_deadline(0.0)
    burst.failed(0.0)
    assert len(run(burst, 1.0)) == 3, "the repeats of the burst come anyway"


@pytest.mark.spec("IGD-037")
@given(st.integers(0, 2**31 - 2), st.floats(0, 4e9))
def test_next_boot_id_grows_and_fits(previous: int, wall: float) -> None:
    assert previous < next_boot_id(previous, wall) <= 2**31 - 1


def test_next_boot_id_keeps_pace_with_the_wall_clock() -> None:
    assert next_boot_id(5, 1_800_000_000.0) == 1_800_000_000 - 1_577_836_800
    assert next_boot_id(5, 0.0) == 6
