"""Series of measurements and their percentiles. Pure."""

import math
import statistics
from dataclasses import dataclass, field

BEYOND = 8
"""So many samples must lie beyond a percentile, or it is not given: p99 needs 800 samples, p99.9 needs 8,000."""
UNSURE = 0.05
"""The probability that the interval of a median misses it."""
NOISY = 0.25
"""Rounds whose medians differ by more than this, of the median of all, make a figure noise."""


def percentile(ordered: list[float], share: float) -> float | None:
    """Of sorted values, the nearest rank; None where too few lie beyond it."""
    if len(ordered) * (1 - share) < BEYOND - 1e-9:
        return None
    return ordered[math.ceil(len(ordered) * share) - 1]


@dataclass(slots=True)
class Samples:
    """The values of one row of one gateway at one point, in rounds."""

    unit: str
    """us | ms | s | /s | MiB | KiB"""
    rounds: list[list[float]] = field(default_factory=list)
    unanswered: int = 0

    @property
    def values(self) -> list[float]:
        return sorted(value for values in self.rounds for value in values)

    @property
    def medians(self) -> list[float]:
        """Of each round."""
        return [statistics.median(values) for values in self.rounds if values]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p99(self) -> float | None:
        return percentile(self.values, 0.99)

    @property
    def p999(self) -> float | None:
        return percentile(self.values, 0.999)

    @property
    def spread(self) -> float:
        """The distance between the medians of the rounds, as a share of the median; 0 with one round."""
        medians = self.medians
        return (max(medians) - min(medians)) / self.median if self.median else 0.0

    @property
    def noisy(self) -> bool:
        return self.spread > NOISY

    def statistic(self, name: str) -> float | None:
        """``median``, ``p99``, ``p999`` or ``max``."""
        value: float | None = max(self.values) if name == "max" else getattr(self, name)
        return value

    def as_json(self) -> dict[str, object]:
        return {
            "unit": self.unit,
            "samples": len(self.values),
            "median": self.median,
            "p99": self.p99,
            "p99.9": self.p999,
            "max": max(self.values),
            "unanswered": self.unanswered,
            "medians_of_rounds": self.medians,
            "noisy": self.noisy,
        }


@dataclass(frozen=True, slots=True)
class Paired:
    """The ratio of two series that were measured in the same rounds."""

    median: float
    """Of the ratios of each round's medians: what slows the machine for some rounds slows both."""
    low: float
    high: float
    """The median of more rounds lies between them with a probability of 95 %."""


def paired(one: Samples, other: Samples) -> Paired | None:
    """``one`` to ``other``, round by round; None: they have no rounds together."""
    ratios = sorted(a / b for a, b in zip(one.medians, other.medians, strict=False) if b)
    if not ratios:
        return None
    rank = _rank_beyond(len(ratios))
    return Paired(statistics.median(ratios), ratios[rank], ratios[-1 - rank])


def _rank_beyond(count: int) -> int:
    """So many of sorted values may be left out at each end of the interval of a median (sign test); 0 for few."""
    rank, beyond = 0, 0.5**count
    while rank < (count - 1) // 2 and beyond + math.comb(count, rank + 1) * 0.5**count <= UNSURE / 2:
        rank += 1
        beyond += math.comb(count, rank) * 0.5**count
    return rank if beyond <= UNSURE / 2 else 0


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """The conditions under which a row was measured."""

    mappings: int
    conntrack: int
    """Entries of connection tracking that the benchmark made."""


@dataclass(slots=True)
class Table:
    """gateway -> row -> point -> samples."""

    cells: dict[tuple[str, str, Point], Samples] = field(default_factory=dict)

    def add(
        self, gateway: str, row: str, point: Point, unit: str, values: list[float], unanswered: int = 0
    ) -> None:
        """One more round."""
        samples = self.cells.setdefault((gateway, row, point), Samples(unit))
        samples.rounds.append(values)
        samples.unanswered += unanswered

    def get(self, gateway: str, row: str, point: Point) -> Samples | None:
        return self.cells.get((gateway, row, point))

    @property
    def points(self) -> list[Point]:
        return sorted({point for _, _, point in self.cells})

    def rows(self, point: Point) -> list[str]:
        """The rows measured at a point, in the order in which they came."""
        return list(dict.fromkeys(row for _, row, at in self.cells if at == point))
