"""Figures of the memory from inside the daemon: at SIGUSR2 a copy of it writes a report into a directory.

``MEMORY`` names the directory. If it has the file ``OBJECTS``, the report has all objects by type, and the garbage
that was set aside. With ``MEMORY_TRACE`` set, allocations are traced from the start (tracemalloc),
and such a report has them by line. That takes twice the memory and twice the time: figures of resident memory mean
nothing then.
"""

import ctypes
import gc
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

from tests.memory.heap import heap_kib

MEMORY = "UPNP_GW_TEST_MEMORY"
MEMORY_TRACE = "UPNP_GW_TEST_MEMORY_TRACE"
OBJECTS = "objects"
FRAMES = 6


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def malloc_kib() -> dict[str, float]:
    """The C library's heap: handed out, free inside, free at the end, and blocks that are mappings of their own."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _Mallinfo2
    info = library.mallinfo2()
    return {
        "malloc in use": info.uordblks / 1024,
        "malloc free": info.fordblks / 1024,
        "malloc free at the end": info.keepcost / 1024,
        "malloc mapped": info.hblkhd / 1024,
    }


def python_kib() -> dict[str, float]:
    """Python's own allocator for objects up to 512 bytes: its arenas, and the bytes of blocks in use. Nothing while
    allocations are traced: Python does not tell it then."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        text = file.read().decode("ascii", "replace")

    if "arenas" not in text:
        return {}

    def figure(pattern: str) -> float:
        found = re.search(pattern + r"\s*=\s*([\d,]+)", text)
        return int(found[1].replace(",", "")) / 1024 if found else 0.0

    return {
        "Python's arenas": figure(r"arenas \* \d+ bytes/arena"),
        "Python's blocks in use": figure(r"# bytes in allocated blocks"),
        "Python's blocks free": figure(r"# bytes in available blocks"),
        "Python's unused pools": figure(r"unused pools \* \d+ bytes"),
    }


def sqlite_kib() -> dict[str, float]:
    """Memory that SQLite uses: pages of its connections, and statements."""
    library = ctypes.CDLL("libsqlite3.so.0")
    library.sqlite3_memory_used.restype = ctypes.c_int64
    return {"SQLite": library.sqlite3_memory_used() / 1024}


def set_aside_garbage() -> dict[str, int]:
    """The objects that are garbage and were set aside by ``gc.freeze``: type -> number."""
    gc.disable()
    gc.collect()
    gc.unfreeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = Counter(map(_type_name, gc.garbage))
    gc.set_debug(0)
    gc.garbage.clear()
    return dict(found.most_common(30))


def every_object() -> dict[str, tuple[int, float]]:
    """All objects that the collector knows, and those that they refer to: type -> number, KiB."""
    gc.unfreeze()
    known = gc.get_objects()
    counts, sizes, seen = Counter[str](), Counter[str](), set(map(id, known))
    for each in known:
        _count(each, counts, sizes)
        for other in gc.get_referents(each):
            if id(other) not in seen:
                seen.add(id(other))
                _count(other, counts, sizes)
    return {name: (count, sizes[name] / 1024) for name, count in counts.items()}


def _count(each: object, counts: Counter[str], sizes: Counter[str]) -> None:
    name = _type_name(each)
    counts[name] += 1
    sizes[name] += sys.getsizeof(each, 0)


def _type_name(each: object) -> str:
    return f"{type(each).__module__}.{type(each).__qualname__}"


class Reports:
    """Writes report N as ``N.json``, and with it ``N.trace``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0

    def on_signal(self, signal_number: int, frame: object) -> None:
        """Has a copy of this process write the report: nothing in this one changes by it."""
        mine, self._number = self._number, self._number + 1  # first: the next signal can come before the return
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        if os.fork() == 0:  # nobody waits for this one
            try:
                self._write(mine)
            except BaseException:
                traceback.print_exc()
        os._exit(0)

    def _write(self, number: int) -> None:
        figures: dict[str, Any] = {"kib": {**malloc_kib(), **heap_kib(), **python_kib(), **sqlite_kib()}}
        if (self._directory / OBJECTS).exists():
            figures["set aside"] = set_aside_garbage()
            figures["objects"] = every_object()
        if tracemalloc.is_tracing():
            figures["kib"]["traced"] = tracemalloc.get_traced_memory()[0] / 1024
        if tracemalloc.is_tracing() and "objects" in figures:
            tracemalloc.take_snapshot().dump(str(self._directory / f"{number}.trace"))
        fresh = self._directory / f"fresh-{number}"
        fresh.write_text(json.dumps(figures), "utf-8")
        fresh.rename(self._directory / f"{number}.json")


def install() -> None:
    """Call it as early as possible: what was allocated before is not traced."""
    if directory := os.environ.get(MEMORY):
        if MEMORY_TRACE in os.environ:
            tracemalloc.start(FRAMES)
        signal.signal(signal.SIGUSR2, Reports(Path(directory)).on_signal)
