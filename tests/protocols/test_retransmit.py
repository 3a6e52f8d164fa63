"""The times at which announcements and mapping updates go out."""

from itertools import pairwise

import pytest

from upnp_gw.protocols.retransmit import ANNOUNCEMENTS, UPDATES, Series


def times(series: Series, late: float = 0.0) -> list[float]:
    found = []
    while (at := series.next_deadline()) is not None:
        assert not series.take_due(at - 0.01)
        assert series.take_due(at + late)
        found.append(at + late)
    return found


@pytest.mark.spec("PMP-062", "PMP-063", "PCP-171")
def test_ten_announcements() -> None:
    series = Series(ANNOUNCEMENTS)
    series.begin(100)
    assert [at - 100 for at in times(series)] == [0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75, 63.75, 127.75]
    assert not series.take_due(10_000)


@pytest.mark.spec("PCP-171", "PCP-175")
def test_a_late_one_makes_the_next_no_closer() -> None:
    series = Series(UPDATES)
    series.begin(0)
    late = times(series, late=0.1)
    assert [round(b - a, 2) for a, b in pairwise(late)] == [0.35, 0.6]


@pytest.mark.spec("PMP-066")
def test_a_new_event_begins_anew() -> None:
    series = Series(ANNOUNCEMENTS)
    series.begin(0)
    for at in (0, 0.25, 0.75):
        assert series.take_due(at)
    series.begin(5)
    assert len(times(series)) == ANNOUNCEMENTS
    series.begin(9)
    series.stop()
    assert series.next_deadline() is None
