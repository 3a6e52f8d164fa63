"""The C library's heap of this process, block by block (glibc 2.26 to 2.41, 64 bits).

Each thread keeps up to seven freed blocks of each of 64 sizes, up to 1 KiB, for itself: 235 KiB at most.
mallinfo2(3) counts them as in use, and no object explains them. They also keep free blocks beside them apart.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LARGE = 16_384
"""Bytes. Free blocks of this size are ready for a large object; what grows is often smaller ones."""
_HEADER = struct.Struct("<QQ")
_IN_USE, _FLAGS, _LEAST = 1, 7, 32
_CACHE = struct.Struct("<64H64Q")
_CACHE_BLOCK = 16 + _CACHE.size
"""Bytes of the block that has the lists of one thread."""


class Block(NamedTuple):
    """A block with its header."""

    at: int
    """Its offset in the heap."""
    size: int
    in_use: bool


def heap_kib() -> dict[str, float]:
    """Blocks that threads keep, and free blocks that are large. Empty where there is no such heap."""
    bounds = re.search(r"^([0-9a-f]+)-([0-9a-f]+) .*\[heap\]$", Path("/proc/self/maps").read_text("ascii"), re.M)
    if bounds is None:
        return {}
    start, end = (int(number, 16) for number in bounds.groups())
    with open("/proc/self/mem", "rb", 0) as memory:
        memory.seek(start)
        heap = memory.read(end - start)
    kept = large = 0
    for block in _blocks(heap):
        if not block.in_use:
            large += block.size * (block.size >= LARGE)
        elif block.size == _CACHE_BLOCK:
            kept += _kept(_CACHE.unpack_from(heap, block.at + _HEADER.size), range(start, end))
    return {"malloc kept by threads": kept / 1024, "malloc free, large blocks": large / 1024}


def _blocks(heap: bytes) -> Iterator[Block]:
    """Every block but the last one, which is free. That a block is in use stands in the header of the next one."""
    at = 0
    while True:
        size = _HEADER.unpack_from(heap, at)[1] & ~_FLAGS
        following = at + size
        if size < _LEAST or following + _HEADER.size > len(heap):
            return
        yield Block(at, size, bool(_HEADER.unpack_from(heap, following)[1] & _IN_USE))
        at = following


def _kept(values: tuple[int, ...], heap: range) -> int:
    """Bytes of the blocks in the lists of one thread; 0 for a block that has no such lists, but the same size."""
    counts, firsts = values[:64], values[64:]
    if any(
        (count > 0) != (first in heap) or (first and not count) for count, first in zip(counts, firsts, strict=True)
    ):
        return 0
    return sum(count * (_LEAST + 16 * number) for number, count in enumerate(counts))
