"""The chart of a port's traffic."""

from datetime import UTC, datetime

import pytest

from upnp_gw import api
from upnp_gw.page.chart import HEIGHT, TOP, WIDTH, chart_of, nice

END = datetime(2027, 5, 1, 12, 0, tzinfo=UTC)


def chart(*counts: int, slots: int = 4) -> str:
    return chart_of(api.Traffic(slot_s=900, ends_at=END, bytes=[*counts, *[0] * (slots - len(counts))])).path


def test_the_line_has_a_step_for_each_change_and_the_top_is_the_scale() -> None:
    assert chart() == f"M0,{HEIGHT}H{WIDTH}"
    assert chart(5000, 5000, 0, 2500) == f"M0,{TOP}H360.0V{HEIGHT}H540.0V{(HEIGHT + TOP) // 2}H{WIDTH}"


def test_sums_lines_and_times() -> None:
    made = chart_of(api.Traffic(slot_s=900, ends_at=END, bytes=[0] * 190 + [3000, 700]))
    assert (made.total, made.most) == (3700, 3000)
    assert made.lines == [(TOP, 5000), ((HEIGHT + TOP) // 2, 2500)]
    assert 5 <= len(made.times) <= 6
    assert all(20 <= x <= WIDTH - 20 and at.astimezone().hour % 8 == 0 for x, at in made.times)
    assert made.area == f"{made.path}V{HEIGHT}H0Z"


@pytest.mark.parametrize(
    ("most", "scale"), [(0, 1000), (1001, 2000), (2001, 5000), (5001, 10000), (123456, 200000)]
)
def test_the_scale_is_a_round_number(most: int, scale: int) -> None:
    assert nice(most) == scale
