"""The limits that the figures must meet, and their check. Pure.

Ratios are of ``JUDGED`` to the peer in the same run, or to the peer's figures of ``PEER_AT_10_000``.
"""

from dataclasses import dataclass
from enum import Enum

from tests.bench.first_packet import BARE, TCP_OPEN, UDP_IN, UDP_OUT
from tests.bench.lifecycle import (
    BARE_MEMORY,
    BARE_START,
    EACH_MAPPING,
    HEAL,
    LIST,
    START,
    START_KERNEL,
    STOP,
    STORM,
)
from tests.bench.mixed import MIXED, PACED
from tests.bench.rows import (
    ADD,
    CPU,
    CROWD,
    CROWD_RATE,
    DELETE,
    GET,
    LISTING,
    MEMORY,
    NATPMP,
    PCP,
    REFRESH,
    RENEW,
    WALK,
)
from tests.bench.samples import Point, Samples, Table, paired

JUDGED = "upnp-gw full"
PEER = "miniupnpd"
PEER_AT_10_000 = {
    ADD: 436.0,
    DELETE: 444.0,
    REFRESH: 4.0,
    GET: 4.3,
    CROWD_RATE: 2.0,
    NATPMP: 400.0,
    PCP: 400.0,
    RENEW: 400.0,
    WALK: 19.0,
    LISTING: 357.0,
    CPU: 450.0,
    MEMORY: 8.0,
}
"""Medians of miniupnpd 2.3.11 at 10,000 mappings, measured once, since it takes 450 s to get there."""


class Reference(Enum):
    """The value that a limit is compared with."""

    NOTHING = ""
    PEER = "of miniupnpd"
    OWN = "of its own at 0"
    BARE = "of one dnat rule"


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit of a row at a number of mappings."""

    row: str
    mappings: int | None
    """None: wherever the row was measured."""
    limit: float
    statistic: str = "median"
    reference: Reference = Reference.PEER
    at_least: bool = False
    stretch: float | None = None


def _peer(row: str, *limits: tuple[int, float], statistic: str = "median", at_least: bool = False) -> list[Bar]:
    return [Bar(row, mappings, limit, statistic, at_least=at_least) for mappings, limit in limits]


def _own(row: str, limit: float, mappings: int | None = None, statistic: str = "median") -> Bar:
    return Bar(row, mappings, limit, statistic, Reference.NOTHING)


BARS = [
    Bar(ADD, 0, 0.6, stretch=0.3),
    *_peer(ADD, (1_000, 0.05), (10_000, 0.003)),
    *_peer(ADD, (0, 0.8), (1_000, 0.1), statistic="p99"),
    *_peer(DELETE, (0, 0.6), (1_000, 0.06), (10_000, 0.003)),
    _own(REFRESH, 0.9, 0),
    *_peer(REFRESH, (1_000, 3.0), (10_000, 0.2)),
    Bar(GET, 0, 2.2, stretch=1.6),
    *_peer(GET, (1_000, 1.3), (10_000, 0.08)),
    *_peer(CROWD_RATE, (0, 6.0), (1_000, 30.0), (10_000, 800.0), at_least=True),
    *_peer(CROWD, (0, 0.05), statistic="p99"),
    *[bar for row in (NATPMP, PCP) for bar in _peer(row, (0, 0.8), (1_000, 0.04), (10_000, 0.003))],
    *_peer(RENEW, (0, 0.3), (1_000, 0.04), (10_000, 0.003)),
    *_peer(WALK, (1_000, 1.0), (10_000, 0.2)),
    *_peer(LISTING, (1_000, 0.5), (10_000, 0.2)),
    Bar(ADD, 60_000, 1.1, reference=Reference.OWN),
    *[Bar(row, None, 1.1, reference=Reference.BARE) for row in (UDP_IN, UDP_OUT, TCP_OPEN)],
    *[_own(row, 20.0, statistic="p999") for row in (MIXED, PACED)],
    *[_own(row, 100.0, statistic="max") for row in (MIXED, PACED)],
    _own(BARE_START, 0.5),
    *[_own(row, 1.5, 10_000) for row in (START, START_KERNEL)],
    *[_own(row, 0.5, 10_000) for row in (HEAL, STOP)],
    _own(LIST, 0.3, 10_000),
    _own(STORM, 1.0),
    _own(BARE_MEMORY, 45.0),
    _own(EACH_MAPPING, 1.5),
]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A bar beside what was measured."""

    bar: Bar
    point: Point
    measured: float
    """In the unit of the row, or the ratio."""
    unit: str
    """``x`` for a ratio."""
    noisy: bool
    between: tuple[float, float] | None = None
    """The interval of a ratio that was measured in pairs."""

    @property
    def met(self) -> bool:
        return self.measured >= self.bar.limit if self.bar.at_least else self.measured <= self.bar.limit

    @property
    def missed_by(self) -> float:
        """The factor by which the figure would have to be better; up to 1 where the bar is met."""
        return self.bar.limit / self.measured if self.bar.at_least else self.measured / self.bar.limit

    @property
    def verdict(self) -> str:
        words = "met" if self.met else f"missed by {self.missed_by:.1f}x"
        stretch = self.bar.stretch
        if self.met and stretch is not None and self.measured <= stretch:
            words += " (and the stretch)"
        return words + (", noise" if self.noisy else "")


def judge(table: Table, busy: bool) -> list[Judgement]:
    """Every bar whose figures are there. ``busy``: other processes made all of them noise."""
    judgements = []
    for bar in BARS:
        for point in table.points:
            samples = table.get(JUDGED, bar.row, point)
            if (
                samples is None
                or bar.mappings not in (None, point.mappings)
                or (point.conntrack and bar.mappings is not None)
            ):
                continue
            if bar.reference is Reference.BARE:
                judgements += _in_pairs(table, bar, point, samples, busy)
                continue
            measured = samples.statistic(bar.statistic)
            reference, reference_noisy = _reference(table, bar, point)
            if measured is None or reference is None:
                continue
            unit = samples.unit if bar.reference is Reference.NOTHING else "x"
            noisy = busy or samples.noisy or reference_noisy
            judgements.append(Judgement(bar, point, measured / reference, unit, noisy))
    return judgements


def _in_pairs(table: Table, bar: Bar, point: Point, samples: Samples, busy: bool) -> list[Judgement]:
    """The judgement of a ratio round by round. It is noise where the limit is within its interval."""
    bare = table.get(BARE, bar.row, point)
    ratio = paired(samples, bare) if bare is not None else None
    if ratio is None:
        return []
    noisy = busy or ratio.low <= bar.limit <= ratio.high
    return [Judgement(bar, point, ratio.median, "x", noisy, (ratio.low, ratio.high))]


def peer_figure(table: Table, row: str, point: Point, statistic: str = "median") -> float | None:
    """The peer's, of this run or of its figures at 10,000 mappings; None: not measured."""
    samples = table.get(PEER, row, point)
    if samples is not None:
        return samples.statistic(statistic)
    known = PEER_AT_10_000 if point == Point(10_000, 0) and statistic == "median" else {}
    return known.get(row)


def _reference(table: Table, bar: Bar, point: Point) -> tuple[float | None, bool]:
    """The divisor of a figure, and True if that is noise."""
    if bar.reference is Reference.NOTHING:
        return 1.0, False
    samples: Samples | None = table.get(PEER, bar.row, point)
    if bar.reference is Reference.OWN:
        samples = table.get(JUDGED, bar.row, Point(0, 0))
    if bar.reference is not Reference.PEER:
        return (samples.statistic(bar.statistic), samples.noisy) if samples else (None, False)
    return peer_figure(table, bar.row, point, bar.statistic), samples is not None and samples.noisy
