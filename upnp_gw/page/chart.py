"""The traffic of a port as points of an SVG: the server draws it, so that it needs no script. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from upnp_gw import api

WIDTH, HEIGHT = 720, 150
TOP = 14
"""Room above the highest point, for the label of the line there."""
LABEL_H = 8
"""Hours between two times below the chart."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Coordinates from the upper left corner."""

    path: str
    """The line, as the ``d`` of a path."""
    area: str
    """The same, closed along the bottom."""
    lines: Sequence[tuple[int, int]]
    """(y, bytes) of the lines behind it."""
    times: Sequence[tuple[int, datetime]]
    """(x, time) of the labels below it."""
    total: int
    most: int
    """The most bytes in one slot."""
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(traffic: api.Traffic) -> Chart:
    """A slot is one step: the traffic of its whole time, not of a moment."""
    counts = traffic.bytes
    scale = nice(max(counts, default=0))
    step = WIDTH / max(1, len(counts))

    def y(count: int) -> str:
        return f"{HEIGHT - count / scale * (HEIGHT - TOP):.1f}".removesuffix(".0")

    path = f"M0,{y(counts[0] if counts else 0)}"
    for index, (before, count) in enumerate(pairwise(counts), 1):
        if count != before:
            path += f"H{index * step:.1f}V{y(count)}"
    path += f"H{WIDTH}"
    return Chart(
        path=path,
        area=f"{path}V{HEIGHT}H0Z",
        lines=[(TOP, scale), ((HEIGHT + TOP) // 2, scale // 2)],
        times=list(_times(traffic)),
        total=sum(counts),
        most=max(counts, default=0),
    )


def nice(most: int) -> int:
    """The next number of 1, 2 or 5 with zeros, at least 1000: the upper end of the scale."""
    size = 1000
    while True:
        for factor in (1, 2, 5):
            if size * factor >= most:
                return size * factor
        size *= 10


def _times(traffic: api.Traffic) -> list[tuple[int, datetime]]:
    """Labels at round hours of local time, none of them cut at an edge."""
    span = timedelta(seconds=traffic.slot_s * len(traffic.bytes))
    begin = traffic.ends_at - span
    at = begin.astimezone().replace(minute=0, second=0, microsecond=0)
    at += timedelta(hours=LABEL_H - at.hour % LABEL_H)
    found = []
    while at < traffic.ends_at:
        x = round((at - begin) / span * WIDTH)
        if 20 <= x <= WIDTH - 20:
            found.append((x, at))
        at += timedelta(hours=LABEL_H)
    return found
