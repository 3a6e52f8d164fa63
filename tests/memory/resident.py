"""Resident memory of a process, and the slope of a line through samples of it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Resident(NamedTuple):
    """Resident memory by kind, KiB. ``total`` is VmRSS."""

    total: float
    anonymous: float
    """Heap, stacks, Python's arenas."""
    file: float
    """Pages of programs and libraries that were touched. The kernel can drop them at any time."""
    shared: float
    """Of the store's -shm file."""


FIELDS = ("VmRSS", "RssAnon", "RssFile", "RssShmem")


def resident(pid: int) -> Resident:
    """Raises OSError if there is no such process, ValueError if it has just ended."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text("ascii"), re.M))
    if FIELDS[0] not in found:
        raise ValueError(f"process {pid} has ended")
    return Resident(*(int(found[name]) for name in FIELDS))


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """The increase of y by x, of a line by least squares."""
    middle_x = sum(x for x, _ in samples) / len(samples)
    middle_y = sum(y for _, y in samples) / len(samples)
    across = sum((x - middle_x) ** 2 for x, _ in samples)
    return sum((x - middle_x) * (y - middle_y) for x, y in samples) / across if across else 0.0
